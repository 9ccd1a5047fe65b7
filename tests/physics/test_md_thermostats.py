"""Thermostats sample the canonical kinetic energy, share it among light and heavy atoms, and keep what they should.

Setup: 32 replicas of a liquid of 32 Lennard-Jones atoms, argon and a fourth as heavy in turn, at 150 K and the
density of a = 5.8 angstrom; momenta drawn at 300 K from a crystal, half of which goes to the potential as it melts.
The thermostats forget within 150 fs; samples are 400 fs apart. The kinetic energy follows k_B T / 2 times a chi-
squared distribution with f degrees of freedom; 384 samples in 16 bins of equal probability give a chi-squared
statistic that exceeds 37.7 once in a thousand. The share of a group with a total momentum of zero is k_B T / 2 times
3 sum (1 - m / M). Light and heavy atoms exchange energy within a picosecond, so that 4.8 ps of 32 replicas hold about
150 shares of 48 values each: their mean deviates by 1.7 %, four of them. Langevin at 5 fs lowers the kinetic energy
by (omega dt)^2 / 4 < 0.5 % [Leimkuhler2013], within both.
"""

from __future__ import annotations

import numpy
import pytest
import torch
from ase.build import bulk
from ase.cluster import Icosahedron
from scipy import stats

from mindsci import tree
from mindsci.errors import InputError
from mindsci.solvers import rollout
from sponge import concatenate, from_ase, select
from sponge.dynamics import Forces, NoseHooverChain, StochasticRescaling, maxwell_boltzmann
from sponge.potentials import LennardJones
from sponge.reporting import drift
from sponge.system import System
from sponge.validate_thermostats import (
    BINS,
    KELVIN,
    THERMOSTATS,
    chi_squared_statistic,
    integrator,
    liquid,
    sample,
    share,
)


@pytest.fixture(scope="module", params=THERMOSTATS)
def sampled(request: pytest.FixtureRequest) -> tuple[str, dict[str, torch.Tensor]]:
    return request.param, sample(request.param, replicas=32, samples=12)


def test_the_kinetic_energy_is_canonical(sampled: tuple[str, dict[str, torch.Tensor]]) -> None:
    name, seen = sampled
    freedom = 96 if name == "langevin" else 93
    limit = stats.chi2.ppf(0.999, BINS - 1)
    assert chi_squared_statistic(seen["kinetic"], freedom, KELVIN) < limit
    # It can tell: a temperature 10 % off, or a distribution half as wide, is refused.
    assert chi_squared_statistic(seen["kinetic"], freedom, 0.9 * KELVIN) > limit
    mean = seen["kinetic"].mean()
    assert chi_squared_statistic(mean + 0.5 * (seen["kinetic"] - mean), freedom, KELVIN) > limit


def test_light_and_heavy_atoms_have_their_share(sampled: tuple[str, dict[str, torch.Tensor]]) -> None:
    name, seen = sampled
    for kinetic, light in ((seen["light"], True), (seen["kinetic"] - seen["light"], False)):
        assert float(kinetic.mean()) == pytest.approx(share(name, light), rel=0.068)


@pytest.mark.parametrize("name", ["nose_hoover", "rescaling"])
def test_what_the_thermostat_keeps_fluctuates_to_second_order_in_dt(name: str) -> None:
    system = liquid(4)
    forces = Forces.of(LennardJones(cutoff=5.2), system)
    system = forces(maxwell_boltzmann(system, temperature=2 * KELVIN, seed=3))
    steps, rms = (2.5, 5.0, 10.0), []
    for dt in steps:
        step, bath, start = integrator(name, forces, system, KELVIN)
        with torch.no_grad():
            _, seen = rollout(step, start, n_steps=round(1000 / dt), dt=dt, observe=bath.conserved)
        time = dt * numpy.arange(len(seen))
        rms.append(numpy.sqrt(sum(drift(time, seen[:, k].numpy())[1] ** 2 for k in range(4))))
    slope = numpy.polyfit(numpy.log(steps), numpy.log(rms), 1)[0]
    assert slope == pytest.approx(2.0, abs=0.15), rms


@pytest.mark.parametrize("name", THERMOSTATS)
def test_a_system_moves_alone_as_in_a_batch(name: str) -> None:
    """Clusters of different size and a crystal, each with its own temperature and time step, to rounding."""
    parts = [Icosahedron("Ar", 2, latticeconstant=5.4), Icosahedron("Ar", 1), bulk("Ar", "fcc", a=5.3, cubic=True)]
    batch = from_ase(parts)
    temperatures = torch.tensor([10.0, 20.0, 30.0], dtype=torch.float64)
    batch = tree.replace(batch, pace=torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64))
    potential = LennardJones(cutoff=6.0)

    def run(system: System, kelvin: torch.Tensor) -> System:
        forces = Forces.of(potential, system)
        moving = maxwell_boltzmann(system, temperature=kelvin, seed=5)
        step, _, start = integrator(name, forces, moving, kelvin, seed=7)
        with torch.no_grad():
            return rollout(step, forces(start), n_steps=30, dt=8.0)[0]

    whole = run(batch, temperatures)
    for k in range(3):
        alone, among = run(select(batch, k), temperatures[k]), select(whole, k)
        assert torch.allclose(alone.positions, among.positions, rtol=0, atol=1e-11)
        assert torch.allclose(alone.momenta, among.momenta, rtol=0, atol=1e-11)
        assert torch.allclose(alone.energy, among.energy, rtol=1e-12)


def test_a_system_at_its_own_pace_moves_as_with_that_time_step() -> None:
    single = from_ase(Icosahedron("Ar", 2, latticeconstant=5.4))
    batch = concatenate([single, tree.replace(single, pace=torch.full((1,), 0.5, dtype=torch.float64))])
    forces = Forces.of(LennardJones(), batch)
    moving = forces(maxwell_boltzmann(batch, temperature=20.0, seed=5))
    for name in THERMOSTATS:
        step, _, start = integrator(name, forces, moving, 20.0)
        after, _ = rollout(step, start, n_steps=10, dt=8.0)
        slow = tree.replace(select(moving, 1), pace=None)
        step, _, start = integrator(name, Forces.of(LennardJones(), slow), slow, 20.0)
        alone, _ = rollout(step, start, n_steps=10, dt=4.0)
        assert torch.allclose(select(after, 1).positions, alone.positions, rtol=0, atol=1e-12), name


def test_impossible_thermostats_are_refused() -> None:
    system = liquid(4)
    with pytest.raises(InputError, match="each must be positive"):
        NoseHooverChain.of(system, temperature=300.0, period=0.0)
    with pytest.raises(InputError, match="one, or one for each of 4"):
        StochasticRescaling.of(system, temperature=torch.ones(3), seed=0)
    with pytest.raises(InputError, match="links = 0"):
        NoseHooverChain.of(system, temperature=300.0, links=0)
    with pytest.raises(InputError, match=r"thermostat\.start"):
        NoseHooverChain.of(system, temperature=300.0)(system, 0.0, 1.0)
