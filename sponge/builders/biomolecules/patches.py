"""Patches: changes of templates at the ends of chains, at disulfides, of protonation, as CHARMM's force fields use."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as xml
from collections.abc import Iterator
from typing import NamedTuple

from sponge.builders.biomolecules.templates import AtomKind, ResidueTemplate, TemplateAtom, read_atom


class Patch(NamedTuple):
    """What a patch does to one of the residues that it joins; atoms by name."""

    added: tuple[TemplateAtom, ...]
    changed: tuple[TemplateAtom, ...]
    removed: frozenset[str]
    new_bonds: tuple[tuple[str, str], ...]
    lost_bonds: tuple[tuple[str, str], ...]
    external: dict[str, int]
    """of an atom, bonds to other residues that it gains, or loses"""


class Patches(NamedTuple):
    """Patches by name and number of the residue, and which of them a residue may take."""

    parts: dict[tuple[str, int], Patch]
    allowed: dict[str, list[tuple[str, int]]]


def read_patches(element: xml.Element, kinds: dict[str, AtomKind], patches: Patches) -> None:
    """Adds the patches of a Patches element."""
    for one in element.findall("Patch"):
        if one.find("VirtualSite") is not None:
            raise ValueError(f"the patch {one.attrib['name']} has virtual sites, which are not known here")
        for number in range(int(one.attrib.get("residues", "1"))):
            patches.parts[one.attrib["name"], number] = _part(one, number, kinds)
        for residue in one.findall("ApplyToResidue"):
            number, name = _numbered(residue.attrib["name"])
            patches.allowed.setdefault(name, []).append((one.attrib["name"], number))


def read_allowed(element: xml.Element, patches: Patches) -> None:
    """Adds what the residues of a Residues element allow: "NTER", or "DISU:2" for the second residue of a patch."""
    for residue in element.findall("Residue"):
        for one in residue.findall("AllowPatch"):
            name, _, number = one.attrib["name"].partition(":")
            patches.allowed.setdefault(residue.attrib["name"], []).append((name, int(number or 1) - 1))


def patched_templates(templates: dict[str, ResidueTemplate], patches: Patches, count: int) -> Iterator[ResidueTemplate]:
    """Yields what so many patches at once make of each template that allows them; patches that do not fit are left."""
    for name, allowed in patches.allowed.items():
        if name not in templates:
            continue
        for chosen in itertools.permutations(allowed, count):
            template: ResidueTemplate | None = templates[name]
            for patch in chosen:
                if template is not None and patch in patches.parts:
                    template = _applied(template, patches.parts[patch])
            if template is not None:
                yield template._replace(name="+".join([name, *(patch for patch, _ in chosen)]))


def _numbered(name: str) -> tuple[int, str]:
    """Number of the residue, from 0, and name, of "2:CYS" or "CYS"."""
    number, colon, rest = name.partition(":")
    return (int(number) - 1, rest) if colon else (0, name)


def _part(element: xml.Element, number: int, kinds: dict[str, AtomKind]) -> Patch:
    def atoms(tag: str) -> tuple[TemplateAtom, ...]:
        named = [(_numbered(one.attrib["name"]), one) for one in element.findall(tag)]
        return tuple(read_atom(one, kinds, name) for (which, name), one in named if which == number)

    external: dict[str, int] = {}
    for tag, change in (("AddExternalBond", 1), ("RemoveExternalBond", -1)):
        for one in element.findall(tag):
            which, name = _numbered(one.attrib["atomName"])
            if which == number:
                external[name] = external.get(name, 0) + change
    bonds: dict[str, list[tuple[str, str]]] = {"AddBond": [], "RemoveBond": []}
    for tag, change in (("AddBond", 1), ("RemoveBond", -1)):
        for one in element.findall(tag):
            ends = [_numbered(one.attrib[key]) for key in ("atomName1", "atomName2")]
            mine = [name for which, name in ends if which == number]
            if len(mine) == 2:
                bonds[tag].append((mine[0], mine[1]))
            elif mine:  # a bond to the other residue of the patch
                external[mine[0]] = external.get(mine[0], 0) + change
    removed = [_numbered(one.attrib["name"]) for one in element.findall("RemoveAtom")]
    return Patch(
        added=atoms("AddAtom"),
        changed=atoms("ChangeAtom"),
        removed=frozenset(name for which, name in removed if which == number),
        new_bonds=tuple(bonds["AddBond"]),
        lost_bonds=tuple(bonds["RemoveBond"]),
        external=external,
    )


def _applied(template: ResidueTemplate, patch: Patch) -> ResidueTemplate | None:
    names = {atom.name for atom in template.atoms}
    changed = {atom.name: atom for atom in patch.changed}
    new = {atom.name for atom in patch.added}
    if template.sites or new & (names - patch.removed) or not set(changed) | patch.removed <= names:
        return None
    atoms = [changed.get(atom.name, atom) for atom in template.atoms if atom.name not in patch.removed]
    atoms += patch.added
    place = {atom.name: number for number, atom in enumerate(atoms)}
    old = [template.atoms[i].name for i in range(len(template.atoms))]
    bonds = {frozenset((old[i], old[j])) for i, j in template.bonds}
    bonds = {bond for bond in bonds if not bond & patch.removed} - {frozenset(bond) for bond in patch.lost_bonds}
    bonds |= {frozenset(bond) for bond in patch.new_bonds}
    external = dict(zip(old, template.external, strict=True))
    for name, change in patch.external.items():
        external[name] = external.get(name, 0) + change
    if any(name not in place for bond in bonds for name in bond) or min(external.values(), default=0) < 0:
        return None
    pairs = [sorted(place[name] for name in bond) for bond in bonds]
    return template._replace(
        atoms=tuple(atoms),
        bonds=frozenset((low, high) for low, high in pairs),
        external=tuple(external.get(atom.name, 0) for atom in atoms),
    )
