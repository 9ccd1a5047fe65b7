"""The rectilinear grid and the builder that fits it to the planes of parts."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from elec.grid import Grid, GridTable, rectilinear
from mindsci.config import Table, validate
from mindsci.errors import InputError

UNIT_CUBE = ((0.0, 1.0), (0.0, 1.0), (0.0, 1.0))
NO_PLANES = ((), (), ())


def axis(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.fixture
def uneven() -> Grid:
    return Grid(x=axis(0, 1, 3), y=axis(0, 2), z=axis(-1, 0, 0.5, 2))


def test_spacings_and_centres_of_a_small_uneven_grid(uneven):
    assert uneven.shape == (2, 1, 3)
    assert uneven.n_cells == 6
    assert uneven.spacing(2).tolist() == [1.0, 0.5, 1.5]
    assert uneven.centers(0).tolist() == [0.5, 2.0]
    assert uneven.dual_spacing(2).tolist() == [1.0, 0.75, 1.0, 1.5]


def test_the_time_step_limit_of_a_cube_is_its_side_over_c_root_three():
    grid = Grid(x=axis(0, 1e-3, 2e-3), y=axis(0, 1e-3, 2e-3), z=axis(0, 1e-3, 2e-3))
    assert grid.courant_limit() == pytest.approx(1e-3 / (299792458.0 * math.sqrt(3)), rel=1e-12)


def test_a_point_is_found_in_its_cell_and_refused_outside(uneven):
    assert uneven.locate((0.5, 1.0, 0.2)) == (0, 0, 1)
    assert uneven.locate((3.0, 2.0, 2.0)) == (1, 0, 2)
    with pytest.raises(InputError, match="y = 2500 mm is outside the grid, which spans 0 to 2000 mm"):
        uneven.locate((0.5, 2.5, 0.0))


def test_a_coordinate_off_the_lines_is_refused_with_the_nearest_line(uneven):
    assert uneven.node_index(0, 1.0 + 1e-4) == 1
    with pytest.raises(InputError, match=r"port 1 at x = 1200 mm lies off the grid lines; the nearest is at 1000 mm"):
        uneven.node_index(0, 1.2, what="port 1")


def test_nodes_that_do_not_increase_are_refused():
    with pytest.raises(InputError, match="axis y: the nodes must increase"):
        Grid(x=axis(0, 1), y=axis(0, 1, 1), z=axis(0, 1))


def test_the_inverted_f_board_gets_the_cells_of_its_reference():
    planes = ([0.016, 0.0208, 0.0232, 0.026, 0.0284], [0.0084, 0.016, 0.024, 0.0264, 0.03, 0.0324], [])
    grid = rectilinear(
        ((0, 0.04), (0, 0.04), (0, 0.787e-3)),
        planes,
        max_cell=(0.4e-3, 0.4e-3, 0.263e-3),
        margin=(1.2e-3, 1.2e-3, 0.787e-3),
        growth=1.0,
        absorber_cells=10,
    )
    assert grid.shape == (100 + 26, 100 + 26, 3 + 26)
    assert grid.neighbour_ratio(0) == pytest.approx(1.0, abs=1e-9)
    assert set(planes[0]) <= set(grid.x.tolist())
    assert "126 x 126 x 29 = 460,404 cells" in grid.report()


@settings(max_examples=60, deadline=None, derandomize=True)
@example(planes=[0.99999, 0.0], cell=0.2, margin=2.0, growth=1.0, absorber=0)
@given(
    planes=st.lists(st.floats(0.0, 1.0), max_size=8),
    cell=st.floats(0.02, 0.5),
    margin=st.floats(0.05, 3.0),
    growth=st.floats(1.05, 1.5),
    absorber=st.integers(0, 12),
)
def test_any_grid_meets_its_planes_and_keeps_its_limits(planes, cell, margin, growth, absorber):
    grid = rectilinear(
        UNIT_CUBE, (planes, (), ()), max_cell=(cell,) * 3, margin=margin, growth=growth, air_cell=2 * cell,
        absorber_cells=absorber,
    )  # fmt: skip
    nodes, spacing = grid.x, grid.spacing(0)
    for plane in planes:
        assert float((nodes - plane).abs().min()) <= 1e-4 * cell
    assert float(nodes[absorber]) == pytest.approx(-margin, rel=1e-9)
    assert float(nodes[-1 - absorber]) == pytest.approx(1.0 + margin, rel=1e-9)
    inner = (nodes[:-1] >= 0) & (nodes[1:] <= 1)
    assert float(spacing[inner].max()) <= cell * (1 + 1e-6)
    assert float(spacing.max()) <= 2 * cell * (1 + 1e-9)
    assert grid.absorber_cells == absorber
    for outer in (spacing[:absorber], spacing[len(spacing) - absorber :]):
        if absorber:
            assert torch.allclose(outer, outer[:1].expand_as(outer), rtol=1e-9)


def test_air_cells_grow_at_most_by_the_factor_asked_for():
    grid = rectilinear(UNIT_CUBE, NO_PLANES, max_cell=(0.1,) * 3, margin=3.0, growth=1.3, air_cell=0.4)
    assert grid.neighbour_ratio(0) <= 1.3 + 1e-9
    assert float(grid.spacing(0).max()) == pytest.approx(0.4, rel=0.1)


def test_even_air_next_to_a_sliver_of_a_cell_is_refused_rather_than_filled_for_ever():
    with pytest.raises(InputError, match=r"would take more than 100000 cells.*set growth = 1\.2"):
        rectilinear(UNIT_CUBE, ((2e-5,), (), ()), max_cell=(0.1,) * 3, margin=3.0, growth=1.0)
    grid = rectilinear(UNIT_CUBE, ((2e-5,), (), ()), max_cell=(0.1,) * 3, margin=3.0, growth=1.2)
    assert grid.shape[0] < 150


def test_a_flat_scene_gets_cells_from_its_margin_alone():
    grid = rectilinear(((0, 1), (0, 1), (0.5, 0.5)), NO_PLANES, max_cell=(0.25,) * 3, margin=1.0, absorber_cells=0)
    assert 0.5 in grid.z.tolist()
    assert float(grid.z[0]) == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_cell": (0.1, 0.0, 0.1)}, "three positive lengths"),
        ({"margin": -1.0}, "none of them negative"),
        ({"growth": 0.9}, "between 1 (even cells) and 2"),
        ({"air_cell": 0.0}, "must be a positive length"),
        ({"absorber_cells": -1}, "must not be negative"),
        ({"max_cell": (1e-7, 0.1, 0.1)}, "check the units"),
        ({"margin": 1e6}, "check the units"),
        ({"max_cell": (2e-4,) * 3}, "use larger cells or a smaller margin"),
        ({"bounds": ((0, 1), (0, 1), (0, 0)), "margin": 0.0, "absorber_cells": 0}, "set a margin"),
        ({"bounds": ((0, 1), (0, math.inf), (0, 1))}, "two finite numbers"),
    ],
)
def test_sizes_that_make_no_grid_are_refused(options, words):
    arguments = {"bounds": UNIT_CUBE, "planes": NO_PLANES, "max_cell": (0.1,) * 3, "margin": 0.5} | options
    bounds, planes = arguments.pop("bounds"), arguments.pop("planes")
    with pytest.raises(InputError) as refusal:
        rectilinear(bounds, planes, **arguments)
    assert words in str(refusal.value)


class GridCase(Table):
    grid: GridTable


def test_a_case_gives_one_length_or_three_and_writes_them_back(tmp_path):
    def load(table):
        return validate(GridCase, {"grid": table}, folder=tmp_path, source="case.toml").grid

    table = load({"cell": "0.4 mm", "margin": ["1 mm", "1 mm", "2 mm"]})
    assert table.cell == pytest.approx((4e-4, 4e-4, 4e-4))
    assert table.margin == pytest.approx((1e-3, 1e-3, 2e-3))
    assert load(table.model_dump(mode="json", exclude_none=True)) == table
    for given_, words in (
        ({"cell": 0.4, "margin": "1 mm"}, "grid.cell: 0.4 has no unit"),
        ({"cell": ["1 mm", "1 mm"], "margin": "1 mm"}, "give one for all axes or three"),
        ({"cell": "1 mm", "margin": "1 mm", "growth": 3.0}, "growth = 3 must lie between"),
        ({"cell": "1 mm"}, "grid.margin: missing"),
    ):
        with pytest.raises(InputError) as refusal:
            load(given_)
        assert words in str(refusal.value)


def test_the_case_decides_the_air_cell_before_the_wavelength_does():
    bounds = ((0.0, 1e-2),) * 3
    plain = GridTable(cell="1 mm", margin="3 cm", growth=1.5)
    assert float(plain.build(bounds, NO_PLANES, air_cell=4e-3).spacing(0).max()) == pytest.approx(4e-3, rel=0.15)
    capped = GridTable(cell="1 mm", margin="3 cm", growth=1.5, air_cell="2 mm")
    assert float(capped.build(bounds, NO_PLANES, air_cell=4e-3).spacing(0).max()) <= 2e-3 * (1 + 1e-9)
