"""Signed distances and fills are differentiable in the parameters of the solids."""

from __future__ import annotations

import pytest
import torch

from elec.geometry import box, cylinder, extrusion, sphere
from elec.grid import Grid


def points() -> torch.Tensor:
    return 3 * torch.rand(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) - 1.5


SHAPES = {
    "box": (lambda p: box(p[:3], p[3:]), [-0.7, -0.6, -0.5, 0.8, 0.9, 0.65]),
    "sphere": (lambda p: sphere(p[:3], p[3]), [0.1, -0.1, 0.2, 0.8]),
    "cylinder": (lambda p: cylinder(p[:3], p[3:6], p[6]), [-0.6, -0.5, -0.4, 0.7, 0.6, 0.5, 0.45]),
    "extrusion": (
        lambda p: extrusion(p[:10].reshape(5, 2), p[10], p[11], axis="y"),
        [-0.9, -0.8, 0.85, -0.7, 0.8, 0.75, 0.1, 0.2, -0.75, 0.9, -0.55, 0.65],
    ),
    "difference": (
        lambda p: box(p[:3], p[3:6]) - sphere(p[6:9], p[9]),
        [-1.0, -0.9, -0.8, 1.0, 0.9, 0.8, 0.5, 0.4, 0.3, 0.6],
    ),
    "moved union": (
        lambda p: (sphere(p[:3], p[3]) | box((-0.2, -0.2, -0.2), (0.9, 0.3, 0.3))).translate(p[4:7]),
        [0.1, -0.1, 0.2, 0.5, 0.05, 0.1, -0.1],
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_gradients_of_the_distance_agree_with_finite_differences(name):
    make, values = SHAPES[name]
    parameters = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: make(p).signed_distance(points()), parameters, eps=1e-7, atol=1e-6)


@pytest.mark.parametrize("name", SHAPES)
def test_distance_grows_at_unit_rate_along_its_gradient(name):
    make, values = SHAPES[name]
    where = points().requires_grad_()
    distance = make(torch.tensor(values, dtype=torch.float64)).signed_distance(where)
    (gradient,) = torch.autograd.grad(distance.sum(), where)
    assert torch.allclose(gradient.norm(dim=1), torch.ones(len(where), dtype=torch.float64), atol=1e-9)


def test_gradient_at_a_corner_or_on_the_surface_is_finite():
    where = torch.tensor([[1.0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]], dtype=torch.float64, requires_grad=True)
    for solid in (
        box((-1, -1, -1), (1, 1, 1)),
        sphere((0, 0, 0), 1.0),
        cylinder((0, 0, -1), (0, 0, 1), 1.0),
        extrusion([(-1, -1), (1, -1), (1, 1), (-1, 1)], -1, 1),
    ):
        (gradient,) = torch.autograd.grad(solid.signed_distance(where).sum(), where)
        assert bool(torch.isfinite(gradient).all())


def test_gradient_of_the_filled_volume_of_a_sphere_is_its_area():
    nodes = torch.linspace(-1.5, 1.5, 41, dtype=torch.float64)
    grid = Grid(x=nodes, y=nodes.clone(), z=nodes.clone())
    radius = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    volume = sphere((0, 0, 0), radius).soft_fill(grid).sum() * (3.0 / 40) ** 3
    (gradient,) = torch.autograd.grad(volume, radius)
    # d(4 pi r^3 / 3) / dr = 4 pi r^2; taking the surface as flat across cells is of second order in h / r = 0.075.
    assert float(gradient) == pytest.approx(4 * torch.pi, rel=0.075**2)


def test_gradient_of_the_fill_agrees_with_finite_differences():
    nodes = torch.linspace(-1.5, 1.5, 7, dtype=torch.float64)
    grid = Grid(x=nodes, y=nodes * 1.1, z=nodes * 0.9)
    parameters = torch.tensor([0.1, -0.05, 0.07, 0.9], dtype=torch.float64, requires_grad=True)
    weights = torch.rand(grid.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def weighed(p: torch.Tensor) -> torch.Tensor:
        return (sphere(p[:3], p[3]).soft_fill(grid) * weights).sum()

    assert torch.autograd.gradcheck(weighed, parameters, eps=1e-6, atol=1e-6)


def test_fill_asks_for_no_graph_where_no_parameter_wants_a_gradient():
    nodes = torch.linspace(-1.5, 1.5, 7, dtype=torch.float64)
    grid = Grid(x=nodes, y=nodes.clone(), z=nodes.clone())
    assert not sphere((0, 0, 0), 1.0).soft_fill(grid).requires_grad
    with torch.no_grad():
        assert (
            not sphere((0, 0, 0), torch.tensor(1.0, dtype=torch.float64, requires_grad=True))
            .soft_fill(grid)
            .requires_grad
        )
