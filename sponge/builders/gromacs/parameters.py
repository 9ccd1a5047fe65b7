"""The sections of a GROMACS topology: parameters by types of atoms, and molecules as their lines say [Abraham2015]."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mindsci.errors import InputError
from sponge.builders.gromacs.lines import Line

WILDCARD = "X"
TABLES = {
    "bondtypes": 2,
    "constrainttypes": 2,
    "angletypes": 3,
    "dihedraltypes": 4,
    "pairtypes": 2,
    "nonbond_params": 2,
}
"""sections of parameters, and of how many types each line speaks"""
SKIPPED = ("system", "implicit_genborn_params", "implicit_surface_params")
OF_MOLECULES = (
    *("atoms", "bonds", "pairs", "angles", "dihedrals", "cmap", "exclusions", "constraints", "settles"),
    *("virtual_sites2", "virtual_sites3", "position_restraints"),
)
RENAMED = {"dummies2": "virtual_sites2", "dummies3": "virtual_sites3"}
FUNCTIONS = ("1", "2", "3", "4", "5", "8", "9", "10", "11")


@dataclass(frozen=True)
class AtomType:
    """A type of atom: what its nonbonded interactions are."""

    bonded: str
    """the name that bonded parameters know it by"""
    number: int | None
    mass: float
    charge: float
    site: bool
    first: float
    """sigma [nm], or C6"""
    second: float
    """epsilon [kJ/mol], or C12"""


@dataclass
class MoleculeType:
    """A molecule as its sections say."""

    name: str
    reach: int
    """atoms so many bonds apart, or fewer, have no nonbonded interaction (nrexcl)"""
    sections: dict[str, list[Line]] = field(default_factory=dict)


@dataclass
class Force:
    """Everything that a topology says."""

    rule: int = 0
    """of combination: 1 and 3 geometric, of C6 and C12 or of sigma and epsilon; 2 Lorentz and Berthelot"""
    generate_pairs: bool = False
    fudge: tuple[float, float] = (1.0, 1.0)
    """of generated 1-4 pairs: Lennard-Jones, charges"""
    types: dict[str, AtomType] = field(default_factory=dict)
    tables: dict[str, dict[tuple[str, ...], list[list[str]]]] = field(default_factory=dict)
    """of each section: function and types -> its parameters, several of a dihedral that is a sum"""
    molecules: dict[str, MoleculeType] = field(default_factory=dict)
    counts: list[tuple[str, int]] = field(default_factory=list)
    found: dict[tuple[str, ...], list[list[str]] | None] = field(default_factory=dict)
    """what has been looked for, once all is read"""

    def bonded_names(self) -> set[str]:
        """Returns the names that bonded parameters may speak of."""
        return {WILDCARD, *(kind.bonded for kind in self.types.values())}

    def find(self, section: str, function: str, types: tuple[str, ...]) -> list[list[str]] | None:
        """Returns the parameters of types in this order or the other, of those that match with fewest wildcards."""
        key = (section, function, *types)
        if key not in self.found:
            self.found[key] = self._search(section, function, types)
        return self.found[key]

    def _search(self, section: str, function: str, types: tuple[str, ...]) -> list[list[str]] | None:
        table = self.tables.get(section, {})
        for order in (types, types[::-1]):
            if (function, *order) in table:
                return table[function, *order]
        best, fewest = None, len(types) + 1
        for key, values in table.items():
            wild = key.count(WILDCARD)
            if key[0] == function and 0 < wild < fewest and (_fits(key[1:], types) or _fits(key[1:], types[::-1])):
                best, fewest = values, wild
        return best


def _fits(key: tuple[str, ...], types: tuple[str, ...]) -> bool:
    return all(own in (WILDCARD, asked) for own, asked in zip(key, types, strict=True))


def read_sections(lines: Iterable[Line]) -> Force:
    """Returns what the lines say. Raises InputError, with file and line, for what is not known here."""
    force = Force()
    section, molecule = "", None
    previous: tuple[str, ...] = ()
    for line in lines:
        if line.words[0].startswith("["):
            section = RENAMED.get(name := "".join(line.words).strip("[]"), name)
            previous = ()
            continue
        try:
            if section == "moleculetype":
                molecule = MoleculeType(name=line.words[0], reach=int(line.words[1]))
                force.molecules[molecule.name] = molecule
            elif section == "molecules":
                force.counts.append((line.words[0], int(line.words[1])))
            elif section in TABLES:
                previous = _table(force, section, line, previous)
            elif section in ("defaults", "atomtypes", "cmaptypes"):
                {"defaults": _defaults, "atomtypes": _atom_type, "cmaptypes": _map}[section](force, line)
            elif section in OF_MOLECULES:
                if molecule is None:
                    raise InputError(f"'{line.where}': [ {section} ] stands before any [ moleculetype ]")
                molecule.sections.setdefault(section, []).append(line)
            elif section not in SKIPPED:
                raise InputError(f"'{line.where}': [ {section} ] is not known here; take it out, or use another model")
        except (ValueError, IndexError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"'{line.where}' cannot be read as [ {section} ]: {' '.join(line.words)}") from error
    return force


def _defaults(force: Force, line: Line) -> None:
    function, rule, *rest = line.words
    if function != "1" or rule not in ("1", "2", "3"):
        raise InputError(
            f"'{line.where}': a nonbonded function {function} with combination rule {rule} is not known; Lennard-Jones "
            "(1) with the rules 1, 2 and 3 is"
        )
    force.rule = int(rule)
    force.generate_pairs = bool(rest) and rest[0].lower() == "yes"
    force.fudge = (float(rest[1]) if len(rest) > 1 else 1.0, float(rest[2]) if len(rest) > 2 else 1.0)


def _atom_type(force: Force, line: Line) -> None:
    """Name, perhaps the bonded type, perhaps the atomic number, mass, charge, kind of particle, two parameters."""
    name, *middle, mass, charge, particle, first, second = line.words
    if particle not in ("A", "D", "V"):
        raise InputError(f"'{line.where}': a particle of kind {particle} is not known; A, D and V are")
    number = next((int(word) for word in middle if word.isdigit()), None)
    bonded = next((word for word in middle if not word.isdigit()), name)
    force.types[name] = AtomType(
        bonded=bonded,
        number=number,
        mass=float(mass),
        charge=float(charge),
        site=particle != "A",
        first=float(first),
        second=float(second),
    )


def _table(force: Force, section: str, line: Line, previous: tuple[str, ...]) -> tuple[str, ...]:
    """Adds one line; lines of one dihedral of function 9 that follow each other are a sum."""
    width = TABLES[section]
    words = line.words
    if section == "dihedraltypes" and words[2] in FUNCTIONS and words[3] not in force.bonded_names():
        # Two types: the middle ones of a dihedral, the outer ones of an improper.
        first, second, function, *values = words
        types = (first, WILDCARD, WILDCARD, second) if function == "2" else (WILDCARD, first, second, WILDCARD)
    else:
        types, function, values = tuple(words[:width]), words[width], words[width + 1 :]
    key = (function, *types)
    table = force.tables.setdefault(section, {})
    if function == "9" and key == previous:
        table[key].append(values)
    else:
        table.pop((function, *types[::-1]), None)
        table[key] = [values]
    return key


def _map(force: Force, line: Line) -> None:
    words = line.words
    # Five names of types, one function; newer files name the residue after a dash within the type.
    force.tables.setdefault("cmaptypes", {})[words[5], *words[:5]] = [words[6:]]
