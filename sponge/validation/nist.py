"""NIST's reference configurations of a Lennard-Jones fluid and of SPC/E water, and their printed energies.

Standard Reference Simulation Website (nist.gov/mml/csd/chemical-informatics-group). Components are printed to five or
six digits; the total of the water is a difference of terms of 1e6, so that its last digits are lost.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy
import torch

from mindsci.report import Row
from sponge import system as systems
from sponge.forcefield import ForceField, Options
from sponge.neighbors import neighbor_list
from sponge.system import System
from sponge.topology import Nonbonded, Topology
from sponge.validation.rows import lacking, relative

BOLTZMANN = 1.3806488e-23 / 1.602176565e-19
"""[eV/K], CODATA 2010, as the reference has it"""
COULOMB = 1.602176565e-19 / (4.0 * math.pi * 8.854187817e-12) * 1e10
"""[eV angstrom], CODATA 2010"""
LENNARD_JONES = {
    1: {3.0: (-4351.5, -198.49), 4.0: (-4467.5, -83.769), "shifted": (-3870.9,)},
    4: {3.0: (-16.790, -0.54517), 4.0: (-17.060, -0.23008), "shifted": (-15.001,)},
}
"""of each configuration at a cutoff: energy and long-range correction; with a linear force shift at 3"""
COMPONENTS = (
    "lennard_jones",
    "long_range_correction",
    "coulomb_real",
    "coulomb_reciprocal",
    "coulomb_self",
    "coulomb_excluded",
)
WATER = {
    1: (9.95387e4, -8.23715e2, -5.58889e5, 6.27009e3, -2.84469e6, 2.80999e6),
    2: (1.93712e5, -3.29486e3, -1.19295e6, 6.03495e3, -5.68938e6, 5.61998e6),
}
"""[K], the components in their order"""
TOTALS = {1: -4.88604e5, 2: -1.06590e6}


def fluid(folder: Path, number: int) -> tuple[System, Topology]:
    """Returns a configuration of the Lennard-Jones fluid, in reduced units."""
    lines = (folder / f"lj_sample_config_periodic{number}.txt").read_text().split("\n")
    side = float(lines[0].split()[0])
    positions = torch.tensor(numpy.array([line.split()[1:4] for line in lines[2:] if line.strip()], dtype=float))
    n = len(positions)
    one = torch.ones((1, 1)).double()
    nonbonded = Nonbonded(
        charges=torch.zeros(n).double(),
        kind=torch.zeros(n, dtype=torch.int64),
        sigma=one,
        epsilon=one,
        exclusions=torch.zeros((0, 2), dtype=torch.int64),
    )
    return _periodic(positions, torch.full((n,), 18), side), Topology(n_atoms=n, nonbonded=nonbonded)


def water(folder: Path, number: int) -> tuple[System, Topology]:
    """Returns a configuration of SPC/E water."""
    lines = (folder / f"spce_sample_config_periodic{number}.txt").read_text().split("\n")
    fields = [line.split() for line in lines[2:] if line.strip()]
    positions = torch.tensor([[float(x) for x in row[1:4]] for row in fields]).double()
    oxygen = torch.tensor([row[4] == "O" for row in fields])
    first = torch.arange(0, len(fields), 3)
    exclusions = torch.stack([torch.stack([first + i, first + j], 1) for i, j in ((0, 1), (0, 2), (1, 2))], 1)
    nonbonded = Nonbonded(
        charges=torch.where(oxygen, -0.8476, 0.4238).double(),
        kind=torch.where(oxygen, 0, 1),
        sigma=torch.full((2, 2), 3.16555789).double(),
        epsilon=torch.tensor([[78.19743111 * BOLTZMANN, 0.0], [0.0, 0.0]]).double(),
        exclusions=exclusions.reshape(-1, 2),
    )
    system = _periodic(positions, torch.where(oxygen, 8, 1), 20.0)
    return system, Topology(n_atoms=len(fields), nonbonded=nonbonded)


def water_options() -> Options:
    """Returns how the reference sums: alpha = 5.6 / L, k^2 < 27 in whole numbers, both parts cut at 10 angstrom."""
    return Options(
        cutoff=10.0,
        long_range_correction=True,
        coulomb="ewald",
        ewald_coefficient=5.6 / 20.0,
        ewald_reach=2.0 * math.pi / 20.0 * math.sqrt(26.5),
        coulomb_constant=COULOMB,
    )


def energies(system: System, topology: Topology, options: Options) -> dict[str, float]:
    """Returns each term [eV] by name, with a list made for the cutoff."""
    neighbors = neighbor_list(system, options.cutoff, half=True)
    found = ForceField(topology, options).energies(system, neighbors)
    return {name: float(energy.detach()) for name, energy in found.items()}


def nist(data: Path | None) -> list[Row]:
    """Returns the rows of both fluids: every printed component to 1e-5 relative, or half a unit of its last digit."""
    names = [f"nist_reference/lj_sample_config_periodic{number}.txt" for number in LENNARD_JONES]
    names += [f"nist_reference/spce_sample_config_periodic{number}.txt" for number in WATER]
    absent = lacking("NIST reference configurations", data, *names)
    if absent is not None or data is None:
        return [] if absent is None else [absent]
    folder = data / "nist_reference"
    rows = []
    for number, cutoffs in LENNARD_JONES.items():
        system, topology = fluid(folder, number)
        for cutoff, expected in cutoffs.items():
            rows += _fluid_rows(number, system, topology, cutoff, expected)
    for number, values in WATER.items():
        system, topology = water(folder, number)
        found = energies(system, topology, water_options())
        case = f"NIST SPC/E {number}"
        for name, reference in zip(COMPONENTS, values, strict=True):
            rows.append(relative(f"{case}: {name}", found[name] / BOLTZMANN, reference, 1e-5, "K"))
        rows.append(relative(f"{case}: total", sum(found.values()) / BOLTZMANN, TOTALS[number], 2e-5, "K"))
    return rows


def _fluid_rows(
    number: int, system: System, topology: Topology, cutoff: float | str, expected: tuple[float, ...]
) -> list[Row]:
    shifted = cutoff == "shifted"
    options = Options(
        cutoff=3.0 if isinstance(cutoff, str) else cutoff,
        coulomb="cutoff",
        lennard_jones="force_shift" if shifted else "cutoff",
        long_range_correction=not shifted,
    )
    found = energies(system, topology, options)
    case = f"NIST Lennard-Jones {number}, " + ("force shift at 3" if shifted else f"cutoff {cutoff:g}")
    rows = []
    for name, reference in zip(("lennard_jones", "long_range_correction"), expected, strict=False):
        # Five digits are printed: half a unit of the last.
        digit = 10.0 ** (math.floor(math.log10(abs(reference))) - 4)
        gate = max(1e-5, 0.5 * digit / abs(reference) * 1.0001)
        rows.append(relative(f"{case}: {name}", found[name], reference, gate, "epsilon"))
    return rows


def _periodic(positions: torch.Tensor, numbers: torch.Tensor, side: float) -> System:
    return systems.create(positions, numbers, cell=side * torch.eye(3).double()[None], periodic=(True,) * 3)
