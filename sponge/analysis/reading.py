"""Trajectories from the files that runs write, and from other programs' in these formats."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError, StorageError, UserError
from sponge.analysis.frames import Trajectory
from sponge.builders.molecules import from_file
from sponge.formats import read_dcd, read_xtc
from sponge.system import standard_masses

PIECE = 200
"""frames that are read in one go"""


def read_trajectory(path: Path | str, *, structure: Path | str | None = None) -> Trajectory:
    """Returns all frames of an H5MD, extended XYZ, DCD or XTC file; see `read_pieces`."""
    pieces = list(read_pieces(path, structure=structure))
    joined = {name: torch.cat([getattr(one, name) for one in pieces]) for name in ("positions", "time", "cell")}
    moving = all(one.velocities is not None for one in pieces)
    velocities = torch.cat([one.velocities for one in pieces]) if moving else None  # type: ignore[misc]
    return tree.replace(pieces[0], **joined, velocities=velocities)


def read_pieces(path: Path | str, frames: int = PIECE, *, structure: Path | str | None = None) -> Iterator[Trajectory]:
    """Yields the frames of a file, so many at a time, for trajectories larger than memory.

    structure: a file of the same atoms (PDB, GRO, XYZ, ...), for DCD and XTC, which hold no elements. Raises
    StorageError where a file is missing, InputError for what is no trajectory, is damaged or cut short.
    """
    path = Path(path)
    if not path.is_file():
        raise StorageError(f"the trajectory '{path}' does not exist; name a trajectory.h5 or trajectory.extxyz")
    if path.suffix in (".h5", ".h5md", ".hdf5"):
        yield from _read_h5md(path, frames)
    elif path.suffix in (".dcd", ".xtc"):
        yield from _read_positions(path, frames, structure)
    else:
        yield from _read_extxyz(path, frames)


def _read_positions(path: Path, count: int, structure: Path | str | None) -> Iterator[Trajectory]:
    if structure is None:
        raise InputError(f"'{path}' holds no elements; name a file of the same atoms: structure = \"system.pdb\"")
    system = from_file(structure)
    read = read_dcd if path.suffix == ".dcd" else read_xtc
    number = 0
    for positions, times, cell in read(path, count):
        if positions.shape[1] != system.n_atoms:
            raise InputError(
                f"'{path}' has {positions.shape[1]} atoms, '{structure}' {system.n_atoms}; give one system"
            )
        number += len(positions)
        yield Trajectory(
            positions=torch.as_tensor(positions.astype("f4")),
            time=torch.as_tensor(times),
            atomic_numbers=system.atomic_numbers,
            masses=system.masses,
            cell=torch.zeros(len(positions), 3, 3).double() if cell is None else torch.as_tensor(cell),
            periodic=(cell is not None,) * 3,
        )
    if number == 0:
        raise InputError(f"'{path}' has no frames")


def _read_h5md(path: Path, count: int) -> Iterator[Trajectory]:
    try:
        yield from _pieces_of_h5md(path, count)
    except UserError:
        raise
    except (OSError, KeyError, ValueError, RuntimeError) as error:  # what HDF5 meets in a damaged file
        raise InputError(f"'{path}' is damaged, or no H5MD trajectory: {error}") from None


def _pieces_of_h5md(path: Path, count: int) -> Iterator[Trajectory]:
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"'{path}' is no HDF5 file, or cut short: {error}") from None
    with file:
        try:
            atoms = file[next(f"particles/{name}" for name in file["particles"])]
            position, box = atoms["position"], atoms["box"]
            values, times = position["value"], position["time"][...]
            species = torch.as_tensor(numpy.asarray(atoms["species"]), dtype=torch.int64)
        except (KeyError, StopIteration) as error:
            raise InputError(f"'{path}' is no H5MD trajectory with positions, time and species ({error})") from None
        if len(values) == 0:
            raise InputError(f"'{path}' has no frames")
        flags = tuple(flag in (b"periodic", "periodic") for flag in box.attrs["boundary"])
        masses = standard_masses(species, torch.float64)
        if "mass" in atoms:
            masses = torch.as_tensor(numpy.asarray(atoms["mass"]), dtype=torch.float64)
        charges = torch.as_tensor(numpy.asarray(atoms["charge"])).double() if "charge" in atoms else None
        moving = atoms["velocity/value"] if "velocity" in atoms else None
        for first in range(0, len(values), count):
            rows = slice(first, min(first + count, len(values)))
            yield Trajectory(
                positions=torch.as_tensor(values[rows]),
                time=torch.as_tensor(times[rows], dtype=torch.float64),
                atomic_numbers=species,
                masses=masses,
                cell=_box(box, rows),
                periodic=flags,  # type: ignore[arg-type]
                velocities=None if moving is None else torch.as_tensor(moving[rows]),
                charges=charges,
            )


def _box(box: Any, rows: slice) -> Tensor:
    """Cells of the frames; H5MD has edges as one length or one vector an axis, fixed or for each frame."""
    count = rows.stop - rows.start
    if "edges" not in box:
        return torch.zeros(count, 3, 3, dtype=torch.float64)
    edges = box["edges"]
    varies = hasattr(edges, "keys")
    array = torch.as_tensor(numpy.asarray(edges["value"][rows] if varies else edges[...]), dtype=torch.float64)
    if array.ndim == (2 if varies else 1):
        array = torch.diag_embed(array)
    return array.expand(count, 3, 3)


def _read_extxyz(path: Path, count: int) -> Iterator[Trajectory]:
    from ase.io import iread

    images = iread(path, index=":", format="extxyz")
    number, first, start = 0, None, 0.0
    while True:
        try:
            piece = list(itertools.islice(images, count))
        except Exception as error:  # ASE raises what its parsing meets; the cause is always the file
            raise InputError(f"'{path}' cannot be read after frame {number} ({error}); is it cut short?") from None
        if not piece:
            break
        first = piece[0] if first is None else first
        for k, atoms in enumerate(piece):
            if len(atoms) != len(first) or bool((atoms.numbers != first.numbers).any()):
                raise InputError(f"frame {number + k} of '{path}' has other atoms than the first; give one system")
        yield _of_images(piece, number + start)
        number += len(piece)
    if number == 0:
        raise InputError(f"'{path}' has no frames")


def _of_images(images: list[Any], number: float) -> Trajectory:
    from ase import units as ase_units

    first = images[0]
    moving = all(atoms.has("momenta") for atoms in images)
    stack = {
        "positions": [atoms.positions for atoms in images],
        # Without times, frames are counted: one femtosecond apart.
        "time": [atoms.info.get("time_fs", number + k) for k, atoms in enumerate(images)],
        "cell": [atoms.cell.array for atoms in images],
    }
    tensors = {name: torch.as_tensor(numpy.array(values, dtype=float)) for name, values in stack.items()}
    velocities = numpy.array([atoms.get_velocities() * ase_units.fs for atoms in images]) if moving else None
    return Trajectory(
        **tensors,
        atomic_numbers=torch.as_tensor(first.numbers, dtype=torch.int64),
        masses=torch.as_tensor(first.get_masses(), dtype=torch.float64),
        periodic=tuple(bool(flag) for flag in first.pbc),  # type: ignore[arg-type]
        velocities=None if velocities is None else torch.as_tensor(velocities),
    )
