"""Materials of a case: built-in names, loss tangents, and what is refused."""

from __future__ import annotations

import math

import pydantic
import pytest

from elec.materials import BUILTIN, Material, MaterialTable, find_material, material_library
from mindsci.config import Table, validate
from mindsci.errors import InputError, UnknownNameError


class Materials(Table):
    materials: dict[str, MaterialTable] = {}


def load(table: dict[str, object], tmp_path) -> dict[str, Material]:
    case = validate(Materials, {"materials": {"board": table}}, folder=tmp_path, source="case.toml")
    return material_library(case.materials)


def test_a_case_table_becomes_a_material_beside_the_built_in_ones(tmp_path):
    library = load({"relative_permittivity": 2.2, "conductivity": "0.01 S/m"}, tmp_path)
    assert set(library) == {*BUILTIN, "board"}
    assert (library["board"].relative_permittivity, library["board"].conductivity) == (2.2, 0.01)
    assert library["pec"].is_metal and not library["board"].is_metal


def test_a_loss_tangent_becomes_the_conductivity_with_the_same_loss_at_its_frequency():
    table = MaterialTable(relative_permittivity=4.4, loss_tangent=0.02, loss_tangent_frequency="2.45 GHz")
    expected = 2 * math.pi * 2.45e9 * 8.8541878128e-12 * 4.4 * 0.02
    assert table.material("fr4").conductivity == pytest.approx(expected, rel=1e-9)
    assert "exact at that frequency only" in table.note("fr4")
    assert MaterialTable(relative_permittivity=4.4).note("fr4") is None


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"relative_permittivity": 0.5}, "relative permittivity = 0.5 must be a finite number of at least 1"),
        ({"conductivity": "-1 S/m"}, "conductivity [S/m] = -1 must be a finite number of at least 0"),
        ({"conductivity": 0.01}, "has no unit"),
        ({"conductivity": "1 ohm"}, "a quantity in S/m is needed"),
        ({"loss_tangent": 0.02}, "add loss_tangent_frequency"),
        ({"loss_tangent_frequency": "1 GHz"}, "given without loss_tangent"),
        ({"loss_tangent": -1.0, "loss_tangent_frequency": "1 GHz"}, "loss tangent = -1"),
        ({"loss_tangent": 0.02, "loss_tangent_frequency": "1 GHz", "conductivity": "1 S/m"}, "give one of them"),
        ({"kind": "pec", "relative_permittivity": 2.0}, "takes no relative_permittivity"),
        ({"permitivity": 2.2}, "unknown key"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused_with_its_key(table, words, tmp_path):
    with pytest.raises(InputError) as refusal:
        load(table, tmp_path)
    assert "materials.board" in str(refusal.value)
    assert words in str(refusal.value)


def test_a_material_made_in_python_is_checked_too():
    with pytest.raises(InputError, match="material 'ice': relative permittivity = nan"):
        Material(name="ice", relative_permittivity=float("nan"))


def test_a_built_in_name_cannot_be_redefined():
    with pytest.raises(InputError, match="'pec' is built in"):
        material_library({"pec": MaterialTable()})


def test_an_unknown_material_suggests_the_nearest_name():
    with pytest.raises(UnknownNameError, match="did you mean 'vacuum'"):
        find_material("vacum", {})
    assert find_material("air", {}) is BUILTIN["air"]


def test_a_frozen_table_cannot_be_changed():
    with pytest.raises(pydantic.ValidationError):
        MaterialTable().relative_permittivity = 3.0
