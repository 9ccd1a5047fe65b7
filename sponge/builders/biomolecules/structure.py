"""What a structure file says of molecules: atoms in residues, where they are, which are bonded."""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray

from mindsci import tree
from mindsci.tree import Tree
from sponge.topology import Residue


class Structure(Tree):
    """Atoms with names, elements, residues, positions and bonds; no parameters yet.

    Atoms of a residue lie together. Residues are numbered in the order of the file.
    """

    atom_names: tuple[str, ...]
    atomic_numbers: NDArray[numpy.int64]
    """0 of a site without an element"""
    residues: tuple[Residue, ...]
    residue_of_atom: NDArray[numpy.int64]
    """ascending"""
    positions: NDArray[numpy.float64]
    """[angstrom], (atoms, 3)"""
    bonds: NDArray[numpy.int64]
    """pairs of atoms, first < second, sorted, each once"""
    cell: NDArray[numpy.float64] | None = None
    """row vectors [angstrom]"""

    @property
    def n_atoms(self) -> int:
        return len(self.atom_names)

    @property
    def starts(self) -> NDArray[numpy.int64]:
        """First atom of each residue, and the number of atoms at the end."""
        return numpy.searchsorted(self.residue_of_atom, numpy.arange(len(self.residues) + 1))

    def name_residue(self, residue: int) -> str:
        """Returns "ALA 2, chain A": how messages name residues."""
        record = self.residues[residue]
        chain = f", chain {record.chain}" if record.chain.strip() else ""
        return f"{record.name} {record.number}{chain}"

    def name_atom(self, atom: int) -> str:
        """Returns "CA of ALA 2, chain A": how messages name atoms."""
        return f"{self.atom_names[atom]} of {self.name_residue(int(self.residue_of_atom[atom]))}"

    def label_of(self, residue: int) -> str:
        """Returns "A:2", chain and number: how a caller names a residue; "2" where chains have no name."""
        record = self.residues[residue]
        return f"{record.chain}:{record.number}" if record.chain.strip() else record.number


def take_atoms(structure: Structure, kept: NDArray[numpy.bool_]) -> Structure:
    """Returns the structure with some of its atoms; residues that lose all of theirs go too."""
    index = numpy.cumsum(kept) - 1
    whole = kept[structure.bonds].all(1) if len(structure.bonds) else numpy.zeros(0, dtype=bool)
    used, residue_of_atom = numpy.unique(structure.residue_of_atom[kept], return_inverse=True)
    return tree.replace(
        structure,
        atom_names=tuple(name for name, keep in zip(structure.atom_names, kept, strict=True) if keep),
        atomic_numbers=structure.atomic_numbers[kept],
        residues=tuple(structure.residues[number] for number in used),
        residue_of_atom=residue_of_atom.astype(numpy.int64),
        positions=structure.positions[kept],
        bonds=index[structure.bonds[whole]].reshape(-1, 2),
    )


def join_structures(*structures: Structure) -> Structure:
    """Returns the atoms of several structures, one after the other; the cell is that of the first."""
    atoms = numpy.cumsum([0, *(one.n_atoms for one in structures)])
    residues = numpy.cumsum([0, *(len(one.residues) for one in structures)])

    def stacked(name: str, shift: NDArray[numpy.int64] | None = None) -> Any:
        parts = [getattr(one, name) for one in structures]
        return numpy.concatenate(parts if shift is None else [a + b for a, b in zip(parts, shift[:-1], strict=True)])

    return Structure(
        atom_names=tuple(name for one in structures for name in one.atom_names),
        atomic_numbers=stacked("atomic_numbers"),
        residues=tuple(residue for one in structures for residue in one.residues),
        residue_of_atom=stacked("residue_of_atom", residues),
        positions=stacked("positions"),
        bonds=stacked("bonds", atoms),
        cell=structures[0].cell,
    )
