"""Compiled loops over cubes of cells."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True)
def spread_highest(
    highest: NDArray[np.float64], values: NDArray[np.float64], first: NDArray[np.int64], last: NDArray[np.int64]
) -> None:
    """Raises each cell of `highest` to the largest value of the boxes first .. last - 1 that hold it."""
    for box in range(len(values)):
        for i in range(first[box, 0], last[box, 0]):
            for j in range(first[box, 1], last[box, 1]):
                for k in range(first[box, 2], last[box, 2]):
                    if values[box] > highest[i, j, k]:
                        highest[i, j, k] = values[box]


@numba.njit(cache=True)
def meets_tissue(
    share: NDArray[np.float64],
    layer: NDArray[np.int64],
    place: NDArray[np.float64],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Returns whether each face across the first axis meets tissue anywhere.

    It lies at `place`, a fraction of a cell, in a layer, and over the cells first .. last along the other two axes. A
    cell holds its share of tissue on the side of its fuller neighbour along the first axis; one without such a
    neighbour is all tissue where it is at least half full.
    """
    found = np.zeros(len(layer), dtype=np.bool_)
    for face in range(len(layer)):
        i = layer[face]
        for j in range(first[face, 0], last[face, 0] + 1):
            for k in range(first[face, 1], last[face, 1] + 1):
                here = share[i, j, k]
                below = share[i - 1, j, k] if i > 0 else 0.0
                above = share[i + 1, j, k] if i + 1 < share.shape[0] else 0.0
                if above > below:
                    inside = here > 0.0 and place[face] >= 1.0 - here - 1e-6
                elif above < below:
                    inside = here > 0.0 and place[face] <= here + 1e-6
                else:
                    inside = here >= 0.5
                if inside:
                    found[face] = True
                    break
            if found[face]:
                break
    return found
