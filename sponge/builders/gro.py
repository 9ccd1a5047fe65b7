"""GROMACS's files of coordinates (.gro): nm and nm/ps in fixed columns."""

from __future__ import annotations

from pathlib import Path

import numpy
from numpy.typing import NDArray

from mindsci.errors import InputError
from sponge.builders.coordinates import Coordinates

NANOMETRE = 10.0
"""[angstrom]"""
VELOCITY = 1e-2
"""1 nm/ps [angstrom/fs]"""


def read_gro(path: Path, with_cell: bool = True) -> Coordinates:
    """Returns the first frame of a file. The width of a column is told by the distance of the decimal points."""
    lines = path.read_text(encoding="latin-1").split("\n")
    n_atoms = int(lines[1])
    rows = lines[2 : 2 + n_atoms]
    box = lines[2 + n_atoms].split() if len(lines) > 2 + n_atoms else []
    if len(rows) < n_atoms or not box:
        raise InputError(f"'{path}' ends before its {n_atoms} atoms and its box; it is cut short")
    points = [place for place, letter in enumerate(rows[0][20:]) if letter == "."]
    width = points[1] - points[0]
    held = (len(rows[0].rstrip()) - 20) // width
    # Velocities have one decimal more in the same width plus one: their columns follow the three of the positions.
    positions = _columns(rows, 20, width)
    velocities = _columns(rows, 20 + 3 * width, width) if held >= 6 else None
    return Coordinates(
        positions=NANOMETRE * positions,
        velocities=None if velocities is None else VELOCITY * velocities,
        cell=_cell(path, box) if with_cell else None,
    )


def _columns(rows: list[str], start: int, width: int) -> NDArray[numpy.float64]:
    at = [slice(start + width * axis, start + width * (axis + 1)) for axis in range(3)]
    return numpy.array([[float(row[column]) for column in at] for row in rows])


def _cell(path: Path, box: list[str]) -> NDArray[numpy.float64] | None:
    values = [float(word) for word in box]
    if len(values) not in (3, 9):
        raise InputError(f"'{path}': its box has {len(values)} numbers, not three or nine")
    if not any(values):
        return None
    xx, yy, zz, xy, xz, yx, yz, zx, zy = [*values, *([0.0] * 6)][:9]
    cell = NANOMETRE * numpy.array([[xx, xy, xz], [yx, yy, yz], [zx, zy, zz]])
    if not numpy.linalg.det(cell) > 0:
        raise InputError(f"'{path}': its box has no volume; correct the last line, or set it to zeros for none")
    return cell
