"""Validation of the barostats: volumes of a fluid at two pressures, whose ratio of densities theory gives.

Replicas of 32 Lennard-Jones atoms (argon) at 250 K, above its critical point, half of them at 60 MPa and half at
75 MPa. At equilibrium the densities of volumes obey ln p_1(V) / p_2(V) = (P_2 - P_1) V / k_B T + constant whatever the
fluid, so that the fluctuations of the volume are those that its compressibility asks for [Shirts2013].
"""

from __future__ import annotations

import math
from typing import Any

import numpy
import torch
from numpy.typing import NDArray

from mindsci import tree, units
from mindsci.report import Report, Row
from mindsci.solvers import Splitting, rollout
from sponge.ase_atoms import from_ase
from sponge.batch import replicate
from sponge.dynamics import (
    CellRescaling,
    Forces,
    MonteCarloBarostat,
    NoseHooverChain,
    Pistons,
    StochasticRescaling,
    at_pressure,
    martyna_tobias_klein,
    maxwell_boltzmann,
    stochastic_rescaling,
)
from sponge.potentials.lennard_jones import LennardJones
from sponge.system import System
from sponge.thermodynamics import volume

KELVIN, DT = 250.0, 5.0
MEGAPASCAL = 1e6 / (units.ELEMENTARY_CHARGE * 1e30)
"""[eV/angstrom^3]"""
PRESSURES = (60.0, 75.0)
"""[MPa]"""
BAROSTATS = ("monte_carlo", "cell_rescaling", "martyna_tobias_klein")
LARGEST = 3.5
"""standard errors by which a ratio may differ from 1: a right one does so once in two thousand"""


def integrator(name: str, forces: Forces, system: System, pressure: torch.Tensor) -> tuple[Splitting, System]:
    """Returns the integrator with a barostat, and the system with what it keeps."""
    options: dict[str, Any] = {"temperature": KELVIN, "pressure": pressure}
    if name == "martyna_tobias_klein":
        pistons = Pistons.of(forces, system, period=1000.0, **options)
        chain = NoseHooverChain.of(system, temperature=KELVIN, period=300.0)
        return martyna_tobias_klein(forces, pistons, chain), chain.start(pistons.start(system))
    bath = StochasticRescaling.of(system, temperature=KELVIN, time=100.0, seed=1)
    barostat: MonteCarloBarostat | CellRescaling
    if name == "monte_carlo":
        barostat = MonteCarloBarostat.of(forces, system, every=10, width=0.1, seed=2, **options)
    else:
        barostat = CellRescaling.of(
            forces, system, every=4, time=500.0, compressibility=1.0 / (100.0 * MEGAPASCAL), seed=2, **options
        )
    return at_pressure(stochastic_rescaling(forces, bath), barostat), barostat.start(bath.start(system))


def sample(name: str, replicas: int, picoseconds: float) -> NDArray[numpy.float64]:
    """Returns volumes [angstrom^3] every 50 fs, (samples, replicas): first those at the lower pressure."""
    from ase.build import bulk

    system = replicate(from_ase(bulk("Ar", "fcc", a=6.2, cubic=True).repeat(2)), replicas)
    forces = Forces.of(LennardJones(cutoff=6.0), system, virial=True)
    low = torch.arange(replicas) < replicas // 2
    pressure = MEGAPASCAL * torch.where(low, *PRESSURES).double()
    every = round(50.0 / DT)
    with torch.no_grad():
        system = forces(maxwell_boltzmann(system, temperature=KELVIN, seed=3))
        step, system = integrator(name, forces, system, pressure)
        settle = round(0.25 * picoseconds * 1e3 / DT) // every * every
        system, _ = rollout(step, tree.replace(system), n_steps=settle, dt=DT)
        n_steps = round(picoseconds * 1e3 / DT)
        _, seen = rollout(step, system, n_steps=n_steps, dt=DT, start=settle, observe=volume, every=every)
    return seen.numpy()


def slope_of_densities(one: NDArray[numpy.float64], two: NDArray[numpy.float64]) -> float:
    """Returns b of ln p_1(V) / p_2(V) = a + b V, by maximum likelihood [Shirts2013, eq. 7]."""
    values = numpy.concatenate([one, two])
    centre, width = values.mean(), values.std()
    x = (values - centre) / width
    design = numpy.stack([numpy.ones_like(x), x], axis=1)
    first = numpy.concatenate([numpy.ones(len(one)), numpy.zeros(len(two))])
    found = numpy.zeros(2)
    for _ in range(30):
        share = 1.0 / (1.0 + numpy.exp(-design @ found))
        curvature = (design * (share * (1.0 - share))[:, None]).T @ design
        found = found + numpy.linalg.solve(curvature, design.T @ (first - share))
    return float(found[1] / width)


def barostats(replicas: int = 48, picoseconds: float = 15.0) -> Report:
    """The ratio of the densities of volumes at two pressures, of each barostat, over what theory says.

    Standard errors by leaving out one pair of replicas after the other, which share nothing. Gate: 1 within 3.5 of
    them, and an error below a fifth.
    """
    expected = (PRESSURES[1] - PRESSURES[0]) * MEGAPASCAL / (units.BOLTZMANN_EV * KELVIN)
    rows = []
    for name in BAROSTATS:
        seen = sample(name, replicas, picoseconds)
        half = replicas // 2
        low, high = seen[:, :half], seen[:, half:]
        ratio = slope_of_densities(low.ravel(), high.ravel()) / expected
        left = [numpy.delete(numpy.arange(half), k) for k in range(half)]
        without = [slope_of_densities(low[:, some].ravel(), high[:, some].ravel()) / expected for some in left]
        error = math.sqrt((half - 1) / half * ((without - numpy.mean(without)) ** 2).sum())
        rows.append(
            Row(
                case=f"{name}: volumes at {PRESSURES[0]:g} and {PRESSURES[1]:g} MPa",
                measured=ratio,
                unit="slope of ln(p1/p2) over theory",
                reference=1.0,
                gate=f"within {LARGEST:g} standard errors, these below 0.2",
                ok=abs(ratio - 1.0) < LARGEST * error and error < 0.2,
                extra={
                    "standard error": error,
                    "volume [angstrom^3]": float(low.mean()),
                    "deviation [angstrom^3]": float(low.std()),
                    "samples": seen.size,
                },
            )
        )
    return Report(name="barostats", rows=rows)
