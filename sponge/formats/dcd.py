"""DCD, the binary trajectories of CHARMM and NAMD: positions in float32, and a cell for each frame.

A file is a sequence of records between two copies of their length in bytes, little-endian here:

    84   "CORD", 20 integers: 0 frames, 1 first step, 2 steps between, 9 time step (float32), 10 has cells, 19 = 24
    ...  the number of titles, and titles of 80 letters
    4    the number of atoms
    48   of each frame, with cells: a, cos gamma, b, cos beta, cos alpha, c in float64
    4 N  of each frame, three times: x, y, z

Time is counted in AKMA units, in which 1 kcal/mol moves 1 Da over 1 angstrom.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy
from numpy.typing import NDArray

from mindsci import units
from mindsci.errors import InputError
from sponge.formats.rows import pieces
from sponge.formats.standard_cell import cell_of, lengths_and_angles, turned

if TYPE_CHECKING:
    from sponge.trajectory import Topology

AKMA = (units.KCAL_PER_MOL_EV * units.ACCELERATION) ** -0.5
"""the unit of time [fs]"""
TITLE = 80
FIXED, FOURTH, CHARMM = 8, 11, 19
"""integers of the header: atoms that never move, a fourth dimension, the version"""


def write_dcd(path: Path, frames: NDArray[Any], topology: Topology) -> None:
    """Writes frames; the format has one time step and one distance between frames, those of the first two."""
    boxed = all(topology.periodic)
    steps, times = frames["step"], frames["time"]
    every = int(steps[1] - steps[0]) if len(frames) > 1 else 1
    dt = float(times[1] - times[0]) / every / AKMA if len(frames) > 1 else 0.0
    first = int(steps[0]) if len(frames) else 0
    head = [len(frames), first, every, every * len(frames), 0, 0, 0, 0, 0]
    title = f"{'positions in angstrom, of mindsci sponge':<{TITLE}}".encode("ascii")
    with path.open("wb") as file:
        integers = struct.pack("<9i", *head) + struct.pack("<fi", dt, int(boxed)) + struct.pack("<9i", *[0] * 8, 24)
        _put(file, b"CORD" + integers)
        _put(file, struct.pack("<i", 1) + title)
        _put(file, struct.pack("<i", len(topology.masses)))
        for _, rows in pieces(frames):
            positions, cells = turned(rows["positions"], rows["cell"])
            for place, cell in zip(positions.astype("<f4"), cells, strict=True):
                if boxed:
                    (a, b, c), (alpha, beta, gamma) = (values[0] for values in lengths_and_angles(cell[None]))
                    _put(file, struct.pack("<6d", a, gamma, b, beta, alpha, c))
                for axis in range(3):
                    _put(file, place[:, axis].tobytes())


def _put(file: BinaryIO, record: bytes) -> None:
    length = struct.pack("<i", len(record))
    file.write(length + record + length)


def read_dcd(path: Path, count: int) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]]:
    """Yields positions, times [fs] and cells (None without) of frames, so many at a time; either order of bytes.

    Raises InputError, naming the frame, for a file that is cut short or is none.
    """
    with path.open("rb") as file:
        order, header = _header(file, path)
        integers = struct.unpack(f"{order}20i", header[4:])
        (delta,) = struct.unpack(f"{order}f", header[40:44])
        if integers[FIXED] or (integers[CHARMM] and integers[FOURTH]):
            raise InputError(f"'{path}' has fixed atoms or a fourth dimension, which are not read; write it without")
        _get(file, order, path, "title")
        (n_atoms,) = struct.unpack(f"{order}i", _get(file, order, path, "count of atoms")[:4])
        # X-PLOR's files, version 0, keep the time step in eight bytes and know no cells.
        boxed = bool(integers[CHARMM] and integers[10])
        first, every = integers[1], max(integers[2], 1)
        record = numpy.dtype([("head", f"{order}i4"), ("values", f"{order}f4", n_atoms), ("tail", f"{order}i4")])
        shape = [("cell", [("head", f"{order}i4"), ("values", f"{order}f8", 6), ("tail", f"{order}i4")])] * boxed
        frame = numpy.dtype([*shape, *((axis, record) for axis in "xyz")])
        number = 0
        while data := file.read(count * frame.itemsize):
            whole = numpy.frombuffer(data[: len(data) // frame.itemsize * frame.itemsize], frame)
            for axis in "xyz":
                if bool((whole[axis]["head"] != 4 * n_atoms).any() or (whole[axis]["tail"] != 4 * n_atoms).any()):
                    raise InputError(f"'{path}' is damaged at or after frame {number}: its records do not fit")
            if len(whole) * frame.itemsize < len(data):
                raise InputError(f"'{path}' ends within frame {number + len(whole)}; it is cut short")
            positions = numpy.stack([whole[axis]["values"] for axis in "xyz"], axis=-1)
            times = (first + every * (number + numpy.arange(len(whole)))) * float(delta) * AKMA
            yield positions, times, _cells(whole["cell"]["values"]) if boxed else None
            number += len(whole)


def _cells(values: NDArray[Any]) -> NDArray[numpy.float64]:
    a, gamma, b, beta, alpha, c = values.T.astype(numpy.float64)
    angles = numpy.stack([alpha, beta, gamma], axis=-1)
    # Some programs write degrees.
    cosines = numpy.where(numpy.abs(angles) > 1.0, numpy.cos(numpy.radians(angles)), angles)
    return cell_of(numpy.stack([a, b, c], axis=-1), numpy.where(angles == 90.0, 0.0, cosines))


def _header(file: BinaryIO, path: Path) -> tuple[str, bytes]:
    start = file.read(4)
    for order in "<>":
        if start == struct.pack(f"{order}i", 84):
            header = file.read(84)
            if header[:4] == b"CORD" and file.read(4) == start:
                return order, header
    raise InputError(f"'{path}' is no DCD trajectory: it does not begin with 'CORD'")


def _get(file: BinaryIO, order: str, path: Path, what: str) -> bytes:
    start = file.read(4)
    length = struct.unpack(f"{order}i", start)[0] if len(start) == 4 else -1
    record = file.read(max(length, 0))
    if length < 4 or len(record) < length or file.read(4) != start:
        raise InputError(f"'{path}' ends or is damaged within its {what}; it is no whole DCD trajectory")
    return record
