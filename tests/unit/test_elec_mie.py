"""The Mie series against tables computed independently, and against itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from elec.validation.mie import amplitudes, efficiencies, interior_field
from mindsci.units import SPEED_OF_LIGHT, VACUUM_IMPEDANCE, VACUUM_PERMITTIVITY


@pytest.mark.parametrize(
    ("ka", "section"), [(0.5, 0.52958), (1, 3.63757), (1.5, 1.07561), (2, 1.00814), (2.5, 1.72003), (5, 1.16884)]
)
def test_back_scattering_of_a_conducting_sphere(ka: float, section: float) -> None:
    assert efficiencies(ka, None)["back"] == pytest.approx(section, abs=6e-6)


@pytest.mark.parametrize(
    ("x", "scattering", "back"),
    [(0.5, 0.045664, 0.058999), (1, 0.796830, 0.535788), (2, 4.770440, 1.385427), (5, 2.852516, 6.347207)],
)
def test_efficiencies_of_a_dielectric_sphere(x: float, scattering: float, back: float) -> None:
    found = efficiencies(x, 2.0)
    assert found["scattering"] == pytest.approx(scattering, abs=6e-7)
    assert found["back"] == pytest.approx(back, abs=6e-7)
    assert abs(found["absorption"]) < 1e-12


def test_amplitudes_meet_the_efficiencies_forward_and_back() -> None:
    forward, back = (amplitudes(2.0, 2.0, np.array([angle])) for angle in (0.0, math.pi))
    found = efficiencies(2.0, 2.0)
    assert float(forward[0].real[0]) * 4.0 / 4.0 == pytest.approx(found["extinction"])
    assert float(np.abs(back[0][0]) ** 2) * 4.0 / 4.0 == pytest.approx(found["back"])


def test_the_field_inside_gives_the_absorption_rates_of_the_table() -> None:
    """100 mm, 900 MHz, 41.5, 0.97 S/m, 1000 kg/m^3, 1 W/m^2: rates in mW/kg."""
    omega = 2.0 * math.pi * 900e6
    index = complex(np.sqrt(41.5 + 1j * 0.97 / (omega * VACUUM_PERMITTIVITY)))
    x = omega * 0.1 / SPEED_OF_LIGHT
    points = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, -0.1], [0.0, 0.0, 0.1]])
    peak = 2.0 * VACUUM_IMPEDANCE
    rate = 0.5 * 0.97 * peak * np.sum(np.abs(interior_field(x, index, 0.1, points)) ** 2, axis=-1) / 1000.0
    assert 1e3 * rate == pytest.approx([5.36840, 28.83791, 10.56903], rel=2e-5)
    assert efficiencies(x, index)["absorption"] == pytest.approx(0.93230, abs=6e-6)
