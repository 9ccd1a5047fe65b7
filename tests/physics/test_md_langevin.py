"""The Langevin thermostat samples the canonical distribution, to the accuracy that theory gives BAOAB.

Setup: independent harmonic oscillators, U = k x^2 / 2, float64. For them the averages of BAOAB are known at any step:
<x^2> = k_B T / k exactly, <p^2> = m k_B T (1 - (omega dt)^2 / 4) [Leimkuhler2013]. Tolerance: the variance
of n independent normal values is estimated with a relative deviation of sqrt(2 / n); five of them.
"""

from __future__ import annotations

import math

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from mindsci import tree, units
from mindsci.errors import InputError
from mindsci.solvers import rollout
from sponge import concatenate, create, select
from sponge.dynamics import Forces, OrnsteinUhlenbeck, langevin
from sponge.neighbors import Neighbors
from sponge.potentials import Potential
from sponge.system import System

SPRING = 0.5
"""[eV/angstrom^2]"""
MASS, KELVIN = 4.0, 300.0
OMEGA = math.sqrt(SPRING / MASS * units.ACCELERATION)
"""[1/fs]"""


class Springs(Potential):
    """Every atom bound to the origin by a spring."""

    cutoff = 0.0

    def forward(self, system: System, neighbors: Neighbors) -> Float[Tensor, " systems"]:
        return system.sum_over_atoms(0.5 * SPRING * (system.positions**2).sum(-1))


def oscillators(n_atoms: int) -> System:
    zeros = torch.zeros(n_atoms, 3, dtype=torch.float64)
    masses = torch.full((n_atoms,), MASS, dtype=torch.float64)
    return create(zeros, torch.full((n_atoms,), 2), masses=masses)


def springs() -> Forces:
    return Forces.of(Springs(), oscillators(1))


def within(n_values: int) -> float:
    return 5 * math.sqrt(2 / n_values)


def test_positions_are_canonical_and_momenta_as_theory_says_at_a_large_step() -> None:
    system, forces = oscillators(4000), springs()
    dt = 0.8 / OMEGA
    thermostat = OrnsteinUhlenbeck.of(system, temperature=KELVIN, friction=1.0 / dt, seed=7)
    start = forces(system)
    # 60 steps at friction x dt = 1 forget the start to exp(-10) and less.
    after, _ = rollout(langevin(forces, thermostat), start, n_steps=60, dt=dt)
    thermal = units.BOLTZMANN_EV * KELVIN
    assert float((after.positions**2).mean()) == pytest.approx(thermal / SPRING, rel=within(12000))
    expected = MASS * thermal * units.ACCELERATION * (1 - 0.25 * 0.8**2)
    assert float((after.momenta**2).mean()) == pytest.approx(expected, rel=within(12000))


def test_the_thermostat_alone_relaxes_momenta_as_the_process_does() -> None:
    """Mean p0 exp(-gamma t), variance m k_B T (1 - exp(-2 gamma t)): exact, whatever the step [Leimkuhler2013]."""
    system = tree.replace(oscillators(5000), momenta=torch.full((5000, 3), 2.0, dtype=torch.float64))
    friction, dt, n_steps = 0.02, 10.0, 3
    thermostat = OrnsteinUhlenbeck.of(system, temperature=KELVIN, friction=friction, seed=1)
    after, _ = rollout(thermostat, system, n_steps=n_steps, dt=dt)
    decay = math.exp(-friction * dt * n_steps)
    variance = MASS * units.BOLTZMANN_EV * units.ACCELERATION * KELVIN * (1 - decay**2)
    assert float(after.momenta.mean()) == pytest.approx(2.0 * decay, abs=5 * math.sqrt(variance / 15000))
    assert float(after.momenta.var()) == pytest.approx(variance, rel=within(15000))


def test_each_system_of_a_batch_has_its_own_temperature_and_noise() -> None:
    single = oscillators(3000)
    batch = concatenate([single, single])
    thermostat = OrnsteinUhlenbeck.of(batch, temperature=torch.tensor([100.0, 400.0]), friction=1.0, seed=11)
    after = thermostat(batch, 0.0, 20.0)
    cold, hot = (after.momenta[after.system == k] for k in (0, 1))
    unit = MASS * units.BOLTZMANN_EV * units.ACCELERATION
    assert float((cold**2).mean()) == pytest.approx(100 * unit, rel=within(9000))
    assert float((hot**2).mean()) == pytest.approx(400 * unit, rel=within(9000))
    correlation = float((cold * hot).mean() / (cold.std() * hot.std()))
    assert abs(correlation) < 5 / math.sqrt(9000)
    second = select(batch, 1)
    alone = OrnsteinUhlenbeck.of(second, temperature=400.0, friction=1.0, seed=11)(second, 0.0, 20.0)
    assert torch.equal(alone.momenta, hot)


def test_a_run_cut_in_pieces_sees_the_same_noise() -> None:
    system, forces = oscillators(10), springs()
    step = langevin(forces, OrnsteinUhlenbeck.of(system, temperature=KELVIN, friction=0.1, seed=3))
    whole, _ = rollout(step, forces(system), n_steps=50, dt=0.7)
    first, _ = rollout(step, forces(system), n_steps=17, dt=0.7)
    second, _ = rollout(step, first, n_steps=33, dt=0.7, start=17)
    assert torch.equal(whole.positions, second.positions)
    assert torch.equal(whole.momenta, second.momenta)


def test_negative_temperature_and_friction_are_refused() -> None:
    for changed in ({"temperature": -1.0}, {"friction": -0.1}):
        with pytest.raises(InputError, match="none may be negative"):
            OrnsteinUhlenbeck.of(oscillators(1), **({"temperature": 1.0, "friction": 0.1, "seed": 0} | changed))
