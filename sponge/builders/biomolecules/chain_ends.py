"""Ends of peptide chains that a structure leaves open."""

from __future__ import annotations

import numpy

from mindsci import tree
from sponge.builders.assembly import sorted_pairs
from sponge.builders.biomolecules.structure import Structure

CARBOXYLATE = 1.25
"""C-O in a carboxylate [angstrom]"""


def close_chains(structure: Structure) -> Structure:
    """Returns the structure with a second oxygen, OXT, on each carbonyl carbon of a residue without a successor.

    So a chain that the experiment lost sight of ends in a carboxylate, charged; what stood there is not known. The
    carbons are those named C that are bonded to CA and O alone.
    """
    near: list[list[int]] = [[] for _ in range(structure.n_atoms)]
    for i, j in structure.bonds.tolist():
        near[i].append(j)
        near[j].append(i)
    names = structure.atom_names
    open_ends = [
        atom
        for atom in range(structure.n_atoms)
        if names[atom] == "C" and {names[one] for one in near[atom]} == {"CA", "O"}
    ]
    if not open_ends:
        return structure
    places = []
    for atom in open_ends:
        bonds = [structure.positions[one] - structure.positions[atom] for one in near[atom]]
        back = -sum(bond / numpy.linalg.norm(bond) for bond in bonds)
        places.append(structure.positions[atom] + CARBOXYLATE * back / numpy.linalg.norm(back))
    starts = structure.starts
    behind = [int(starts[structure.residue_of_atom[atom] + 1]) for atom in open_ends]
    n_old = structure.n_atoms
    order = numpy.argsort(numpy.concatenate([numpy.arange(n_old), numpy.array(behind) - 0.5]), kind="stable")
    new = numpy.argsort(order)
    bonds = numpy.array([[atom, n_old + k] for k, atom in enumerate(open_ends)])
    all_names = (*names, *("OXT" for _ in open_ends))
    residues = structure.residue_of_atom
    return tree.replace(
        structure,
        atom_names=tuple(all_names[one] for one in order),
        atomic_numbers=numpy.concatenate([structure.atomic_numbers, numpy.full(len(open_ends), 8)])[order],
        residue_of_atom=numpy.concatenate([residues, residues[open_ends]])[order],
        positions=numpy.concatenate([structure.positions, numpy.array(places)])[order],
        bonds=sorted_pairs(new[numpy.concatenate([structure.bonds, bonds])], len(order)).numpy(),
    )
