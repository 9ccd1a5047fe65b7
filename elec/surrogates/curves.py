"""Reflection curves of a family of designs, and the reader of MindElec's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindsci.errors import InputError, StorageError
from mindsci.train.indices import read_indices
from mindsci.tree import Tree


class Curves(Tree):
    """Designs with the magnitude of their reflection."""

    parameters: Float[Tensor, "designs parameters"]
    frequency: Float[Tensor, " frequencies"]
    """[Hz], float64"""
    reflection: Float[Tensor, "designs frequencies"]
    """20 log10 |S11| [dB]"""

    def __len__(self) -> int:
        return len(self.parameters)

    def select(self, designs: Int[Tensor, " chosen"]) -> Curves:
        """Returns some of the designs."""
        return Curves(
            parameters=self.parameters[designs], frequency=self.frequency, reflection=self.reflection[designs]
        )


class CurveSplits(Tree):
    """The designs that train, validate and test."""

    train: Curves
    validation: Curves
    test: Curves

    def of(self, split: str) -> Curves:
        """Returns the curves of a split by its name."""
        curves: Curves = getattr(self, split)
        return curves


def read(paths: Mapping[str, Path], card: Any, *, dtype: torch.dtype = torch.float32) -> CurveSplits:
    """Returns the splits of a card with one npz file: params, freq_GHz and s11_dB, in the rows of its index file."""
    (path,) = paths.values()
    curves = read_file(path, dtype)
    parts = {
        name: curves.select(read_indices(card.folder / str(split.indices), name, len(curves)))
        for name, split in card.splits.items()
    }
    missing = {"train", "validation", "test"} - parts.keys()
    if missing:
        raise InputError(f"the card of '{card.name}' has no split {', '.join(sorted(missing))}")
    return CurveSplits(**parts)


def read_file(path: Path, dtype: torch.dtype = torch.float32) -> Curves:
    """Returns the designs of an npz file with params, freq_GHz and s11_dB.

    Raises InputError, naming file and key, for what is missing, misshapen or not finite.
    """
    try:
        with open(path, "rb") as file, numpy.load(file, allow_pickle=False) as stored:
            arrays = {key: torch.as_tensor(stored[key]) for key in ("params", "freq_GHz", "s11_dB")}
    except OSError as error:
        raise StorageError(f"cannot read the curves '{path}': {error}") from None
    except (ValueError, KeyError, EOFError) as error:
        raise InputError(f"'{path}' is no npz file with the arrays params, freq_GHz and s11_dB: {error}") from None
    parameters, frequency, reflection = arrays.values()
    designs, frequencies = len(parameters), len(frequency)
    for key, array, wanted in (
        ("params", parameters, (designs, -1)),
        ("freq_GHz", frequency, (frequencies,)),
        ("s11_dB", reflection, (designs, frequencies)),
    ):
        if array.ndim != len(wanted) or any(w not in (-1, n) for n, w in zip(array.shape, wanted, strict=True)):
            raise InputError(f"'{path}', {key}: shape {list(array.shape)}, expected {list(wanted)} (-1: any number)")
        if not bool(array.isfinite().all()):
            raise InputError(f"'{path}', {key}: values that are not finite; leave those designs out")
    return Curves(
        parameters=parameters.to(dtype), frequency=1e9 * frequency.to(torch.float64), reflection=reflection.to(dtype)
    )
