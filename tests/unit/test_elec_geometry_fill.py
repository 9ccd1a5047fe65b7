"""The differentiable fill of cells."""

from __future__ import annotations

import pytest
import torch

from elec.geometry import box, extrusion, fill_fractions
from elec.geometry.fill import plane_fraction
from elec.grid import Grid

GRID = Grid(
    x=torch.tensor([0.0, 1, 2, 4, 5], dtype=torch.float64),
    y=torch.tensor([0.0, 0.5, 2, 3, 5], dtype=torch.float64),
    z=torch.tensor([-1.0, 0, 1, 2], dtype=torch.float64),
)


def test_a_plane_cuts_a_box_into_the_shares_of_a_sample_of_points():
    generator = torch.Generator().manual_seed(0)
    normal = torch.nn.functional.normalize(torch.randn(50, 3, dtype=torch.float64, generator=generator), dim=1)
    sizes = 0.2 + torch.rand(50, 3, dtype=torch.float64, generator=generator)
    distance = 0.6 * torch.randn(50, dtype=torch.float64, generator=generator)
    points = torch.rand(200_000, 3, dtype=torch.float64, generator=generator) - 0.5
    sampled = torch.stack(
        [((points * s) @ n < -d).double().mean() for d, n, s in zip(distance, normal, sizes, strict=True)]
    )
    # A share of 200 000 points has a standard deviation of at most 0.5 / sqrt(200 000) = 1.1e-3.
    assert torch.allclose(plane_fraction(distance, normal, sizes), sampled, atol=5e-3)


def test_faces_of_a_box_have_the_same_fill_as_its_mesh():
    solid = box((0.3, 0.5, -0.4), (3.0, 4.2, 1.0))
    exact = fill_fractions(solid.part("box", material="pec"), GRID)
    filled = solid.soft_fill(GRID)
    # Away from edges and corners the surface is flat across the cell; the blur of a face along the grid is 1e-4.
    assert torch.allclose(filled[1, 1:3], exact[1, 1:3], atol=2e-4)
    assert torch.allclose(filled[1:3, 1:3, 1], exact[1:3, 1:3, 1], atol=2e-4)


def test_a_slanted_face_has_the_same_fill_as_its_mesh():
    solid = extrusion([(-9, -9), (20, -9), (-9, 14)], -8, 8)
    exact = fill_fractions(solid.part("wedge", material="pec"), GRID, subsamples=200)
    assert 0.05 < float(exact.mean()) < 0.95
    assert torch.allclose(solid.soft_fill(GRID), exact, atol=1e-3)


def test_the_fill_is_one_deep_inside_and_nought_far_outside():
    nodes = torch.linspace(-5, 5, 12, dtype=torch.float64)
    grid = Grid(x=nodes, y=nodes.clone(), z=nodes.clone())
    filled = box((-2, -2, -2), (2, 2, 2)).soft_fill(grid)
    assert float(filled[5, 5, 5]) == pytest.approx(1.0, abs=1e-7)
    assert float(filled[0, 0, 0]) == 0.0
