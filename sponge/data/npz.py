"""Reader of npz files of one molecule in many geometries, as MD17 and sGDML have them: R, z, E and F, or such names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy

from mindsci.errors import InputError
from sponge.data.arrays import reading
from sponge.data.convention import Structure

POSITIONS, NUMBERS = ("R", "coords", "positions"), ("z", "nuclear_charges", "numbers")


def structures(path: Path) -> Iterator[Structure]:
    """Yields the frames of a file in order; every array of numbers with one row a frame is a label by its name.

    Raises InputError for a file without positions and atomic numbers of one molecule.
    """
    with reading(path), open(path, "rb") as file, numpy.load(file, allow_pickle=False) as stored:
        places, kinds = (next((name for name in names if name in stored.files), None) for names in (POSITIONS, NUMBERS))
        if places is None or kinds is None:
            raise InputError(
                f"'{path}' has no positions ({', '.join(POSITIONS)}) or no atomic numbers ({', '.join(NUMBERS)}) among "
                f"{', '.join(stored.files)}; name them so"
            )
        positions, numbers = stored[places], stored[kinds].astype(int)
        if numbers.ndim != 1 or positions.shape[1:] != (len(numbers), 3):
            raise InputError(
                f"'{path}', {places}: shape {list(positions.shape)}, expected [frames, {numbers.size}, 3] for the "
                f"atoms in {kinds}"
            )
        others = {name: stored[name] for name in stored.files if name not in (places, kinds)}
    labels = {
        name: array
        for name, array in others.items()
        if array.dtype.kind in "fiu" and array.shape[:1] == positions.shape[:1]
    }
    for frame, geometry in enumerate(positions):
        yield Structure(
            numbers=numbers,
            positions=geometry,
            cell=numpy.zeros((3, 3)),
            periodic=(False, False, False),
            labels={name: array[frame] for name, array in labels.items()},
        )
