"""Reader of DeePMD's npy format: folders with type.raw, type_map.raw and set.*/ of arrays, one row a frame."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy
import torch

from mindsci.errors import InputError
from sponge.data.arrays import finite, load_array
from sponge.data.frames import Frames, Splits, of_equal_size
from sponge.data.splits import divide


def read(
    paths: Mapping[str, Path],
    card: Any,
    *,
    validation: int | None = None,
    split_seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Splits:
    """Returns the frames of a card's sets, in angstrom and eV as the format has them, in the splits of the card."""
    names = [name for name in paths if name.endswith("coord.npy")]
    sets = {name: read_set(paths, str(PurePosixPath(name).parent), dtype) for name in names}
    return divide(card, sets, validation=validation, split_seed=split_seed)


def read_set(paths: Mapping[str, Path], folder: str, dtype: torch.dtype) -> Frames:
    """Returns the frames of one set folder, such as "data_0/set.000"."""
    from ase.data import atomic_numbers

    system = PurePosixPath(folder).parent
    symbols = paths[f"{system}/type_map.raw"].read_text(encoding="utf-8").split()
    kinds = numpy.array(paths[f"{system}/type.raw"].read_text(encoding="utf-8").split(), dtype=int)
    unknown = [symbol for symbol in symbols if symbol not in atomic_numbers]
    if unknown or not len(kinds) or kinds.min() < 0 or kinds.max() >= len(symbols):
        raise InputError(f"'{paths[f'{system}/type.raw']}' and type_map.raw name no elements; fetch them again")
    numbers = numpy.array([atomic_numbers[symbol] for symbol in symbols])[kinds]
    energy = load_array(paths[f"{folder}/energy.npy"])
    n_frames, n_atoms = len(energy.reshape(-1)), len(numbers)
    arrays = {}
    for name, shape in (("coord", (n_atoms, 3)), ("force", (n_atoms, 3)), ("box", (3, 3)), ("energy", ())):
        path = paths[f"{folder}/{name}.npy"]
        arrays[name] = finite(load_array(path, (n_frames, *shape)), path, name)
    return of_equal_size(
        torch.as_tensor(numbers),
        arrays["coord"].to(dtype),
        energy=arrays["energy"],
        forces=arrays["force"].to(dtype),
        cell=arrays["box"],
        file=folder,
    )
