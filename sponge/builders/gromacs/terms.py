"""The bonded terms of a GROMACS molecule, parameters found by the types of its atoms [Abraham2015]."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy
import torch
from torch import Tensor

from mindsci.errors import InputError
from mindsci.units import KJ_PER_MOL_EV
from sponge.builders.gromacs.atoms import NANOMETRE, Atoms
from sponge.builders.gromacs.lines import Line
from sponge.builders.gromacs.parameters import Force, MoleculeType
from sponge.topology import (
    DistanceConstraints,
    HarmonicAngles,
    HarmonicBonds,
    HarmonicImpropers,
    PeriodicTorsions,
    TorsionMaps,
)

STIFFNESS = KJ_PER_MOL_EV / NANOMETRE**2
"""1 kJ/mol/nm^2 [eV/angstrom^2]"""
Rows = dict[str, list[tuple[Any, ...]]]
"""kind of term -> rows of atoms and parameters in our units"""
COUNTS = {
    "bondtypes": {"1": 2, "6": 2, "5": 0},
    "angletypes": {"1": 2, "5": 4},
    "dihedraltypes": {"1": 3, "9": 3, "4": 3, "2": 2, "3": 6, "5": 4},
    "constrainttypes": {"1": 1, "2": 1},
}
"""how many parameters each function has; more are those of a second state"""
LINKS = {"bonds": ("1", "5"), "constraints": ("1",)}
"""functions that are covalent bonds, and reckon in exclusions"""


def bonded_terms(force: Force, molecule: MoleculeType, atoms: Atoms) -> dict[str, Any]:
    """Returns the bonded records of a molecule by their name in a topology."""
    rows: Rows = {}
    for section, read in READERS.items():
        width, table = SHAPES[section]
        for line in molecule.sections.get(section, []):
            which = numbers_of(line, width, atoms)
            function = line.words[width]
            if function not in COUNTS[table]:
                raise InputError(
                    f"'{line.where}': function {function} of [ {section} ], of {_names(atoms, which)}, is not known "
                    "here; use a force field of harmonic and periodic terms"
                )
            for values in _parameters(force, table, function, which, line, width, atoms):
                read(rows, which, function, values)
    return _records(rows) | {"torsion_maps": _maps(force, molecule, atoms)}


def numbers_of(line: Line, width: int, atoms: Atoms) -> tuple[int, ...]:
    """Returns the atoms that a line names, counted from 0."""
    found = tuple(int(word) - 1 for word in line.words[:width])
    if len(found) < width or min(found) < 0 or max(found) >= len(atoms.types):
        raise InputError(
            f"'{line.where}': {' '.join(line.words)} names no {width} of the molecule's {len(atoms.types)} atoms"
        )
    return found


def _parameters(
    force: Force, table: str, function: str, which: tuple[int, ...], line: Line, width: int, atoms: Atoms
) -> list[list[float]]:
    """Those of the line itself, else of its types; each of the terms that a dihedral sums."""
    needed = COUNTS[table][function]
    own = line.words[width + 1 :]
    types = tuple(atoms.bonded[atom] for atom in which)
    found = [own] if own or needed == 0 else force.find(table, function, types)
    if found is None:
        raise InputError(
            f"'{line.where}': [ {table} ] has no parameters of function {function} for the types {'-'.join(types)} of "
            f"{_names(atoms, which)}; add them to the force field, or to the line"
        )
    return [parameters(values, needed, line, f"{_names(atoms, which)} ({'-'.join(types)})") for values in found]


def parameters(words: list[str], needed: int, line: Line, what: str) -> list[float]:
    """Returns numbers. Raises InputError for too few, and for what is no number: a macro without a value, say."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) < needed:
        raise InputError(
            f"'{line.where}': the parameters of {what} are {needed} numbers, not '{' '.join(words)}'; a name among "
            "them is a macro that no #define gives a value"
        )
    return values


def _names(atoms: Atoms, which: tuple[int, ...]) -> str:
    return ", ".join(atoms.name(atom) for atom in which)


def _bond(rows: Rows, which: tuple[int, ...], function: str, values: list[float]) -> None:
    kind = {"1": "bonds", "6": "bonds", "5": None}[function]
    if kind:
        rows.setdefault(kind, []).append((which, NANOMETRE * values[0], STIFFNESS * values[1]))


def _angle(rows: Rows, which: tuple[int, ...], function: str, values: list[float]) -> None:
    with_spring = {"1": False, "5": True}[function]
    rows.setdefault("angles", []).append((which, math.radians(values[0]), KJ_PER_MOL_EV * values[1]))
    if with_spring and values[3] != 0.0:
        ends = (which[0], which[2])
        rows.setdefault("urey_bradley", []).append((ends, NANOMETRE * values[2], STIFFNESS * values[3]))


def _dihedral(rows: Rows, which: tuple[int, ...], function: str, values: list[float]) -> None:
    form = {"1": "torsions", "9": "torsions", "4": "impropers", "2": "harmonic", "3": "powers", "5": "fourier"}[
        function
    ]
    if form == "harmonic":
        rows.setdefault("harmonic_impropers", []).append((which, math.radians(values[0]), KJ_PER_MOL_EV * values[1]))
    elif form in ("powers", "fourier"):
        for periodicity, phase, barrier in {"powers": of_powers, "fourier": _of_fourier}[form](values):
            rows.setdefault("torsions", []).append((which, periodicity, phase, KJ_PER_MOL_EV * barrier))
    else:
        phase, barrier, periodicity = values[:3]
        rows.setdefault(form, []).append((which, round(periodicity), math.radians(phase), KJ_PER_MOL_EV * barrier))


def of_powers(values: list[float]) -> list[tuple[int, float, float]]:
    """Rows n, phase, barrier of Ryckaert and Bellemans' sum of C_n cos^n(phi - 180 degrees) [Ryckaert1975]."""
    # Chebyshev's polynomials: cos(n psi) as polynomials of cos(psi); psi = phi - pi turns the sign of odd n.
    waves = numpy.polynomial.chebyshev.poly2cheb(values[:6])
    waves = waves * (-1.0) ** numpy.arange(len(waves))
    constant = waves[0] - waves[1:].sum()
    rows = [(n, 0.0, float(wave)) for n, wave in enumerate(waves) if n > 0 and wave != 0.0]
    return [*rows, (0, 0.0, 0.5 * float(constant))]


def _of_fourier(values: list[float]) -> list[tuple[int, float, float]]:
    """Rows of 1/2 (F1 (1 + cos phi) + F2 (1 - cos 2 phi) + F3 (1 + cos 3 phi) + F4 (1 - cos 4 phi))."""
    return [(n, 0.0 if n % 2 else math.pi, 0.5 * value) for n, value in enumerate(values[:4], 1)]


def _constraint(rows: Rows, which: tuple[int, ...], function: str, values: list[float]) -> None:
    rows.setdefault({"1": "constraints", "2": "constraints"}[function], []).append((which, NANOMETRE * values[0]))


READERS: dict[str, Callable[[Rows, tuple[int, ...], str, list[float]], None]] = {
    "bonds": _bond,
    "angles": _angle,
    "dihedrals": _dihedral,
    "constraints": _constraint,
}
SHAPES = {
    "bonds": (2, "bondtypes"),
    "angles": (3, "angletypes"),
    "dihedrals": (4, "dihedraltypes"),
    "constraints": (2, "constrainttypes"),
}
RECORDS: dict[str, tuple[Any, ...]] = {
    "bonds": (HarmonicBonds, "length", "stiffness"),
    "urey_bradley": (HarmonicBonds, "length", "stiffness"),
    "angles": (HarmonicAngles, "angle", "stiffness"),
    "torsions": (PeriodicTorsions, "periodicity", "phase", "barrier"),
    "impropers": (PeriodicTorsions, "periodicity", "phase", "barrier"),
    "harmonic_impropers": (HarmonicImpropers, "angle", "stiffness"),
    "constraints": (DistanceConstraints, "length"),
}


def _records(rows: Rows) -> dict[str, Any]:
    made = {}
    for kind, terms in rows.items():
        record, *names = RECORDS[kind]
        atoms, *columns = zip(*terms, strict=True)
        values = {name: _column(name, column) for name, column in zip(names, columns, strict=True)}
        made[kind] = record(atoms=torch.tensor(atoms), **values)
    return made


def _column(name: str, values: tuple[Any, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64 if name == "periodicity" else torch.float64)


def _maps(force: Force, molecule: MoleculeType, atoms: Atoms) -> TorsionMaps | None:
    lines = molecule.sections.get("cmap", [])
    grids: list[Tensor] = []
    place: dict[tuple[str, ...], int] = {}
    rows = []
    for line in lines:
        which = numbers_of(line, 5, atoms)
        types = tuple(atoms.bonded[atom] for atom in which)
        found = force.tables.get("cmaptypes", {}).get((line.words[5], *types))
        if found is None:
            raise InputError(
                f"'{line.where}': [ cmaptypes ] has no map for the types {'-'.join(types)} of {_names(atoms, which)}; "
                "include the force field that has it"
            )
        if types not in place:
            place[types] = len(grids)
            size, other, *values = found[0]
            if size != other or len(values) != int(size) ** 2:
                raise InputError(f"the map of {'-'.join(types)} is no square of {size} x {other} numbers")
            grid = numpy.array([float(word) for word in values]).reshape(int(size), int(size))
            # The file's axes start at -180 degrees, the second one runs fastest.
            grid = numpy.roll(grid, (-(int(size) // 2),) * 2, axis=(0, 1))
            grids.append(torch.from_numpy(KJ_PER_MOL_EV * grid))
        rows.append(([which[k] for k in (0, 1, 2, 3, 1, 2, 3, 4)], place[types]))
    if not rows:
        return None
    chosen, table = zip(*rows, strict=True)
    return TorsionMaps(atoms=torch.tensor(chosen), table=torch.tensor(table), grids=grids)
