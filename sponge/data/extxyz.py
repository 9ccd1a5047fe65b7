"""Reader of extended XYZ files, one frame at a time: what is wrong is named by file, frame, atom and key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import numpy
from numpy.typing import NDArray

from mindsci.errors import InputError, StorageError
from sponge.data.convention import Structure

PAIR = re.compile(r"""([^\s="']+)\s*=\s*("(?:[^"\\]|\\.)*"|'[^']*'|\{[^}]*\}|\[[^\]]*\]|[^\s"']+)""")
PLAIN = "species:S:1:pos:R:3"
TRUE = ("T", "True", "true", "1")


def structures(path: Path) -> Iterator[Structure]:
    """Yields the frames of a file in order. Raises InputError where one is cut short or cannot be read."""
    try:
        with open(path, encoding="utf-8") as lines:
            frame = 0
            while (found := _frame(lines, f"frame {frame} of '{path}'")) is not None:
                yield found
                frame += 1
    except OSError as error:
        raise StorageError(f"cannot read '{path}': {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"'{path}' is no text file; an extended XYZ file is text") from None


def _frame(lines: TextIO, where: str) -> Structure | None:
    head = lines.readline()
    while head and not head.strip():  # blank lines at the end, or between frames
        head = lines.readline()
    if not head:
        return None
    if not head.strip().isdigit() or int(head) < 1:
        raise InputError(f"{where}: '{head.strip()[:40]}' is no number of atoms; the frame before has too many lines")
    comment, count = lines.readline(), int(head)
    rows = [line.split() for _, line in zip(range(count), lines, strict=False)]
    if len(rows) < count:
        raise InputError(f"{where} is cut short: {len(rows)} of {count} atoms; fetch the file again, or cut it before")
    info: dict[str, Any] = {key: value.strip("\"'") for key, value in PAIR.findall(comment)}
    columns = _columns(info.pop("Properties", PLAIN), where)
    width = max(stop for _, _, stop in columns.values())
    short = [atom for atom, row in enumerate(rows) if len(row) < width]
    if short:
        raise InputError(f"{where}, atom {short[0]}: {len(rows[short[0]])} columns, expected {width}; mend the frame")
    table = numpy.array([row[:width] for row in rows])
    return _structure(info, {key: _column(table, *kind, key, where) for key, kind in columns.items()}, where)


def _structure(info: dict[str, Any], arrays: dict[str, NDArray[Any]], where: str) -> Structure:
    symbols, positions = arrays.pop("species", None), arrays.pop("pos", None)
    numbers = arrays.pop("Z", None) if symbols is None else _numbers(symbols[:, 0], where)
    if numbers is None or positions is None:
        raise InputError(f"{where}, Properties: species and pos are needed; name them so")
    cell, labels = numpy.zeros((3, 3)), {key: _value(text) for key, text in info.items()}
    if "Lattice" in info:
        lattice = labels.pop("Lattice")
        if numpy.size(lattice) != 9 or isinstance(lattice, str):
            raise InputError(f"{where}, Lattice: '{info['Lattice']}' is not nine numbers; mend the frame")
        cell = numpy.reshape(lattice, (3, 3))
    flags = info.get("pbc", "T T T" if "Lattice" in info else "F F F").split()
    periodic = tuple(flag in TRUE for flag in flags)
    return Structure(
        numbers=numbers.reshape(-1).astype(int),
        positions=positions,
        cell=cell,
        periodic=periodic,
        labels=labels | arrays,
    )


@cache
def _columns(properties: str, where: str) -> dict[str, tuple[str, int, int]]:
    """Kind, first and last column of each property."""
    parts, columns, start = properties.split(":"), {}, 0
    if len(parts) % 3 or not all(part.isdigit() for part in parts[2::3]):
        raise InputError(f"{where}, Properties: '{properties}' is not name:kind:columns, repeated; mend the frame")
    for name, kind, number in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        columns[name] = kind, start, start + int(number)
        start += int(number)
    return columns


def _column(table: NDArray[Any], kind: str, start: int, stop: int, key: str, where: str) -> NDArray[Any]:
    texts = table[:, start:stop]
    if kind not in ("R", "I"):
        return texts
    try:
        return texts.astype(numpy.float64)
    except ValueError as error:
        raise InputError(f"{where}, {key}: {error}; mend the frame") from None


def _numbers(symbols: NDArray[Any], where: str) -> NDArray[Any]:
    from ase.data import atomic_numbers

    unknown = [atom for atom, symbol in enumerate(symbols) if symbol not in atomic_numbers]
    if unknown:
        raise InputError(f"{where}, atom {unknown[0]}: '{symbols[unknown[0]]}' is no element; write a chemical symbol")
    return numpy.array([atomic_numbers[symbol] for symbol in symbols])


def _value(text: str) -> Any:
    """A number, several numbers, or the text."""
    try:
        if text.startswith("_JSON "):  # how ASE writes what is not flat
            return json.loads(text.removeprefix("_JSON "))
        numbers = [float(part) for part in text.strip("{}[]").replace(",", " ").split()]
    except ValueError:
        return text
    return numbers[0] if len(numbers) == 1 else numbers
