"""Rigid water and held bonds obey mechanics: what is conserved, in which order in dt, equipartition, the virial.

Setup: boxes of 8 SPC/E waters at the density of the liquid, cut off at 4 angstrom smoothly (force shifts), and small
hydrocarbons in vacuum with all bonds held; float64.

Energy: RATTLE is symplectic and of second order [Andersen1983; Hairer2006], so the fluctuation of the total energy over
a fixed time has slope 2 in a double logarithm; higher orders leave 0.15. Momentum: constraint forces come in pairs,
so it is kept to rounding, some 1e-16 of 50 Da angstrom/fs a step. Equipartition: translation of the centres and the
rotation have 3 k_B T / 2 each a molecule; the kinetic energy has a chi-squared distribution.
"""

from __future__ import annotations

import functools

import numpy
import pytest
import torch
from rigid_systems import SMOOTH, held, hydrocarbon, water_box
from scipy import stats

from mindsci import tree, units
from mindsci.errors import InputError
from mindsci.solvers import Flow, rollout
from sponge import create, degrees_of_freedom, kinetic_energy, pressure, replicate, select, temperature
from sponge.builders import replicate_topology
from sponge.dynamics import (
    Constraints,
    Forces,
    OrnsteinUhlenbeck,
    StochasticRescaling,
    langevin,
    maxwell_boltzmann,
    stochastic_rescaling,
    velocity_verlet,
)
from sponge.dynamics.barostats import Bodies
from sponge.forcefield import ForceField, Options, place_virtual_sites
from sponge.reporting import drift
from sponge.system import System
from sponge.topology import Topology, VirtualSites
from sponge.validate_thermostats import BINS, chi_squared_statistic

KELVIN = 300.0
OPEN = Options(cutoff=15.0, lennard_jones="force_shift", coulomb="shifted_force")


@functools.cache
def warmed() -> tuple[System, Topology]:
    """Sixteen boxes at 300 K, after 0.12 ps, and the topology of one."""
    single, topology = water_box(2)
    forces, constraints, system = held(replicate_topology(topology, 16), replicate(single, 16))
    system = maxwell_boltzmann(system, temperature=KELVIN, seed=1, constraints=constraints)
    bath = OrnsteinUhlenbeck.of(system, temperature=KELVIN, friction=0.02, seed=3, constraints=constraints)
    with torch.no_grad():
        return rollout(langevin(forces, bath), system, n_steps=60, dt=2.0)[0], topology


def warm_water(boxes: int, *, virial: bool = False) -> tuple[Forces, Constraints, System, Topology]:
    """Some of them, with what moves them."""
    system, topology = warmed()
    topology = replicate_topology(topology, boxes)
    return *held(topology, select(system, slice(boxes)), virial=virial), topology


def fluctuations(
    system: System, step: Flow, femtoseconds: float, steps: tuple[float, ...] = (1.0, 2.0, 4.0)
) -> tuple[float, System]:
    """The order in dt of the fluctuation of the total energy, and a state at the end."""
    rms = []
    for dt in steps:
        with torch.no_grad():
            after, seen = rollout(
                step, system, n_steps=round(femtoseconds / dt), dt=dt, observe=lambda s: s.energy + kinetic_energy(s)
            )
        time = dt * numpy.arange(len(seen))
        rms.append(numpy.sqrt(sum(drift(time, one.numpy())[1] ** 2 for one in seen.unbind(1))))
    return numpy.polyfit(numpy.log(steps), numpy.log(rms), 1)[0], after


def test_energy_of_rigid_water_fluctuates_to_second_order_in_dt() -> None:
    forces, constraints, system, _ = warm_water(3)
    slope, after = fluctuations(system, velocity_verlet(forces, constraints), 100.0)
    assert slope == pytest.approx(2.0, abs=0.15)
    assert float(constraints.error(after).max()) < 1e-13


def test_held_bonds_keep_energy_momentum_and_angular_momentum() -> None:
    """Angular momentum: to the tolerance of the lengths, 1e-10 of 100 Da angstrom^2/fs a step."""
    system, topology = hydrocarbon(stretched=0.02)
    forces, constraints, start = held(topology, system, OPEN)
    start = maxwell_boltzmann(start, temperature=KELVIN, seed=1, constraints=constraints)
    slope, after = fluctuations(start, velocity_verlet(forces, constraints), 60.0, (0.75, 1.5, 3.0))
    assert slope == pytest.approx(2.0, abs=0.15)
    assert float(constraints.error(after)) < constraints.tolerance
    assert torch.allclose(after.momenta.sum(0), start.momenta.sum(0), atol=1e-12)
    spins = [torch.linalg.cross(s.positions, s.momenta).sum(0) for s in (start, after)]
    assert torch.allclose(*spins, rtol=0, atol=1e-7)


def test_constrained_trajectories_run_back_to_their_start() -> None:
    system, topology = hydrocarbon(stretched=0.02)
    forces, constraints, start = held(topology, system, OPEN, tolerance=1e-14)
    start = maxwell_boltzmann(start, temperature=KELVIN, seed=1, constraints=constraints)
    step = velocity_verlet(forces, constraints)
    assert step.reversible
    with torch.no_grad():
        state, _ = rollout(step, start, n_steps=30, dt=1.0)
        for index in reversed(range(30)):
            state = step(state, index + 1.0, -1.0)
    assert torch.allclose(state.positions, start.positions, rtol=0, atol=1e-10)
    assert torch.allclose(state.momenta, start.momenta, rtol=0, atol=1e-10)


def test_drawn_momenta_of_rigid_molecules_have_the_temperature_and_break_no_constraint() -> None:
    """From 64 boxes of 45 degrees of freedom the estimate deviates by sqrt(2 / 2880), 2.6 %; four of them."""
    system, topology = water_box(2)
    constraints = Constraints.of(replicate_topology(topology, 64), replicate(system, 64))
    start = constraints.start(replicate(system, 64))
    drawn = maxwell_boltzmann(start, temperature=KELVIN, seed=4, constraints=constraints)
    assert float(temperature(drawn).mean()) == pytest.approx(KELVIN, rel=0.105)
    assert torch.allclose(drawn.sum_over_atoms(drawn.momenta), torch.zeros(64, 3).double(), atol=1e-12)
    again = constraints.project(drawn)
    assert torch.allclose(again.momenta, drawn.momenta, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["langevin", "rescaling"])
def test_rigid_water_shares_its_kinetic_energy(name: str) -> None:
    """Translation and rotation, and their sum, of 16 boxes.

    Eight samples 60 fs apart, within which the motion of a water forgets itself: 128 kinetic energies, in 16 bins of
    equal canonical probability: the statistic exceeds 37.7 once in a thousand. The mean of translation: 128 times 21 or
    24 halves of k_B T, whose relative deviation is sqrt(2 / 2688), 2.7 %, and 3.9 % where only every second sample is a
    new one: four of these. At 2 fs the integrator lowers it by (omega dt)^2 / 4, 2 % for librations of 700 / cm.
    """
    every = 30
    forces, constraints, system, topology = warm_water(16)
    bodies = Bodies.of(system, topology)
    if name == "langevin":
        bath = OrnsteinUhlenbeck.of(system, temperature=KELVIN, friction=0.02, seed=7, constraints=constraints)
        step, removed = langevin(forces, bath), 0
    else:
        rescaling = StochasticRescaling.of(system, temperature=KELVIN, time=30.0, seed=7)
        step, removed = stochastic_rescaling(forces, rescaling, constraints), 3
        system = maxwell_boltzmann(system, temperature=KELVIN, seed=2, constraints=constraints)

    def observe(state: System) -> dict[str, torch.Tensor]:
        return {"kinetic": kinetic_energy(state), "centres": 0.5 * bodies.kinetic(state).sum(-1)}

    with torch.no_grad():
        _, seen = rollout(step, system, n_steps=8 * every, dt=2.0, observe=observe, every=every)
    freedom = float(degrees_of_freedom(system, removed=removed)[0])
    assert freedom == 48 - removed
    limit = stats.chi2.ppf(0.999, BINS - 1)
    assert chi_squared_statistic(seen["kinetic"], freedom, KELVIN) < limit
    assert chi_squared_statistic(seen["kinetic"], freedom + 12, KELVIN) > limit
    half = 0.5 * units.BOLTZMANN_EV * KELVIN
    assert float(seen["centres"].mean()) == pytest.approx((24 - removed) * half, rel=0.16)
    assert float((seen["kinetic"] - seen["centres"]).mean()) == pytest.approx(24 * half, rel=0.16)


def test_pressure_of_rigid_water_is_the_same_by_atoms_and_by_molecules() -> None:
    """At any moment: of a rigid body sum (r - R) . p is zero at all times, and so is its derivative."""
    _, constraints, system, topology = warm_water(2, virial=True)
    bodies = Bodies.of(system, topology)
    by_atoms, by_molecules = pressure(system, constraints), bodies.pressure(system).mean(-1)
    assert torch.allclose(by_atoms, by_molecules, rtol=1e-10)
    # The constraints matter, and a pressure without them is refused.
    assert float(constraints.forces(system)[1].diagonal(dim1=-2, dim2=-1).sum(-1).abs().min()) > 1.0
    with pytest.raises(InputError, match="whose forces have a virial"):
        pressure(system)


def test_virial_of_molecules_is_the_strain_of_their_centres() -> None:
    """Central difference of the energy, step 1e-5; its error is that of second derivatives, which jump at the cutoff.

    Some pairs of a hundred cross it; 1e-5 of their contribution.
    """
    forces, _, system, topology = warm_water(1, virial=True)
    bodies = Bodies.of(system, topology)
    step = 1e-5
    for axis in range(3):
        ends = []
        for sign in (1.0, -1.0):
            factors = torch.ones(1, 3).double()
            factors[0, axis] += sign * step
            ends.append(float(forces(bodies.scaled(system, factors)).energy))
        assert -(ends[0] - ends[1]) / (2 * step) == pytest.approx(float(bodies.virial(system)[0, axis]), rel=1e-6)


def test_forces_of_constraints_are_what_keeps_lengths_for_a_short_time() -> None:
    """With them, a plain step leaves lengths wrong by the third power of dt; without, by the second."""
    forces, constraints, system, _ = warm_water(1)
    pull, _ = constraints.forces(system)
    errors = []
    for dt in (0.02, 0.04):
        for total in (system.forces + pull, system.forces):
            acceleration = units.ACCELERATION * total / system.masses[:, None]
            moved = system.positions + dt * system.velocities + 0.5 * dt**2 * acceleration
            errors.append(float(constraints.error(tree.replace(system, positions=moved))))
    assert numpy.log2(errors[2] / errors[0]) == pytest.approx(3.0, abs=0.1)
    assert numpy.log2(errors[3] / errors[1]) == pytest.approx(2.0, abs=0.1)
    assert forces.sites is None


def sited() -> tuple[System, VirtualSites, Options, Topology]:
    """A box of water with a site in each, as of four-site models, and one out of its plane."""
    system, topology = water_box(2)
    count, n = 8, 24
    generator = torch.Generator().manual_seed(5)
    sites = VirtualSites(
        site=torch.arange(n, n + count),
        parents=torch.arange(n).reshape(-1, 3),
        weights=torch.tensor([0.7, 0.2, 0.1]).double().expand(count, 3).clone(),
        cross=0.3 * torch.rand(count, generator=generator).double(),
    )
    assert topology.nonbonded is not None
    nonbonded = tree.replace(
        topology.nonbonded,
        charges=torch.cat([topology.nonbonded.charges, torch.linspace(-0.3, 0.3, count).double()]),
        kind=torch.cat([topology.nonbonded.kind, torch.ones(count, dtype=torch.int64)]),
        exclusions=torch.cat(
            [
                topology.nonbonded.exclusions,
                torch.stack([torch.arange(n), n + torch.arange(n) // 3], 1),
            ]
        ),
    )
    keys = nonbonded.exclusions[:, 0] * (n + count) + nonbonded.exclusions[:, 1]
    nonbonded = tree.replace(nonbonded, exclusions=nonbonded.exclusions[keys.argsort()])
    links = torch.cat([topology.connectivity, torch.stack([3 * torch.arange(count), sites.site], 1)])
    topology = tree.replace(topology, n_atoms=n + count, nonbonded=nonbonded, connectivity=links)
    numbers = torch.cat([system.atomic_numbers, torch.zeros(count, dtype=torch.int64)])
    masses = torch.cat([system.masses, torch.zeros(count).double()])
    positions = torch.cat([system.positions, torch.zeros(count, 3).double()])
    built = create(positions, numbers, masses=masses, cell=system.cell, periodic=(True, True, True))
    return place_virtual_sites(built, sites), sites, SMOOTH, topology


def test_sites_hand_their_forces_and_virial_on() -> None:
    """As the force field's own, which places the sites itself and differentiates through that."""
    system, sites, options, topology = sited()
    inside = Forces.of(ForceField(tree.replace(topology, virtual_sites=sites), options), system, virial=True)(system)
    outside = Forces.of(ForceField(topology, options), system, virial=True, sites=sites)(system)
    assert torch.allclose(inside.energy, outside.energy, rtol=1e-13)
    assert torch.allclose(inside.forces, outside.forces, rtol=0, atol=1e-12 * float(inside.forces.abs().max()))
    assert float(outside.forces[24:].abs().max()) == 0.0
    assert torch.allclose(inside.virial, outside.virial, rtol=0, atol=1e-11 * float(inside.virial.abs().max()))


def test_rigid_water_with_sites_keeps_its_energy() -> None:
    system, sites, options, topology = sited()
    constraints = Constraints.of(topology, system)
    system = constraints.start(system)
    forces = Forces.of(ForceField(topology, options), system, sites=sites)
    bath = OrnsteinUhlenbeck.of(system, temperature=KELVIN, friction=0.02, seed=3, constraints=constraints)
    with torch.no_grad():
        warm, _ = rollout(langevin(forces, bath), forces(system), n_steps=50, dt=2.0)
    slope, after = fluctuations(warm, velocity_verlet(forces, constraints), 80.0)
    assert slope == pytest.approx(2.0, abs=0.15)
    assert torch.allclose(after.positions, place_virtual_sites(after, sites).positions, rtol=0, atol=1e-14)
    assert torch.equal(after.momenta[24:], torch.zeros(8, 3).double())
    assert degrees_of_freedom(after, removed=0).tolist() == [48.0]
