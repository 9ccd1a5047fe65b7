"""Velocity Verlet in one compiled loop: the steps of the integrator, and what they keep.

Argon, 256 atoms at 94 K near the crystal, sums that end smoothly at 8 angstrom. Over k steps rounding of eps |x| grows
by what a liquid's chaos adds, a factor of some ten in 40 steps of 2 fs: 1e-12 angstrom in float64, 1e-4 in float32. The
energy of the shadow Hamiltonian is kept [Hairer2003]: it fluctuates as dt^2 about a mean that does not drift.
"""

from __future__ import annotations

import numpy
import pytest
import torch

from mindsci import tree, units
from mindsci.solvers import Splitting, rollout
from sponge.bench_md import cases
from sponge.dynamics import Forces, velocity_verlet
from sponge.dynamics.compiled_verlet import CompiledVerlet
from sponge.forcefield import ForceField, Options
from sponge.system import System, create
from sponge.topology import Nonbonded, Topology


def argon(dtype: torch.dtype) -> tuple[System, Forces]:
    held = cases.argon(4)
    n = len(held["positions"])
    system = create(
        torch.as_tensor(held["positions"], dtype=dtype),
        torch.full((n,), 18),
        masses=torch.as_tensor(held["masses"], dtype=dtype),
        cell=torch.as_tensor(held["cell"], dtype=dtype)[None],
        periodic=(True, True, True),
    )
    momenta = torch.as_tensor(held["velocities"] * cases.MASS, dtype=dtype)
    nonbonded = Nonbonded(
        charges=torch.zeros(n).double(),
        kind=torch.zeros(n, dtype=torch.int64),
        sigma=torch.tensor([[cases.SIGMA]]).double(),
        epsilon=torch.tensor([[cases.EPSILON]]).double(),
        exclusions=torch.zeros((0, 2), dtype=torch.int64),
    )
    options = Options(cutoff=8.0, lennard_jones="force_shift", coulomb="cutoff")
    field = ForceField(Topology(n_atoms=n, nonbonded=nonbonded), options)
    forces = Forces.of(field, system, skin=0.6, virial=True)
    return forces(tree.replace(system, momenta=momenta)), forces


def total_energy(system: System) -> float:
    kinetic = (system.momenta.double() ** 2).sum() / (2.0 * cases.MASS * units.ACCELERATION)
    return float(system.energy[0] + kinetic)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_many_steps_at_once_are_the_steps_of_the_integrator(dtype: torch.dtype, tolerance: float) -> None:
    start, forces = argon(dtype)
    step = velocity_verlet(forces)
    assert isinstance(step, CompiledVerlet)
    at_once, _ = rollout(step, start, n_steps=60, dt=4.0)
    one_by_one, _ = rollout(Splitting(flows=step.flows, order=step.order), start, n_steps=60, dt=4.0)
    assert torch.allclose(at_once.positions, one_by_one.positions, rtol=0, atol=tolerance)
    assert at_once.virial is not None and one_by_one.virial is not None
    assert torch.allclose(at_once.virial, one_by_one.virial, rtol=1e-3 if dtype == torch.float32 else 1e-9, atol=1e-3)
    assert not torch.equal(at_once.neighbors.origin, start.positions)  # lists were made on the way


def test_a_run_in_pieces_has_the_same_bits() -> None:
    start, forces = argon(torch.float32)
    step = velocity_verlet(forces)
    whole, _ = rollout(step, start, n_steps=90, dt=4.0)
    pieces = start
    for count in (1, 40, 2, 47):
        pieces, _ = rollout(step, pieces, n_steps=count, dt=4.0)
    assert torch.equal(whole.positions, pieces.positions)
    assert torch.equal(whole.energy, pieces.energy)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_energy_does_not_drift_and_momentum_is_kept(dtype: torch.dtype) -> None:
    start, forces = argon(dtype)
    system, seen = rollout(
        velocity_verlet(forces),
        start,
        n_steps=4000,
        dt=4.0,
        observe=lambda now: {"energy": torch.tensor(total_energy(now)).double()},
        every=40,
    )
    energy = seen["energy"].numpy()[20:]
    slope = numpy.polyfit(numpy.arange(len(energy)), energy, 1)[0] * len(energy)
    kinetic = 1.5 * 256 * units.BOLTZMANN_EV * 47.0
    assert abs(slope) < 1e-3 * kinetic
    assert float((system.momenta.sum(0) - start.momenta.sum(0)).abs().max()) < (
        1e-3 if dtype == torch.float32 else 1e-10
    )
