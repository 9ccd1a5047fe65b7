"""Quantities carry their unit at the boundary."""

from __future__ import annotations

import pytest

from mindsci import units


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("2.4 GHz", "Hz", 2.4e9),
        ("0.4 mm", "m", 4e-4),
        ("0.5 fs", "fs", 0.5),
        ("300 K", "K", 300.0),
        ("50 ohm", "ohm", 50.0),
    ],
)
def test_quantities_are_read_in_the_unit_asked_for(text: str, unit: str, value: float) -> None:
    assert units.parse(text, unit) == pytest.approx(value, rel=1e-15)


def test_a_value_written_in_its_own_unit_is_read_back_to_the_bit() -> None:
    for value in (0.1, 1 / 3, 7e-13):
        assert units.parse(f"{value!r} m", "m") == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (0.4, 'no unit; write it as a string with one, for example "0.4 m"'),
        ("0.4", "no unit"),
        ("3 GHz", "1 / \\[time\\]|\\[time\\]"),
        ("3 metter", "unknown unit 'metter'"),
        ("three mm mm(", "not a quantity|unknown unit"),
    ],
)
def test_what_is_not_a_length_is_refused_with_the_fix(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        units.parse(text, "m")


def test_constants_agree_with_codata_2018() -> None:
    assert pytest.approx(8.617333262e-5, rel=1e-9) == units.BOLTZMANN_EV
    assert pytest.approx(0.0433641, rel=1e-6) == units.KCAL_PER_MOL_EV
    # e / (1e10 Da) with e = 1.602176634e-19 C and Da = 1.66053906660e-27 kg, in angstrom/fs^2
    assert pytest.approx(9.6485332e-3, rel=1e-8) == units.ACCELERATION
