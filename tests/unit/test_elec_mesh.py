"""The automatic mesh: lines between stations, rims a third of a cell outside the metal, least cells, growth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elec.geometry import Scene, box, sheet, sheets
from elec.geometry.scene import Body
from elec.materials import Material
from elec.mesh import Demand, Limit, Station, automatic, place_lines, rim, rims
from mindsci.errors import InputError

DEMAND = Demand(cells_per_wavelength=15, cells_across=4, cells_at_rim=2.0, frequency=10e9)
NO_LAYERS = ((0, 0), (0, 0), (0, 0))


def lines(stations, size, *, growth=1.3, across=3, ends=(0.0, 1.0)):
    limits = [Limit(low=-9.0, high=9.0, size=size)]
    return place_lines("x", ends, stations, limits, growth=growth, apart=1e-3, across=across)


def microstrip(width: float = 0.6e-3, height: float = 0.254e-3) -> Scene:
    return Scene(
        parts=(
            Body(name="board", solid=box((-3e-3, -3e-3, 0.0), (3e-3, 3e-3, height)), material="board"),
            sheet([(-3e-3, -3e-3), (3e-3, -3e-3), (3e-3, 3e-3), (-3e-3, 3e-3)], 0.0).part("ground"),
            sheet([(-3e-3, -width / 2), (3e-3, -width / 2), (3e-3, width / 2), (-3e-3, width / 2)], height).part(
                "strip"
            ),
        ),
        materials={"board": Material(name="board", relative_permittivity=3.66)},
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    stations=st.lists(st.tuples(st.floats(0.0, 1.0), st.sampled_from([-1, 0, 1])), max_size=8),
    size=st.floats(0.02, 0.3),
    growth=st.floats(1.1, 1.6),
)
def test_any_stations_give_lines_that_grow_by_no_more_than_asked(stations, size, growth):
    wanted = [rim(at, side, "") if side else Station(at=at, rank=3) for at, side in stations]
    cells = np.diff(lines(wanted, size, growth=growth).nodes)
    assert cells.min() > 0
    assert cells.max() <= size * (1 + 1e-9)
    assert np.maximum(cells[1:] / cells[:-1], cells[:-1] / cells[1:]).max(initial=1.0) <= growth * 1.0011


def test_a_rim_lies_a_third_of_a_cell_outside_the_last_line_in_metal():
    nodes = np.array(lines([rim(0.3, 1, "left"), rim(0.7, -1, "right")], 0.05).nodes)
    inside, outside = nodes[nodes > 0.3].min(), nodes[nodes < 0.3].max()
    assert (inside - 0.3) / (inside - outside) == pytest.approx(1 / 3, rel=1e-9)
    assert 0.7 - nodes[nodes < 0.7].max() == pytest.approx(inside - 0.3, rel=1e-6)


def test_a_strip_has_the_least_number_of_cells_and_they_are_even():
    nodes = np.array(lines([rim(0.4, 1, "a"), rim(0.6, -1, "b")], 0.3, across=4).nodes)
    cells = np.diff(nodes[(nodes > 0.4) & (nodes < 0.6)])
    assert len(cells) == 4
    assert cells == pytest.approx(np.full(4, 0.2 / (4 + 2 / 3)), rel=1e-9)


def test_metal_that_ends_where_other_metal_begins_gets_a_line_of_its_own():
    assert np.abs(np.array(lines([rim(0.5, 1, "a"), rim(0.5, -1, "b")], 0.1).nodes) - 0.5).min() < 1e-12


def test_rims_are_found_with_the_side_of_their_metal_and_not_inside_overlaps():
    corners = [(0.0, 0.0), (2.0, 0.0), (2.0, 1.0), (0.0, 1.0)]
    second = [(1.5, 0.2), (4.0, 0.2), (4.0, 0.8), (1.5, 0.8)]
    scene = Scene(parts=(sheets("both", [sheet(corners, 0.0), sheet(second, 0.0)]),), materials={})
    found = {(one.across, one.at, one.side) for one in rims(scene)}
    assert {(0, 0.0, 1), (0, 4.0, -1), (0, 2.0, -1), (1, 0.0, 1), (1, 0.2, 1)} <= found
    assert not any(at == 1.5 for _, at, _ in found)


def test_the_mesh_of_a_microstrip_resolves_substrate_strip_and_rims():
    scene = microstrip()
    mesh = automatic(scene, DEMAND, [(-3e-3, 3e-3), (-3e-3, 3e-3), (0.0, 2e-3)], growth=1.3, layers=NO_LAYERS)
    y, z = mesh.grid.y.numpy(), mesh.grid.z.numpy()
    assert ((z > 1e-9) & (z < 0.254e-3 - 1e-9)).sum() == 3  # four cells
    assert ((y > -0.3e-3) & (y < 0.3e-3)).sum() >= 5
    near = np.diff(y)[np.searchsorted(y, 0.3e-3) - 1]
    assert near <= 0.254e-3 / 2 * (1 + 1e-9)
    assert all(mesh.grid.neighbour_ratio(axis) <= 1.302 for axis in range(3))
    assert "by 4 cells across" in mesh.report()


def test_a_port_on_a_rim_goes_to_the_line_that_stands_for_it():
    mesh = automatic(microstrip(), DEMAND, [(-3e-3, 3e-3)] * 2 + [(0.0, 2e-3)], growth=1.3, layers=NO_LAYERS)
    moved = mesh.corner((0.0, 0.3e-3, 0.254e-3))
    assert moved[1] in mesh.grid.y.tolist()
    assert 0 < 0.3e-3 - moved[1] < 0.05e-3
    assert moved[2] == pytest.approx(0.254e-3)


def test_layers_are_added_outside_on_the_sides_that_have_them():
    layers = ((0, 6), (6, 6), (0, 6))
    mesh = automatic(microstrip(), DEMAND, [(-3e-3, 3e-3)] * 2 + [(0.0, 2e-3)], growth=1.3, layers=layers)
    assert mesh.grid.layers == layers
    assert float(mesh.grid.x[0]) == pytest.approx(-3e-3)
    assert float(mesh.grid.x[mesh.grid.inner(0)[-1]]) == pytest.approx(3e-3)


def test_a_mistyped_unit_is_refused():
    with pytest.raises(InputError, match="too many; check the units"):
        lines([], 1e-7)
