"""The points of a sweep: what the command line says, and every fault found before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from mindsci.errors import InputError, UnknownNameError
from mindsci.overrides import assign
from mindsci.sweep import Plan, parse, plan


@pytest.fixture
def case(tmp_path: Path, declare: Callable[..., None]) -> Path:
    declare(tasks={"fall": "sweep_case:Fall"})
    path = tmp_path / "fall.toml"
    path.write_text('task = "test/fall"\n[[bodies]]\nname = "stone"\n[[bodies]]\nname = "feather"\n')
    return path


def values(made: Plan) -> list[tuple[Any, ...]]:
    return list(made.values)


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("a.b=28:36:3 mm", "mm", (28.0, 32.0, 36.0)),
        ("a.b = 1:0:3 GHz", "GHz", (1.0, 0.5, 0.0)),
        ("a=1e-1:3e-1:2/fs", "1/fs", (0.1, 0.3)),
        ("a=1:3:2 / fs", "1/ fs", (1.0, 3.0)),
        ("a=1:3:2 1/fs", "1/fs", (1.0, 3.0)),
        ("a=1, 3 1/fs", "1/fs", (1.0, 3.0)),
        ("a=1mm,2mm", "mm", (1.0, 2.0)),
        ("a=1:2:2mm", "mm", (1.0, 2.0)),
        ("a=2:4:3", "", (2, 3, 4)),
        ("a=0:1:3", "", (0.0, 0.5, 1.0)),
        ("a=1, 2, 4 mm", "mm", (1.0, 2.0, 4.0)),
        ("a=1 mm, 2 cm", "cm", (0.1, 2.0)),
        ("a=3 mm", "mm", (3.0,)),
        ("a=1, 2.5", "", (1, 2.5)),
        ("a=copper, silver", "", ("copper", "silver")),
        ("a=true, false", "", (True, False)),
        ('a=["0, 1 mm", "0, 2 mm"]', "", ("0, 1 mm", "0, 2 mm")),
        ('a=["C:D", "E"]', "", ("C:D", "E")),
    ],
)
def test_values_are_read_with_their_unit(text: str, unit: str, expected: tuple[Any, ...]) -> None:
    made = parse(text)
    assert made.unit == unit
    assert made.values == pytest.approx(expected) if made.numeric else made.values == expected
    assert [type(value) for value in made.values] == [type(value) for value in expected]


def test_several_keys_follow_one_parameter_by_their_factors() -> None:
    made = parse("length: low.0*-0.5, high.0*0.5 = 28:36:2 mm")
    assert made.name == "length"
    assert made.head == "length [mm]"
    assert list(made.settings(28.0)) == [("low.0", "-14.0 mm"), ("high.0", "14.0 mm")]
    assert made.told(28.0) == "length = 28 mm"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("height", "write it as --over"),
        ("height=", "write it as --over"),
        ("height=1:2:1 m", "start:stop:count"),
        ("height=2:1 m", "a low end and a higher one"),
        ("height=1:2:3 metr", "'metr' is no unit"),
        ("height=1 m, 2 s", "a quantity in s is needed"),
        ("a b=1:2:3", "'a b' is no key"),
        ("material*2=air, water", "only numbers are multiplied"),
        ("height=[]", "no value"),
    ],
)
def test_a_specification_that_says_nothing_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(text)


def test_every_combination_is_a_point_and_the_last_parameter_varies_fastest(case: Path) -> None:
    made = plan(case, ["height=1:2:2 m", "material=air, water"])
    assert values(made) == [(1.0, "air"), (1.0, "water"), (2.0, "air"), (2.0, "water")]
    assert [(one.height, one.material) for one in made.cases] == values(made)  # type: ignore[attr-defined]
    assert made.told(1) == "height = 1 m, material = water"


def test_values_walk_together(case: Path) -> None:
    made = plan(case, {"height": "1:3:3 m", "bodies.feather.mass": ["1 g", "2 g", "3 g"]}, zipped=True)
    assert values(made) == [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]
    assert [one.bodies[1].mass for one in made.cases] == pytest.approx([0.001, 0.002, 0.003])  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="height has 3, rows has 2"):
        plan(case, ["height=1:3:3 m", "rows=1, 2"], zipped=True)


def test_what_varies_and_what_is_set_for_all_leave_the_rest_as_it_is(case: Path) -> None:
    made = plan(case, ["bodies.0.mass=1:2:2 kg"], settings=["material=water"])
    assert [one.material for one in made.cases] == ["water", "water"]  # type: ignore[attr-defined]
    assert [one.bodies[1].mass for one in made.cases] == [1.0, 1.0]  # type: ignore[attr-defined]


@pytest.mark.parametrize("sampler", ["latin_hypercube", "sobol", "random"])
def test_samples_lie_in_their_ranges_and_depend_on_the_seed_alone(case: Path, sampler: str) -> None:
    def drawn(seed: int) -> numpy.ndarray:
        ranges = ["height=1:2 m", "bodies.0.mass=10:30 g"]
        return numpy.array(plan(case, ranges, sample=f"{sampler}:16", seed=seed).values)

    first = drawn(3)
    assert first.shape == (16, 2)
    assert ((first >= [1.0, 10.0]) & (first <= [2.0, 30.0])).all()
    assert numpy.array_equal(first, drawn(3))
    assert not numpy.array_equal(first, drawn(4))
    if sampler != "random":  # one point in each sixteenth of every range is what these two are made for
        cells = numpy.floor((first - [1.0, 10.0]) / [1.0, 20.0] * 16)
        assert (numpy.sort(cells, axis=0) == numpy.arange(16)[:, None]).all()


@pytest.mark.parametrize(
    ("over", "options", "message"),
    [
        (["heigth=1:2:2 m"], {}, r"point 0 \(heigth = 1 m\):\n  heigth: unknown key; did you mean 'height'"),
        (["height=1:2:2 s"], {}, "a quantity in m is needed"),
        (["height=1:2:2"], {}, "has no unit"),
        (["rows=1:4:3"], {}, r"point 1 \(rows = 2.5\)"),
        (["bodies.stoen.mass=1:2:2 kg"], {}, "did you mean 'stone'"),
        (["bodies.7.mass=1:2:2 kg"], {}, "'7' is not one of the 2 entries"),
        (["height=1:2 m"], {}, "a range needs a count, such as 1:2:9 m"),
        (["height=1:2:2 m"], {"sample": "random:4"}, "from a range without a count"),
        (["height=1:2 m"], {"sample": "random"}, "say how many points"),
        (["height=1:2 m"], {"sample": "sobol:20"}, "use sobol:16 or sobol:32"),
        (["height=1:2 m"], {"sample": "random:4", "zipped": True}, "exclude one another"),
        (["height=1:2 m"], {"sample": "random:4", "seed": -1}, "use 0 or more"),
        (["height=1:2:2 m", "height=3 m"], {}, "'height' is given twice"),
        ([], {}, "nothing varies"),
    ],
)
def test_a_fault_is_named_before_anything_starts(
    case: Path, over: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        plan(case, over, **options)


def test_an_unknown_sampler_suggests_the_nearest(case: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'latin_hypercube'"):
        plan(case, ["height=1:2 m"], sample="latin:8")


def test_a_part_of_several_lengths_is_set_by_its_number() -> None:
    tables: dict[str, Any] = {"low": "-16, -20 mm", "name": "a, b"}
    assign(tables, "low.0", "-14 mm", told="--set")
    assert tables["low"] == ["-14 mm", "-20 mm"]
    with pytest.raises(InputError, match="is a value, not a table"):
        assign(tables, "name.0", "c", told="--set")
