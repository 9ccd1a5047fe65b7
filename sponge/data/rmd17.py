"""Reader of revised MD17 [Christensen2020]: DFT energies and forces of small molecules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy
import torch

from mindsci import units
from mindsci.errors import InputError
from sponge.data.arrays import finite, reading, shaped
from sponge.data.frames import Frames, Splits, of_equal_size
from sponge.data.splits import divide

LABELS = {"revised": ("energies", "forces"), "original": ("old_energies", "old_forces")}
"""revised: PBE/def2-SVP, tight; original: PBE+vdW-TS of MD17 [Chmiela2017], of the same frames. Never mix the two."""


def read(
    paths: Mapping[str, Path],
    card: Any,
    *,
    labels: Literal["revised", "original"] = "revised",
    validation: int = 50,
    split_seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Splits:
    """Returns the frames of a card's files, converted once to angstrom and eV.

    The test frames are those of the card's split "test". Of the training file, `validation` frames drawn by
    `split_seed` are set aside; the rest trains. Energies stay in float64, positions and forces become `dtype`.
    """
    if labels not in LABELS:
        raise InputError(f"labels = '{labels}'; use one of {', '.join(LABELS)}")
    sets = {name: read_file(path, labels, dtype) for name, path in paths.items()}
    first, *others = sets.values()
    n_atoms = int(first.count[0])
    for other in others:
        if not torch.equal(first.atomic_numbers[:n_atoms], other.atomic_numbers[: int(other.count[0])]):
            raise InputError(f"the files of '{card.name}' hold different molecules; fetch them again")
    return divide(card, sets, validation=validation, split_seed=split_seed)


def read_file(path: Path, labels: str, dtype: torch.dtype) -> Frames:
    """Returns the frames of one npz file with either set of labels."""
    energies, forces = LABELS[labels]
    with reading(path), open(path, "rb") as file, numpy.load(file, allow_pickle=False) as stored:
        numbers = torch.as_tensor(stored["nuclear_charges"].astype(numpy.int64))
        shape = (len(stored[energies]), len(numbers), 3)
        positions, energy, force = (
            finite(shaped(stored[key], path, key, wanted), path, key)
            for key, wanted in (("coords", shape), (energies, shape[:1]), (forces, shape))
        )
    return of_equal_size(
        numbers,
        positions.to(dtype),
        energy=energy * units.KCAL_PER_MOL_EV,
        forces=(force * units.KCAL_PER_MOL_EV).to(dtype),
        file=path.name,
    )
