"""Coefficients by row: most rows of a grid along z hold the same materials, so each distinct row is stored once.

A row is named by an integer, and a kernel reads its coefficients as a plain vector that stays in the fastest cache: no
coefficient array of the size of the grid goes through memory, and no element needs a table look-up of its own.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

CACHE_LINE = 64
"""[bytes]"""


class Rows(NamedTuple):
    """`index[component, i, j]` names the row at nodes i, j; `tables[q][row]` are the values of quantity q along it."""

    index: np.ndarray
    tables: tuple[np.ndarray, ...]


def distinct_rows(*quantities: Tensor) -> Rows:
    """Returns the distinct rows of quantities of shape (3, nodes_x, nodes_y, nodes_z), taken together."""
    arrays = [quantity.detach().cpu().numpy() for quantity in quantities]
    components, n_x, n_y, _ = arrays[0].shape
    index = np.empty((components, n_x, n_y), dtype=np.int32)
    known: dict[bytes, int] = {}
    places: list[tuple[int, int, int]] = []
    for component in range(components):
        for i in range(n_x):
            plane = _bytes_of_rows([array[component, i] for array in arrays])
            # Neighbours are mostly equal: only the first row of each run is looked up.
            starts = np.flatnonzero(np.concatenate([[True], (plane[1:] != plane[:-1]).any(axis=1)]))
            names = np.empty(len(starts), dtype=np.int32)
            for n, j in enumerate(starts):
                key = plane[j].tobytes()
                if key not in known:
                    known[key] = len(known)
                    places.append((component, i, int(j)))
                names[n] = known[key]
            index[component, i] = np.repeat(names, np.diff(np.append(starts, n_y)))
    c, i, j = np.array(places).T
    return Rows(index=index, tables=tuple(np.ascontiguousarray(array[c, i, j]) for array in arrays))


def _bytes_of_rows(planes: list[np.ndarray]) -> np.ndarray:
    """The rows of several planes side by side, as bytes."""
    return np.concatenate(
        [np.ascontiguousarray(plane).view(np.uint8).reshape(len(plane), -1) for plane in planes], axis=1
    )


class Pool:
    """Memory of fields that nobody holds any more, for the next ones: fresh memory costs a fault for every page."""

    def __init__(self) -> None:
        self._known: list[np.ndarray] = []

    def take(self, size: int, dtype: np.dtype) -> np.ndarray:
        """Returns an array with unknown contents."""
        for place in range(len(self._known)):
            array = self._known[place]
            # Held by the list, the name and the argument of getrefcount: every view and tensor would hold it too.
            if sys.getrefcount(array) == 3 and array.size == size and array.dtype == dtype:
                return array
        # numpy asks the system for huge pages, torch does not: a new array of 100 MB costs 50 ms without them.
        self._known.append(np.empty(size, dtype=dtype))
        return self._known[-1]


def padded_copy(tensor: Tensor, *, pad: bool = True, pool: Pool | None = None) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Returns a copy whose rows begin on cache lines, as (tensor, array, array one place earlier in memory).

    The arrays show the rows with their padding, which is zero; the tensor shows them without it. Loads of vectors that
    straddle two lines cost twice as much. Without pad the rows follow one another.
    """
    values = tensor.detach()
    *rows, length = values.shape
    line = CACHE_LINE // values.element_size()
    width = -(-length // line) * line if pad else length
    size = int(np.prod(rows)) * width
    storage, start = aligned(size, torch.empty(0, dtype=values.dtype).numpy().dtype, pool)
    padded = storage[start : start + size].reshape(*rows, width)
    view = torch.from_numpy(padded)
    view[..., :length] = values
    view[..., length:] = 0
    return view[..., :length], padded, storage[start - 1 : start - 1 + size].reshape(*rows, width)


def aligned(size: int, dtype: np.dtype, pool: Pool | None = None) -> tuple[np.ndarray, int]:
    """Returns an array and the place in it where `size` numbers begin on a cache line, with zeros around them."""
    line = CACHE_LINE // dtype.itemsize
    # A line more on both sides: vectors may read one place before the first row and after the last.
    storage = (pool or Pool()).take(size + 3 * line, dtype)
    start = line + (-storage.ctypes.data // storage.itemsize) % line
    storage[start - line : start] = 0
    storage[start + size : start + size + line] = 0
    return storage, start


def padded_rows(array: np.ndarray) -> np.ndarray:
    """Returns an array of rows, padded like the fields."""
    return padded_copy(torch.from_numpy(array))[1]
