"""Forces and virials against differences of the energy.

Four values a derivative, (-e(2h) + 8 e(h) - 8 e(-h) + e(-2h)) / 12 h: errs by h^4, so that 1e-3 angstrom and a strain
of 1e-4 leave 1e-9 of the largest force, and what is left is rounding of the energy.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from mindsci import tree
from mindsci.report import Row
from sponge.builders import from_amber
from sponge.forcefield import ForceField, Options
from sponge.neighbors import Neighbors, neighbor_list
from sponge.neighbors.lists import all_pairs
from sponge.potentials.potential import differentiate
from sponge.system import System
from sponge.topology import Topology
from sponge.validation.references import open_options
from sponge.validation.rows import below, lacking

SOLUTE, ANY = 6, 6
"""atoms that are moved of each system, at random: of its first 22, and of all"""
SMOOTH = Options(
    cutoff=8.0,
    lennard_jones="switch",
    switch_from=6.0,
    long_range_correction=True,
    coulomb="pme",
    ewald_coefficient=0.65,
    ewald_reach=6.5,
    grid=(36, 36, 36),
)
"""Neither sum jumps at its end by more than 1e-11, which a difference would see: hence a large alpha"""
EWALD = tree.replace(SMOOTH, coulomb="ewald")
CASES = {
    "ala3 in water, CHARMM, PME": ("openmm_systems/ala3_solv.parm7", ".crd", SMOOTH, 33.0),
    "216 waters, Ewald": ("openmmtools/watbox216.prmtop", ".crd", EWALD, 18.77),
    "ala3, CHARMM22": ("parmed_amber/ala_ala_ala.parm7", ".rst7", open_options(), None),
    "ash, ff10": ("parmed_amber/ash.parm7", ".rst7", open_options(), None),
}
"""topology, suffix of the coordinates, sums, and side of the cell where the files have none [angstrom]"""


def derivative(energy: Callable[[float], float], step: float) -> float:
    """Returns the derivative at 0 by four values."""
    near, far = energy(step) - energy(-step), energy(2.0 * step) - energy(-2.0 * step)
    return (8.0 * near - far) / (12.0 * step)


def force_error(field: ForceField, system: System, neighbors: Neighbors, atoms: list[int]) -> float:
    """Returns the largest error of a component of a force over the largest component."""
    forces = differentiate(field, system, neighbors).forces
    worst = 0.0
    for atom in atoms:
        for axis in range(3):

            def energy(step: float, atom: int = atom, axis: int = axis) -> float:
                moved = system.positions.clone()
                moved[atom, axis] += step
                return float(field(tree.replace(system, positions=moved), neighbors).sum())

            worst = max(worst, abs(float(forces[atom, axis]) + derivative(energy, 1e-3)))
    return worst / float(forces.abs().max())


def virial_error(field: ForceField, system: System, neighbors: Neighbors) -> float:
    """Returns the largest error of a component of the virial over the largest component."""
    virial = differentiate(field, system, neighbors, virial=True).virial
    assert virial is not None
    worst = 0.0
    for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):

        def energy(step: float, i: int = i, j: int = j) -> float:
            strain = torch.zeros((3, 3), dtype=torch.float64)
            strain[i, j] += 0.5 * step
            strain[j, i] += 0.5 * step
            deform = torch.eye(3, dtype=torch.float64) + strain
            moved = tree.replace(system, positions=system.positions @ deform, cell=system.cell @ deform)
            return float(field(moved, neighbors).sum())

        worst = max(worst, abs(float(virial[0, i, j]) + derivative(energy, 1e-4)))
    return worst / float(virial.abs().max())


def derivatives(data: Path | None) -> list[Row]:
    """Returns the rows of forces, 1e-7 of the largest, and virials, 1e-6 of the largest component."""
    rows = []
    for case, (name, suffix, options, side) in CASES.items():
        restart = str(Path(name).with_suffix(suffix))
        absent = lacking(f"{case}: derivatives", data, name, restart)
        if absent is not None or data is None:
            rows += [] if absent is None else [absent]
            continue
        cell = None if side is None else side * torch.eye(3, dtype=torch.float64)
        system, topology = from_amber(
            data / name, data / restart, periodic=options.coulomb != "all", rigid_water=False, cell=cell
        )
        rows += derivative_rows(case, system, topology, options)
    return rows


def derivative_rows(case: str, system: System, topology: Topology, options: Options) -> list[Row]:
    """Returns the two rows of a system, or the one of an open system's forces."""
    periodic = bool(system.periodic.any())
    if periodic:
        # Whoever comes within the cutoff by a step is on the list.
        neighbors = neighbor_list(system, options.cutoff + 0.1, half=True)
    else:
        neighbors = all_pairs(system, half=True)
    field = ForceField(topology, options)
    generator = torch.Generator().manual_seed(0)
    some = torch.randperm(min(22, system.n_atoms), generator=generator)[:SOLUTE]
    chosen = torch.cat([some, torch.randperm(system.n_atoms, generator=generator)[:ANY]]).unique().tolist()
    found = force_error(field, system, neighbors, chosen)
    rows = [below(f"{case}: forces against differences of the energy", found, 1e-7, "of the largest")]
    if periodic:
        error = virial_error(field, system, neighbors)
        rows.append(below(f"{case}: virial against strains", error, 1e-6, "of the largest"))
    return rows
