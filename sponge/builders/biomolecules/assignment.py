"""Kinds and charges of the atoms of a structure, from the templates of its residues; virtual sites added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy
import torch
from numpy.typing import NDArray

from mindsci import tree
from mindsci.errors import InputError
from sponge.builders.assembly import sorted_pairs
from sponge.builders.biomolecules.definitions import ForceFieldFiles
from sponge.builders.biomolecules.matching import Match, match_residues
from sponge.builders.biomolecules.structure import Structure
from sponge.builders.biomolecules.templates import TemplateAtom
from sponge.topology import VirtualSites


class Assignment(NamedTuple):
    """What templates say of each atom."""

    structure: Structure
    """with the virtual sites, which come last in their residues"""
    kinds: list[str]
    charges: NDArray[numpy.float64]
    """[e]"""
    masses: NDArray[numpy.float64]
    """[Da]"""
    place: list[int]
    """of each atom its number in its template"""
    sites: VirtualSites | None
    parent: dict[int, int]
    """of each site its first parent"""


def assign(structure: Structure, force_field: ForceFieldFiles, chosen: Mapping[str, str] | None) -> Assignment:
    """Returns kinds, charges and sites of a structure; raises InputError where a template or a charge is missing."""
    matches = match_residues(structure, force_field, chosen)
    starts = structure.starts
    names: list[str] = []
    old: list[int] = []  # atom of the structure, -1 of a site
    numbers: list[tuple[int, int]] = []  # residue, atom of the template
    for residue, match in enumerate(matches):
        start = int(starts[residue])
        for at, number in enumerate(match.atoms):
            names.append(structure.atom_names[start + at])
            old.append(start + at)
            numbers.append((residue, number))
        for number, atom in enumerate(match.template.atoms):
            if atom.atomic_number == 0:
                names.append(atom.name)
                old.append(-1)
                numbers.append((residue, number))
    source = numpy.array(old)
    new = numpy.full(structure.n_atoms, -1)
    new[source[source >= 0]] = (source >= 0).nonzero()[0]
    whole = tree.replace(
        structure,
        atom_names=tuple(names),
        atomic_numbers=numpy.where(source >= 0, structure.atomic_numbers[source], 0),
        residue_of_atom=numpy.array([residue for residue, _ in numbers]),
        positions=numpy.where((source >= 0)[:, None], structure.positions[source], 0.0),
        bonds=sorted_pairs(new[structure.bonds], len(names)).numpy(),
    )
    atoms = [matches[residue].template.atoms[number] for residue, number in numbers]
    place = [number for _, number in numbers]
    sites, parent = _sites(matches, place, whole)
    return Assignment(
        structure=whole,
        kinds=[atom.kind for atom in atoms],
        charges=numpy.array([_charge(force_field, atom, whole, at) for at, atom in enumerate(atoms)]),
        masses=numpy.array([force_field.kinds[atom.kind].mass for atom in atoms]),
        place=place,
        sites=sites,
        parent=parent,
    )


def _charge(force_field: ForceFieldFiles, atom: TemplateAtom, structure: Structure, at: int) -> float:
    known = force_field.parameters.charges.get(atom.kind, atom.values.get("charge"))
    if known is None or atom.kind not in force_field.parameters.lennard_jones:
        missing = "charge" if known is None else "Lennard-Jones parameters"
        raise InputError(
            f"{structure.name_atom(at)} (type {atom.kind}) has no {missing} in the force field; give the file that "
            "has them too"
        )
    return known


def _sites(matches: list[Match], place: list[int], structure: Structure) -> tuple[VirtualSites | None, dict[int, int]]:
    starts = structure.starts
    rows: list[tuple[int, tuple[int, ...], tuple[float, ...], float]] = []
    for residue, match in enumerate(matches):
        if not match.template.sites:
            continue
        atoms = range(int(starts[residue]), int(starts[residue + 1]))
        where = {place[atom]: atom for atom in atoms}
        for rule in match.template.sites:
            rows.append((where[rule.site], tuple(where[one] for one in rule.parents), rule.weights, rule.cross))
    if not rows:
        return None, {}
    site, parents, weights, cross = zip(*rows, strict=True)
    record = VirtualSites(
        site=torch.tensor(site),
        parents=torch.tensor(parents),
        weights=torch.tensor(weights, dtype=torch.float64),
        cross=torch.tensor(cross, dtype=torch.float64),
    )
    return record, {one: family[0] for one, family in zip(site, parents, strict=True)}
