"""Parts on the grid: filled cells, metal edges, and the materials that the Yee scheme sees."""

from __future__ import annotations

import pytest
import torch

from elec.geometry import (
    Part,
    Scene,
    all_planes,
    box,
    edge_average,
    extrusion,
    fill_fractions,
    inside,
    occupancy,
    planes,
    sheet,
    sheet_edges,
    sheets,
    solid_edges,
)
from elec.grid import Grid, rectilinear
from elec.materials import Material
from mindsci.errors import InputError, UnknownNameError

BOARD = Material(name="board", relative_permittivity=2.0, conductivity=0.1)
GLASS = Material(name="glass", relative_permittivity=4.0, relative_permeability=3.0)
MATERIALS = {"board": BOARD, "glass": GLASS}


def uniform(n: int, *, low: float = 0.0, high: float | None = None) -> Grid:
    nodes = torch.linspace(low, n if high is None else high, n + 1, dtype=torch.float64)
    return Grid(x=nodes, y=nodes.clone(), z=nodes.clone())


def block(low, high, name: str = "block", material: str = "board") -> Part:
    return box(low, high).part(name, material=material)


def speck(material: str) -> Part:
    return sheet([(1.1, 1.1), (1.3, 1.1), (1.3, 1.3)], 2.0).part("speck", material=material)


BEAD = block((1.1, 1.1, 1.1), (1.4, 1.4, 1.4), "bead", "pec")


def test_a_box_on_the_lines_fills_its_cells_and_no_other():
    grid = uniform(5)
    filled = occupancy(block((1, 1, 2), (3, 4, 4)), grid)
    expected = torch.zeros(5, 5, 5, dtype=torch.bool)
    expected[1:3, 1:4, 2:4] = True
    assert torch.equal(filled, expected)
    assert torch.equal(fill_fractions(block((1, 1, 2), (3, 4, 4)), grid), expected.double())


def test_a_box_off_the_lines_fills_exact_fractions():
    fractions = fill_fractions(block((1.3, 1, 2), (2.75, 2, 3.5)), uniform(5))
    assert fractions[:, 1, 2].tolist() == pytest.approx([0, 0.7, 0.75, 0, 0], abs=1e-12)
    assert fractions[1, 1].tolist() == pytest.approx([0, 0, 0.7, 0.35, 0], abs=1e-12)
    assert float(fractions.sum()) == pytest.approx(1.45 * 1 * 1.5, rel=1e-12)


def test_a_box_that_sticks_out_of_the_grid_fills_what_is_inside():
    part = block((-3, -3, -3), (2, 9, 1))
    assert int(occupancy(part, uniform(5)).sum()) == 2 * 5 * 1
    assert float(fill_fractions(part, uniform(5)).sum()) == pytest.approx(10.0)
    assert not bool(occupancy(block((7, 7, 7), (8, 8, 8)), uniform(5)).any())
    assert float(fill_fractions(block((7, 7, 7), (8, 8, 8)), uniform(5)).sum()) == 0.0


def test_fill_fractions_of_a_slanted_solid_add_up_to_its_volume():
    part = extrusion([(0.4, 0.3), (4.6, 1.1), (2.2, 4.4)], 0.25, 3.5).part("wedge", material="board")
    fractions = fill_fractions(part, uniform(5), subsamples=16)
    assert float(fractions.sum()) == pytest.approx(part.volume(), rel=3e-3)
    assert float(fractions.min()) >= 0.0 and float(fractions.max()) <= 1.0
    assert torch.equal(fractions[:, :, 0] > 0, fractions[:, :, 2] > 0)
    assert torch.allclose(fractions[:, :, 0] / 0.75, fractions[:, :, 1], atol=1e-12)


def test_edges_of_a_metal_box_include_its_surface():
    ex, ey, ez = solid_edges(block((1, 1, 1), (3, 2, 3)), uniform(4))
    assert (ex.shape, ey.shape, ez.shape) == ((4, 5, 5), (5, 4, 5), (5, 5, 4))
    expected = torch.zeros(4, 5, 5, dtype=torch.bool)
    expected[1:3, 1:3, 1:4] = True
    assert torch.equal(ex, expected)
    expected = torch.zeros(5, 4, 5, dtype=torch.bool)
    expected[1:4, 1:2, 1:4] = True
    assert torch.equal(ey, expected)
    assert int(ez.sum()) == 3 * 2 * 2


def test_edges_strictly_inside_leave_the_surface_out():
    ex, ey, ez = solid_edges(block((1, 1, 1), (3, 2, 3)), uniform(4), border=False)
    assert (int(ex.sum()), int(ez.sum())) == (0, 0)  # one cell thick in y: every such edge is on a face
    assert int(ey.sum()) == 1
    assert bool(ey[2, 1, 2])


def test_edges_of_a_slanted_solid_are_those_with_their_midpoint_inside():
    part = extrusion([(0.4, 0.3), (4.6, 1.1), (2.2, 4.4)], 0.25, 3.4, axis="x").part("wedge", material="pec")
    grid = uniform(5)
    ex, _, _ = solid_edges(part, grid)
    points = torch.stack(torch.meshgrid(grid.centers(0), grid.y, grid.z, indexing="ij"), dim=-1)
    assert torch.equal(ex, inside(part, points.reshape(-1, 3)).reshape(ex.shape))


def test_a_sheet_turns_its_edges_and_its_rim_to_metal():
    part = sheet([(1, 1), (3, 1), (3, 4), (1, 4)], 2.0).part("trace")
    ex, ey, ez = sheet_edges(part, uniform(5))
    expected = torch.zeros(5, 6, 6, dtype=torch.bool)
    expected[1:3, 1:5, 2] = True
    assert torch.equal(ex, expected)
    expected = torch.zeros(6, 5, 6, dtype=torch.bool)
    expected[1:4, 1:4, 2] = True
    assert torch.equal(ey, expected)
    assert not bool(ez.any())


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_sheet_across_any_axis_marks_the_edges_of_its_plane(axis):
    part = sheet([(1, 2), (4, 2), (4, 3), (1, 3)], 1.0, axis="xyz"[axis]).part("wall")
    masks = sheet_edges(part, uniform(5))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    assert not bool(masks[axis].any())
    # 3 by 1 cells: 3 edges along the first on each of 2 lines, 1 along the second on each of 4 lines.
    assert (int(masks[first].sum()), int(masks[second].sum())) == (6, 4)
    assert masks[first].nonzero()[:, axis].unique().tolist() == [1]


def test_one_sheet_file_may_hold_pieces_in_several_planes():
    folded = sheets(
        "folded", [sheet([(0, 0), (2, 0), (2, 1), (0, 1)], 1.0), sheet([(0, 1), (1, 1), (1, 3), (0, 3)], 2.0, axis="x")]
    )
    ex, ey, ez = sheet_edges(folded, uniform(4))
    assert int(ex.sum()) == 2 * 2
    assert bool(ez[2, 0:2, 1:3].all())
    assert int(ez.sum()) == 4 and int(ey.sum()) == 3 + 3 - 1  # the fold shares one edge


def test_a_round_sheet_is_the_staircase_of_midpoints_inside():
    angle = torch.linspace(0, 2 * torch.pi, 65, dtype=torch.float64)[:-1]
    disc = sheet(torch.stack([8 + 5.3 * angle.cos(), 8 + 5.3 * angle.sin()], 1), 3.0).part("disc")
    grid = uniform(16)
    ex, _, _ = sheet_edges(disc, grid)
    radius = ((grid.centers(0) - 8).square()[:, None] + (grid.y - 8).square()).sqrt()
    assert bool(ex[:, :, 3][radius < 5.28].all())
    assert not bool(ex[:, :, 3][radius > 5.31].any())


def test_a_sheet_off_the_grid_planes_is_refused_with_both_planes():
    part = sheet([(1, 1), (3, 1), (3, 4)], 2.25).part("trace")
    with pytest.raises(InputError, match=r"sheet 'trace', whose plane at z = 2250 mm .* nearest is at 2000 mm"):
        sheet_edges(part, uniform(5))


def test_a_sheet_between_the_lines_covers_nothing_and_is_refused():
    with pytest.raises(InputError, match="'speck' covers no edge of the grid; use smaller cells"):
        sheet_edges(speck("pec"), uniform(5))


def test_the_wrong_kind_of_part_is_refused():
    with pytest.raises(InputError, match="takes sheets"):
        sheet_edges(block((1, 1, 1), (2, 2, 2)), uniform(4))
    with pytest.raises(InputError, match="fills no volume"):
        occupancy(sheet([(1, 1), (3, 1), (3, 4)], 2.0).part("trace"), uniform(4))
    with pytest.raises(InputError, match="subsamples = 0"):
        fill_fractions(block((1, 1, 1), (2, 2, 2)), uniform(4), subsamples=0)


def test_planes_of_solids_and_sheets():
    assert planes(block((1, 2, 3), (4, 5, 6))) == ([1, 4], [2, 5], [3, 6])
    wedge = extrusion([(0, 0), (2, 0), (0, 3)], 1.0, 5.0).part("wedge", material="pec")
    assert planes(wedge) == ([0], [0], [1, 5])
    tee = sheet([(0, 0), (2, 0), (2, 1), (1, 3), (0, 3)], 0.5).part("tee")
    assert planes(tee) == ([0, 2], [0, 3], [0.5])
    assert all_planes([wedge, tee]) == ([0, 2], [0, 3], [0.5, 1, 5])


def test_a_later_solid_replaces_an_earlier_one():
    parts = (block((0, 0, 0), (4, 4, 4)), block((1, 1, 1), (3, 3, 3), "core", "glass"))
    cells = Scene(parts=parts, materials=MATERIALS).cell_materials(uniform(5))
    assert cells.relative_permittivity[:, 2, 2].tolist() == [2, 4, 4, 2, 1]
    assert cells.conductivity[:, 2, 2].tolist() == [0.1, 0, 0, 0.1, 0]
    other = Scene(parts=parts[::-1], materials=MATERIALS).cell_materials(uniform(5))
    assert other.relative_permittivity[:, 2, 2].tolist() == [2, 2, 2, 2, 1]


def test_a_dielectric_cut_out_of_metal_frees_its_inside_but_never_a_sheet():
    metal = block((0, 0, 0), (5, 5, 5), "metal", "pec")
    hole = block((1, 1, 1), (4, 4, 4), "hole", "air")
    trace = sheet([(1, 1), (4, 1), (4, 4), (1, 4)], 2.0).part("trace")
    grid = uniform(5)
    ex, _, _ = Scene(parts=(metal, hole), materials={}).metal_edges(grid)
    assert ex[2, :, 2].tolist() == [True, True, False, False, True, True]
    ex, _, _ = Scene(parts=(metal, trace, hole), materials={}).metal_edges(grid)
    assert bool(ex[2, :, 2].all())
    ex, _, _ = Scene(parts=(hole, metal), materials={}).metal_edges(grid)
    assert bool(ex.all())


def test_edges_take_the_mean_of_their_cells_weighted_by_area():
    grid = Grid(
        x=torch.tensor([0.0, 1, 2], dtype=torch.float64),
        y=torch.tensor([0.0, 1, 4], dtype=torch.float64),
        z=torch.tensor([0.0, 2, 3], dtype=torch.float64),
    )
    cells = torch.tensor([[[1.0, 2], [3, 4]], [[5, 6], [7, 8]]], dtype=torch.float64)
    ex, ey, ez = edge_average(cells, grid)
    assert float(ex[0, 1, 1]) == pytest.approx((1 * 2 + 2 * 1 + 3 * 6 + 4 * 3) / 12)
    assert float(ex[0, 0, 1]) == pytest.approx((1 * 2 + 2 * 1) / 3)
    assert float(ex[1, 2, 2]) == 8.0
    assert float(ey[1, 0, 1]) == pytest.approx((1 * 2 + 2 * 1 + 5 * 2 + 6 * 1) / 6)
    assert float(ez[1, 1, 0]) == pytest.approx((1 * 1 + 3 * 3 + 5 * 1 + 7 * 3) / 8)


def test_permeability_of_a_face_is_that_of_two_cells_in_series():
    grid = uniform(4)
    scene = Scene(parts=(block((0, 0, 0), (2, 4, 4), "core", "glass"),), materials=MATERIALS)
    hx, hy, hz = scene.face_materials(grid).relative_permeability
    assert (hx.shape, hy.shape, hz.shape) == ((5, 4, 4), (4, 5, 4), (4, 4, 5))
    assert hx[:, 1, 1].tolist() == pytest.approx([3, 3, 2 / (1 + 1 / 3), 1, 1])
    assert hy[:, 2, 1].tolist() == pytest.approx([3, 3, 1, 1])


def test_a_scene_gives_the_scheme_its_edges():
    board = block((2, 2, 2), (6, 6, 3))
    ground = sheet([(2, 2), (6, 2), (6, 6), (2, 6)], 2.0).part("ground")
    scene = Scene(parts=(board, ground), materials=MATERIALS)
    assert scene.bounds() == ((2, 6), (2, 6), (2, 3))
    grid = rectilinear(scene.bounds(), scene.planes(), max_cell=(1.0,) * 3, margin=2.0, growth=1.0, absorber_cells=0)
    edges = scene.edge_materials(grid)
    assert edges.relative_permittivity[2][4, 4].tolist() == [1, 1, 2, 1, 1]
    assert edges.relative_permittivity[0][4, 4].tolist() == [1, 1, 1.5, 1.5, 1, 1]
    assert edges.conductivity[0][4, 2].tolist() == pytest.approx([0, 0, 0.025, 0.025, 0, 0])
    assert edges.metal[0][4, 4].tolist() == [False, False, True, False, False, False]
    for component in range(3):
        assert edges.metal[component].shape == edges.relative_permittivity[component].shape


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Scene(parts=(block((0, 0, 0), (1, 1, 1)),) * 2, materials=MATERIALS), "two parts are named 'block'"),
        (lambda: Scene(parts=(block((0, 0, 0), (1, 1, 1), "a", "bord"),), materials=MATERIALS), "mean 'board'"),
        (lambda: Scene(parts=(speck("board"),), materials=MATERIALS), "a sheet has no thickness"),
        (lambda: Scene(parts=(), materials={}, background="pec"), "background cannot be metal"),
        (lambda: Scene(parts=(), materials={}).bounds(), "has no parts"),
        (
            lambda: Scene(parts=(block((9, 9, 9), (10, 10, 10)),), materials=MATERIALS).cell_materials(uniform(5)),
            "'block' fills no cell",
        ),
        (lambda: Scene(parts=(BEAD,), materials={}).metal_edges(uniform(5)), "'bead' covers no edge"),
    ],
)
def test_scenes_that_make_no_sense_are_refused(make, words):
    with pytest.raises((InputError, UnknownNameError)) as refusal:
        make()
    assert words in str(refusal.value)
