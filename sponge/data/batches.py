"""Batches of frames as systems with neighbour lists: the lists are made once for each frame and gathered."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindsci.errors import InputError
from mindsci.tree import Tree
from sponge.data.frames import Frames, spans
from sponge.data.store import CONTENTS, ArrayWriter, mapped
from sponge.neighbors import Neighbors, check_distances, neighbor_list
from sponge.neighbors.lists import row_pointers
from sponge.system import System

ATOMS_AT_ONCE = 20_000
"""atoms whose lists are made in one go: enough to fill the search, little beside the data"""


class LabelledBatch(Tree):
    """Systems with the labels that a potential should give them; NaN where a frame has none."""

    system: System
    neighbors: Neighbors
    energy: Float[Tensor, " systems"]
    """[eV], float64"""
    forces: Float[Tensor, "atoms 3"]
    """[eV/angstrom]"""
    stress: Float[Tensor, "systems 3 3"]
    """[eV/angstrom^3]"""


class Edges(Tree):
    """The neighbour lists of many frames: atoms are counted from the first one of their frame."""

    first: Int[Tensor, " frames"]
    """where the edges of each frame begin"""
    count: Int[Tensor, " frames"]
    first_atom: Int[Tensor, " frames"]
    """where the degrees of the atoms of each frame begin"""
    degree: Int[Tensor, " atoms"]
    neighbor: Int[Tensor, " edges"]
    shift: Int[Tensor, "edges 3"] | None
    """None where no frame repeats"""
    cutoff: float
    half: bool


class FrameData:
    """Frames and their neighbour lists within a cutoff, as the items of `mindsci.train.Batches`."""

    def __init__(self, frames: Frames, *, cutoff: float, half: bool, closest: float) -> None:
        self.frames = frames
        self.edges = list_edges(frames, cutoff=cutoff, half=half, closest=closest)

    def __len__(self) -> int:
        return len(self.frames)

    def collate(self, indices: Int[Tensor, " batch"]) -> LabelledBatch:
        """Returns the frames named as systems with their lists: rows are picked, nothing is computed."""
        system, atoms = as_systems(self.frames, indices)
        return LabelledBatch(
            system=system,
            neighbors=self._lists(system, indices),
            energy=self.frames.energy[indices],
            forces=self.frames.forces[atoms],
            stress=self.frames.stress[indices],
        )

    def _lists(self, system: System, indices: Int[Tensor, " batch"]) -> Neighbors:
        edges = self.edges
        counts, n_atoms = edges.count[indices], self.frames.count[indices]
        picked = spans(edges.first[indices], counts)
        starts = n_atoms.cumsum(0) - n_atoms
        degree = edges.degree[spans(edges.first_atom[indices], n_atoms)].long()
        return Neighbors(
            rows=row_pointers(degree),
            centre=torch.arange(len(degree)).repeat_interleave(degree),
            neighbor=edges.neighbor[picked].long() + starts.repeat_interleave(counts),
            shift=None if edges.shift is None else edges.shift[picked].to(torch.int32),
            half=edges.half,
            cutoff=edges.cutoff,
            origin=system.positions,
            origin_cell=system.cell,
            periodic=system.periodic,
        )


def as_systems(frames: Frames, indices: Int[Tensor, " batch"]) -> tuple[System, Int[Tensor, " atoms"]]:
    """Returns the frames named as a batch of systems at rest, and the places of their atoms in the flat arrays."""
    count = frames.count[indices]
    atoms = spans(frames.first[indices], count)
    positions, numbers = frames.positions[atoms], frames.atomic_numbers[atoms].long()
    n_systems, nothing = len(indices), torch.zeros_like(positions)
    system = System(
        positions=positions,
        momenta=nothing,
        masses=_masses(positions.dtype)[numbers],
        atomic_numbers=numbers,
        system=torch.arange(n_systems).repeat_interleave(count),
        cell=frames.cell[indices],
        periodic=frames.periodic[indices],
        forces=nothing,
        energy=torch.zeros(n_systems, dtype=torch.float64),
        stream=torch.arange(n_systems),
        n_systems=n_systems,
    )
    return system, atoms


@cache
def _masses(dtype: torch.dtype) -> Tensor:
    from ase.data import atomic_masses

    return torch.as_tensor(atomic_masses, dtype=dtype)


def list_edges(frames: Frames, *, cutoff: float, half: bool, closest: float) -> Edges:
    """Returns the lists of all frames within a cutoff [angstrom].

    Raises InputError, naming file, frame and atoms, where two atoms are not farther apart than `closest` [angstrom].
    """
    repeats = bool(frames.periodic.any())
    folder = _place(frames, cutoff, half, closest)
    if folder is not None and (folder / CONTENTS).exists():
        arrays = mapped(folder)[0]
    else:
        with ArrayWriter(folder) as writer:
            begin = 0
            while begin < len(frames):
                end = begin + 1 + int((frames.count[begin + 1 : begin + 4096].cumsum(0) < ATOMS_AT_ONCE).sum())
                writer.append(**_lists_of(frames, begin, end, cutoff=cutoff, half=half, closest=closest))
                begin = end
            arrays = writer.finish({"cutoff": cutoff})
    count, n_atoms = arrays["count"], frames.count
    if not int(count.sum()) and bool((n_atoms > 1).any()):
        raise InputError(
            f"no two atoms of {frames.name(0)} and the frames after it are closer than the cutoff, {cutoff:g} "
            "angstrom; is the unit of length right?"
        )
    return Edges(
        first=count.cumsum(0) - count,
        count=count,
        first_atom=n_atoms.cumsum(0) - n_atoms,
        degree=arrays["degree"],
        neighbor=arrays["neighbor"],
        shift=arrays["shift"] if repeats else None,
        cutoff=cutoff,
        half=half,
    )


def _place(frames: Frames, cutoff: float, half: bool, closest: float) -> Path | None:
    """The folder of the lists of frames that are mapped from disk; None where frames are in memory."""
    if frames.store is None:
        return None
    said = f"{frames.store.name} {cutoff!r} {half} {closest!r}".encode() + frames.first.numpy().tobytes()
    return frames.store.with_name(f"lists-{hashlib.sha256(said).hexdigest()[:24]}")


def _lists_of(frames: Frames, begin: int, end: int, *, cutoff: float, half: bool, closest: float) -> dict[str, Tensor]:
    """Edges of each frame, neighbours of each atom, and the edges' neighbours and shifts, as small as they may be."""
    system, _ = as_systems(frames, torch.arange(begin, end))
    try:
        found = neighbor_list(system, cutoff, half=half)
        check_distances(system, found, closest)
    except InputError as error:
        if end - begin > 1:  # the message counts systems of the block: say which frame it is
            for one in range(begin, end):
                _lists_of(frames, one, one + 1, cutoff=cutoff, half=half, closest=closest)
        raise InputError(f"{frames.name(begin)}: {str(error).replace(' of system 0', '')}") from None
    owner = system.system[found.centre]
    shift = found.shift if found.shift is not None else torch.zeros(len(owner), 3, dtype=torch.int32)
    return {
        "count": torch.bincount(owner, minlength=end - begin),
        "degree": found.rows.diff().to(torch.int32),
        "neighbor": (found.neighbor - system.starts[owner]).to(torch.int32),
        "shift": shift.to(torch.int8),
    }
