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
