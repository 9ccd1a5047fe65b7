"""Splits fixed by index files: which frames train, validate and test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import torch
from jaxtyping import Int
from torch import Tensor

from mindsci.errors import InputError, StorageError
from sponge.data.frames import Frames, Splits, concatenate

NAMES = ("train", "validation", "test")


def divide(card: Any, sets: Mapping[str, Frames], *, validation: int | None = None, split_seed: int = 0) -> Splits:
    """Returns the splits of a card. Files that hold frames are the keys of `sets`.

    A split is all frames of its files, in order, or those that its index file names. Where the card has no split
    "validation", `validation` frames (50) drawn from "train" by `split_seed` are set aside.
    """
    found = {}
    for name, split in card.splits.items():
        frames = concatenate([sets[file] for file in split.files if file in sets])
        if split.indices:
            frames = frames.select(read_indices(card.folder / split.indices, name, len(frames)))
        found[name] = frames
    if "validation" not in found:
        kept, aside = set_aside(len(found["train"]), 50 if validation is None else validation, split_seed)
        found |= {"train": found["train"].select(kept), "validation": found["train"].select(aside)}
    elif validation is not None:
        raise InputError(f"'{card.name}' has validation frames of its own; leave out data.validation")
    missing = [name for name in NAMES if name not in found]
    if missing:
        raise InputError(f"the card of '{card.name}' has no split {missing[0]}; it has {', '.join(found)}")
    return Splits(**{name: found[name] for name in NAMES})


def split_frames(
    frames: Frames,
    *,
    test_frames: Frames | None = None,
    indices: Path | None = None,
    validation: int | None = None,
    test: int | None = None,
    seed: int = 0,
) -> Splits:
    """Returns the splits of frames: by an index file, or with `validation` and `test` frames drawn by a seed.

    Raises InputError where it is not said which frames test.
    """
    if indices is not None:
        names = NAMES if test_frames is None else NAMES[:2]
        parts = {name: frames.select(read_indices(indices, name, len(frames))) for name in names}
        return Splits(**parts, **({} if test_frames is None else {"test": test_frames}))
    if test_frames is None:
        if test is None:
            raise InputError("which frames test? Name data.test_file, data.split, or a number data.test")
        kept, aside = set_aside(len(frames), test, seed, "test")
        frames, test_frames = frames.select(kept), frames.select(aside)
    kept, aside = set_aside(len(frames), 50 if validation is None else validation, seed)
    return Splits(train=frames.select(kept), validation=frames.select(aside), test=test_frames)


def set_aside(
    n_frames: int, count: int, seed: int, name: str = "validation"
) -> tuple[Int[Tensor, " kept"], Int[Tensor, " aside"]]:
    """Returns which frames stay and which `count` frames, drawn by a seed, are set aside; both ascending."""
    if not 0 < count < n_frames:
        raise InputError(f"{name} = {count} of {n_frames} training frames; use 1 to {n_frames - 1}")
    order = torch.as_tensor(numpy.random.default_rng(seed).permutation(n_frames))
    return order[count:].sort().values, order[:count].sort().values


def read_indices(path: Path, split: str, n_frames: int) -> Int[Tensor, " frames"]:
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
    if indices.ndim != 1 or not len(indices) or int(indices.min()) < 0 or int(indices.max()) >= n_frames:
        raise InputError(f"'{path}', {split}: frames must be in 0 to {n_frames - 1}, and at least one")
    if len(indices.unique()) < len(indices):
        raise InputError(f"'{path}', {split}: a frame is named twice; name each once")
    return indices
