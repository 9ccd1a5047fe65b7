"""Gradients where edges act on one another at slanted interfaces.

Of a shape: through the reference flows, fills, normals and the entries beside the diagonal, against a central
difference of 3e-5 of the radius, which errs by its square times the third derivative: 1e-4 of the value is ample. Of
sources: the fused adjoint is the derivative of the same scheme, 1e-10. Of media it has none, and says so.
"""

from __future__ import annotations

import pytest
import torch
from fdtd_problems import PULSE, slanted
from torch import Tensor

from elec.fdtd import absorbing_layers, dipole, point_probe, scene_media, yee_step
from elec.geometry import Scene, sphere
from elec.geometry.scene import Body
from elec.grid import Grid
from elec.materials import Material
from mindsci import tree
from mindsci.solvers import Checkpoint, Fused, rollout


def record_of_a_ball(radius: Tensor) -> Tensor:
    line = 1e-3 * torch.arange(11, dtype=torch.float64)
    grid = Grid(x=line, y=line, z=line)
    glass = Material(name="glass", relative_permittivity=5.0, conductivity=0.1)
    ball = Body(name="ball", solid=sphere((5.1e-3, 4.8e-3, 5.3e-3), radius), material="glass")
    media = scene_media(Scene(parts=(ball,), materials={"glass": glass}), grid)
    step = yee_step(
        grid,
        media,
        sources=[dipole(grid, 1, (2, 2, 2), PULSE)],
        probes=[point_probe(0, (7, 7, 7))],
        engine="reference",
    )
    fields, _ = rollout(step, step.start(60), n_steps=60, dt=0.9 * grid.courant_limit(), adjoint=Checkpoint())
    return (fields.records[0] * torch.linspace(-1.0, 1.0, 60, dtype=torch.float64)).sum()


def test_the_gradient_of_a_radius_is_that_of_the_coupled_scheme() -> None:
    radius = torch.tensor(3.3e-3, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(record_of_a_ball(radius), radius)
    h = 1e-7
    with torch.no_grad():
        high, low = (record_of_a_ball(radius + sign * h) for sign in (1, -1))
    assert float(found) == pytest.approx(float(high - low) / (2 * h), rel=1e-4)


def amplitude_gradient(engine: str, adjoint: object) -> Tensor:
    amplitude = torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
    grid, step = slanted(engine=engine, amplitude=amplitude)
    fields, _ = rollout(step, step.start(40), n_steps=40, dt=0.9 * grid.courant_limit(), adjoint=adjoint)
    weights = torch.randn(fields.records.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    (found,) = torch.autograd.grad((weights * fields.records).sum() + 1e9 * fields.spectra.sum(), amplitude)
    return found


def test_the_fused_adjoint_gives_the_gradients_of_sources() -> None:
    expected = amplitude_gradient("reference", Checkpoint())
    assert float((amplitude_gradient("numba", Fused()) - expected).abs()) < 1e-10 * float(expected.abs())


def test_it_refuses_bodies_that_reach_into_layers() -> None:
    grid, step = slanted(engine="numba")
    deep = absorbing_layers(grid, ((0, 5), (0, 5), (0, 5)))
    step = tree.replace(
        step,
        faraday=tree.replace(step.faraday, absorber=deep),
        ampere=tree.replace(step.ampere, absorber=deep),
    )
    assert "end bodies before the layers" in (step.fused_cannot(step.start()) or "")


def test_it_refuses_those_of_media() -> None:
    _, step = slanted(engine="numba")
    media = tree.replace(step.ampere.media, permittivity=step.ampere.media.permittivity.clone().requires_grad_())
    step = tree.replace(step, ampere=tree.replace(step.ampere, media=media))
    assert "act on one another" in (step.fused_cannot(step.start()) or "")
