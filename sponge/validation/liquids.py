"""The Lennard-Jones liquid at equilibrium against NIST's molecular dynamics.

500 atoms, a cutoff of 3 sigma with the long-range correction, steps of 0.005 reduced units, as in NIST's tables. The
total energy of a run decides its temperature, so two runs stand on the two sides of the table's, and what they measure
is interpolated to it. Error bars are those of blocks.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci import tree, units
from mindsci.report import Row
from mindsci.solvers import rollout
from sponge.dynamics import Forces, OrnsteinUhlenbeck, langevin, maxwell_boltzmann, velocity_verlet
from sponge.dynamics.velocities import without_drift
from sponge.forcefield import ForceField, Options
from sponge.system import System, create
from sponge.thermodynamics import kinetic_energy, pressure, temperature
from sponge.topology import Nonbonded, Topology

SIGMA, EPSILON, MASS = 3.405, 0.0103235, 39.948
"""of argon [angstrom, eV, Da]"""
KELVIN = EPSILON / units.BOLTZMANN_EV
TIME = SIGMA * math.sqrt(MASS / EPSILON / units.ACCELERATION)
"""the unit of time [fs]"""
STATES = {0.776: (-5.517, 0.030, 0.061), 0.840: (-5.909, 0.910, 0.042)}
"""of each density: energy of an atom, pressure and diffusion at T* = 0.851, in reduced units"""
REDUCED = 0.851
GATES = (0.005, 0.02)
"""of energy and pressure: NIST's errors of 0.001 and 0.006, and room for ours"""
DT = 0.005
BLOCKS = 10


class Averages(NamedTuple):
    """Of a run, each with its standard error."""

    temperature: tuple[float, float]
    energy: tuple[float, float]
    pressure: tuple[float, float]
    diffusion: float


def fluid(density: float, *, lennard_jones: str = "cutoff", cells: int = 5) -> tuple[System, Forces]:
    """Returns 4 cells^3 atoms on a crystal's places at a reduced density, and their forces."""
    edge = (4.0 / density) ** (1.0 / 3.0) * SIGMA
    corners = torch.cartesian_prod(*[torch.arange(cells)] * 3).double()
    basis = torch.tensor([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]).double()
    positions = ((corners[:, None] + basis) * edge).reshape(-1, 3)
    n = len(positions)
    cell = cells * edge * torch.eye(3).double()
    system = create(
        positions, torch.full((n,), 18), cell=cell[None], periodic=(True, True, True),
        masses=torch.full((n,), MASS, dtype=torch.float64),
    )  # fmt: skip
    nonbonded = Nonbonded(
        charges=torch.zeros(n).double(),
        kind=torch.zeros(n, dtype=torch.int64),
        sigma=torch.full((1, 1), SIGMA, dtype=torch.float64),
        epsilon=torch.full((1, 1), EPSILON, dtype=torch.float64),
        exclusions=torch.zeros((0, 2), dtype=torch.int64),
    )
    whole = lennard_jones == "cutoff"
    options = Options(cutoff=3.0 * SIGMA, lennard_jones=lennard_jones, coulomb="cutoff", long_range_correction=whole)
    forces = Forces.of(ForceField(Topology(n_atoms=n, nonbonded=nonbonded), options), system, skin=0.35 * SIGMA,
                       virial=whole)  # fmt: skip
    return system, forces


def averages(density: float, wanted: float, steps: int, seed: int) -> Averages:
    """Returns what a run at constant energy near a reduced temperature measures, in reduced units."""
    system, forces = fluid(density)
    with torch.no_grad():
        system = forces(maxwell_boltzmann(system, temperature=2.0 * wanted * KELVIN, seed=seed))
        bath = OrnsteinUhlenbeck.of(system, temperature=wanted * KELVIN, friction=1.0 / TIME, seed=seed)
        system, _ = rollout(langevin(forces, bath), system, n_steps=4000, dt=DT * TIME)
        # Noise leaves a momentum of the whole, which is no heat; at constant energy it would stay.
        system = _at_its_energy(without_drift(system), forces, wanted)
        _, seen = rollout(velocity_verlet(forces), system, n_steps=steps, dt=DT * TIME, observe=_seen, every=20)
    n = system.n_atoms
    reduced = {
        "temperature": seen["temperature"] / KELVIN,
        "energy": seen["energy"] / (n * EPSILON),
        "pressure": seen["pressure"] * SIGMA**3 / EPSILON,
    }
    slope = diffusion(seen["positions"], 20 * DT * TIME)
    return Averages(
        *(_mean(values) for values in reduced.values()),
        diffusion=slope * TIME / SIGMA**2,
    )


def _at_its_energy(system: System, forces: Forces, wanted: float) -> System:
    """Runs at constant energy with velocities scaled until the mean temperature is near the wanted one."""
    step = velocity_verlet(forces)
    for _ in range(4):
        system, seen = rollout(step, system, n_steps=2000, dt=DT * TIME, observe=_seen, every=20)
        mean = float(seen["temperature"][20:].mean()) / KELVIN
        # Half of what is given to the momenta goes to the places.
        now = float(temperature(system)) / KELVIN
        factor = math.sqrt(max(1.0 + 2.0 * (wanted - mean) / now, 0.5))
        system = tree.replace(system, momenta=factor * system.momenta)
    return system


def _seen(system: System) -> dict[str, Tensor]:
    return {
        "temperature": temperature(system)[0],
        "energy": system.energy[0],
        "pressure": pressure(system)[0],
        "positions": system.positions,
        "total": (system.energy + kinetic_energy(system))[0],
    }


def _mean(values: Float[Tensor, " samples"]) -> tuple[float, float]:
    """The mean and its standard error, from blocks longer than what correlates."""
    length = len(values) // BLOCKS
    parts = values[: BLOCKS * length].reshape(BLOCKS, length).mean(1)
    return float(values.mean()), float(parts.std() / math.sqrt(BLOCKS))


def diffusion(positions: Float[Tensor, "samples atoms 3"], interval: float) -> float:
    """Returns the slope of the mean square displacement over six [angstrom^2/fs], from 1 to 6 ps."""
    from sponge.analysis.motion import squared_displacements

    pieces = positions.split(max(round(2e4 / interval), 2))
    pieces = [piece for piece in pieces if len(piece) == len(pieces[0])]
    squared = torch.stack([squared_displacements(piece).mean(1) for piece in pieces]).mean(0)
    lags = interval * torch.arange(len(squared)).double()
    inside = (lags >= 1e3) & (lags <= 6e3)
    x, y = lags[inside] - lags[inside].mean(), squared[inside] - squared[inside].mean()
    return float((x * y).sum() / (x * x).sum()) / 6.0


def lennard_jones(steps: int) -> list[Row]:
    """Returns the rows of both state points."""
    rows = []
    for density, (energy, of_pressure, of_diffusion) in STATES.items():
        low, high = (averages(density, REDUCED + shift, steps, seed) for shift, seed in ((-0.01, 1), (0.01, 2)))
        share = (REDUCED - low.temperature[0]) / (high.temperature[0] - low.temperature[0])
        case = f"Lennard-Jones fluid, rho* = {density:g}, T* = {REDUCED:g}"
        extra = {"T* of the runs": f"{low.temperature[0]:.4f}, {high.temperature[0]:.4f}", "steps": 2 * steps}
        for name, reference, gate in zip(("energy", "pressure"), (energy, of_pressure), GATES, strict=True):
            pair = getattr(low, name), getattr(high, name)
            value = pair[0][0] + share * (pair[1][0] - pair[0][0])
            error = math.hypot((1.0 - share) * pair[0][1], share * pair[1][1])
            symbol = "U*" if name == "energy" else "p*"
            rows.append(
                Row(case=f"{case}: {symbol}", measured=value, reference=reference, gate=f"+- {gate:g}",
                    ok=abs(value - reference) <= gate, extra=extra | {"standard error": error})
            )  # fmt: skip
        value = low.diffusion + share * (high.diffusion - low.diffusion)
        rows.append(
            Row(case=f"{case}: D*", measured=value, reference=of_diffusion, gate="+- 5 %",
                ok=abs(value / of_diffusion - 1.0) <= 0.05, extra=extra)
        )  # fmt: skip
    return rows


def drift(steps: int) -> list[Row]:
    """Returns the slope of the total energy of the fluid with forces that end smoothly, in float64."""
    system, forces = fluid(0.840, lennard_jones="force_shift")
    with torch.no_grad():
        system = forces(maxwell_boltzmann(system, temperature=2.0 * REDUCED * KELVIN, seed=5))
        _, seen = rollout(velocity_verlet(forces), system, n_steps=steps, dt=DT * TIME, observe=_energy, every=50)
    total = seen["total"][len(seen["total"]) // 20 :] / (EPSILON * system.n_atoms)
    x = torch.arange(len(total)).double()
    x = x - x.mean()
    slope = float((x * (total - total.mean())).sum() / (x * x).sum()) / 50.0 * 1e5
    return [
        Row(case="Lennard-Jones fluid, float64: drift of the energy", measured=slope,
            unit="epsilon per atom in 1e5 steps", gate="below 1e-5", ok=abs(slope) < 1e-5,
            extra={"steps": steps})
    ]  # fmt: skip


def _energy(system: System) -> dict[str, Tensor]:
    return {"total": (system.energy + kinetic_energy(system))[0]}


def liquids(data: Path | None, steps: int = 60_000) -> list[Row]:
    """Returns the rows of the fluid; it needs no data."""
    return [*drift(100_000), *lennard_jones(steps)]
