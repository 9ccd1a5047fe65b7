"""Conductors known by their surface: ladders that are passive and follow their laws, and how parts may be of them."""

from __future__ import annotations

import math

import pytest
import torch

from elec.case.shapes import GeometryTable
from elec.geometry import Scene, box, sheet
from elec.geometry.conductors import sheets_on_edges, skins_on_faces
from elec.geometry.scene import Body
from elec.grid import Grid
from elec.materials import (
    Material,
    Skin,
    drude_surface,
    find_material,
    foil_surface,
    good_conductor,
    layer_skin,
    resistance_surface,
    skin_depth,
    thick_surface,
)
from mindsci.config import Table, validate
from mindsci.errors import InputError
from mindsci.units import VACUUM_PERMEABILITY

COPPER, BAND = 5.8e7, (1e9, 1e11)
F = torch.logspace(9, 11, 41, dtype=torch.float64)


def gamma() -> torch.Tensor:
    return (2j * math.pi * F * VACUUM_PERMEABILITY * COPPER).sqrt()


def test_the_skin_of_a_thick_conductor_follows_leontovich() -> None:
    skin = thick_surface(COPPER, BAND)
    law = gamma() / COPPER
    assert torch.allclose(law.real, law.imag, rtol=1e-12)
    assert float(((skin.impedance(F) - law) / law).abs().max()) <= 1.01 * skin.error < 1e-3


def test_the_side_of_a_layer_goes_from_its_sheet_resistance_to_its_skin() -> None:
    thickness = 1e-6
    skin = layer_skin(COPPER, thickness, BAND)
    law = gamma() / COPPER / torch.tanh(gamma() * thickness)
    assert float(((skin.impedance(F) - law) / law).abs().max()) < 1e-3
    assert float(skin.impedance(torch.tensor([1.0]))[0].real) == pytest.approx(1.0 / (COPPER * thickness), rel=1e-3)


@pytest.mark.parametrize("skin", [thick_surface(COPPER, BAND), layer_skin(COPPER, 1e-6, BAND)])
def test_skins_are_passive_term_by_term(skin: Skin) -> None:
    assert skin.resistance >= 0
    assert all(rate < 0 < resistance for rate, resistance in skin.branches)


def test_a_drude_sheet_is_that_of_graphene() -> None:
    weight, damping = 3.5e10, 1e12
    found = drude_surface(weight, damping).admittance(F)
    assert torch.allclose(found, weight / (2j * math.pi * F + damping), rtol=1e-12)


def even(count: int = 6) -> Grid:
    line = 1e-3 * torch.arange(count + 1, dtype=torch.float64)
    return Grid(x=line, y=line, z=line)


def test_the_strips_around_the_edges_add_up_to_the_area_of_a_sheet() -> None:
    grid, film = even(), Material(name="film", kind="sheet", surface=resistance_surface(50.0))
    # From a node to a quarter of a cell beyond one: pieces of an eighth of a cell meet both.
    part = sheet(((1e-3, 1e-3), (4.25e-3, 1e-3), (4.25e-3, 3e-3), (1e-3, 3e-3)), 2e-3).part("film", material="film")
    (found,) = sheets_on_edges(Scene(parts=(part,), materials={"film": film}), grid)
    for component in (0, 1):
        assert float(found.weight[component].sum()) * 1e-9 == pytest.approx(3.25e-3 * 2e-3, rel=1e-9)
        assert float(found.weight[component].sum()) == pytest.approx(float(found.weight[component][:, :, 2].sum()))
    assert not bool(found.weight[2].any())
    assert float(found.weight[0][2, 1, 2]) == pytest.approx(0.5e3)  # half of the strip of an edge on the rim


def test_walls_of_two_metals_are_shared_between_them() -> None:
    grid, copper = even(), good_conductor("copper", COPPER, BAND)
    far = 1.0
    floor = Body(name="floor", solid=box((-far, -far, -far), (far, far, 1e-3)), material="metal")
    side = Body(name="side", solid=box((-far, -far, -far), (2e-3, far, far)), material="pec")
    scene = Scene(parts=(floor, side), materials={"metal": copper})
    (found,) = skins_on_faces(scene, grid, scene.metal_cuts(grid))
    hy = found.weight[1]  # has the floor below it and, in the first column beside the metal, the side too
    assert float(hy[4, 2, 1]) == pytest.approx(1e3)
    assert float(hy[2, 2, 1]) == pytest.approx(1e3)
    assert float(hy[2, 2, 4]) == 0.0


class Model(Table):
    geometry: GeometryTable


def read(part: dict[str, object], tmp_path) -> Scene:
    case = validate(Model, {"geometry": {"parts": [part]}}, folder=tmp_path, source="case.toml")
    return case.geometry.scene({})


SHEET = {"name": "film", "sheet": {"at": "0 mm", "low": ["0 mm", "0 mm"], "high": ["1 mm", "1 mm"]}}
BOX = {"name": "block", "box": {"low": ["0 mm"] * 3, "high": ["1 mm"] * 3}}


def test_a_part_of_a_case_may_bring_its_own_sheet_or_name_a_metal(tmp_path) -> None:
    scene = read(SHEET | {"material": {"sheet_resistance": "377 ohm"}}, tmp_path)
    material = scene.material(scene.parts[0])
    assert material.kind == "sheet" and float(material.surface.conductance) == pytest.approx(1.0 / 377.0)
    for part in (SHEET, BOX):
        scene = read(part | {"material": "copper"}, tmp_path)
        assert scene.material(scene.parts[0]).kind == "conductor"


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (BOX | {"material": {"sheet_resistance": "377 ohm"}}, "give the part as a sheet"),
        (SHEET | {"material": {"sheet_resistance": "-1 ohm"}}, "must be positive"),
        (SHEET | {"material": {"relative_permittivity": 2.2}}, "a sheet has no thickness"),
        (SHEET | {"material": "coper"}, "copper"),
    ],
)
def test_parts_of_a_case_that_make_no_sense_are_refused(part, words, tmp_path) -> None:
    with pytest.raises((InputError, LookupError)) as refusal:
        read(part, tmp_path)
    assert words in str(refusal.value)


def test_a_part_may_be_of_a_metal_by_name() -> None:
    copper = find_material("copper", {})
    assert copper.is_metal and isinstance(copper.surface, Skin)
    expected = 1.0 / (COPPER * skin_depth(COPPER, 1e10))
    assert float(copper.surface.impedance(torch.tensor([1e10]))[0].real) == pytest.approx(expected, rel=1e-3)


def test_a_sheet_thinner_than_its_skin_leaks_and_a_thicker_one_does_not() -> None:
    assert float(foil_surface(COPPER, 1e-7, BAND).admittance(F)[0].real) == pytest.approx(5.8, rel=1e-3)


def test_solids_of_sheets_and_sheets_of_dielectrics_are_refused() -> None:
    film = Material(name="film", kind="sheet", surface=resistance_surface(50.0))
    with pytest.raises(InputError, match="a sheet without thickness; give the part as a sheet"):
        Scene(parts=(Body(name="b", solid=box((0, 0, 0), (1, 1, 1)), material="film"),), materials={"film": film})
    part = sheet(((0, 0), (1, 0), (1, 1)), 0.0).part("s", material="air")
    with pytest.raises(InputError, match="a conductor such as 'copper'"):
        Scene(parts=(part,), materials={})
