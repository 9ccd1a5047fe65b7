"""Labelled frames of systems of any size: what a potential is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree


class Frames(Tree):
    """Configurations, each with its own atoms and cell. Atoms of all frames lie in flat arrays, which may be on disk.

    A label that a frame does not have is NaN: what is read is refused where a label that is there is not finite.
    """

    first: Int[Tensor, " frames"]
    """where the atoms of each frame begin in the flat arrays"""
    count: Int[Tensor, " frames"]
    """atoms of each frame"""
    atomic_numbers: Int[Tensor, " atoms"]
    positions: Float[Tensor, "atoms 3"]
    """[angstrom]"""
    forces: Float[Tensor, "atoms 3"]
    """[eV/angstrom]"""
    cell: Float[Tensor, "frames 3 3"]
    """row vectors [angstrom]"""
    periodic: Bool[Tensor, "frames 3"]
    energy: Float[Tensor, " frames"]
    """[eV], float64: a total energy is large against what tells two frames apart"""
    stress: Float[Tensor, "frames 3 3"]
    """dE/d(strain) / volume [eV/angstrom^3], positive under tension"""
    files: tuple[str, ...] = ()
    file: Int[Tensor, " frames"]
    """which of `files` each frame was read from"""
    row: Int[Tensor, " frames"]
    """the number of each frame in its file, from 0"""
    store: Path | None = None
    """the folder that the flat arrays are mapped from; None where they are in memory"""

    def __len__(self) -> int:
        return len(self.first)

    def select(self, indices: Int[Tensor, " picked"] | slice) -> Frames:
        """Returns the frames named, in that order; the flat arrays are shared."""
        names = ("first", "count", "cell", "periodic", "energy", "stress", "file", "row")
        return tree.replace(self, **{name: getattr(self, name)[indices] for name in names})

    def name(self, index: int) -> str:
        """Returns "frame 12 of 'data.xyz'", as messages name a frame."""
        where = self.files[int(self.file[index])] if self.files else "the data"
        return f"frame {int(self.row[index])} of '{where}'"

    @property
    def elements(self) -> list[int]:
        """Atomic numbers that occur, ascending."""
        return self.compositions()[0]

    def compositions(self) -> tuple[list[int], Float[Tensor, "frames elements"]]:
        """Returns the elements that occur, and how many atoms of each every frame has."""
        counts = torch.zeros(len(self), 120)
        for begin in range(0, len(self), 4096):
            block = slice(begin, begin + 4096)
            numbers = self.atomic_numbers[spans(self.first[block], self.count[block])].long()
            owner = torch.arange(begin, begin + len(self.count[block])).repeat_interleave(self.count[block])
            counts.index_put_((owner, numbers), torch.ones(()), accumulate=True)
        present = counts.any(0).nonzero().flatten()
        return present.tolist(), counts[:, present].double()


class Splits(Tree):
    """Training, validation and test frames."""

    train: Frames
    validation: Frames
    test: Frames
    isolated: Frames | None = None
    """single atoms, whose energies may be the elements' reference energies"""

    def with_isolated(self, isolated: Frames | None) -> Splits:
        """Returns the splits with frames of single atoms beside them."""
        return tree.replace(self, isolated=isolated)

    def of(self, split: str) -> Frames:
        """Returns the frames of "train", "validation" or "test"."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[split]


def spans(first: Int[Tensor, " parts"], count: Int[Tensor, " parts"]) -> Int[Tensor, " items"]:
    """Returns first[0], first[0] + 1, ... count[0] of them, then those of the next part."""
    shift = first - (count.cumsum(0) - count)
    return shift.repeat_interleave(count) + torch.arange(int(count.sum()))


def of_equal_size(
    atomic_numbers: Int[Tensor, " atoms"],
    positions: Float[Tensor, "frames atoms 3"],
    *,
    energy: Float[Tensor, " frames"],
    forces: Float[Tensor, "frames atoms 3"] | None = None,
    cell: Float[Tensor, "frames 3 3"] | None = None,
    file: str = "",
) -> Frames:
    """Returns frames of the same atoms in the same order; periodic along every vector where cells are given."""
    n_frames, n_atoms = positions.shape[:2]
    flat = positions.flatten(0, 1).contiguous()
    absent = torch.full((n_frames, 3, 3), float("nan"), dtype=positions.dtype)
    return Frames(
        first=n_atoms * torch.arange(n_frames),
        count=torch.full((n_frames,), n_atoms),
        atomic_numbers=atomic_numbers.to(torch.int16).repeat(n_frames),
        positions=flat,
        forces=torch.full_like(flat, float("nan")) if forces is None else forces.flatten(0, 1).contiguous(),
        cell=positions.new_zeros((n_frames, 3, 3)) if cell is None else cell.to(positions.dtype),
        periodic=torch.full((n_frames, 3), cell is not None),
        energy=energy.double(),
        stress=absent,
        files=(file,) if file else (),
        file=torch.zeros(n_frames, dtype=torch.int32),
        row=torch.arange(n_frames, dtype=torch.int32),
    )


def concatenate(parts: Sequence[Frames]) -> Frames:
    """Returns the frames of all parts, one after the other."""
    if not parts:
        raise InputError("no frames to join; give at least one file with frames")
    files: list[str] = []
    joined: dict[str, list[Tensor]] = {name: [] for name in FIELDS}
    atoms = 0
    for part in parts:
        for name in FIELDS:
            joined[name].append(getattr(part, name))
        joined["first"][-1] = part.first + atoms
        joined["file"][-1] = part.file + len(files)
        atoms += len(part.positions)
        files += part.files
    if len(parts) == 1:  # flat arrays on disk stay there
        return parts[0]
    return Frames(**{name: torch.cat(values) for name, values in joined.items()}, files=tuple(files))


FIELDS = (
    "first", "count", "atomic_numbers", "positions", "forces", "cell", "periodic", "energy", "stress", "file", "row",
)  # fmt: skip
