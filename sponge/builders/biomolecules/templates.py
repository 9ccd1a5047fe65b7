"""Templates of residues: kinds and charges of their atoms, bonds within and to other residues, virtual sites."""

from __future__ import annotations

import xml.etree.ElementTree as xml
from typing import NamedTuple

NANOMETRE = 10.0
"""[angstrom]"""


class AtomKind(NamedTuple):
    """A kind ("type") of atoms and the group ("class") of kinds that it belongs to."""

    name: str
    group: str
    atomic_number: int
    """0 of a virtual site"""
    mass: float
    """[Da]"""


class TemplateAtom(NamedTuple):
    """An atom of a template; `values` are attributes that forces may ask for, as its charge."""

    name: str
    kind: str
    atomic_number: int
    values: dict[str, float]


class SiteRule(NamedTuple):
    """Where a virtual site lies, as `sponge.topology.VirtualSites` has it; atoms are numbers in the template."""

    site: int
    parents: tuple[int, int, int]
    weights: tuple[float, float, float]
    cross: float
    """[1/angstrom]"""


class ResidueTemplate(NamedTuple):
    """What a residue of one name consists of."""

    name: str
    atoms: tuple[TemplateAtom, ...]
    bonds: frozenset[tuple[int, int]]
    external: tuple[int, ...]
    """of each atom, the number of its bonds to other residues"""
    sites: tuple[SiteRule, ...]
    override: int = 0


def read_atom(element: xml.Element, kinds: dict[str, AtomKind], name: str) -> TemplateAtom:
    """Returns the atom of a template or a patch."""
    kind = element.attrib["type"]
    if kind not in kinds:
        raise ValueError(f"the type {kind} of the atom {name} is not defined; give the file that defines it too")
    values = {key: float(value) for key, value in element.attrib.items() if key not in ("name", "type")}
    return TemplateAtom(name=name, kind=kind, atomic_number=kinds[kind].atomic_number, values=values)


def _ordered(first: int, second: int) -> tuple[int, int]:
    return (first, second) if first < second else (second, first)


def read_templates(element: xml.Element, kinds: dict[str, AtomKind], templates: dict[str, ResidueTemplate]) -> None:
    """Adds the templates of a Residues element; one of a higher `override` takes the place of another."""
    for residue in element.findall("Residue"):
        name = residue.attrib["name"]
        atoms = tuple(read_atom(one, kinds, one.attrib["name"]) for one in residue.findall("Atom"))
        place = {atom.name: number for number, atom in enumerate(atoms)}
        if len(place) != len(atoms):
            raise ValueError(f"two atoms of the residue {name} have the same name")
        if residue.find("Constraint") is not None:
            raise ValueError(f"the residue {name} has constraints of its own, which are not known here")
        bonds = frozenset(
            _ordered(*_ends(one, place, ("atomName1", "atomName2"), ("from", "to"))) for one in residue.findall("Bond")
        )
        external = [0] * len(atoms)
        for one in residue.findall("ExternalBond"):
            external[_ends(one, place, ("atomName",), ("from",))[0]] += 1
        template = ResidueTemplate(
            name=name,
            atoms=atoms,
            bonds=bonds,
            external=tuple(external),
            sites=tuple(_site(one, place) for one in residue.findall("VirtualSite")),
            override=int(residue.attrib.get("override", "0")),
        )
        known = templates.get(name)
        if known is not None and known.override == template.override:
            raise ValueError(f"the residue {name} is defined twice; take one of the files out")
        if known is None or known.override < template.override:
            templates[name] = template


def _ends(element: xml.Element, place: dict[str, int], names: tuple[str, ...], numbers: tuple[str, ...]) -> list[int]:
    """Atoms that an element gives by name or, in older files, by number."""
    if names[0] in element.attrib:
        return [place[element.attrib[name]] for name in names]
    return [int(element.attrib[number]) for number in numbers]


def _site(element: xml.Element, place: dict[str, int]) -> SiteRule:
    values, kind = element.attrib, element.attrib["type"]
    count = {"average2": 2, "average3": 3, "outOfPlane": 3}.get(kind)
    if count is None:
        raise ValueError(f"a virtual site is of the kind {kind}, which is not linear in three parents")
    keys = tuple(f"atomName{k}" for k in range(1, count + 1))
    parents = _ends(element, place, keys, tuple(f"atom{k}" for k in range(1, count + 1)))
    site = _ends(element, place, ("siteName",), ("index",))[0]
    if kind == "outOfPlane":
        b, c = float(values["weight12"]), float(values["weight13"])
        weights, cross = (1.0 - b - c, b, c), float(values["weightCross"]) / NANOMETRE
    else:
        given = [float(values[f"weight{k}"]) for k in range(1, count + 1)]
        weights, cross = (given[0], given[1], given[2] if count == 3 else 0.0), 0.0
    if int(values.get("excludeWith", parents[0])) != parents[0]:
        raise ValueError("a virtual site shares the exclusions of another atom than its first parent")
    return SiteRule(site=site, parents=(parents[0], parents[1], parents[-1]), weights=weights, cross=cross)
