"""Validation of the thermostats: canonical kinetic energies, shared equally, by tests with a p-value.

Replicas of a liquid of 32 Lennard-Jones atoms, argon and a fourth as heavy in turn, at 150 K and the density of
a = 5.8 angstrom; momenta are drawn at 300 K from a crystal, half of which goes to the potential as it melts. The
thermostats forget within 150 fs, and samples are 400 fs apart.
"""

from __future__ import annotations

import math
from typing import Any

import numpy
import torch
from scipy import stats

from mindsci import tree, units
from mindsci.report import Report, Row
from mindsci.solvers import rollout
from sponge.ase_atoms import from_ase
from sponge.batch import replicate
from sponge.dynamics import (
    Forces,
    NoseHooverChain,
    OrnsteinUhlenbeck,
    StochasticRescaling,
    langevin,
    maxwell_boltzmann,
    nose_hoover,
    stochastic_rescaling,
)
from sponge.potentials.lennard_jones import LennardJones
from sponge.system import System
from sponge.thermodynamics import kinetic_energy

KELVIN, DT, EVERY = 150.0, 5.0, 80
THERMOSTATS = ("langevin", "nose_hoover", "rescaling")
BINS = 16
LIGHT = 20.0
"""[Da]; the light atoms are below"""
LEAST = 1e-3
"""p-value below which a distribution is refused: a right one is, once in a thousand"""


def liquid(replicas: int) -> System:
    """Returns replicas of the crystal that melts."""
    from ase.build import bulk

    system = from_ase(bulk("Ar", "fcc", a=5.8, cubic=True).repeat(2))
    masses = system.masses.clone()
    masses[::2] /= 4.0
    return replicate(tree.replace(system, masses=masses), replicas)


def integrator(name: str, forces: Forces, system: System, temperature: Any, seed: int = 1) -> tuple[Any, Any, System]:
    """Returns the integrator, its thermostat, and the system with what it keeps."""
    if name == "langevin":
        bath = OrnsteinUhlenbeck.of(system, temperature=temperature, friction=1 / 150.0, seed=seed)
        return langevin(forces, bath), bath, system
    if name == "nose_hoover":
        chain = NoseHooverChain.of(system, temperature=temperature, period=300.0)
        return nose_hoover(forces, chain), chain, chain.start(system)
    rescaling = StochasticRescaling.of(system, temperature=temperature, time=150.0, seed=seed)
    return stochastic_rescaling(forces, rescaling), rescaling, rescaling.start(system)


def sample(name: str, replicas: int, samples: int) -> dict[str, torch.Tensor]:
    """Returns kinetic energies [eV], of all atoms and of the light ones, (samples, replicas)."""
    system = liquid(replicas)
    forces = Forces.of(LennardJones(cutoff=5.2), system)
    light = (system.masses < LIGHT)[:, None]

    def observe(state: System) -> dict[str, torch.Tensor]:
        only = tree.replace(state, momenta=torch.where(light, state.momenta, 0.0))
        return {"kinetic": kinetic_energy(state), "light": kinetic_energy(only)}

    with torch.no_grad():
        system = forces(maxwell_boltzmann(system, temperature=2 * KELVIN, seed=3))
        step, _, system = integrator(name, forces, system, KELVIN)
        system, _ = rollout(step, system, n_steps=5 * EVERY, dt=DT)
        _, seen = rollout(step, system, n_steps=samples * EVERY, dt=DT, start=5 * EVERY, observe=observe, every=EVERY)
    return seen


def chi_squared_statistic(kinetic: torch.Tensor, freedom: float, temperature: float) -> float:
    """Returns Pearson's statistic of kinetic energies [eV] in BINS bins of equal canonical probability."""
    values = (2.0 * kinetic / (units.BOLTZMANN_EV * temperature)).flatten().numpy()
    edges = stats.chi2.ppf(numpy.linspace(0, 1, BINS + 1), freedom)
    found, _ = numpy.histogram(values, edges)
    expected = len(values) / BINS
    return float(((found - expected) ** 2).sum() / expected)


def share(name: str, light: bool) -> float:
    """Returns the canonical kinetic energy of a group of atoms [eV]; where momentum is kept, less its part of that."""
    masses = liquid(1).masses
    group = (masses < LIGHT) == light
    free = torch.ones_like(masses) if name == "langevin" else 1.0 - masses / masses.sum()
    return 0.5 * units.BOLTZMANN_EV * KELVIN * 3.0 * float(free[group].sum())


def thermostats(replicas: int = 32, samples: int = 24) -> Report:
    """Distribution of the kinetic energy, and equipartition, of each thermostat.

    Distribution: Pearson's chi-squared test with 16 bins of equal probability, 15 degrees of freedom. Equipartition:
    the mean of each replica over the run is one value, as replicas share nothing; Student's t of so many values
    against k_B T / 2 a degree of freedom. Gates: p above 0.001, each. Langevin at 5 fs lowers kinetic energies by
    (omega dt)^2 / 4 < 0.5 % [Leimkuhler2013], below what so many samples resolve.
    """
    rows = []
    for name in THERMOSTATS:
        seen = sample(name, replicas, samples)
        freedom = 96 if name == "langevin" else 93
        statistic = chi_squared_statistic(seen["kinetic"], freedom, KELVIN)
        p = float(stats.chi2.sf(statistic, BINS - 1))
        count = seen["kinetic"].numel()
        rows.append(_row(f"{name}: kinetic energy distribution", p, {"chi-squared": statistic, "samples": count}))
        for label, energies, light in (
            ("light atoms", seen["light"], True),
            ("heavy atoms", seen["kinetic"] - seen["light"], False),
        ):
            means, expected = energies.mean(0) / share(name, light), 1.0
            t = float((means.mean() - expected) / (means.std() / math.sqrt(replicas)))
            p = float(2.0 * stats.t.sf(abs(t), replicas - 1))
            extra = {"over k_B T / 2": float(means.mean()), "samples": replicas}
            rows.append(_row(f"{name}: equipartition, {label}", p, extra))
    return Report(name="thermostats", rows=rows)


def _row(case: str, p: float, extra: dict[str, Any]) -> Row:
    return Row(case=case, measured=p, unit="p-value", gate=f"> {LEAST:g}", ok=p > LEAST, extra=extra)
