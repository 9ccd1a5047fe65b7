"""Reader of MindSPONGE's Cybertron files (npz, padded with Z = 0), whose normalised labels are made whole again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import torch
from numpy.typing import NDArray

from mindsci import units
from mindsci.errors import InputError
from sponge.data.arrays import finite, reading, shaped
from sponge.data.convention import energy_factor
from sponge.data.frames import Frames, Splits
from sponge.data.splits import divide


def read(
    paths: Mapping[str, Path],
    card: Any,
    *,
    validation: int | None = None,
    split_seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Splits:
    """Returns the frames of a card's files, in angstrom and eV.

    The card's units must be those that the files state. Its options: `label`, which of several labels is the energy,
    and `normalised`, the files that hold (E - shift) / scale, the shift for each atom where the file says so, less the
    elements' reference energies where it has them.
    """
    label, normalised = card.options.get("label", 0), card.options.get("normalised", [])
    sets = {name: read_file(path, card.units, label, name in normalised, dtype) for name, path in paths.items()}
    return divide(card, sets, validation=validation, split_seed=split_seed)


def read_file(path: Path, stated: Mapping[str, str], label: int, normalised: bool, dtype: torch.dtype) -> Frames:
    """Returns the frames of one file."""
    with reading(path), open(path, "rb") as file, numpy.load(file, allow_pickle=False) as stored:
        for key, sort in (("length_unit", "length"), ("energy_unit", "energy")):
            if str(stored[key]).lower() != stated[sort].lower():
                raise InputError(
                    f"'{path}', {key}: the file is in {stored[key]}, its card says {stated[sort]}; mend the card, or "
                    "fetch the file again"
                )
        positions = numpy.asarray(stored["R"], dtype=numpy.float64)
        n_frames, most = positions.shape[:2]
        numbers = numpy.broadcast_to(stored["Z"], (n_frames, most))
        energy = shaped(stored["E"], path, "E", (n_frames, stored["E"].size // n_frames))[:, label]
        forces = shaped(stored["F"], path, "F", (n_frames, most, 3)) if "F" in stored else None
        if normalised:
            energy, forces = _undone(stored, label, numbers, energy, forces)
        finite(positions, path, "R")
        finite(energy, path, "E")
        if forces is not None:
            finite(forces, path, "F")
    length, unit = units.parse(f"1 {stated['length']}", "angstrom"), energy_factor(stated["energy"])
    there = torch.as_tensor(numbers > 0)
    count = there.sum(1)
    forces = numpy.full_like(positions, numpy.nan) if forces is None else forces * (unit / length)
    return Frames(
        first=count.cumsum(0) - count,
        count=count,
        atomic_numbers=torch.as_tensor(numbers.astype(numpy.int16))[there],
        positions=torch.as_tensor(positions * length).to(dtype)[there],
        forces=torch.as_tensor(forces).to(dtype)[there],
        cell=torch.zeros(n_frames, 3, 3, dtype=dtype),
        periodic=torch.zeros(n_frames, 3, dtype=torch.bool),
        energy=torch.as_tensor(energy * unit),
        stress=torch.full((n_frames, 3, 3), float("nan"), dtype=dtype),
        files=(path.name,),
        file=torch.zeros(n_frames, dtype=torch.int32),
        row=torch.arange(n_frames, dtype=torch.int32),
    )


def _undone(
    stored: Any, label: int, numbers: NDArray[Any], energy: NDArray[Any], forces: NDArray[Any] | None
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Labels as they were before they were normalised."""
    scale, shift = (
        float(numpy.asarray(stored[key], dtype=numpy.float64).reshape(-1)[label]) for key in ("scale", "shift")
    )
    atomwise = bool(numpy.asarray(stored["use_atomwise_scaleshift"]).reshape(-1)[label])
    count = (numbers > 0).sum(1)
    energy = energy * scale + shift * (count if atomwise else 1)
    if "type_ref" in stored:
        energy = energy + numpy.asarray(stored["type_ref"], dtype=numpy.float64)[numbers, label].sum(1)
    return energy, None if forces is None else forces * scale
