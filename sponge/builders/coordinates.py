"""Files of coordinates alone: positions, velocities where there are any, the cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy
from numpy.typing import NDArray

from mindsci.errors import InputError, StorageError
from mindsci.tree import Tree

AMBER_VELOCITY = 20.455e-3
"""Amber's unit of velocity [angstrom/fs]: its files hold angstrom over 1/20.455 ps"""


class Coordinates(Tree):
    """Positions [angstrom], velocities [angstrom/fs] and row vectors of the cell [angstrom], or None."""

    positions: NDArray[numpy.float64]
    velocities: NDArray[numpy.float64] | None = None
    cell: NDArray[numpy.float64] | None = None


def read_coordinates(path: Path | str, *, with_cell: bool = True) -> Coordinates:
    """Returns what a file of coordinates holds; its kind is told by its content.

    Known: Amber's inpcrd and rst7 as text or NetCDF, CHARMM's CRD, and, by its suffix, GROMACS's .gro. `with_cell`
    False leaves the cell unread. Raises StorageError for a file that is missing, InputError for one that cannot be
    read.
    """
    path = Path(path)
    if not path.is_file():
        raise StorageError(f"the file of coordinates '{path}' does not exist; paths are relative to the present folder")
    with open(path, "rb") as stream:
        start = stream.read(4)
    if start.startswith(b"\x89HDF"):
        raise InputError(f"'{path}' is NetCDF-4; write it as NetCDF-3 (Amber's own kind) or as text")
    read: Callable[[Path, bool], Coordinates] = _inpcrd
    if start.startswith(b"CDF"):
        read = _netcdf
    elif start.startswith(b"*"):
        read = _charmm
    elif path.suffix.lower() == ".gro":
        from sponge.builders.gro import read_gro

        read = read_gro
    try:
        found = read(path, with_cell)
    except (ValueError, IndexError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"'{path}' cannot be read as coordinates ({type(error).__name__}: {error})") from error
    if not numpy.isfinite(found.positions).all():
        raise InputError(f"'{path}': a position is not finite; the file is damaged")
    return found


def cell_of_box(lengths: NDArray[numpy.float64], angles: NDArray[numpy.float64], path: Path) -> NDArray[numpy.float64]:
    """Returns the row vectors [angstrom] of a box of three lengths and three angles [degree].

    Raises InputError for a box that has no volume.
    """
    from ase.geometry.cell import cellpar_to_cell

    sane = bool((lengths > 0).all() and (angles > 0).all() and (angles < 180).all())
    cell = cellpar_to_cell([*lengths, *angles]) if sane else numpy.zeros((3, 3))
    if not sane or not numpy.linalg.det(cell) > 0:
        raise InputError(
            f"'{path}': a box of lengths {', '.join(f'{x:g}' for x in lengths)} angstrom and angles "
            f"{', '.join(f'{x:g}' for x in angles)} degree has no volume; correct it, or give `cell`"
        )
    return numpy.asarray(cell)


def _inpcrd(path: Path, with_cell: bool) -> Coordinates:
    """The box is told from velocities by the number of lines: both are optional."""
    lines = path.read_text(encoding="latin-1").rstrip().split("\n")
    n_atoms = int(lines[1].split()[0])
    body = [[float(line[at : at + 12]) for at in range(0, len(line.rstrip()), 12)] for line in lines[2:]]
    block = -(-n_atoms // 2)
    rows = len(body)
    boxed = rows in (block + 1, 2 * block + 1)
    # One or two atoms: a second line is a box if it cannot be velocities, or holds lengths and angles of a box.
    if block == 1 and rows == 2:
        boxed = len(body[1]) != 3 * n_atoms or (len(body[1]) == 6 and body[1][3:] == [90.0, 90.0, 90.0])
    if rows - boxed not in (block, 2 * block):
        raise InputError(f"'{path}' has {rows} lines after the count of {n_atoms} atoms; it is cut short or no inpcrd")
    values = numpy.array([value for row in body[: rows - boxed] for value in row])
    frames = values.reshape(-1, n_atoms, 3)
    cell = None
    if boxed and with_cell:
        box = numpy.array([*body[-1], 90.0, 90.0, 90.0][:6])
        cell = cell_of_box(box[:3], box[3:], path)
    velocities = frames[1] * AMBER_VELOCITY if len(frames) > 1 else None
    return Coordinates(positions=frames[0], velocities=velocities, cell=cell)


def _netcdf(path: Path, with_cell: bool) -> Coordinates:
    from scipy.io import netcdf_file

    names = ("coordinates", "velocities", "cell_lengths", "cell_angles")
    with netcdf_file(path, "r", mmap=False) as stored:
        held = {
            name: numpy.array(stored.variables[name][...], dtype=float) for name in names if name in stored.variables
        }
        # The convention's unit is angstrom/ps once the scale, 20.455 in Amber's own files, is applied.
        scale = float(getattr(stored.variables.get("velocities"), "scale_factor", 1.0)) * 1e-3
    if "coordinates" not in held:
        raise InputError(f"'{path}' has no variable 'coordinates'; it is no restart or trajectory of Amber")
    if held["coordinates"].ndim == 3:
        held = {name: values[-1] for name, values in held.items()}
    cell = None
    if with_cell and "cell_lengths" in held and held["cell_lengths"].any():
        cell = cell_of_box(held["cell_lengths"], held["cell_angles"], path)
    velocities = held["velocities"] * scale if "velocities" in held else None
    return Coordinates(positions=held["coordinates"], velocities=velocities, cell=cell)


def _charmm(path: Path, with_cell: bool) -> Coordinates:
    lines = [line for line in path.read_text(encoding="latin-1").split("\n") if not line.startswith("*")]
    count = lines[0].split()
    n_atoms = int(count[0])
    extended = "EXT" in count[1:] or n_atoms >= 100000
    # Columns: I5 I5 A4 A4 F10.5, or I10 I10 2X A8 2X A8 F20.10.
    start, width = (40, 20) if extended else (20, 10)
    columns = [slice(start + width * k, start + width * (k + 1)) for k in range(3)]
    rows = [[float(line[column]) for column in columns] for line in lines[1 : n_atoms + 1]]
    if len(rows) != n_atoms:
        raise InputError(f"'{path}' has {len(rows)} of {n_atoms} atoms; it is cut short")
    return Coordinates(positions=numpy.array(rows))
