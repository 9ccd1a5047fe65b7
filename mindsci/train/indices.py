"""Which items of a data set train, validate and test: index files, and items set aside by a seed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import torch
from jaxtyping import Int
from torch import Tensor

from mindsci.errors import InputError, StorageError


def set_aside(
    n_items: int, count: int, seed: int, name: str = "validation"
) -> tuple[Int[Tensor, " kept"], Int[Tensor, " aside"]]:
    """Returns which items stay and which `count` items, drawn by a seed, are set aside; both ascending."""
    if not 0 < count < n_items:
        raise InputError(f"{name} = {count} of {n_items} training items; use 1 to {n_items - 1}")
    order = torch.as_tensor(numpy.random.default_rng(seed).permutation(n_items))
    return order[count:].sort().values, order[:count].sort().values


def read_indices(path: Path, split: str, n_items: int) -> Int[Tensor, " items"]:
    """Returns the indices of a split in a JSON file {"train": [0, 2, ...], ...}."""
    try:
        tables = json.loads(path.read_text(encoding="utf-8"))
        indices = torch.as_tensor(tables[split], dtype=torch.int64)
    except OSError as error:
        raise StorageError(f"cannot read the index file '{path}': {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"'{path}' is no index file with a list '{split}' ({error}); write {{\"train\": [0, 1, ...], ...}}"
        ) from None
    if indices.ndim != 1 or not len(indices) or int(indices.min()) < 0 or int(indices.max()) >= n_items:
        raise InputError(f"'{path}', {split}: items must be in 0 to {n_items - 1}, and at least one")
    if len(indices.unique()) < len(indices):
        raise InputError(f"'{path}', {split}: an item is named twice; name each once")
    return indices
