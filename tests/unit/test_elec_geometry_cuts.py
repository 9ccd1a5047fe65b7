"""What metal leaves open of edges and faces: exact for planes, second order for curved surfaces."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from elec.geometry import Scene, box, sphere
from elec.geometry.cuts import metal_cuts, solid_cuts
from elec.geometry.scene import Body
from elec.grid import Grid
from mindsci.errors import InputError


def even(cells: int, low: float = -1.0, high: float = 1.0) -> Grid:
    line = torch.linspace(low, high, cells + 1, dtype=torch.float64)
    return Grid(x=line, y=line, z=line)


def test_a_box_between_grid_planes_cuts_edges_and_faces_exactly() -> None:
    grid = even(4, 0.0, 4.0)
    cuts = solid_cuts(box((-1, -1, -1), (1.3, 9, 9)), grid)
    expected = torch.tensor([0.0, 0.7, 1.0, 1.0], dtype=torch.float64)
    assert torch.allclose(cuts.edges[0], expected[:, None, None].expand(4, 5, 5), atol=1e-9)
    assert torch.allclose(cuts.faces[1], expected[:, None, None].expand(4, 5, 4), atol=1e-9)
    assert torch.equal(cuts.faces[0][2:], torch.ones(3, 4, 4, dtype=torch.float64))


def test_a_box_on_grid_planes_closes_its_surface_and_nothing_beyond() -> None:
    cuts = solid_cuts(box((1, 1, 1), (3, 3, 3)), even(4, 0.0, 4.0))
    closed = [int((edges == 0).sum()) for edges in cuts.edges]
    assert closed == [2 * 3 * 3] * 3
    assert all(bool(((edges == 0) | (edges == 1)).all()) for edges in cuts.edges)


def test_a_slanted_plane_cuts_faces_along_straight_lines() -> None:
    """A large sphere is a plane to 1e-9 over the grid: the open areas of a face follow from the half-plane itself."""
    radius = 1e5
    normal = torch.tensor([0.36, 0.48, 0.8], dtype=torch.float64)
    cuts = solid_cuts(sphere((-radius * normal).tolist(), radius), even(5))
    samples = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    for i, j in itertools.product(range(5), repeat=2):
        x, y = (-1.0 + 0.4 * (index + samples) for index in (i, j))
        inside = x[:, None] * normal[0] + y[None, :] * normal[1] + 0.2 * normal[2]
        # 400 points along the line that crosses a cell: a count errs by one point of 400 in the mean.
        assert float(cuts.faces[2][i, j, 3]) == pytest.approx(float((inside > 0).double().mean()), abs=2.5e-3)


@pytest.mark.parametrize("which", ["edges", "faces"])
def test_open_volume_around_a_sphere_converges_at_second_order(which: str) -> None:
    """The sum over one component of open lengths (or areas) times the rest of the cell is the open volume."""
    errors = []
    for cells in (8, 16, 32):
        parts = getattr(solid_cuts(sphere((0.03, 0.05, -0.02), 0.7), even(cells)), which)
        cell = (2.0 / cells) ** 3
        inside = torch.tensor([float((1.0 - part).sum()) * cell for part in parts])
        errors.append(float((inside / (4.0 / 3.0 * math.pi * 0.7**3) - 1.0).abs().max()))
    assert math.log2(errors[0] / errors[2]) / 2.0 > 1.8


def test_a_rim_inside_a_face_costs_less_than_a_sixteenth_of_the_face() -> None:
    """Two surfaces that meet at a right angle in a face: the chord of one quarter cuts off half of it at most."""
    grid = even(2, 0.0, 2.0)
    cuts = solid_cuts(box((-1, -1, -1), (0.7, 0.6, 9)), grid)
    assert float(cuts.faces[2][0, 0, 0]) == pytest.approx(1.0 - 0.42, abs=1.0 / 16.0)


def test_a_dielectric_solid_opens_the_metal_before_it() -> None:
    grid = even(4, 0.0, 4.0)
    opened = metal_cuts([(box((-1, -1, -1), (9, 9, 9)), True), (box((0.5, -1, -1), (2.5, 9, 9)), False)], grid)
    expected = torch.tensor([0.5, 1.0, 0.5, 0.0], dtype=torch.float64)
    assert torch.allclose(opened.edges[0], expected[:, None, None].expand(4, 5, 5), atol=1e-9)


def test_a_part_and_a_constructive_solid_leave_the_same_open() -> None:
    solid = box((0.3, 0.2, 0.1), (2.6, 3.3, 2.9))
    grid = even(4, 0.0, 4.0)
    for one, other in zip(
        (*solid_cuts(solid, grid).edges, *solid_cuts(solid, grid).faces),
        (
            *solid_cuts(solid.part("box", material="pec"), grid).edges,
            *solid_cuts(solid.part("box", material="pec"), grid).faces,
        ),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("which", ["edges", "faces"])
def test_gradients_of_cuts_agree_with_finite_differences(which: str) -> None:
    grid = even(3)
    values = torch.tensor([0.03, -0.05, 0.02, 0.61], dtype=torch.float64, requires_grad=True)
    shapes = [part.shape for part in getattr(solid_cuts(sphere((0, 0, 0), 0.6), grid), which)]
    generator = torch.Generator().manual_seed(0)
    weights = [torch.rand(shape, generator=generator, dtype=torch.float64) for shape in shapes]

    def weighed(p: torch.Tensor) -> torch.Tensor:
        parts = getattr(solid_cuts(sphere(p[:3], p[3]) | box((0.1, 0.1, 0.1), (0.9, 0.8, 0.7)), grid), which)
        return sum((part * weight).sum() for part, weight in zip(parts, weights, strict=True))

    assert torch.autograd.gradcheck(weighed, values, eps=1e-6, atol=1e-5)


def test_a_metal_part_between_the_edges_is_refused() -> None:
    scene = Scene(parts=(Body(name="dot", solid=sphere((0.25, 0.25, 0.25), 0.05)),), materials={})
    with pytest.raises(InputError, match="'dot' covers no edge"):
        scene.metal_cuts(even(4))
