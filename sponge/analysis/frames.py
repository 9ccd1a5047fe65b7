"""Frames of a trajectory as tensors, from the files that runs write and from other programs' in these formats."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError, StorageError
from mindsci.tree import Tree
from sponge import cells
from sponge.system import System, standard_masses

PIECE = 200
"""frames that are read in one go"""


class Trajectory(Tree):
    """Frames of one system; positions as they were written, wrapped or not."""

    positions: Float[Tensor, "frames atoms 3"]
    """[angstrom]"""
    time: Float[Tensor, " frames"]
    """[fs], float64"""
    atomic_numbers: Int[Tensor, " atoms"]
    masses: Float[Tensor, " atoms"]
    """[Da]"""
    cell: Float[Tensor, "frames 3 3"]
    """row vectors [angstrom]; zero where there is no cell"""
    periodic: tuple[bool, bool, bool] = (False, False, False)
    velocities: Float[Tensor, "frames atoms 3"] | None = None
    """[angstrom/fs]"""

    @classmethod
    def of(
        cls,
        system: System,
        *,
        positions: Float[Tensor, "frames atoms 3"],
        interval: float,
        momenta: Float[Tensor, "frames atoms 3"] | None = None,
    ) -> Trajectory:
        """Returns what `rollout` observed of a single system, every `interval` [fs]."""
        if system.n_systems != 1:
            raise InputError(f"{system.n_systems} systems in the batch; take the trajectory of one at a time")
        return cls(
            positions=positions,
            time=interval * torch.arange(1, len(positions) + 1, dtype=torch.float64),
            atomic_numbers=system.atomic_numbers,
            masses=system.masses,
            cell=system.cell.expand(len(positions), 3, 3),
            periodic=tuple(system.periodic[0].tolist()),
            velocities=None
            if momenta is None
            else momenta / torch.where(system.masses > 0, system.masses, 1.0)[:, None],
        )

    @property
    def n_frames(self) -> int:
        return self.positions.shape[0]

    @property
    def n_atoms(self) -> int:
        return self.positions.shape[1]

    def frames(self, which: slice) -> Trajectory:
        """Returns some of the frames."""
        velocities = None if self.velocities is None else self.velocities[which]
        picked = {"positions": self.positions[which], "time": self.time[which], "cell": self.cell[which]}
        return tree.replace(self, **picked, velocities=velocities)

    def between(self, first: float = -float("inf"), last: float = float("inf")) -> Trajectory:
        """Returns the frames at times from first to last [fs]; one in a million early or late is on time."""
        slack = 1e-6 * max(1.0, float(self.time.abs().max()) if self.n_frames else 1.0)
        kept = ((self.time >= first - slack) & (self.time <= last + slack)).nonzero().flatten()
        start, stop = (int(kept[0]), int(kept[-1]) + 1) if len(kept) else (0, 0)
        return self.frames(slice(start, stop))

    def interval(self) -> float:
        """Returns the time between frames [fs]. Raises InputError where there are fewer than two, or it varies."""
        if self.n_frames < 2:
            raise InputError(f"{self.n_frames} frames; correlations in time need 2 or more")
        steps = self.time.diff()
        mean = float(steps.mean())
        if not mean > 0 or float((steps - mean).abs().max()) > 1e-4 * mean:
            raise InputError(
                f"the time between frames varies from {float(steps.min()):g} to {float(steps.max()):g} fs; take the "
                "frames of one stage (after = ..., before = ...)"
            )
        return mean

    def batch(self) -> System:
        """Returns the frames as one batch, a system each; differentiable in the positions."""
        count, n_atoms = self.n_frames, self.n_atoms
        flat = self.positions.reshape(-1, 3)
        device, dtype = flat.device, flat.dtype
        cell = self.cell.to(flat)
        return System(
            positions=flat,
            momenta=torch.zeros_like(flat),
            masses=self.masses.to(flat).repeat(count),
            atomic_numbers=self.atomic_numbers.to(device=device, dtype=torch.int64).repeat(count),
            system=torch.arange(count, device=device).repeat_interleave(n_atoms),
            cell=cell.expand(count, 3, 3),
            periodic=torch.tensor(self.periodic, device=device).expand(count, 3).contiguous(),
            forces=torch.zeros_like(flat, dtype=dtype),
            energy=torch.zeros(count, dtype=torch.float64, device=device),
            stream=torch.arange(count, device=device),
            n_systems=count,
        )


def unwrapped(trajectory: Trajectory) -> Trajectory:
    """Returns the trajectory with continuous paths: each step of an atom is the shortest one between its images."""
    if not any(trajectory.periodic) or trajectory.n_frames < 2:
        return trajectory
    steps, fractions = _fractional_steps(trajectory)
    periodic = torch.tensor(trajectory.periodic, device=fractions.device)
    jumps = torch.where(periodic, torch.round(fractions), 0.0)
    cell = _completed(trajectory)[1:]
    paths = trajectory.positions[:1].double() + torch.cumsum(steps - jumps @ cell, 0)
    return tree.replace(trajectory, positions=torch.cat([trajectory.positions[:1].double(), paths]))


def check_continuous(trajectory: Trajectory) -> None:
    """Raises InputError, naming atom and frame, where an atom moves by more than half the cell between two frames."""
    if not any(trajectory.periodic) or trajectory.n_frames < 2:
        return
    _, fractions = _fractional_steps(trajectory)
    far = (fractions.abs() > 0.5) & torch.tensor(trajectory.periodic, device=fractions.device)
    if bool(far.any()):
        frame, atom, _ = far.nonzero()[0].tolist()
        raise InputError(
            f"atom {atom} moves by more than half the cell between frames {frame} and {frame + 1}; are the positions "
            "wrapped into the cell? Use unwrap = true"
        )


def _fractional_steps(trajectory: Trajectory) -> tuple[Tensor, Tensor]:
    steps = trajectory.positions.double().diff(dim=0)
    return steps, steps @ cells.inverse(_completed(trajectory)[1:])


def _completed(trajectory: Trajectory) -> Tensor:
    cell = trajectory.cell.double()
    return cells.completed_cell(cell, torch.tensor(trajectory.periodic, device=cell.device).expand(len(cell), 3))


def read_trajectory(path: Path | str) -> Trajectory:
    """Returns all frames of an H5MD or extended XYZ file. Raises InputError or StorageError for what is none."""
    pieces = list(read_pieces(path))
    joined = {name: torch.cat([getattr(one, name) for one in pieces]) for name in ("positions", "time", "cell")}
    moving = all(one.velocities is not None for one in pieces)
    velocities = torch.cat([one.velocities for one in pieces]) if moving else None  # type: ignore[misc]
    return tree.replace(pieces[0], **joined, velocities=velocities)


def read_pieces(path: Path | str, frames: int = PIECE) -> Iterator[Trajectory]:
    """Yields the frames of a file, so many at a time, for trajectories larger than memory."""
    path = Path(path)
    if not path.is_file():
        raise StorageError(f"the trajectory '{path}' does not exist; name a trajectory.h5 or trajectory.extxyz")
    if path.suffix in (".h5", ".h5md", ".hdf5"):
        yield from _read_h5md(path, frames)
    else:
        yield from _read_extxyz(path, frames)


def _read_h5md(path: Path, count: int) -> Iterator[Trajectory]:
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
