"""Derivatives with respect to R, L and C of lumped circuits against central differences.

The objective is the energy of a probe's record over 80 steps in a small closed box, in its own units; a relative change
of h = 1e-4 errs by h^2 and 1e-16 / h: 1e-6 relative.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from elec.fdtd import Circuit, GaussianDerivative, LumpedElement, dipole, point_probe, uniform_media, yee_step
from elec.grid import Grid
from mindsci.solvers import Direct, rollout

STEPS = 80
CASES = [("series", 60.0, 2e-9, 0.3e-12), ("series", 900.0, 2e-9, 0.3e-12), ("parallel", 300.0, 1e-9, 0.2e-12)]


def objective(values: Tensor, kind: str) -> Tensor:
    x = 1e-3 * torch.arange(8, dtype=torch.float64)
    grid = Grid(x=x, y=x, z=x)
    circuit = Circuit(resistance=values[0], inductance=values[1], capacitance=values[2], kind=kind)  # type: ignore
    element = LumpedElement(start=(3e-3, 3e-3, 2e-3), stop=(4e-3, 3e-3, 4e-3), axis=2, circuit=circuit)
    source = dipole(grid, 2, (3, 4, 3), GaussianDerivative(frequency_max=30e9))
    media = element.place(grid, uniform_media(grid))
    step = yee_step(grid, media, sources=[source], probes=[point_probe(2, (4, 3, 3))], engine="reference")
    dt = 0.9 * grid.courant_limit()
    last, _ = rollout(step, step.start(STEPS), n_steps=STEPS, dt=dt, adjoint=Direct())
    return (last.records[0] ** 2).sum() / 1e10


@pytest.mark.parametrize(("kind", "resistance", "inductance", "capacitance"), CASES)
def test_the_gradient_of_a_circuit_is_that_of_central_differences(
    kind: str, resistance: float, inductance: float, capacitance: float
) -> None:
    values = torch.tensor([resistance, inductance, capacitance], dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(objective(values, kind), values)
    values = values.detach()
    scale = float((found * values).abs().max())
    for index in range(3):
        ends = []
        for sign in (1, -1):
            moved = values.clone()
            moved[index] *= 1.0 + sign * 1e-4
            with torch.no_grad():
                ends.append(float(objective(moved, kind)))
        difference = (ends[0] - ends[1]) / 2e-4
        assert float(found[index] * values[index]) == pytest.approx(difference, rel=1e-6, abs=1e-9 * scale)
