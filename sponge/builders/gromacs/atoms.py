"""The atoms of a GROMACS molecule, and how pairs of their types interact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy
import torch
from numpy.typing import NDArray

from mindsci.errors import InputError
from mindsci.units import KJ_PER_MOL_EV
from sponge.builders.gromacs.parameters import Force, MoleculeType
from sponge.topology import Residue, Topology

NANOMETRE = 10.0
"""[angstrom]"""


@dataclass(frozen=True)
class Atoms:
    """The atoms of one molecule."""

    types: list[str]
    bonded: list[str]
    charges: list[float]
    """[e]"""
    masses: list[float]
    """[Da]; 0 of a virtual site"""
    numbers: list[int]
    names: Topology
    """atoms and residues, to name them in messages"""

    def name(self, atom: int) -> str:
        return self.names.name_atom(atom)


def read_atoms(force: Force, molecule: MoleculeType) -> Atoms:
    """Returns the atoms; charges and masses that a line leaves out are those of its type."""
    lines = molecule.sections.get("atoms", [])
    if not lines:
        raise InputError(f"the molecule {molecule.name} has no [ atoms ]; complete its topology")
    types, charges, masses, numbers, names = [], [], [], [], []
    residues: list[Residue] = []
    owner = []
    for place, line in enumerate(lines, 1):
        words = line.words
        if int(words[0]) != place:
            raise InputError(f"'{line.where}': atom {words[0]} of {molecule.name} where {place} is due; number them on")
        kind = force.types.get(words[1])
        if kind is None:
            raise InputError(
                f"'{line.where}': atom {words[4]} of {words[3]} {words[2]} is of type {words[1]}, which no "
                "[ atomtypes ] lists; include its force field"
            )
        residue = Residue(name=words[3], number=words[2])
        if not residues or (residues[-1].name, residues[-1].number) != (residue.name, residue.number):
            residues.append(residue)
        owner.append(len(residues) - 1)
        names.append(words[4])
        types.append(words[1])
        charges.append(float(words[6]) if len(words) > 6 else kind.charge)
        mass = float(words[7]) if len(words) > 7 else kind.mass
        masses.append(0.0 if kind.site else mass)
        numbers.append(0 if kind.site else kind.number or _element(mass))
    known = Topology(
        n_atoms=len(types), atom_names=tuple(names), residues=tuple(residues), residue_of_atom=torch.tensor(owner)
    )
    bonded = [force.types[name].bonded for name in types]
    return Atoms(types=types, bonded=bonded, charges=charges, masses=masses, numbers=numbers, names=known)


def _element(mass: float) -> int:
    from ase.data import atomic_masses

    return int(numpy.abs(atomic_masses[1:104] - mass).argmin()) + 1


def lennard_jones(rule: int, first: float, second: float, where: str) -> tuple[float, float]:
    """Returns sigma [angstrom] and epsilon [eV] of the two numbers that a file gives under a combination rule."""
    if rule != 1:
        return NANOMETRE * abs(first), KJ_PER_MOL_EV * second
    if first == 0.0 and second == 0.0:
        return 0.0, 0.0
    if not (first > 0.0 and second > 0.0):
        raise InputError(
            f"{where}: C6 = {first:g} and C12 = {second:g} make no 12-6 potential; both are positive, or 0"
        )
    return NANOMETRE * (second / first) ** (1 / 6), KJ_PER_MOL_EV * first**2 / (4.0 * second)


def combined(
    rule: int, sigma: NDArray[numpy.float64], epsilon: NDArray[numpy.float64]
) -> tuple[NDArray[numpy.float64], NDArray[numpy.float64]]:
    """Returns the tables of sigma and epsilon of each pair of types; the geometric mean of C6 and C12 is both's."""
    depths = numpy.sqrt(numpy.outer(epsilon, epsilon))
    if rule == 2:
        return 0.5 * numpy.add.outer(sigma, sigma), depths
    return numpy.sqrt(numpy.outer(sigma, sigma)), depths


@dataclass(frozen=True)
class Kinds:
    """The types that a system has, and the tables of their pairs: sigma [angstrom], epsilon [eV]."""

    index: dict[str, int]
    sigma: NDArray[numpy.float64]
    epsilon: NDArray[numpy.float64]
    generated: tuple[NDArray[numpy.float64], NDArray[numpy.float64]]
    """by the combination rule alone, of which 1-4 pairs are made"""


def kinds_of(force: Force, names: list[str]) -> Kinds:
    """Returns the tables of some types, with the pairs that [ nonbond_params ] names."""
    own = [lennard_jones(force.rule, force.types[name].first, force.types[name].second, name) for name in names]
    sigma, epsilon = (numpy.array(values, dtype=float) for values in zip(*own, strict=True))
    generated = combined(force.rule, sigma, epsilon)
    tables = generated[0].copy(), generated[1].copy()
    index = {name: place for place, name in enumerate(names)}
    for (_, one, other), values in force.tables.get("nonbond_params", {}).items():
        if one in index and other in index:
            found = lennard_jones(
                force.rule, float(values[0][0]), float(values[0][1]), f"[ nonbond_params ] {one} {other}"
            )
            for table, value in zip(tables, found, strict=True):
                table[index[one], index[other]] = table[index[other], index[one]] = value
    return Kinds(index=index, sigma=tables[0], epsilon=tables[1], generated=generated)
