"""Gradients through the reference flows: three adjoints against one another and against central differences.

The objective is |S11|^2 of a port at one frequency plus the energy of a probe's record; the unknown is the permittivity
of a small block. float64. Adjoints are the same derivative, 1e-11. A central difference with step h of a function whose
values are about 1 and whose third derivative is about 1 errs by h^2 + 1e-16 / h: 1e-7 relative at h = 1e-4.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fdtd_problems import PULSE, everything, uneven_grid
from fdtd_unknowns import assert_same, gradients
from torch import Tensor

from elec.fdtd import (
    Box,
    Monitors,
    VoltagePort,
    YeeStep,
    absorbing_layers,
    dipole,
    point_probe,
    uniform_media,
    yee_step,
)
from mindsci.solvers import Checkpoint, Direct, Reversible, rollout

NODES = (13, 12, 12)
STEPS = 70
FIELD = {True: 40.0, False: 1e6}
"""Size of the fields [V/m] with the port of 1 V and with the dipole of 1 A, to make the objective about one."""


def problem(block: Tensor, *, layers: int, port: bool, engine: str) -> tuple[YeeStep, VoltagePort, float]:
    """A block of unknown permittivity beside a port, or beside a dipole where there may be no resistor."""
    grid = uneven_grid(NODES)
    permittivity = torch.ones(3, *NODES, dtype=torch.float64)
    inside = permittivity[:, 6:8] * block[None, :, None, None]
    permittivity = torch.cat([permittivity[:, :6], inside, permittivity[:, 8:]], 1)
    media = uniform_media(grid, permittivity=permittivity)
    low, high = (tuple(float(grid.nodes(a)[n]) for a, n in enumerate(place)) for place in ((5, 5, 5), (6, 5, 7)))
    source_port = VoltagePort(start=low, stop=high, axis=2, resistance=50.0, waveform=PULSE)  # type: ignore[arg-type]
    with_port, source, probe = source_port.place(grid, media)
    step = yee_step(
        grid,
        with_port if port else media,
        absorber=absorbing_layers(grid, layers) if layers else None,
        sources=[source if port else dipole(grid, 2, (5, 5, 5), PULSE)],
        probes=[probe, point_probe(2, (8, 6, 6))],
        monitors=Monitors(boxes=(Box(low=(5, 5, 5), high=(8, 8, 8)),), frequencies=(10e9,), every=2),
        engine=engine,
    )
    return step, source_port, 0.9 * grid.courant_limit()


def objective(block: Tensor, adjoint: Any, *, layers: int = 0, port: bool = True, engine: str = "auto") -> Tensor:
    step, source_port, dt = problem(block, layers=layers, port=port, engine=engine)
    last, _ = rollout(step, step.start(STEPS), n_steps=STEPS, dt=dt, adjoint=adjoint)
    found = ((last.records[1] / FIELD[port]) ** 2).sum() + ((last.spectra / (FIELD[port] * 1e-10)) ** 2).sum()
    if port:
        reflection = source_port.reflection(last.records[0], dt, torch.tensor([15e9], dtype=torch.float64))
        found = found + (reflection.abs() ** 2).sum()
    return found


def gradient(block: Tensor, adjoint: Any, **options: Any) -> Tensor:
    unknown = block.clone().requires_grad_()
    (found,) = torch.autograd.grad(objective(unknown, adjoint, **options), unknown)
    return found


@pytest.fixture
def block() -> Tensor:
    return torch.tensor([2.0, 3.0], dtype=torch.float64)


@pytest.mark.parametrize("layers", [0, 3])
def test_checkpoint_gives_the_gradient_of_the_whole_tape(block: Tensor, layers: int) -> None:
    direct = gradient(block, Direct(), layers=layers)
    assert torch.allclose(gradient(block, Checkpoint(), layers=layers), direct, rtol=1e-11, atol=0)
    assert float(direct.abs().min()) > 1e-3


@pytest.mark.parametrize(("layers", "port"), [(0, False), (3, False), (3, True)])
def test_reversible_gives_the_same_with_what_is_lost_recorded(block: Tensor, layers: int, port: bool) -> None:
    options = {"layers": layers, "port": port, "engine": "reference"}
    direct = gradient(block, Direct(), **options)
    assert torch.allclose(gradient(block, Reversible(), **options), direct, rtol=1e-12, atol=0)


def test_reversible_is_the_derivative_of_everything_at_once() -> None:
    expected = gradients("reference", Checkpoint())
    assert_same(gradients("reference", Reversible()), expected, 1e-12)


def test_undoing_gives_the_fields_of_before_the_step() -> None:
    grid, step = everything()
    dt, fields = 0.9 * grid.courant_limit(), step.start(40)
    states = []
    for n in range(40):
        states.append((fields, step.recorded(fields)))
        fields = step(fields, n * dt, dt)
    names = ("electric", "magnetic", "records", "spectra")
    largest = {name: max(float(getattr(state, name).abs().max()) for state, _ in states) for name in names}
    for n, (expected, record) in reversed(list(enumerate(states))):
        fields = step.undo(fields, record, n * dt, dt)
        for name, scale in largest.items():
            assert float((getattr(fields, name) - getattr(expected, name)).abs().max()) <= 1e-13 * scale, name
        assert torch.equal(fields.polarization, expected.polarization)
        assert torch.equal(fields.magnetization, expected.magnetization)
        assert all(torch.equal(a, b) for a, b in zip(fields.memory, expected.memory, strict=True))


def test_the_gradient_is_that_of_central_differences(block: Tensor) -> None:
    found = gradient(block, Direct(), layers=3)
    for index in range(2):
        shift = torch.zeros_like(block)
        shift[index] = 1e-4
        with torch.no_grad():
            ends = [float(objective(block + sign * shift, Direct(), layers=3)) for sign in (1, -1)]
        assert float(found[index]) == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-6)
