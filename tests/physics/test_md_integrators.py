"""Leap-frog and multiple time steps are velocity Verlet where they must be; minimisers go down, also on constraints.

Setup: two molecules of isobutane 7 angstrom apart, bonds held, springs on angles (fast) and Lennard-Jones between the
molecules (slow), float64. Multiple time steps are a symmetric splitting of second order [Tuckerman1992]: the
fluctuation of the energy over a fixed time has slope 2 in the outer step, to 0.15.
"""

from __future__ import annotations

import numpy
import pytest
import torch
from rigid_systems import SMOOTH, hydrocarbon, water_box

from mindsci import testing, tree
from mindsci.errors import InputError
from mindsci.solvers import rollout
from sponge import create, kinetic_energy, replicate, restart, select
from sponge.builders import replicate_topology
from sponge.dynamics import (
    Constraints,
    Forces,
    OrnsteinUhlenbeck,
    fast_and_slow,
    langevin,
    leap_frog,
    maxwell_boltzmann,
    minimise,
    multiple_steps,
    slow_started,
    velocity_verlet,
)
from sponge.dynamics.leap_frog import abreast, behind
from sponge.forcefield import ForceField, Options
from sponge.reporting import drift
from sponge.system import System
from sponge.topology import Topology

OPEN = Options(cutoff=12.0, lennard_jones="force_shift", coulomb="shifted_force")


def pair(*, virial: bool = False) -> tuple[System, Constraints, Forces, Forces, Forces]:
    """The molecules in motion; their constraints; all forces, the fast and the slow ones."""
    single, topology = hydrocarbon("isobutane")
    both: Topology = replicate_topology(topology, 2)
    far = single.positions + torch.tensor([7.0, 0.0, 0.0])
    system = create(torch.cat([single.positions, far]), single.atomic_numbers.repeat(2))
    constraints = Constraints.of(both, system, tolerance=1e-13)
    system = constraints.start(system)
    forces = [Forces.of(ForceField(one, OPEN), system, virial=virial) for one in (both, *fast_and_slow(both))]
    moving = maxwell_boltzmann(system, temperature=300.0, seed=1, constraints=constraints)
    return moving, constraints, *forces


def test_leap_frog_visits_the_places_of_velocity_verlet() -> None:
    system, constraints, forces, _, _ = pair()
    for held in (constraints, None):
        start = forces(system)
        with torch.no_grad():
            one, _ = rollout(velocity_verlet(forces, held), start, n_steps=20, dt=0.5)
            other, _ = rollout(leap_frog(forces, held), behind(start, 0.5, held), n_steps=20, dt=0.5)
        assert torch.allclose(one.positions, other.positions, rtol=0, atol=1e-11)
        assert torch.allclose(one.momenta, abreast(other, 0.5, held).momenta, rtol=0, atol=1e-10)
        assert not torch.allclose(one.momenta, other.momenta, rtol=0, atol=1e-4)


def test_one_fast_step_for_each_slow_one_is_velocity_verlet() -> None:
    system, constraints, forces, fast, slow = pair(virial=True)
    step = multiple_steps(velocity_verlet(fast, constraints), slow, count=1)
    start = slow_started(system, fast, slow)
    whole = forces(system)
    assert torch.allclose(start.forces, whole.forces, rtol=0, atol=1e-12)
    assert torch.allclose(start.energy, whole.energy, rtol=1e-12)
    assert torch.allclose(start.virial, whole.virial, rtol=0, atol=1e-11)
    with torch.no_grad():
        one, _ = rollout(step, start, n_steps=10, dt=1.0)
        other, _ = rollout(velocity_verlet(forces, constraints), whole, n_steps=10, dt=1.0)
    assert torch.allclose(one.positions, other.positions, rtol=0, atol=1e-11)
    assert torch.allclose(one.energy, other.energy, rtol=1e-10)
    assert float(start.slow_forces.abs().max()) > 1e-3


def test_multiple_steps_are_of_second_order_and_run_back() -> None:
    system, constraints, _, fast, slow = pair()
    step = multiple_steps(velocity_verlet(fast, constraints), slow, count=3)
    start, rms, steps = slow_started(system, fast, slow), [], (1.5, 3.0, 6.0)
    for dt in steps:
        with torch.no_grad():
            after, seen = rollout(
                step, start, n_steps=round(60 / dt), dt=dt, observe=lambda s: s.energy + kinetic_energy(s)
            )
        rms.append(drift(dt * numpy.arange(len(seen)), seen[:, 0].numpy())[1])
    slope = numpy.polyfit(numpy.log(steps), numpy.log(rms), 1)[0]
    assert slope == pytest.approx(2.0, abs=0.15), rms
    with torch.no_grad():
        for index in reversed(range(10)):
            after = step(after, 6.0 * (index + 1), -6.0)
    assert torch.allclose(after.positions, start.positions, rtol=0, atol=1e-9)


def test_a_step_of_several_keeps_the_contract() -> None:
    system, topology = hydrocarbon(stretched=0.02)
    constraints = Constraints.of(topology, system, tolerance=1e-13)
    system = constraints.start(system)
    fast, slow = (Forces.of(ForceField(one, OPEN), system) for one in fast_and_slow(topology))
    moving = maxwell_boltzmann(system, temperature=300.0, seed=1, constraints=constraints)
    step = multiple_steps(velocity_verlet(fast, constraints), slow, count=2)
    testing.check_flow(step, slow_started(moving, fast, slow), 1.0)


def test_multiple_steps_restart_to_the_same_bits() -> None:
    system, constraints, _, fast, slow = pair()
    bath = OrnsteinUhlenbeck.of(system, temperature=300.0, friction=0.01, seed=2, constraints=constraints)
    step = multiple_steps(langevin(fast, bath), slow, count=2)
    start = slow_started(system, fast, slow)
    with torch.no_grad():
        whole, _ = rollout(step, start, n_steps=6, dt=2.0)
        first, _ = rollout(step, start, n_steps=2, dt=2.0)
        again = restart.restored(start, restart.kept(first), slow)
        second, _ = rollout(step, again, n_steps=4, dt=2.0, start=2)
    for name in ("positions", "momenta", "forces", "slow_forces", "energy"):
        assert torch.equal(getattr(whole, name), getattr(second, name)), name
    with pytest.raises(InputError, match="slow_started"):
        step(fast(system), 0.0, 1.0)
    with pytest.raises(InputError, match="count = 0"):
        multiple_steps(langevin(fast, bath), slow, count=0)
    picked = select(replicate(start, 2), 1)
    assert picked.slow_forces is not None and torch.equal(picked.slow_forces, start.slow_forces)


@pytest.mark.parametrize("method", ["steepest_descent", "fire", "lbfgs"])
def test_rigid_water_is_minimised_on_its_constraints(method: str) -> None:
    """Every way down ends where no atom feels a force along what the constraints allow, and none is broken."""
    system, topology = water_box(2)
    system, topology = replicate(system, 2), replicate_topology(topology, 2)
    constraints = Constraints.of(topology, system)
    start = constraints.start(system)
    forces = Forces.of(ForceField(topology, SMOOTH), start)
    began = forces(start).energy
    found = minimise(forces, start, max_force=0.15, max_steps=2000, method=method, constraints=constraints)
    assert bool((found.system.energy < began).all())
    assert float(constraints.error(found.system).max()) < 1e-13
    left = constraints.tangential(found.system, found.system.forces)
    assert float(torch.linalg.vector_norm(left, dim=-1).max()) <= 0.15 * (1 + 1e-9)
    assert float(found.system.forces.norm(dim=-1).max()) > 1.0


def test_steepest_descent_never_goes_uphill() -> None:
    system, topology = hydrocarbon("isobutane", stretched=0.1)
    flexible = tree.replace(topology, constraints=None)
    forces = Forces.of(ForceField(flexible, OPEN), system)
    seen: list[float] = []

    class Watched(Forces):
        def __call__(self, system: System) -> System:
            found = super().__call__(system)
            seen.append(float(found.energy))
            return found

    watched = Watched(potential=forces.potential, search=forces.search)
    found = minimise(watched, system, max_force=0.05, max_steps=500, method="steepest_descent")
    assert float(found.system.energy) == min(seen)
    assert found.max_force <= 0.05 and found.n_steps > 5
