"""Frames from files of structures: extended XYZ, ASE databases and npz, in memory or mapped from a packed copy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError, UnknownNameError
from mindsci.hub import Settings
from sponge.data import ase_database, extxyz, npz
from sponge.data.convention import Convention, Structure, convention
from sponge.data.frames import FIELDS, Frames, Splits
from sponge.data.mixed_units import check_units
from sponge.data.splits import divide
from sponge.data.store import CONTENTS, ArrayWriter, mapped

READERS = {".xyz": extxyz, ".extxyz": extxyz, ".db": ase_database, ".npz": npz}
AT_ONCE = 512
"""frames that are converted in one go"""
LARGE = 256 * 2**20
"""bytes of a file from which its frames are packed once and mapped, instead of read into memory"""


def read(
    paths: Mapping[str, Path],
    card: Any,
    *,
    validation: int | None = None,
    split_seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Splits:
    """Returns the frames of a card of structure files.

    The card's units name energy, length and, where they differ, force and stress. Its options: `keys` of the labels,
    and `isolated`, the file of single atoms whose energies are the elements' reference energies.
    """
    known = convention(card.options.get("keys", {}), card.units, where=f"the card of '{card.name}'")
    isolated = card.options.get("isolated")
    sets = {name: read_file(path, known, dtype) for name, path in paths.items() if name != isolated}
    splits = divide(card, sets, validation=validation, split_seed=split_seed)
    return splits.with_isolated(None if isolated is None else read_isolated(paths[isolated], known, dtype))


def read_isolated(path: Path, known: Convention, dtype: torch.dtype = torch.float32) -> Frames:
    """Returns frames of single atoms, which need no label but the energy."""
    return read_file(path, tree.replace(known, named=()), dtype)


def read_file(
    path: Path, known: Convention, dtype: torch.dtype = torch.float32, *, stream: bool | None = None
) -> Frames:
    """Returns the frames of a file, converted once to angstrom and eV.

    stream: pack the frames once into the cache folder and map them from there, so that they need no memory; by default
    for files above 256 MiB. Raises InputError naming file, frame and key for what cannot be used.
    """
    if path.suffix not in READERS:
        raise UnknownNameError.of("kind of structure file", path.suffix, READERS)
    large = path.is_file() and path.stat().st_size > LARGE
    folder = _place(path, known, dtype) if (large if stream is None else stream) else None
    if folder is not None and (folder / CONTENTS).exists():
        arrays = mapped(folder)[0]
    else:
        with ArrayWriter(folder) as writer:
            _write(writer, path, known, dtype)
            arrays = writer.finish({"file": str(path)})
    arrays["first"] = arrays["count"].cumsum(0) - arrays["count"]
    frames = Frames(**{name: arrays[name] for name in FIELDS}, files=(path.name,), store=folder)
    check_units(frames)
    return frames


def _place(path: Path, known: Convention, dtype: torch.dtype) -> Path:
    state = path.stat() if path.is_file() else None
    said = [str(path.resolve()), repr(known), str(dtype), state and [state.st_size, state.st_mtime_ns]]
    return Settings.from_environment().home / "packed" / hashlib.sha256(json.dumps(said).encode()).hexdigest()[:24]


def _write(writer: ArrayWriter, path: Path, known: Convention, dtype: torch.dtype) -> None:
    found: set[str] = set()
    keys: set[str] = set()
    source, row = READERS[path.suffix].structures(path), 0
    while block := list(islice(source, AT_ONCE)):
        converted = [_converted(one, known, f"frame {row + k} of '{path}'") for k, one in enumerate(block)]
        for one in block:
            keys |= set(one.labels)
        found |= keys & set(known.named)
        writer.append(**{name: _joined(name, [one[name] for one in converted], dtype) for name in converted[0]})
        count = torch.tensor([len(one.numbers) for one in block])
        numbers = torch.arange(row, row + len(block), dtype=torch.int32)
        writer.append(count=count, row=numbers, file=torch.zeros_like(numbers))
        row += len(block)
    if not row:
        raise InputError(f"'{path}' holds no frame; is it the right file?")
    for key in known.named:
        if key not in found:
            raise UnknownNameError.of(f"key in '{path}'", key, keys)


def _joined(name: str, values: list[Any], dtype: torch.dtype) -> Tensor:
    if name in ("atomic_numbers", "positions", "forces"):
        joined = torch.as_tensor(numpy.concatenate(values))
    else:
        joined = torch.as_tensor(numpy.stack(values))
    return joined.to(dtype) if joined.is_floating_point() and name != "energy" else joined


def _converted(one: Structure, known: Convention, where: str) -> dict[str, Any]:
    """The arrays of a frame, in angstrom and eV; NaN where there is no label."""
    n_atoms, cell = len(one.numbers), known.length * numpy.asarray(one.cell, dtype=float)
    if not numpy.isfinite(one.positions).all() or not numpy.isfinite(cell).all():
        raise InputError(f"{where}: a position or the cell is not finite; leave the frame out")
    volume = abs(numpy.linalg.det(cell))
    if any(one.periodic) and numpy.linalg.matrix_rank(cell[list(one.periodic)]) < sum(one.periodic):
        raise InputError(f'{where}: the cell has no volume along its periodic vectors; state it, or pbc="F F F"')
    energy = known.label(one, known.energy, (), where)
    forces = known.label(one, known.forces, (n_atoms, 3), where)
    stress = known.label(one, known.stress, (3, 3), where)
    virial = known.label(one, known.virial, (3, 3), where)
    if stress is not None:
        stress = known.stress_unit * stress
    elif virial is not None and all(one.periodic):
        stress = -known.energy_unit * virial / volume
    absent = numpy.nan
    return {
        "atomic_numbers": one.numbers.astype(numpy.int16),
        "positions": known.length * one.positions,
        "forces": numpy.full((n_atoms, 3), absent) if forces is None else known.force_unit * forces,
        "cell": cell,
        "periodic": numpy.array(one.periodic),
        "energy": numpy.float64(absent) if energy is None else known.energy_unit * energy,
        "stress": numpy.full((3, 3), absent) if stress is None else stress,
    }
