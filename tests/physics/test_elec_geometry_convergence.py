"""Volumes on the grid converge to those of the solid.

Setup: a ball of radius 1 in boxes of n^3 uniform cells, n = 8 to 48, at eight random shifts against the grid; the root
mean square of the relative error of the volume over the shifts. The reference is the volume of the mesh (icosphere of
5120 triangles) or, for the constructive sphere, 4 pi / 3.

Formula: counting cells by their centres makes errors of the volume h^3 of a cell, of random sign, in each of the
n_s ~ 1 / h^2 cells at the surface: h^3 sqrt(n_s) = h^2. Fill fractions are exact along z and sampled by s x s lines
across: the same, with h / s instead of h, where the surface is steep. The differentiable fill takes the surface as flat
across each cell: exact on planes, and second order in h over the radius of curvature.

Tolerance: random signs leave a scatter about the slope: counts and fractions are asked for 1.5 (the worst case of an
unlucky set of shifts), the differentiable fill, whose error
is mostly the curvature and has one sign, for 1.85. A winding number
is a sum of angles: 1e-12.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from elec.geometry import Part, fill_fractions, occupancy, sphere, winding_number
from elec.grid import Grid

COUNTS = (8, 12, 16, 24, 32, 48)
HALF_BOX = 1.2


@pytest.fixture(scope="module")
def ball() -> Part:
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=4)
    vertices, faces = torch.tensor(mesh.vertices, dtype=torch.float64), torch.tensor(mesh.faces, dtype=torch.int64)
    return Part(name="ball", vertices=vertices, faces=faces, material="glass")


def shifted_grids(n: int) -> list[Grid]:
    generator = torch.Generator().manual_seed(n)
    cell = 2 * HALF_BOX / (n - 1)
    nodes = torch.arange(n + 1, dtype=torch.float64) * cell - HALF_BOX
    grids = []
    for _ in range(8):
        x, y, z = (nodes - cell * float(torch.rand(1, generator=generator)) for _ in range(3))
        grids.append(Grid(x=x, y=y, z=z))
    return grids


def order(measure, reference: float) -> tuple[float, dict[int, float]]:
    """The slope of log error over log n, and the error for each n."""
    errors = {}
    for n in COUNTS:
        cell = 2 * HALF_BOX / (n - 1)
        found = [float(measure(grid).sum()) * cell**3 / reference - 1 for grid in shifted_grids(n)]
        errors[n] = math.sqrt(sum(error**2 for error in found) / len(found))
    slope = np.polyfit(np.log(COUNTS), np.log(list(errors.values())), 1)[0]
    return -float(slope), errors


def test_counted_cells_converge_to_the_volume(ball):
    slope, errors = order(lambda grid: occupancy(ball, grid), ball.volume())
    assert slope > 1.5
    assert errors[48] < 3e-3


def test_fill_fractions_converge_with_far_smaller_errors(ball):
    slope, errors = order(lambda grid: fill_fractions(ball, grid, subsamples=4), ball.volume())
    counted = order(lambda grid: occupancy(ball, grid), ball.volume())[1]
    assert slope > 1.5
    assert errors[48] < 1e-4
    assert all(errors[n] < 0.3 * counted[n] for n in COUNTS)


def test_the_differentiable_fill_of_a_sphere_is_second_order():
    slope, errors = order(lambda grid: sphere((0, 0, 0), 1.0).soft_fill(grid), 4 * math.pi / 3)
    assert slope > 1.85
    assert errors[48] < 1e-3


def test_winding_numbers_of_a_closed_mesh_are_whole(ball):
    points = 2.4 * torch.rand(1000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 1.2
    clear = (points.norm(dim=1) - 1).abs() > 0.01
    expected = (points.norm(dim=1) < 1).double()
    assert torch.allclose(winding_number(ball, points)[clear], expected[clear], atol=1e-12)
