"""Parameters of terms, found by the kinds of their atoms: first specific entries, then those with wildcards."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as xml
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy
from numpy.typing import NDArray

from sponge.builders.biomolecules.templates import AtomKind

Pattern = tuple[frozenset[str] | None, ...]
"""of each atom the kinds that fit; None is any"""
ORDERINGS = ("default", "charmm", "amber")
HARMONIC = ("k*(theta-theta0)^2",)
"""the energy of a CustomTorsionForce that is known: CHARMM's impropers"""
SAME_SCALE = 1e-5
"""1-4 scales of files that differ by less are the same: some print 0.833333"""


class Entry(NamedTuple):
    """One row of a table: which atoms, and what for."""

    pattern: Pattern
    values: tuple[float, ...]
    ordering: str = "default"

    @property
    def specific(self) -> bool:
        return None not in self.pattern


class Table:
    """Entries of one kind of term, in the order of the files."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._found: dict[tuple[str, ...], Entry | None] = {}

    def find(self, kinds: tuple[str, ...], *, wildcards_last: bool = True) -> Entry | None:
        """Returns the first entry that fits the kinds in this order or the reverse; one without wildcards, if any.

        `wildcards_last` False takes the first of all.
        """
        if kinds not in self._found:
            fitting = (one for one in self.entries if fits(one.pattern, kinds) or fits(one.pattern, kinds[::-1]))
            self._found[kinds] = _preferred(fitting) if wildcards_last else next(fitting, None)
        return self._found[kinds]


class ImproperTable:
    """Entries about a central atom, the first of the pattern; the other three in any order."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._found: dict[tuple[str, ...], tuple[Entry, tuple[int, ...]] | None] = {}

    def find(self, kinds: tuple[str, ...]) -> tuple[Entry, tuple[int, ...]] | None:
        """Returns the entry, and which of the three others stand at its second to fourth places.

        The last entry without a wildcard holds; else the first with one.
        """
        if kinds not in self._found:
            found = None
            for entry in self.entries:
                if found is not None and not entry.specific:
                    continue
                for order in itertools.permutations((1, 2, 3)):
                    if fits(entry.pattern, (kinds[0], *(kinds[k] for k in order))):
                        found = (entry, order)
                        break
            self._found[kinds] = found
        return self._found[kinds]


def fits(pattern: Pattern, kinds: tuple[str, ...]) -> bool:
    """Returns whether kinds of atoms are those of a pattern."""
    return all(which is None or kind in which for which, kind in zip(pattern, kinds, strict=True))


def _preferred(fitting: Iterator[Entry]) -> Entry | None:
    first = None
    for entry in fitting:
        if entry.specific:
            return entry
        first = entry if first is None else first
    return first


class Parameters:
    """Tables of every kind of term, filled file after file.

    Args:
        kinds: of atoms, which entries name by kind or by group.
    """

    def __init__(self, kinds: dict[str, AtomKind]) -> None:
        self._groups: dict[str, set[str]] = {}
        for kind in kinds.values():
            self._groups.setdefault(kind.group, set()).add(kind.name)
        self.kinds = kinds
        self.bonds, self.angles, self.urey_bradley = Table(), Table(), Table()
        self.torsions, self.powers, self.maps = Table(), Table(), Table()
        self.impropers, self.power_impropers, self.harmonic_impropers = (
            ImproperTable(),
            ImproperTable(),
            ImproperTable(),
        )
        self.grids: list[NDArray[numpy.float64]] = []
        self.charges: dict[str, float] = {}
        """of kinds; of others the residue has them"""
        self.lennard_jones: dict[str, tuple[float, float]] = {}
        """sigma [nm] and epsilon [kJ/mol] of each kind"""
        self.lennard_jones_14: dict[str, tuple[float, float]] = {}
        self.special: list[tuple[frozenset[str], frozenset[str], float, float]] = []
        """pairs of kinds with sigma and epsilon of their own"""
        self.table_of_its_own = False
        """whether a LennardJonesForce stands beside the NonbondedForce"""
        self.scale_coulomb: float | None = None
        self.scale_lennard_jones: float | None = None

    def pattern(self, values: dict[str, str], count: int) -> Pattern | None:
        """Returns which kinds an element's attributes name; None where it names some that no file defines."""
        found: list[frozenset[str] | None] = []
        for number in range(1, count + 1):
            suffix = str(number) if count > 1 else ""
            group, kind = values.get(f"class{suffix}"), values.get(f"type{suffix}")
            if (group is None) == (kind is None):
                raise ValueError(f"an entry names atom {number} by {'both' if group else 'neither'} of type and class")
            if group == "" or kind == "":
                found.append(None)
            elif group is not None:
                found.append(frozenset(self._groups.get(group, ())))
            else:
                found.append(frozenset([kind] if kind in self.kinds else []))  # type: ignore[list-item]
        return None if frozenset() in found else tuple(found)

    def set_scale(self, name: str, value: float) -> None:
        """Sets a 1-4 scale; raises ValueError where files differ."""
        known = getattr(self, name)
        if known is not None and abs(known - value) > SAME_SCALE:
            raise ValueError(f"1-4 interactions are scaled by {value:g}, in another file by {known:g}; take one out")
        if known is None:
            setattr(self, name, value)


def read_terms(element: xml.Element, parameters: Parameters) -> None:
    """Adds the entries of one force's element; other elements are left alone."""
    if element.tag in READERS:
        READERS[element.tag](element, parameters)


def _columns(*names: str) -> Callable[[xml.Element], tuple[float, ...]]:
    return lambda one: tuple(float(one.attrib[name]) for name in names)


def _waves(one: xml.Element) -> tuple[float, ...]:
    """Periodicity, phase, barrier of each wave, one after the other."""
    values, found, number = one.attrib, [], 1
    while f"phase{number}" in values:
        found += [float(values[f"{name}{number}"]) for name in ("periodicity", "phase", "k")]
        number += 1
    return tuple(found)


def _add(
    table: Table | ImproperTable,
    rows: list[xml.Element],
    count: int,
    values: Callable[[xml.Element], tuple[float, ...]],
    parameters: Parameters,
    ordering: str = "default",
) -> None:
    if ordering not in ORDERINGS:
        raise ValueError(f"impropers are ordered as '{ordering}', which is not known here")
    for one in rows:
        pattern = parameters.pattern(one.attrib, count)
        if pattern is not None:
            table.entries.append(Entry(pattern, values(one), one.attrib.get("ordering", ordering)))


def _bonds(element: xml.Element, parameters: Parameters) -> None:
    _add(parameters.bonds, element.findall("Bond"), 2, _columns("length", "k"), parameters)


def _angles(element: xml.Element, parameters: Parameters) -> None:
    _add(parameters.angles, element.findall("Angle"), 3, _columns("angle", "k"), parameters)


def _urey_bradley(element: xml.Element, parameters: Parameters) -> None:
    _add(parameters.urey_bradley, element.findall("UreyBradley"), 3, _columns("d", "k"), parameters)


def _torsions(element: xml.Element, parameters: Parameters) -> None:
    ordering = element.attrib.get("ordering", "default")
    _add(parameters.torsions, element.findall("Proper"), 4, _waves, parameters)
    _add(parameters.impropers, element.findall("Improper"), 4, _waves, parameters, ordering)


def _powers(element: xml.Element, parameters: Parameters) -> None:
    columns = _columns(*(f"c{k}" for k in range(6)))
    ordering = element.attrib.get("ordering", "charmm")
    _add(parameters.powers, element.findall("Proper"), 4, columns, parameters)
    _add(parameters.power_impropers, element.findall("Improper"), 4, columns, parameters, ordering)


def _custom(element: xml.Element, parameters: Parameters) -> None:
    energy = element.attrib["energy"].replace(" ", "")
    if energy not in HARMONIC or element.findall("Proper"):
        raise ValueError(f"the energy {energy} is not known here; of CustomTorsionForce impropers of {HARMONIC[0]} are")
    ordering = element.attrib.get("ordering", "charmm")
    _add(
        parameters.harmonic_impropers,
        element.findall("Improper"),
        4,
        _columns("theta0", "k"),
        parameters,
        ordering,
    )


def _maps(element: xml.Element, parameters: Parameters) -> None:
    offset = len(parameters.grids)
    for one in element.findall("Map"):
        values = numpy.array([float(word) for word in (one.text or "").split()])
        size = round(len(values) ** 0.5)
        if size * size != len(values) or size == 0:
            raise ValueError(f"a map of {len(values)} values is not square")
        # The first angle runs fastest.
        parameters.grids.append(values.reshape(size, size).T.copy())
    _add(
        parameters.maps,
        element.findall("Torsion"),
        5,
        lambda one: (float(int(one.attrib["map"]) + offset),),
        parameters,
    )


def _nonbonded(element: xml.Element, parameters: Parameters) -> None:
    parameters.set_scale("scale_coulomb", float(element.attrib["coulomb14scale"]))
    if not parameters.table_of_its_own:
        parameters.set_scale("scale_lennard_jones", float(element.attrib["lj14scale"]))
    from_residue = {one.attrib["name"] for one in element.findall("UseAttributeFromResidue")}
    if from_residue - {"charge"}:
        raise ValueError(f"{', '.join(sorted(from_residue))} from residues: only the charge may come from there")
    for one in element.findall("Atom"):
        kinds = _of_one(one, parameters)
        for kind in kinds:
            if not from_residue:
                parameters.charges[kind] = float(one.attrib["charge"])
            if not parameters.table_of_its_own:
                parameters.lennard_jones[kind] = float(one.attrib["sigma"]), float(one.attrib["epsilon"])


def _of_one(one: xml.Element, parameters: Parameters) -> list[str]:
    pattern = parameters.pattern(one.attrib, 1)
    if pattern is None:
        return []
    return sorted(parameters.kinds if pattern[0] is None else pattern[0])


def _lennard_jones(element: xml.Element, parameters: Parameters) -> None:
    """CHARMM's: it takes the place of what the NonbondedForce has, whose depths are then 0."""
    if not parameters.table_of_its_own:
        parameters.table_of_its_own, parameters.scale_lennard_jones = True, None
        parameters.lennard_jones.clear()
    parameters.set_scale("scale_lennard_jones", float(element.attrib["lj14scale"]))
    for one in element.findall("Atom"):
        for kind in _of_one(one, parameters):
            sigma, epsilon = float(one.attrib["sigma"]), float(one.attrib["epsilon"])
            parameters.lennard_jones[kind] = sigma, epsilon
            own = float(one.attrib.get("sigma14", sigma)), float(one.attrib.get("epsilon14", epsilon))
            parameters.lennard_jones_14[kind] = own
    for one in element.findall("NBFixPair"):
        pattern = parameters.pattern(one.attrib, 2)
        if pattern is not None and pattern[0] is not None and pattern[1] is not None:
            sigma, epsilon = float(one.attrib["sigma"]), float(one.attrib["epsilon"])
            parameters.special.append((pattern[0], pattern[1], sigma, epsilon))


READERS: dict[str, Callable[[xml.Element, Parameters], None]] = {
    "HarmonicBondForce": _bonds,
    "HarmonicAngleForce": _angles,
    "AmoebaUreyBradleyForce": _urey_bradley,
    "PeriodicTorsionForce": _torsions,
    "RBTorsionForce": _powers,
    "CustomTorsionForce": _custom,
    "CMAPTorsionForce": _maps,
    "NonbondedForce": _nonbonded,
    "LennardJonesForce": _lennard_jones,
}
