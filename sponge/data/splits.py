"""Splits fixed by index files: which frames train, validate and test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindsci.errors import InputError
from mindsci.train.indices import read_indices, set_aside
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
