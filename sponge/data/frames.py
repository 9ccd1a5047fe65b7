"""Labelled frames of one molecule, held in memory: what a potential is trained on."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from mindsci.tree import Tree


class Frames(Tree):
    """Configurations of the same atoms in the same order, one row each."""

    positions: Float[Tensor, "frames atoms 3"]
    """[angstrom]"""
    energy: Float[Tensor, " frames"]
    """[eV], float64: a total energy is large against what tells two frames apart"""
    forces: Float[Tensor, "frames atoms 3"]
    """[eV/angstrom]"""


class Splits(Tree):
    """Training, validation and test frames of one molecule."""

    atomic_numbers: Int[Tensor, " atoms"]
    train: Frames
    validation: Frames
    test: Frames

    def of(self, split: str) -> Frames:
        """Returns the frames of "train", "validation" or "test"."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[split]
