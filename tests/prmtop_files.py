"""Small topology files of Amber for tests: sections as numbers, written in the columns of the format."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_prmtop(path: Path, sections: dict[str, list[Any]]) -> Path:
    """Writes sections; integers, numbers and words each in Amber's own columns."""
    lines = ["%VERSION  VERSION_STAMP = V0001.000  DATE = 01/01/26  00:00:00"]
    for flag, values in sections.items():
        if values and isinstance(values[0], str):
            form, cells, row = "20a4", [f"{value:<4}" for value in values], 20
        elif values and isinstance(values[0], float):
            form, cells, row = "5E16.8", [f"{value:16.8E}" for value in values], 5
        else:
            form, cells, row = "10I8", [f"{value:8d}" for value in values], 10
        body = ["".join(cells[at : at + row]) for at in range(0, len(cells), row)] or [""]
        lines += [f"%FLAG {flag}", f"%FORMAT({form})", *body]
    path.write_text("\n".join(lines) + "\n")
    return path


def water(n_sites: int, *, length: float = 0.125, hydrogen_bond: bool = True) -> dict[str, list[Any]]:
    """Sections of one rigid water, with no, one or two extra points."""
    n_atoms = 3 + n_sites
    names = ["O", "H1", "H2", "EP1", "EP2"][:n_atoms]
    bonds = [[0, 3, 1], [0, 6, 1]] + ([[3, 6, 2]] if hydrogen_bond else [])
    bonds += [[0, 3 * site, 3] for site in range(3, n_atoms)]
    pointers = [0] * 31
    pointers[0:3] = [n_atoms, 3, len(bonds)]
    pointers[11] = 1
    pointers[10] = n_atoms * (n_atoms - 1) // 2 + 1
    excluded = [later for atom in range(n_atoms) for later in (list(range(atom + 2, n_atoms + 1)) or [0])]
    return {
        "TITLE": ["WAT"],
        "POINTERS": pointers,
        "ATOM_NAME": names,
        "CHARGE": [18.2223 * q for q in (0.0, 0.5, 0.5, -0.5, -0.5)][:n_atoms],
        "MASS": [16.0, 1.008, 1.008, 3.0, 3.0][:n_atoms],
        "ATOM_TYPE_INDEX": [1, 2, 2, 3, 3][:n_atoms],
        "NUMBER_EXCLUDED_ATOMS": [max(n_atoms - 1 - atom, 1) for atom in range(n_atoms)],
        "NONBONDED_PARM_INDEX": [1, 2, 4, 2, 3, 5, 4, 5, 6],
        "RESIDUE_LABEL": ["WAT"],
        "RESIDUE_POINTER": [1],
        "BOND_FORCE_CONSTANT": [553.0, 553.0, 553.0],
        "BOND_EQUIL_VALUE": [0.9572, 1.5136, length],
        "ANGLE_FORCE_CONSTANT": [],
        "ANGLE_EQUIL_VALUE": [],
        "DIHEDRAL_FORCE_CONSTANT": [],
        "DIHEDRAL_PERIODICITY": [],
        "DIHEDRAL_PHASE": [],
        "LENNARD_JONES_ACOEF": [6e5, 0.0, 0.0, 0.0, 0.0, 0.0],
        "LENNARD_JONES_BCOEF": [6e2, 0.0, 0.0, 0.0, 0.0, 0.0],
        "BONDS_INC_HYDROGEN": [number for bond in bonds for number in bond],
        "BONDS_WITHOUT_HYDROGEN": [],
        "ANGLES_INC_HYDROGEN": [],
        "ANGLES_WITHOUT_HYDROGEN": [],
        "DIHEDRALS_INC_HYDROGEN": [],
        "DIHEDRALS_WITHOUT_HYDROGEN": [],
        "EXCLUDED_ATOMS_LIST": excluded,
        "AMBER_ATOM_TYPE": ["OW", "HW", "HW", "EP", "EP"][:n_atoms],
    }


def write_inpcrd(path: Path, positions: list[list[float]], *more: list[list[float]]) -> Path:
    """Writes positions and, if given, velocities and a box, six numbers a line."""
    lines = ["title", f"{len(positions):5d}"]
    for block in (positions, *more):
        values = [value for row in block for value in row]
        lines += ["".join(f"{v:12.7f}" for v in values[at : at + 6]) for at in range(0, len(values), 6)]
    path.write_text("\n".join(lines) + "\n")
    return path
