"""Which template a residue is: by its elements and bonds, whatever its atoms are called."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy

from mindsci.errors import InputError, UnknownNameError
from sponge.builders.biomolecules.definitions import ForceFieldFiles
from sponge.builders.biomolecules.patches import patched_templates
from sponge.builders.biomolecules.structure import Structure
from sponge.builders.biomolecules.templates import ResidueTemplate

ROUNDS = 4
"""of refinement of colours, before atoms are tried one by one"""


class Graph(NamedTuple):
    """The real atoms of a residue or template: names, elements, bonds within, number of bonds to others."""

    name: str
    names: tuple[str, ...]
    elements: tuple[int, ...]
    bonds: tuple[tuple[int, int], ...]
    external: tuple[int, ...]

    @property
    def neighbors(self) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in self.names]
        for i, j in self.bonds:
            found[i].append(j)
            found[j].append(i)
        return found


class Match(NamedTuple):
    """A template, and which of its atoms each atom of the residue is."""

    template: ResidueTemplate
    atoms: tuple[int, ...]


def match_residues(
    structure: Structure, force_field: ForceFieldFiles, chosen: Mapping[str, str] | None = None
) -> list[Match]:
    """Returns the template of each residue; `chosen` names those that are not told by the structure ("A:12": "FE2").

    Raises InputError for a residue that no template fits, and where several do that differ in kinds or charges.
    """
    chosen = {} if chosen is None else chosen
    search = TemplateSearch(force_field)
    known: dict[tuple[Graph, str | None], Match] = {}
    labels = [structure.label_of(number) for number in range(len(structure.residues))]
    for label in chosen:
        if label not in labels:
            raise UnknownNameError.of("residue", label, labels)
    found = []
    for number, graph in enumerate(residue_graphs(structure)):
        wanted = chosen.get(labels[number])
        if (graph, wanted) not in known:
            known[graph, wanted] = search.match(graph, wanted, structure.name_residue(number))
        found.append(known[graph, wanted])
    return found


def residue_graphs(structure: Structure) -> list[Graph]:
    """Returns the graph of each residue of a structure."""
    starts, owner = structure.starts, structure.residue_of_atom
    external = numpy.zeros(structure.n_atoms, dtype=numpy.int64)
    within: list[list[tuple[int, int]]] = [[] for _ in structure.residues]
    for i, j in structure.bonds.tolist():
        if owner[i] == owner[j]:
            start = int(starts[owner[i]])
            within[owner[i]].append((i - start, j - start))
        else:
            external[[i, j]] += 1
    graphs = []
    for number, record in enumerate(structure.residues):
        atoms = slice(int(starts[number]), int(starts[number + 1]))
        graphs.append(
            Graph(
                name=record.name,
                names=structure.atom_names[atoms],
                elements=tuple(structure.atomic_numbers[atoms].tolist()),
                bonds=tuple(within[number]),
                external=tuple(external[atoms].tolist()),
            )
        )
    return graphs


def template_graph(template: ResidueTemplate, lightest: int = 1) -> tuple[Graph, list[int]]:
    """Returns the graph of the atoms from an element on, without sites, and their numbers in the template."""
    real = [number for number, atom in enumerate(template.atoms) if atom.atomic_number >= lightest]
    place = {number: index for index, number in enumerate(real)}
    bonds = tuple(sorted((place[i], place[j]) for i, j in template.bonds if i in place and j in place))
    return Graph(
        name=template.name,
        names=tuple(template.atoms[number].name for number in real),
        elements=tuple(template.atoms[number].atomic_number for number in real),
        bonds=bonds,
        external=tuple(template.external[number] for number in real),
    ), real


def same_graph(residue: Graph, other: Graph) -> tuple[int, ...] | None:
    """Returns which atom of the other each atom of the residue is, if the two are one graph; else None.

    Where a symmetry leaves a choice, atoms of the same name go together.
    """
    if sorted(residue.elements) != sorted(other.elements) or len(residue.bonds) != len(other.bonds):
        return None
    colors, theirs = _colors(residue), _colors(other)
    if sorted(colors) != sorted(theirs):
        return None
    near, near_other = residue.neighbors, [set(atoms) for atoms in other.neighbors]
    order = _connected_order(near)
    where = {name: number for number, name in enumerate(other.names)}
    candidates = []
    for atom in range(len(colors)):
        fitting = [number for number, color in enumerate(theirs) if color == colors[atom]]
        twin = where.get(residue.names[atom])
        candidates.append(sorted(fitting, key=lambda number, twin=twin: (number != twin, number)))  # type: ignore[misc]
    taken: dict[int, int] = {}
    choices = [iter(candidates[order[0]])] if order else []
    while choices:
        atom = order[len(choices) - 1]
        taken.pop(atom, None)
        used = set(taken.values())
        fixed = [taken[one] for one in near[atom] if one in taken]
        for number in choices[-1]:
            if number not in used and all(one in near_other[number] for one in fixed):
                taken[atom] = number
                break
        if atom not in taken:
            choices.pop()
        elif len(taken) == len(order):
            return tuple(taken[one] for one in range(len(order)))
        else:
            choices.append(iter(candidates[order[len(choices)]]))
    return None


def _colors(graph: Graph) -> list[int]:
    near = graph.neighbors
    colors = [
        hash((element, len(atoms), out))
        for element, atoms, out in zip(graph.elements, near, graph.external, strict=True)
    ]
    for _ in range(ROUNDS):
        colors = [hash((color, *sorted(colors[i] for i in atoms))) for color, atoms in zip(colors, near, strict=True)]
    return colors


def _connected_order(near: list[list[int]]) -> list[int]:
    """Atoms such that each has a neighbour before it, where it has any; the first of alike ones stays the first."""
    order: list[int] = []
    seen: set[int] = set()
    for start in range(len(near)):
        pending = deque([start])
        while pending:
            atom = pending.popleft()
            if atom not in seen:
                seen.add(atom)
                order.append(atom)
                pending += near[atom]
    return order


class TemplateSearch:
    """Templates by what they consist of; patched ones are made when no other fits.

    Args:
        force_field: that has them.
        hydrogens: whether they are told by all their atoms, or by the heavy ones.
    """

    def __init__(self, force_field: ForceFieldFiles, *, hydrogens: bool = True) -> None:
        self.force_field, self.lightest = force_field, 1 if hydrogens else 2
        self.levels = [self._indexed(force_field.templates.values())]

    def _indexed(self, templates: Iterable[ResidueTemplate]) -> dict[tuple[int, ...], list[ResidueTemplate]]:
        index: dict[tuple[int, ...], list[ResidueTemplate]] = {}
        for template in templates:
            elements = tuple(
                sorted(atom.atomic_number for atom in template.atoms if atom.atomic_number >= self.lightest)
            )
            index.setdefault(elements, []).append(template)
        return index

    def match(self, graph: Graph, wanted: str | None, label: str) -> Match:
        templates = self.force_field.templates
        if wanted is not None:
            if wanted not in templates:
                raise UnknownNameError.of("residue template", wanted, list(templates))
            found = self._fitting(graph, [templates[wanted]])
            if not found:
                raise InputError(f"{label} is no {wanted}: {difference(graph, templates[wanted], self.lightest)}")
            return found[0]
        found = self.matches(graph)
        if not found:
            raise InputError(self.unmatched(graph, label))
        return _one_of(graph, found, label)

    def matches(self, graph: Graph) -> list[Match]:
        """Returns every template that fits; with one patch or two where none does without."""
        elements = tuple(sorted(graph.elements))
        for level in range(3):
            if level == len(self.levels):
                patched = patched_templates(self.force_field.templates, self.force_field.patches, level)
                self.levels.append(self._indexed(patched))
            found = self._fitting(graph, self.levels[level].get(elements, []))
            if found:
                return found
        return []

    def _fitting(self, graph: Graph, templates: list[ResidueTemplate]) -> list[Match]:
        found = []
        for template in templates:
            other, real = template_graph(template, self.lightest)
            atoms = same_graph(graph, other)
            if atoms is not None:
                found.append(Match(template, tuple(real[number] for number in atoms)))
        return found

    def unmatched(self, graph: Graph, label: str) -> str:
        """Returns what to say of a residue that nothing fits."""
        templates = self.force_field.templates
        named = [name for name in (graph.name, f"N{graph.name}", f"C{graph.name}") if name in templates]
        if not named:
            near = sorted(
                templates, key=lambda name: len(set(graph.names) ^ set(template_graph(templates[name])[0].names))
            )
            closest = (
                f", and the nearest is {near[0]}: {difference(graph, templates[near[0]], self.lightest)}"
                if near
                else ""
            )
            return f"no template of the force field is {label}; none has its name{closest}. Give a file that has it"
        best = min(named, key=lambda name: len(set(graph.names) ^ {atom.name for atom in templates[name].atoms}))
        differs = difference(graph, templates[best], self.lightest)
        return f"no template of the force field is {label}; beside {best}, {differs}"


def _one_of(graph: Graph, found: list[Match], label: str) -> Match:
    """The match of the residue's own name, or any where all say the same of every atom."""
    for name in (graph.name, f"N{graph.name}", f"C{graph.name}"):
        for match in found:
            if match.template.name == name:
                return match

    def says(match: Match) -> list[tuple[str, dict[str, float]]]:
        atoms = [match.template.atoms[number] for number in match.atoms]
        return [(atom.kind, atom.values) for atom in atoms]

    if any(says(match) != says(found[0]) for match in found[1:]):
        names = ", ".join(match.template.name for match in found)
        raise InputError(f"{label} may be {names}, which differ; name one in `templates`, by chain and number")
    return found[0]


def difference(graph: Graph, template: ResidueTemplate, lightest: int) -> str:
    """What a residue has more or less than a template, in words."""
    other = template_graph(template, lightest)[0]
    has, wants = set(graph.names), set(other.names)
    missing, extra = sorted(wants - has), sorted(has - wants)
    parts = []
    if len(wants) != len(has) or Counter(graph.elements) != Counter(other.elements):
        if missing:
            parts.append(f"it lacks {', '.join(missing)}")
        if extra:
            parts.append(f"it has {', '.join(extra)} more")
        if missing and all(name.startswith(("H", "1H", "2H", "3H")) for name in missing):
            parts.append("add_hydrogens adds hydrogens")
    elif len(graph.bonds) != len(other.bonds):
        parts.append(f"it has {len(graph.bonds)} bonds, not {len(other.bonds)}")
    outside = [(name, n) for name, n in zip(graph.names, graph.external, strict=True) if n]
    expected = [(name, n) for name, n in zip(other.names, other.external, strict=True) if n]
    if outside != expected and sorted(outside) != sorted(expected):
        ours, theirs = (", ".join(name for name, _ in one) or "no atom" for one in (outside, expected))
        parts.append(f"bonds to other residues leave from {ours}, not from {theirs}")
        if {name for name, _ in expected} - {name for name, _ in outside} == {"C"}:
            parts.append("close_chains ends a chain that breaks off")
    return "; ".join(parts) or "its bonds differ"
