"""Layouts: polygons, holes, references and arrays become solids of the right volume at the right place."""

from __future__ import annotations

import math
import sys

import pytest
import torch

from elec.geometry import Layer, inside, read_gds
from mindsci.errors import InputError, MissingExtraError, UnknownNameError

UM = 1e-6


@pytest.fixture
def gdstk():
    return pytest.importorskip("gdstk")


@pytest.fixture
def layout(gdstk, tmp_path):
    """A ring of area 12 um^2 turned and arrayed 3 x 2, a cross of two bars, and a line without a width."""
    library = gdstk.Library(unit=1e-6, precision=1e-9)
    ring, top = library.new_cell("RING"), library.new_cell("TOP")
    ring.add(*gdstk.boolean(gdstk.rectangle((0, 0), (4, 4)), gdstk.rectangle((1, 1), (3, 3)), "not", layer=1))
    top.add(gdstk.Reference(ring, (10, 0), rotation=math.pi / 2, columns=3, rows=2, spacing=(6, 7)))
    top.add(gdstk.rectangle((-3, -1), (3, 1), layer=2), gdstk.rectangle((-1, -3), (1, 3), layer=2))
    top.add(gdstk.Polygon([(0, 20), (5, 20)], layer=3))
    path = tmp_path / "layout.gds"
    library.write_gds(path)
    return path


def test_arrays_of_turned_rings_keep_their_holes(layout):
    (part,) = read_gds(layout, {1: (0.0, 0.5 * UM, "silicon")})
    assert (part.name, part.material, part.kind) == ("layer 1/0", "silicon", "solid")
    assert part.volume() == pytest.approx(6 * 12 * 0.5 * UM**3, rel=1e-12)
    assert part.area() == pytest.approx(6 * (2 * 12 + 0.5 * (16 + 8)) * UM**2, rel=1e-12)  # no wall along cuts
    # The array is turned as a whole: 2 rows along -x, 3 columns along y, from x = 10.
    low, high = part.bounds()
    assert low.tolist() == pytest.approx([-1 * UM, 0, 0], abs=1e-15)
    assert high.tolist() == pytest.approx([10 * UM, 16 * UM, 0.5 * UM])
    places = torch.tensor([[8.0, 2.0, 0.25], [9.5, 2.0, 0.25], [9.5, 2.0, 0.6]], dtype=torch.float64) * UM
    assert inside(part, places).tolist() == [False, True, False]


def test_overlapping_polygons_of_a_layer_are_united(layout):
    (part,) = read_gds(layout, {(2, 0): Layer(low=-UM, high=UM, material="pec", name="cross")})
    assert part.name == "cross"
    assert part.volume() == pytest.approx((12 + 12 - 4) * 2 * UM**3, rel=1e-12)


def test_a_cell_can_be_chosen_by_name(layout):
    (part,) = read_gds(layout, {1: (0.0, UM, "silicon")}, cell="RING")
    assert part.volume() == pytest.approx(12 * UM**3, rel=1e-12)
    with pytest.raises(UnknownNameError, match="did you mean 'RING'"):
        read_gds(layout, {1: (0.0, UM, "silicon")}, cell="RINGS")


def test_what_a_layout_does_not_hold_is_refused(layout, tmp_path):
    with pytest.raises(InputError, match="has nothing in layer 3/0; layers: 1/0, 2/0"):
        read_gds(layout, {3: (0.0, UM, "silicon")})
    with pytest.raises(InputError, match="high must be above low"):
        read_gds(layout, {1: (UM, 0.0, "silicon")})
    with pytest.raises(InputError, match="there is no layout"):
        read_gds(tmp_path / "gone.gds", {})
    (tmp_path / "noise.gds").write_bytes(b"noise, no layout")
    with pytest.raises(InputError, match="is no GDSII file"):
        read_gds(tmp_path / "noise.gds", {})


def test_two_top_cells_have_to_be_named(gdstk, tmp_path):
    library = gdstk.Library()
    for name in ("A", "B"):
        library.new_cell(name).add(gdstk.rectangle((0, 0), (1, 1)))
    library.write_gds(tmp_path / "two.gds")
    with pytest.raises(InputError, match=r"has 2 cells that are in no other \(A, B\)"):
        read_gds(tmp_path / "two.gds", {0: (0.0, UM, "silicon")})


def test_without_gdstk_a_layout_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gdstk", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mindsci\[cad\]'"):
        read_gds(tmp_path / "layout.gds", {})


@pytest.mark.data
def test_layouts_of_other_programs_have_the_areas_of_their_polygons(gdstk, data_mirror):
    folder = data_mirror / "cad" / "gds"
    stack = {1: (0.0, UM, "silicon"), 2: (0.0, UM, "silicon"), 10: (0.0, UM, "silicon")}
    areas = [part.volume() / UM**3 for part in read_gds(folder / "simple_waveguide.gds", stack)]
    assert areas == pytest.approx([0.5, 1.0, 0.025], rel=1e-9)
    # Two bends of 6.72016 um^2 and the coupler of 4 um^2 between them, which they touch.
    upper, lower = read_gds(folder / "coupler.gds", {31: (0.0, UM, "silicon"), 32: (0.0, UM, "silicon")})
    for part in (upper, lower):
        assert part.volume() / UM**3 == pytest.approx(2 * 6.72016 + 4.0, rel=1e-5)
