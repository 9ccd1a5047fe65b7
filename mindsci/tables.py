"""Tables of numbers in a run's folder: CSV whose first line has the heads, "name [unit]"."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray


def write(path: Path, columns: Mapping[str, Any], *, digits: int = 9) -> None:
    """Writes columns of equal length under their heads; the first is the axis of the others."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(columns)
        numpy.savetxt(file, numpy.column_stack(list(columns.values())), fmt=f"%.{digits}g", delimiter=",")


def read(path: Path) -> dict[str, NDArray[numpy.float64]] | None:
    """Returns the columns of a table by their heads; None where it holds anything but numbers, or no row."""
    with path.open(encoding="utf-8", newline="") as file:
        heads = next(csv.reader(file), [])
        start = file.readline()
        if not start.strip():
            return None
        file.seek(0)
        try:
            rows = numpy.loadtxt(file, delimiter=",", skiprows=1, ndmin=2)
        except ValueError:
            return None
    if rows.shape[1] != len(heads) or len(set(heads)) < len(heads):
        return None
    return {head: rows[:, number] for number, head in enumerate(heads)}


def name_and_unit(head: str) -> tuple[str, str]:
    """Returns ("radiated power", "W") of "radiated power [W]"; the unit is "" where there is none."""
    name, bracket, unit = head.rpartition(" [")
    return (name, unit.removesuffix("]")) if bracket and unit.endswith("]") else (head, "")


def head_of(name: str, unit: str) -> str:
    """Returns "name [unit]", or the name alone."""
    return f"{name} [{unit}]" if unit else name
