"""Amber's topology files (prmtop, parm7) as sections of numbers and words, units as in the file [Case2023]."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from mindsci.errors import InputError, StorageError
from mindsci.tree import Tree

POINTERS = (
    "atoms types bonds_hydrogen bonds_heavy angles_hydrogen angles_heavy torsions_hydrogen torsions_heavy _ _ "
    "exclusions residues _ _ _ bond_types angle_types torsion_types _ _ perturbed _ _ _ _ _ _ box _ cap extra"
)
REQUIRED = (
    "POINTERS ATOM_NAME CHARGE MASS ATOM_TYPE_INDEX NUMBER_EXCLUDED_ATOMS EXCLUDED_ATOMS_LIST NONBONDED_PARM_INDEX "
    "RESIDUE_LABEL RESIDUE_POINTER BOND_FORCE_CONSTANT BOND_EQUIL_VALUE ANGLE_FORCE_CONSTANT ANGLE_EQUIL_VALUE "
    "DIHEDRAL_FORCE_CONSTANT DIHEDRAL_PERIODICITY DIHEDRAL_PHASE LENNARD_JONES_ACOEF LENNARD_JONES_BCOEF "
    "BONDS_INC_HYDROGEN BONDS_WITHOUT_HYDROGEN ANGLES_INC_HYDROGEN ANGLES_WITHOUT_HYDROGEN DIHEDRALS_INC_HYDROGEN "
    "DIHEDRALS_WITHOUT_HYDROGEN"
)
NUMBERS = {"I": numpy.int64, "E": numpy.float64, "F": numpy.float64}


class Prmtop(Tree):
    """The sections of a prmtop by the name of their flag."""

    path: Path
    sections: dict[str, NDArray[Any]]
    pointers: dict[str, int]

    def __getitem__(self, flag: str) -> NDArray[Any]:
        return self.sections[flag]

    def get(self, *flags: str) -> NDArray[Any] | None:
        """Returns the first of the sections that the file has, or None."""
        return next((self.sections[flag] for flag in flags if flag in self.sections), None)

    def rows(self, flag: str, width: int) -> NDArray[Any]:
        """Returns a section as rows of so many numbers; no rows where the file lacks it."""
        values = self.sections.get(flag, numpy.zeros(0, dtype=numpy.int64))
        if len(values) % width:
            raise InputError(f"'{self.path}': {flag} has {len(values)} numbers, not a multiple of {width}")
        return values.reshape(-1, width)


def read_prmtop(path: Path | str) -> Prmtop:
    """Returns the sections of a file, checked for the ones that every force field needs.

    Raises StorageError for a file that is missing, InputError for one that is no prmtop or is cut short.
    """
    path = Path(path)
    if not path.is_file():
        raise StorageError(f"the topology file '{path}' does not exist; give the path of a prmtop or parm7 file")
    text = path.read_text(encoding="latin-1")
    sections = {}
    for block in re.split(r"^%FLAG ", text, flags=re.MULTILINE)[1:]:
        head, _, rest = block.partition("\n")
        sections[head.strip()] = _values(path, head.strip(), rest)
    missing = [flag for flag in REQUIRED.split() if flag not in sections]
    if missing:
        raise InputError(
            f"'{path}' is not a whole prmtop of Amber 7 or later: it lacks {', '.join(missing)}; write it again with "
            "tleap, ParmEd or chamber"
        )
    pointers = dict(zip(POINTERS.split(), (int(value) for value in sections["POINTERS"]), strict=False))
    read = Prmtop(path=path, sections=sections, pointers=pointers)
    _check_lengths(read)
    return read


def _values(path: Path, flag: str, rest: str) -> NDArray[Any]:
    lines = [line for line in rest.split("\n") if not line.startswith("%COMMENT")]
    form = re.match(r"%FORMAT\s*\(\s*\d*\s*\(?([aAiIeEfF])(\d+)[.\d]*\s*\)", lines[0]) if lines else None
    if form is None:
        # Formats of several kinds, as (i2,a78), hold remarks only.
        return numpy.array([line.strip() for line in lines[1:] if line.strip()])
    kind, width = form[1].upper(), int(form[2])
    if kind == "A":
        wide = [line.ljust(-(-len(line) // width) * width) for line in lines[1:] if line.strip()]
        return numpy.array([line[at : at + width].strip() for line in wide for at in range(0, len(line), width)])
    fields = [line[at : at + width] for line in lines[1:] for at in range(0, len(line.rstrip()), width)]
    try:
        return numpy.array([field.replace("D", "E") for field in fields if field.strip()]).astype(NUMBERS[kind])
    except ValueError as error:
        raise InputError(f"'{path}': section {flag} holds what is no number ({error})") from None


def _check_lengths(prmtop: Prmtop) -> None:
    n_atoms, count = prmtop.pointers["atoms"], prmtop.pointers
    expected = {
        **dict.fromkeys(("CHARGE", "MASS", "ATOM_TYPE_INDEX", "NUMBER_EXCLUDED_ATOMS"), n_atoms),
        "NONBONDED_PARM_INDEX": count["types"] ** 2,
        "RESIDUE_POINTER": count["residues"],
        "BONDS_INC_HYDROGEN": 3 * count["bonds_hydrogen"],
        "BONDS_WITHOUT_HYDROGEN": 3 * count["bonds_heavy"],
        "ANGLES_INC_HYDROGEN": 4 * count["angles_hydrogen"],
        "ANGLES_WITHOUT_HYDROGEN": 4 * count["angles_heavy"],
        "DIHEDRALS_INC_HYDROGEN": 5 * count["torsions_hydrogen"],
        "DIHEDRALS_WITHOUT_HYDROGEN": 5 * count["torsions_heavy"],
        "EXCLUDED_ATOMS_LIST": int(prmtop["NUMBER_EXCLUDED_ATOMS"].sum()),
    }
    for flag, size in expected.items():
        if len(prmtop[flag]) != size:
            raise InputError(
                f"'{prmtop.path}': {flag} has {len(prmtop[flag])} numbers, its POINTERS ask for {size}; the file is "
                "cut short or was edited by hand"
            )
