"""PDB, written from the journal of a run: a MODEL for each frame, without CONECT records [Berman2000]."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import NDArray

from mindsci.errors import InputError
from sponge.formats.rows import pieces
from sponge.formats.standard_cell import lengths_and_angles, turned

if TYPE_CHECKING:
    from sponge.trajectory import Topology

AMINO_ACIDS = (
    "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL "
    "ASH GLH CYX CYM HID HIE HIP LYN ACE NME NMA NH2"
)
POLYMER = frozenset(AMINO_ACIDS.split()) | {"A", "C", "G", "U", "DA", "DC", "DG", "DT"}
"""residues whose atoms are ATOM; all others are HETATM"""
WIDEST = 9999.9994
"""what eight columns hold [angstrom]"""


def write_pdb(path: Path, frames: NDArray[Any], topology: Topology) -> None:
    """Writes frames. Serial and residue numbers begin again at zero after 99999 and 9999, as the columns are."""
    heads = _heads(topology)
    ends = [f"  1.00  0.00          {symbol:>2}\n" for symbol in _symbols(topology)]
    with path.open("w", encoding="ascii", errors="replace") as file:
        if all(topology.periodic) and len(frames):
            lengths, cosines = (values[0] for values in lengths_and_angles(frames["cell"][:1].astype(float)))
            sides = "".join(f"{value:9.3f}" for value in lengths)
            angles = "".join(f"{value:7.2f}" for value in numpy.degrees(numpy.arccos(cosines)))
            file.write(f"CRYST1{sides}{angles} P 1           1\n")
        for first, rows in pieces(frames):
            positions, _ = turned(rows["positions"], rows["cell"])
            if float(numpy.abs(positions).max(initial=0.0)) > WIDEST:
                raise InputError("an atom is farther out than the columns of PDB hold; take another of output.formats")
            for number, frame in enumerate(positions, first + 1):
                file.write(f"MODEL     {number % 10000:4d}\n")
                for head, (x, y, z), end in zip(heads, frame.tolist(), ends, strict=True):
                    file.write(f"{head}{x:8.3f}{y:8.3f}{z:8.3f}{end}")
                file.write("ENDMDL\n")
        file.write("END\n")


def _symbols(topology: Topology) -> list[str]:
    from ase.data import chemical_symbols

    return [chemical_symbols[number].upper() if number else "" for number in topology.atomic_numbers.tolist()]


def _heads(topology: Topology) -> list[str]:
    """The columns of each atom up to its position."""
    symbols = _symbols(topology)
    names = topology.names or tuple(symbol or "X" for symbol in symbols)
    residues = topology.residues or (("MOL", "1", ""),) * len(names)
    heads = []
    for serial, (name, symbol, residue) in enumerate(zip(names, symbols, residues, strict=True), 1):
        kind, number, chain = residue
        record = "ATOM  " if kind.strip() in POLYMER else "HETATM"
        # A name begins one column later where its element has one letter.
        label = f" {name:<3}" if len(symbol) < 2 and len(name) < 4 else f"{name:<4}"
        digits = "".join(letter for letter in number if letter.isdigit() or letter == "-") or "1"
        place = int(digits) % 10000 if not digits.startswith("-") else int(digits)
        head = f"{record}{serial % 100000:5d} {label[:4]} {kind[:3]:>3} {chain[:1] or ' '}{place:4d}    "
        heads.append(head)
    return heads
