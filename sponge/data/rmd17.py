"""Reader of revised MD17 [Christensen2020]: DFT energies and forces of small molecules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy
import torch
from numpy.typing import NDArray

from mindsci import tree, units
from mindsci.errors import InputError, StorageError
from sponge.data.frames import Frames, Splits

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
    numbers, given = _read_file(paths[card.splits["train"].files[0]], labels, dtype)
    test_numbers, test = _read_file(paths[card.splits["test"].files[0]], labels, dtype)
    if not numpy.array_equal(numbers, test_numbers):
        raise InputError(f"the files of '{card.name}' hold different molecules; fetch them again")
    n_frames = len(given.energy)
    if not 0 < validation < n_frames:
        raise InputError(f"validation = {validation} of {n_frames} training frames; use 1 to {n_frames - 1}")
    order = torch.as_tensor(numpy.random.default_rng(split_seed).permutation(n_frames))
    aside, kept = order[:validation].sort().values, order[validation:].sort().values
    return Splits(
        atomic_numbers=torch.as_tensor(numbers.astype(numpy.int64)),
        train=tree.map(lambda leaf: leaf[kept], given),
        validation=tree.map(lambda leaf: leaf[aside], given),
        test=test,
    )


def _read_file(path: Path, labels: str, dtype: torch.dtype) -> tuple[NDArray[Any], Frames]:
    energies, forces = LABELS[labels]
    try:
        with numpy.load(path, allow_pickle=False) as stored:
            numbers, arrays = stored["nuclear_charges"], [stored[key] for key in ("coords", energies, forces)]
    except OSError as error:
        raise StorageError(f"cannot read '{path}': {error}") from None
    except (KeyError, ValueError) as error:
        raise InputError(f"'{path}' is not an rMD17 file ({error}); fetch it again") from None
    positions, energy, force = (torch.as_tensor(array, dtype=torch.float64) for array in arrays)
    frames = Frames(
        positions=positions.to(dtype),
        energy=energy * units.KCAL_PER_MOL_EV,
        forces=(force * units.KCAL_PER_MOL_EV).to(dtype),
    )
    return numbers, frames
