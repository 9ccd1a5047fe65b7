"""The layers at both ends of rows in whole vectors, as the CPU kernel keeps what they remember.

The layers across the contiguous axis are some cells at both ends of each row. The kernel goes along rows in vectors, so
the places of the layers are filled up to whole ones; what is added there has factors of zero and stays zero.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from elec.fdtd.arrays import Layers
from elec.fdtd.rows import Pool, aligned


class RowEnds(NamedTuple):
    """Rows of some cells with layers of `low` and `high` cells, in vectors of a number of lanes."""

    cells: int
    low: int
    high: int
    lanes: int

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """Places along the row where vectors with layers begin and end, and again: 0, first, last, end."""
        end = -(-self.cells // self.lanes) * self.lanes
        first = -(-self.low // self.lanes) * self.lanes
        last = (self.cells - self.high) // self.lanes * self.lanes if self.high else end
        return (0, first, last, end) if first <= last else (0, end, end, end)

    def filled(self, values: Tensor, pool: Pool | None = None) -> np.ndarray:
        """Returns values of the layers (..., low + high) with their places in whole vectors, zero in between."""
        _, first, last, end = self.bounds
        shape = (*values.shape[:-1], first + end - last)
        size = math.prod(shape)
        storage, start = aligned(size, torch.empty(0, dtype=values.dtype).numpy().dtype, pool)
        array = storage[start : start + size].reshape(shape)
        array[...] = 0
        for part, kept in self._parts(torch.from_numpy(array)):
            part.copy_(values[..., kept])
        return array

    def cut(self, array: np.ndarray, out: Tensor) -> None:
        """Writes the values of the layers out of those in whole vectors."""
        for part, kept in self._parts(torch.from_numpy(array)):
            out[..., kept] = part

    def _parts(self, filled: Tensor) -> list[tuple[Tensor, slice]]:
        """The low and the high layer in whole vectors, and their places without."""
        _, first, last, _ = self.bounds
        begin = first - last + self.cells - self.high
        return [
            (filled[..., : self.low], slice(0, self.low)),
            (filled[..., begin : begin + self.high], slice(self.low, self.low + self.high)),
        ]

    def tables(self, layers: Layers) -> Layers:
        """Returns the layers with the factors along the rows in whole vectors."""

        def along(parts: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[Any, Any, Any]:
            return parts[0], parts[1], self.filled(torch.from_numpy(parts[2]))

        tables = {name: along(getattr(layers, name)) for name in ("b_e", "c_e", "b_h", "c_h")}
        return layers._replace(ends=self.bounds, **tables)


def row_ends(layers: Layers, lanes: int) -> RowEnds:
    """Returns the ends of the rows of layers."""
    return RowEnds(cells=layers.cells_z, low=layers.low_z, high=layers.high_z, lanes=lanes)
