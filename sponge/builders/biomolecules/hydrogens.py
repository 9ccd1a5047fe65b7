"""Hydrogens that a structure lacks: which ones, by the templates of a force field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy

from mindsci import tree
from mindsci.errors import InputError, UnknownNameError
from sponge.builders.assembly import sorted_pairs
from sponge.builders.biomolecules.definitions import ForceFieldFiles, read_force_field
from sponge.builders.biomolecules.hydrogen_places import Site, place_hydrogens
from sponge.builders.biomolecules.matching import Match, TemplateSearch, residue_graphs
from sponge.builders.biomolecules.structure import Structure, take_atoms
from sponge.builders.biomolecules.templates import NANOMETRE

USUAL = {"HIS": ("HIE", "HSE", "HID", "HSD")}
"""What residues of several forms are at pH 7, where their name does not say: the proton on the epsilon nitrogen, unless
the delta one has it in the file"""
USUAL_PATCHES = ("NTER", "GLYP", "PROP", "CTER")
"""Ends of chains at pH 7, of force fields that make them by patches"""
LENGTHS = {6: 1.09, 7: 1.01, 8: 0.96, 16: 1.34}
"""[angstrom], where the force field has no bond"""


class _Residue(NamedTuple):
    match: Match
    heavy: list[int]
    """atoms of the structure that the match is about"""


def add_hydrogens(
    structure: Structure,
    force_field: Sequence[Path | str] | Path | str | ForceFieldFiles,
    *,
    variants: Mapping[str, str] | None = None,
) -> Structure:
    """Returns the structure with the hydrogens of its templates; those that are there stay where they are.

    A residue takes the form that its hydrogens tell, else that of its name, histidine that with a proton on the epsilon
    nitrogen; `variants` names others by chain and number: {"A:57": "HIP", "A:102": "ASH"}, and hydrogens that such a
    form lacks are taken away. Cysteines whose sulphurs are bonded have none there. Angles are ideal, lengths the force
    field's; hydroxyls and waters turn to where there is room: minimise before a run. Raises InputError for a residue
    whose heavy atoms no template has.
    """
    files = force_field if isinstance(force_field, ForceFieldFiles) else read_force_field(force_field)
    residues = _residues(structure, files, {} if variants is None else variants)
    surplus = _surplus(structure, residues)
    if surplus.any():
        structure = take_atoms(structure, ~surplus)
        residues = _residues(structure, files, {} if variants is None else variants)
    sites = _sites(structure, residues, files)
    places = place_hydrogens(structure, sites)
    return _with_atoms(structure, sites, places)


def _residues(structure: Structure, files: ForceFieldFiles, variants: Mapping[str, str]) -> list[_Residue]:
    heavy = structure.atomic_numbers != 1
    bare = take_atoms(structure, heavy)
    number_of = heavy.nonzero()[0]
    labels = [structure.label_of(number) for number in range(len(structure.residues))]
    for label in variants:
        if label not in labels:
            raise UnknownNameError.of("residue", label, labels)
    if len(bare.residues) != len(structure.residues):
        raise InputError("a residue has hydrogens alone; take it out of the structure, or give it its heavy atoms")
    search = TemplateSearch(files, hydrogens=False)
    starts, found = bare.starts, []
    known: dict[object, Match] = {}
    present = _present(structure)
    for number, graph in enumerate(residue_graphs(bare)):
        wanted = variants.get(labels[number])
        atoms = number_of[int(starts[number]) : int(starts[number + 1])].tolist()
        counts = tuple(len(present.get(atom, ())) for atom in atoms)
        key = (graph, wanted, counts)
        if key not in known:
            matches = search.matches(graph)
            if not matches:
                raise InputError(search.unmatched(graph, structure.name_residue(number)))
            if wanted is None:
                matches = _keeping(matches, counts)
            known[key] = _chosen(matches, graph.name, wanted, structure.name_residue(number))
        found.append(_Residue(known[key], atoms))
    return found


def _keeping(matches: list[Match], counts: tuple[int, ...]) -> list[Match]:
    """The matches that lose the fewest of the hydrogens that are there: they tell the form of a residue."""

    def lost(match: Match) -> int:
        wanted = _wanted(match)
        return sum(max(0, here - len(wanted[number])) for here, number in zip(counts, match.atoms, strict=True))

    least = min(lost(match) for match in matches)
    return [match for match in matches if lost(match) == least]


def _chosen(matches: list[Match], name: str, wanted: str | None, label: str) -> Match:
    """The match of the form that is wanted, else of the residue's name, else the usual one."""
    names = [match.template.name for match in matches]
    for form in (wanted,) if wanted is not None else (name, *USUAL.get(name, ())):
        exact = [f"{end}{form}" for end in ("", "N", "C")]
        exact += [f"{form}+{patch}" for patch in USUAL_PATCHES]
        exact += [one for one in names if one.split("+")[0] == form]
        for one in exact:
            if one in names:
                return matches[names.index(one)]
    if wanted is not None:
        raise InputError(f"{label} cannot be {wanted}; its heavy atoms and bonds are those of {', '.join(names)}")
    counts = {sum(atom.atomic_number == 1 for atom in match.template.atoms) for match in matches}
    if len(counts) > 1:
        raise InputError(f"{label} may be {', '.join(names)}; name one in `variants`, by chain and number")
    return matches[0]


def _wanted(match: Match) -> dict[int, list[int]]:
    """Hydrogens of each atom of a template."""
    atoms = match.template.atoms
    found: dict[int, list[int]] = {number: [] for number in range(len(atoms))}
    for pair in sorted(match.template.bonds):
        for heavy, hydrogen in (pair, pair[::-1]):
            if atoms[hydrogen].atomic_number == 1 and atoms[heavy].atomic_number > 1:
                found[heavy].append(hydrogen)
    return found


def _present(structure: Structure) -> dict[int, list[int]]:
    """Hydrogens of each heavy atom of a structure."""
    found: dict[int, list[int]] = {}
    for pair in structure.bonds.tolist():
        for heavy, hydrogen in (pair, pair[::-1]):
            if structure.atomic_numbers[hydrogen] == 1 and structure.atomic_numbers[heavy] > 1:
                found.setdefault(heavy, []).append(hydrogen)
    return found


def _surplus(structure: Structure, residues: list[_Residue]) -> numpy.ndarray:
    """Hydrogens that the templates do not have, the last ones of an atom, and those without a heavy atom."""
    surplus = structure.atomic_numbers == 1
    present = _present(structure)
    for residue in residues:
        wanted = _wanted(residue.match)
        for atom, number in zip(residue.heavy, residue.match.atoms, strict=True):
            surplus[present.get(atom, [])[: len(wanted[number])]] = False
    return surplus


def _sites(structure: Structure, residues: list[_Residue], files: ForceFieldFiles) -> list[Site]:
    """Heavy atoms that lack hydrogens."""
    present = _present(structure)
    neighbors: list[list[int]] = [[] for _ in range(structure.n_atoms)]
    for i, j in structure.bonds.tolist():
        neighbors[i].append(j)
        neighbors[j].append(i)
    coordination = numpy.zeros(structure.n_atoms, dtype=numpy.int64)
    lacking: list[tuple[int, int, list[str], Match]] = []
    for residue in residues:
        wanted, atoms = _wanted(residue.match), residue.match.template.atoms
        for atom, number in zip(residue.heavy, residue.match.atoms, strict=True):
            here = present.get(atom, [])
            heavy = len(neighbors[atom]) - len(here)
            coordination[atom] = heavy + len(wanted[number])
            if len(here) < len(wanted[number]):
                taken = {structure.atom_names[one] for one in here}
                names = [atoms[one].name for one in wanted[number]]
                names = [name for name in names if name not in taken][: len(wanted[number]) - len(here)]
                lacking.append((atom, number, names, residue.match))
    sites = []
    for atom, number, names, match in lacking:
        hydrogen = _wanted(match)[number][-1]
        kinds = (match.template.atoms[number].kind, match.template.atoms[hydrogen].kind)
        entry = files.parameters.bonds.find(kinds, wildcards_last=False)
        usual = LENGTHS.get(int(structure.atomic_numbers[atom]), 1.0)
        length = usual if entry is None else NANOMETRE * entry.values[0]
        sites.append(
            Site(
                atom=atom,
                names=tuple(names),
                length=length,
                coordination=int(coordination[atom]),
                neighbors=tuple(neighbors[atom]),
                planar_neighbor=any(
                    structure.atomic_numbers[one] == 6 and coordination[one] == 3 for one in neighbors[atom]
                ),
                beyond=tuple(two for one in neighbors[atom][:1] for two in neighbors[one] if two != atom),
            )
        )
    return sites


def _with_atoms(structure: Structure, sites: list[Site], places: list[numpy.ndarray]) -> Structure:
    """The structure with new hydrogens behind the atoms that they are bonded to."""
    parent = numpy.array([site.atom for site in sites for _ in site.names], dtype=numpy.int64)
    if not len(parent):
        return structure
    n_old = structure.n_atoms
    names = [*structure.atom_names, *(name for site in sites for name in site.names)]
    key = numpy.concatenate([numpy.arange(n_old), parent])
    order = numpy.argsort(key, kind="stable")
    new = numpy.empty(len(order), dtype=numpy.int64)
    new[order] = numpy.arange(len(order))
    added = numpy.arange(n_old, n_old + len(parent))
    bonds = numpy.concatenate([structure.bonds, numpy.stack([parent, added], axis=1)])
    return tree.replace(
        structure,
        atom_names=tuple(names[one] for one in order),
        atomic_numbers=numpy.concatenate([structure.atomic_numbers, numpy.ones(len(parent), dtype=numpy.int64)])[order],
        residue_of_atom=numpy.concatenate([structure.residue_of_atom, structure.residue_of_atom[parent]])[order],
        positions=numpy.concatenate([structure.positions, *places])[order],
        bonds=sorted_pairs(new[bonds], len(order)).numpy(),
    )
