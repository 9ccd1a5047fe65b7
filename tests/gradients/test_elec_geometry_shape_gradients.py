"""Fill fractions and cuts of edges and faces are differentiable in the parameters of every shape and of every move.

Each is compared with central differences: their error is h^2 times a third derivative, 1e-12 for h = 1e-6, plus
rounding over h, 1e-10 relative to lengths of one. The fill of a cell whose face lies along the grid carries 1e-8 of
rounding (`elec.geometry.fill.THINNEST`), so no flat face of these does. Nothing is thinner than
a cell and a half: cuts of an edge that a thin wire crosses twice come and go.
"""

from __future__ import annotations

import pytest
import torch

from elec.geometry import box, cone, mesh_solid, sphere, strip, torus, wire
from elec.geometry.cuts import solid_cuts
from elec.geometry.solid_mesh import MeshSolid
from elec.grid import Grid

BLOCK = box((-0.53, -0.42, -0.31), (0.47, 0.38, 0.59))

SHAPES = {
    "cone": (lambda p: cone(p[:3], p[3:6], p[6]), [-0.1, 0.05, -0.9, 0.2, 0.1, 0.85, 0.7]),
    "frustum": (lambda p: cone(p[:3], p[3:6], p[6], p[7]), [-0.8, 0.05, -0.1, 0.7, 0.1, 0.2, 0.5, 0.8]),
    "torus": (lambda p: torus(p[:3], p[3:6], p[6], p[7]), [0.05, -0.03, 0.02, 0.3, 0.2, 1.0, 0.7, 0.31]),
    "wire": (lambda p: wire(p[:9].reshape(3, 3), p[9]), [-0.8, -0.5, -0.4, 0.6, -0.45, 0.3, 0.7, 0.75, 0.35, 0.27]),
    "strip": (
        lambda p: strip(p[:6].reshape(3, 2), p[6], p[7], p[8]).rotate((1, 2, 3), 0.5),
        [-0.83, -0.51, 0.47, -0.33, 0.55, 0.71, 0.41, -0.27, 0.39],
    ),
    "turned": (lambda p: BLOCK.rotate(p[:3], p[3], about=p[4:7]), [0.3, 0.5, 0.8, 0.6, 0.1, 0.2, -0.1]),
    "scaled": (lambda p: sphere((0.1, 0, 0), 0.6).scale(p[0], about=p[1:4]), [1.21, 0.2, -0.1, 0.13]),
    "mirrored": (lambda p: BLOCK.rotate((1, 2, 1), 0.4).mirror(p[:3], through=p[3:6]), [1, 0.2, 0.1, 0.1, 0, 0]),
    "exclusive or": (lambda p: sphere(p[:3], p[3]) ^ sphere(p[4:7], p[7]), [-0.3, 0, 0.05, 0.6, 0.3, 0.1, 0, 0.57]),
    "triangles": (
        lambda p: MeshSolid(vertices=p.reshape(-1, 3), faces=mesh_solid(BLOCK.part("b", material="pec")).faces),
        BLOCK.rotate((1, 2, 1), 0.4).surface()[0].reshape(-1).tolist(),
    ),
}


def grid() -> Grid:
    x = torch.linspace(-1.4, 1.4, 9, dtype=torch.float64)
    return Grid(x=x, y=0.97 * x + 0.013, z=1.03 * x - 0.017)


def weighed(values) -> torch.Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for k, value in enumerate(values):
        weights = torch.rand(value.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(k))
        total = total + (weights * value).sum()
    return total


def compare(function, values, tolerance: float) -> None:
    parameters = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(function(parameters), parameters)
    assert bool(torch.isfinite(gradient).all()) and float(gradient.norm()) > 0
    # One direction that turns every parameter at once.
    direction = torch.rand(len(values), dtype=torch.float64, generator=torch.Generator().manual_seed(11)) - 0.4
    h = 1e-6
    with torch.no_grad():
        change = function(parameters + h * direction) - function(parameters - h * direction)
    scale = float((gradient.abs() * direction.abs()).sum())
    assert abs(float(change) / (2 * h) - float(gradient @ direction)) < tolerance * scale


@pytest.mark.parametrize("name", SHAPES)
def test_gradient_of_the_fill_agrees_with_finite_differences(name):
    make, values = SHAPES[name]
    compare(lambda p: weighed([make(p).soft_fill(grid())]), values, 1e-6)


@pytest.mark.parametrize("name", SHAPES)
def test_gradient_of_the_cuts_agrees_with_finite_differences(name):
    make, values = SHAPES[name]

    def function(p: torch.Tensor) -> torch.Tensor:
        cuts = solid_cuts(make(p), grid())
        return weighed([*cuts.edges, *cuts.faces])

    # Newton's one step leaves the square of what the halvings do, 1e-12, over h in the differences.
    compare(function, values, 1e-5)
