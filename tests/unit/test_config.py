"""Case files: every fault is named with its key and its fix; a resolved case loads to the same case."""

from __future__ import annotations

from pathlib import Path

import pytest

from mindsci import config
from mindsci.config import Case, InputFile, Quantity, Table


class Part(Table):
    file: InputFile
    material: str = "pec"


class Geometry(Table):
    parts: list[Part] = []
    named: dict[str, Part] = {}


class Example(Case):
    cell: Quantity("m") = "0.4 mm"
    pause: Quantity("s") | None = None
    geometry: Geometry = Geometry()


def load(folder: Path, tables: dict) -> Example:
    return config.validate(Example, {"task": "x/y", **tables}, folder=folder, source="case.toml")


def test_quantities_become_floats_in_their_unit(tmp_path: Path) -> None:
    assert load(tmp_path, {"cell": "2 um"}).cell == pytest.approx(2e-6)
    assert load(tmp_path, {}).cell == pytest.approx(4e-4)


def test_files_are_found_beside_the_case(tmp_path: Path) -> None:
    case = load(tmp_path, {"geometry": {"parts": [{"file": "a.stl"}]}})
    assert case.geometry.parts[0].file == tmp_path / "a.stl"


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"cel": "1 mm"}, "cel: unknown key; did you mean 'cell'"),
        ({"cell": 0.4}, 'cell: 0.4 has no unit; write it as a string with one, for example "0.4 m"'),
        ({"cell": "0.4 GHz"}, "cell: '0.4 GHz' is 1 / \\[time\\], but a quantity in m is needed"),
        (
            {"geometry": {"parts": [{"file": "a", "materail": "pec"}]}},
            r"geometry.parts.0.materail: unknown key; did you mean 'material'",
        ),
        ({"geometry": {"named": {"a": {"file": "a", "materail": "pec"}}}}, "did you mean 'material'"),
        ({"geometry": {"parts": [{}]}}, "geometry.parts.0.file: missing"),
    ],
)
def test_a_fault_is_named_with_its_key_and_fix(tmp_path: Path, tables: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(tmp_path, tables)


def test_all_faults_are_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"(?s)pause:.*cel:"):
        load(tmp_path, {"cel": 1, "pause": 3})


def test_a_resolved_case_loads_to_the_same_case(tmp_path: Path) -> None:
    import tomllib

    case = load(
        tmp_path,
        {"cell": "0.1 mm", "geometry": {"parts": [{"file": "a b.stl"}], "named": {"ü.x": {"file": 'q"t'}}}},
    )
    text = config.to_toml(case)
    again = load(Path("/elsewhere"), {k: v for k, v in tomllib.loads(text).items() if k != "task"})
    assert again.model_dump() == case.model_dump()
    assert config.to_toml(again) == text


def test_overrides_reach_tables_and_lists_and_read_values_as_toml() -> None:
    tables = {"geometry": {"parts": [{"file": "a"}]}}
    config.apply_override(tables, "geometry.parts.0.file=b.stl")
    config.apply_override(tables, "solver.steps=12")
    config.apply_override(tables, "cell=0.2 mm")
    assert tables == {"geometry": {"parts": [{"file": "b.stl"}]}, "solver": {"steps": 12}, "cell": "0.2 mm"}


@pytest.mark.parametrize("override", ["cell", "geometry.parts.3.file=x", "cell.deep=1"])
def test_an_override_that_fits_nowhere_is_refused(override: str) -> None:
    with pytest.raises(ValueError, match="--set"):
        config.apply_override({"cell": "1 mm", "geometry": {"parts": [{}]}}, override)


def test_a_case_that_is_missing_or_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot read the case file"):
        config.load_case(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("task = \n")
    with pytest.raises(ValueError, match="not valid TOML"):
        config.load_case(broken)
    broken.write_text("a = 1\n")
    with pytest.raises(ValueError, match="has no task"):
        config.load_case(broken)
    broken.write_text('task = "elec/antena"\n')
    with pytest.raises(LookupError, match="did you mean 'elec/antenna'"):
        config.load_case(broken)
