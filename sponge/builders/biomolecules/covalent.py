"""Covalent terms of a structure whose atoms have kinds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mindsci.errors import InputError
from mindsci.units import KJ_PER_MOL_EV
from sponge.builders.biomolecules.assignment import Assignment
from sponge.builders.biomolecules.neighborhood import Neighborhood
from sponge.builders.biomolecules.structure import Structure
from sponge.builders.biomolecules.templates import NANOMETRE
from sponge.builders.biomolecules.terms import Entry, ImproperTable, Parameters, Table
from sponge.builders.gromacs.terms import of_powers
from sponge.topology import HarmonicAngles, HarmonicBonds, HarmonicImpropers, PeriodicTorsions, TorsionMaps

STIFF = KJ_PER_MOL_EV / NANOMETRE**2
"""kJ/mol/nm^2 [eV/angstrom^2]"""
CARBON = 6
Rows = list[tuple[Any, ...]]


def covalent_terms(found: Assignment, around: Neighborhood, parameters: Parameters) -> dict[str, Any]:
    """Returns the parts of a `Topology` that bonds make.

    Raises InputError for a bond, angle or dihedral without parameters.
    """
    bonds = _looked_up(parameters.bonds, around.bonds, found, "bond")
    angles = _looked_up(parameters.angles, around.angles, found, "angle")
    urey = _looked_up(parameters.urey_bradley, around.angles, found)
    periodic = _looked_up(parameters.torsions, around.torsions, found, wildcards_last=True)
    powers = _looked_up(parameters.powers, around.torsions, found, wildcards_last=True)
    _check_torsions(found, around, {atoms for atoms, _ in periodic + powers})
    waves = _waves(periodic) + _powers(powers)
    impropers = _waves(_impropers(parameters.impropers, around, found))
    impropers += _powers(_impropers(parameters.power_impropers, around, found))
    harmonic = [(atoms, *entry.values) for atoms, entry in _impropers(parameters.harmonic_impropers, around, found)]
    return {
        "bonds": _bonds([(atoms, *entry.values) for atoms, entry in bonds], STIFF),
        "angles": _angles([(atoms, *entry.values) for atoms, entry in angles]),
        # The energy of these is k (r - d)^2, without a half.
        "urey_bradley": _bonds([((a[0], a[2]), *entry.values) for a, entry in urey], 2.0 * STIFF),
        "torsions": _torsions(waves),
        "impropers": _torsions(impropers),
        "harmonic_impropers": _harmonic(harmonic),
        "torsion_maps": _maps(found, around, parameters),
    }


def _looked_up(
    table: Table,
    terms: Sequence[tuple[int, ...]],
    found: Assignment,
    needed: str = "",
    *,
    wildcards_last: bool = False,
) -> list[tuple[tuple[int, ...], Entry]]:
    kept = []
    for atoms in terms:
        kinds = tuple(found.kinds[atom] for atom in atoms)
        entry = table.find(kinds, wildcards_last=wildcards_last)
        if entry is not None:
            kept.append((atoms, entry))
        elif needed:
            raise InputError(_missing(found.structure, needed, atoms, kinds))
    return kept


def _check_torsions(found: Assignment, around: Neighborhood, known: set[tuple[int, ...]]) -> None:
    for atoms in around.torsions:
        if atoms not in known:
            kinds = [found.kinds[atom] for atom in atoms]
            raise InputError(_missing(found.structure, "dihedral", atoms, kinds))


def _missing(structure: Structure, term: str, atoms: Sequence[int], kinds: Sequence[str]) -> str:
    named = ", ".join(structure.name_atom(atom) for atom in atoms)
    return (
        f"the force field has no {term} of the types {'-'.join(kinds)} (atoms {named}); give the file that has it too, "
        "an entry of zeros, or correct the bonds of the structure"
    )


def _impropers(table: ImproperTable, around: Neighborhood, found: Assignment) -> list[tuple[tuple[int, ...], Entry]]:
    kept = []
    for centre in around.centres if table.entries else []:
        match = table.find(tuple(found.kinds[atom] for atom in centre))
        if match is not None:
            entry, order = match
            three = (centre[order[0]], centre[order[1]], centre[order[2]])
            kept.append((ordered_improper(centre[0], three, entry, found), entry))
    return kept


def ordered_improper(
    centre: int, others: tuple[int, int, int], entry: Entry, found: Assignment
) -> tuple[int, int, int, int]:
    """Returns the four atoms of an improper in the order that its angle is taken in; others are those of the entry.

    "charmm": the centre first, as the entry has them. "amber" and "default" put it third; which comes first is told by
    residues, places in templates and elements where the entry leaves a choice, as OpenMM does [Eastman2023].
    """
    if entry.ordering == "charmm" and entry.specific:
        return (centre, *others)
    if entry.ordering == "amber":
        second, third, fourth = _amber_order(others, entry, found)
        return second, third, centre, fourth
    first, second, last = others
    numbers = found.structure.atomic_numbers
    one, two = int(numbers[first]), int(numbers[second])
    if one == two:
        first, second = min(first, second), max(first, second)
    elif one != CARBON and (two == CARBON or one < two):
        first, second = second, first
    return first, second, centre, last


def _amber_order(others: tuple[int, int, int], entry: Entry, found: Assignment) -> tuple[int, int, int]:
    """Atoms alike (of one kind; with wildcards, of one element) in the order of residues and templates."""

    def rank(atom: int) -> tuple[int, int]:
        return int(found.structure.residue_of_atom[atom]), found.place[atom]

    def alike(one: int, other: int) -> bool:
        if entry.specific:
            return kind[one] == kind[other]
        return element[one] == element[other]

    atoms = list(others)
    kind = [found.kinds[atom] for atom in atoms]
    element = [int(found.structure.atomic_numbers[atom]) for atom in atoms]
    for one, other in ((0, 2), (1, 2)):
        if alike(one, other) and rank(atoms[one]) > rank(atoms[other]):
            atoms[one], atoms[other] = atoms[other], atoms[one]
    if (not entry.specific or alike(0, 1)) and rank(atoms[0]) > rank(atoms[1]):
        atoms[0], atoms[1] = atoms[1], atoms[0]
    return atoms[0], atoms[1], atoms[2]


def _waves(found: list[tuple[tuple[int, ...], Entry]]) -> Rows:
    rows: Rows = []
    for atoms, entry in found:
        for at in range(0, len(entry.values), 3):
            periodicity, phase, barrier = entry.values[at : at + 3]
            if barrier != 0.0:
                rows.append((atoms, round(periodicity), phase, barrier))
    return rows


def _powers(found: list[tuple[tuple[int, ...], Entry]]) -> Rows:
    return [(atoms, *row) for atoms, entry in found for row in of_powers(list(entry.values))]


def _numbers(rows: Rows, column: int, unit: float = 1.0) -> Tensor:
    return unit * torch.tensor([row[column] for row in rows], dtype=torch.float64)


def _bonds(rows: Rows, unit: float) -> HarmonicBonds | None:
    rows = [row for row in rows if row[2] != 0.0]
    if not rows:
        return None
    atoms = torch.tensor([row[0] for row in rows])
    return HarmonicBonds(atoms=atoms, length=_numbers(rows, 1, NANOMETRE), stiffness=_numbers(rows, 2, unit))


def _angles(rows: Rows) -> HarmonicAngles | None:
    if not rows:
        return None
    atoms = torch.tensor([row[0] for row in rows])
    return HarmonicAngles(atoms=atoms, angle=_numbers(rows, 1), stiffness=_numbers(rows, 2, KJ_PER_MOL_EV))


def _torsions(rows: Rows) -> PeriodicTorsions | None:
    if not rows:
        return None
    return PeriodicTorsions(
        atoms=torch.tensor([row[0] for row in rows]),
        periodicity=torch.tensor([row[1] for row in rows]),
        phase=_numbers(rows, 2),
        barrier=_numbers(rows, 3, KJ_PER_MOL_EV),
    )


def _harmonic(rows: Rows) -> HarmonicImpropers | None:
    if not rows:
        return None
    return HarmonicImpropers(
        atoms=torch.tensor([row[0] for row in rows]),
        angle=_numbers(rows, 1),
        # The energy of these is k (theta - theta0)^2, without a half.
        stiffness=_numbers(rows, 2, 2.0 * KJ_PER_MOL_EV),
    )


def _maps(found: Assignment, around: Neighborhood, parameters: Parameters) -> TorsionMaps | None:
    rows = []
    for chain in around.chains if parameters.maps.entries else []:
        entry = parameters.maps.find(tuple(found.kinds[atom] for atom in chain))
        if entry is not None:
            rows.append((chain[:4] + chain[1:], int(entry.values[0])))
    if not rows:
        return None
    used = sorted({which for _, which in rows})
    return TorsionMaps(
        atoms=torch.tensor([atoms for atoms, _ in rows]),
        table=torch.tensor([used.index(which) for _, which in rows]),
        grids=[torch.from_numpy(KJ_PER_MOL_EV * parameters.grids[which]) for which in used],
    )
