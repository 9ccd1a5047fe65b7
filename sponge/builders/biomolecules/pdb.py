"""Files of the Protein Data Bank, PDB and mmCIF: one model, one place for each atom, as a `Structure`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy
from numpy.typing import NDArray

from mindsci.errors import InputError, StorageError
from sponge.builders.assembly import sorted_pairs
from sponge.builders.biomolecules.bonding import bonds_by_distance
from sponge.builders.biomolecules.structure import Structure
from sponge.builders.coordinates import cell_of_box
from sponge.topology import Residue

SITES = ("EP", "EP1", "EP2", "EPW", "LP", "LP1", "LP2", "M", "MW", "MW1", "OM", "VS")
"""Names of sites of waters without an element: a force field places its own"""
WATERS = ("HOH", "WAT", "SOL", "TIP", "TIP3", "TP3", "TIP4", "T4P", "TIP5", "SPC", "H2O", "DOD")
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
NO_CRYSTAL = (1.0, 1.0, 1.0, 90.0, 90.0, 90.0)
"""The cell that files of open systems write"""


class AtomRow(NamedTuple):
    """One atom as its file writes it."""

    serial: str
    name: str
    alternate: str
    residue: str
    chain: str
    number: str
    """with the insertion code"""
    place: tuple[float, float, float]
    occupancy: float
    element: str
    segment: str


class Content(NamedTuple):
    """What a file holds that is used here."""

    rows: list[AtomRow]
    box: tuple[float, ...] | None
    links: list[tuple[str, str]]
    """serials of bonded atoms"""


def read_structure(path: Path | str, *, model: int | None = None) -> Structure:
    """Returns the atoms of a PDB or mmCIF file (.cif, .mmcif), bonds told by distance and as the file states them.

    `model` is the number of one of several, the first unless given. Of alternate locations that of the highest
    occupancy stays, the same for a whole residue. Sites of waters without an element are left out. Raises StorageError
    for a missing file, InputError for what cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise StorageError(f"the structure file '{path}' does not exist; paths are relative to the present folder")
    text = path.read_text(encoding="latin-1")
    try:
        if path.suffix.lower() in (".cif", ".mmcif"):
            from sponge.builders.biomolecules.mmcif import parse_mmcif

            content = parse_mmcif(text, model)
        else:
            content = _parse_pdb(text, model)
        structure = _structure(content, path)
    except (ValueError, IndexError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"'{path}' cannot be read as a structure ({type(error).__name__}: {error})") from error
    return structure


def hybrid36(text: str) -> int:
    """Returns the number that a field of four or five columns writes, also beyond 9999 or 99999.

    Digits first; then a capital letter leads digits of base 36; then a small one.
    """
    text = text.strip()
    if not text or text[0] in "-+0123456789":
        return int(text)
    width, base = len(text), DIGITS if text[0].isupper() else DIGITS.lower()
    value = 0
    for letter in text:
        value = 36 * value + base.index(letter)
    offset = 10**width - 10 * 36 ** (width - 1)
    return value + offset + (0 if text[0].isupper() else 26 * 36 ** (width - 1))


def _parse_pdb(text: str, model: int | None) -> Content:
    rows: list[AtomRow] = []
    links: list[tuple[str, str]] = []
    box, present = None, model
    for line in text.splitlines():
        kind = line[:6].strip()
        if kind == "MODEL":
            present = int(line[6:].split()[0])
            model = present if model is None else model
        elif kind in ("ATOM", "HETATM") and present == model:
            rows.append(_pdb_row(line))
        elif kind == "CRYST1":
            box = tuple(
                float(line[at : at + width]) for at, width in ((6, 9), (15, 9), (24, 9), (33, 7), (40, 7), (47, 7))
            )
        elif kind == "CONECT":
            fields = [line[at : at + 5].strip() for at in range(6, min(len(line), 31), 5)]
            links += [(fields[0], other) for other in fields[1:] if other]
        elif kind == "END":
            break
    return Content(rows=rows, box=box, links=links)


def _pdb_row(line: str) -> AtomRow:
    line = line.ljust(80)
    hybrid36(line[22:26])
    return AtomRow(
        serial=line[6:11].strip(),
        name=line[12:16].strip(),
        alternate=line[16].strip(),
        residue=line[17:21].strip(),
        chain=line[21].strip(),
        number=str(hybrid36(line[22:26])) + line[26].strip(),
        place=(float(line[30:38]), float(line[38:46]), float(line[46:54])),
        occupancy=float(line[54:60].strip() or 1.0),
        element=_element(line[76:78].strip(), line[12:16], line[17:21].strip()),
        segment=line[72:76].strip(),
    )


def _element(stated: str, name: str, residue: str) -> str:
    """Returns the symbol of an element, "" of a site; where the file has none, the columns of the name tell."""
    from ase.data import atomic_numbers

    letters = "".join(letter for letter in name if letter.isalpha())
    if stated.capitalize() in atomic_numbers and stated.upper() != "X":
        return "H" if stated.upper() == "D" else stated.capitalize()
    if residue.upper() in WATERS and (name.strip().upper() in SITES or letters[:1] not in "OHD"):
        return ""
    # A single atom whose residue has its name is an ion; else two letters only where the first column has one.
    alone = letters.upper() == "".join(letter for letter in residue.upper() if letter.isalpha())
    if (alone or (name[:2].isalpha() and len(letters) == 2)) and letters[:2].capitalize() in atomic_numbers:
        two = letters[:2].capitalize()
        if alone or two not in (
            "Ca",
            "Cd",
            "Ce",
            "Nd",
            "Ne",
            "Hg",
            "Ho",
            "Hf",
            "He",
            "Pb",
            "Cs",
            "Co",
            "No",
            "Nb",
            "Np",
        ):
            return two
    first = letters[:1].upper()
    return "H" if first == "D" else first


def _chosen(rows: list[AtomRow]) -> list[AtomRow]:
    """One location of each atom: of a residue that of the highest mean occupancy, where an atom has it."""
    weight: dict[tuple[str, ...], dict[str, list[float]]] = {}
    for row in rows:
        if row.alternate:
            residue = (row.segment, row.chain, row.number)
            for key in (residue, (*residue, row.name)):
                weight.setdefault(key, {}).setdefault(row.alternate, []).append(row.occupancy)

    def best(key: tuple[str, ...]) -> str:
        found = weight[key]
        return max(sorted(found), key=lambda letter: sum(found[letter]) / len(found[letter]))

    def letter(row: AtomRow) -> str:
        residue = (row.segment, row.chain, row.number)
        of_residue, of_atom = best(residue), (*residue, row.name)
        return of_residue if of_residue in weight[of_atom] else best(of_atom)

    return [row for row in rows if not row.alternate or row.alternate == letter(row)]


def _residues(rows: list[AtomRow]) -> Iterator[int]:
    """The residue of each row: a new one where the name or number changes, or an atom's name comes again."""
    count, last, names = -1, None, set[str]()
    for row in rows:
        key = (row.segment, row.chain, row.number, row.residue)
        if key != last or row.name in names:
            count, last, names = count + 1, key, set()
        names.add(row.name)
        yield count


def _structure(content: Content, path: Path) -> Structure:
    from ase.data import atomic_numbers

    rows = [row for row in _chosen(content.rows) if row.element]
    if not rows:
        raise InputError(f"'{path}' has no atom in this model; give a PDB or mmCIF file, or another model")
    strange = [row for row in rows if row.element not in atomic_numbers]
    if strange:
        raise InputError(f"'{path}': the element of atom {strange[0].serial} ({strange[0].name}) is unknown; write it")
    numbers = numpy.array([atomic_numbers[row.element] for row in rows], dtype=numpy.int64)
    positions = numpy.array([row.place for row in rows])
    if not numpy.isfinite(positions).all():
        raise InputError(f"'{path}': a position is not finite; the file is damaged")
    residue_of_atom = numpy.fromiter(_residues(rows), dtype=numpy.int64)
    firsts = numpy.unique(residue_of_atom, return_index=True)[1]
    index = {row.serial: number for number, row in enumerate(rows)}
    stated = [(index[a], index[b]) for a, b in content.links if a in index and b in index]
    stated = [pair for pair in stated if not _is_ion(numbers, pair)]
    found = bonds_by_distance(positions, numbers, residue_of_atom)
    bonds = numpy.concatenate([found, numpy.array(stated, dtype=numpy.int64).reshape(-1, 2)])
    return Structure(
        atom_names=tuple(row.name for row in rows),
        atomic_numbers=numbers,
        residues=tuple(
            Residue(name=rows[at].residue, number=rows[at].number, chain=rows[at].chain) for at in firsts.tolist()
        ),
        residue_of_atom=residue_of_atom,
        positions=positions,
        bonds=sorted_pairs(bonds, len(rows)).numpy(),
        cell=_cell(content.box, path),
    )


def _is_ion(numbers: NDArray[numpy.int64], pair: tuple[int, int]) -> bool:
    from sponge.builders.biomolecules.bonding import BONDING

    return any(int(numbers[atom]) not in (1, *BONDING) for atom in pair)


def _cell(box: tuple[float, ...] | None, path: Path) -> NDArray[numpy.float64] | None:
    if box is None or box == NO_CRYSTAL or not any(box[:3]):
        return None
    return cell_of_box(numpy.array(box[:3]), numpy.array(box[3:]), path)
