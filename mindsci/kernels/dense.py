"""Dense layers on few rows, to be called inside a compiled loop: `out[rows] = x[rows] @ weight`.

A library's matrix product spends more time on packing and on its own threads than on nine rows of 128 features. Here
the weight is packed once, into panels as wide as two vectors of the processor; a tile of up to six rows stays in
registers while it runs down a panel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

VECTOR_BYTES = 32
ROWS = 6
"""of a tile: two accumulators each, which leaves the rest of sixteen registers to the panel and the row"""


def panel_width(dtype: Any) -> int:
    """Returns the columns of a panel: two vectors."""
    return 2 * VECTOR_BYTES // np.dtype(dtype).itemsize


def padded(columns: int, dtype: Any) -> int:
    """Returns the columns rounded up to whole panels."""
    width = panel_width(dtype)
    return -(-columns // width) * width


def pack(weight: NDArray[Any], rows: int | None = None) -> NDArray[Any]:
    """Returns the panels (..., panels, rows, width) of weights (..., rows, columns), zeros beyond rows and columns."""
    *many, n_rows, n_columns = weight.shape
    width, rows = panel_width(weight.dtype), rows or n_rows
    whole = np.zeros((*many, rows, padded(n_columns, weight.dtype)), weight.dtype)
    whole[..., :n_rows, :n_columns] = weight
    return np.ascontiguousarray(np.moveaxis(whole.reshape(*many, rows, -1, width), -2, -3))


class _Tile:
    """What a tile of some rows down one panel is made of, in vectors of the processor."""

    def __init__(self, context: Any, builder: Any, x: Any, rows: int, signature: Any, values: Any) -> None:
        self.builder, self.rows, self.size = builder, rows, x.dtype.bitwidth // 8
        self.lanes = VECTOR_BYTES // self.size
        self.vector = ir.VectorType(context.get_value_type(x.dtype), self.lanes)
        arrays = [
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args[:3], values[:3], strict=True)
        ]
        row, panel = values[3], values[4]
        self.integer = row.type
        self.inner = cgutils.unpack_tuple(builder, arrays[0].shape)[1]
        columns = cgutils.unpack_tuple(builder, arrays[2].shape)[1]
        self.width = self.integer(2 * self.lanes)
        numbers = [builder.add(row, self.integer(r)) for r in range(rows)]
        self.x = [builder.gep(arrays[0].data, [builder.mul(number, self.inner)]) for number in numbers]
        self.panel = builder.gep(arrays[1].data, [builder.mul(builder.mul(panel, self.inner), self.width)])
        column = builder.mul(panel, self.width)
        starts = [builder.add(builder.mul(number, columns), column) for number in numbers]
        self.out = [self._place(arrays[2].data, start, half) for start in starts for half in range(2)]

    def _place(self, data: Any, start: Any, half: int) -> Any:
        at = self.builder.add(start, self.integer(half * self.lanes))
        return self.builder.bitcast(self.builder.gep(data, [at]), self.vector.as_pointer())

    def _spread(self, scalar: Any) -> Any:
        none, lane = ir.Constant(self.vector, ir.Undefined), ir.IntType(32)
        mask = ir.Constant(ir.VectorType(lane, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(self.builder.insert_element(none, scalar, lane(0)), none, mask)

    def run_down(self) -> list[Any]:
        """Writes the loop over the panel's rows; returns the sums, two vectors of each row of x."""
        builder, before = self.builder, self.builder.block
        loop, after = builder.append_basic_block("tile"), builder.append_basic_block("tile_end")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(self.integer)
        k.add_incoming(self.integer(0), before)
        sums = [builder.phi(self.vector) for _ in self.out]
        for one in sums:
            one.add_incoming(ir.Constant(self.vector, [0.0] * self.lanes), before)
        start = builder.mul(k, self.width)
        halves = [builder.load(self._place(self.panel, start, half), align=self.size) for half in range(2)]
        fused = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(self.vector, [self.vector] * 3),
            f"llvm.fma.v{self.lanes}f{8 * self.size}",
        )
        renewed = []
        for r in range(self.rows):
            factor = self._spread(builder.load(builder.gep(self.x[r], [k])))
            renewed += [builder.call(fused, [factor, halves[half], sums[2 * r + half]]) for half in range(2)]
        following = builder.add(k, self.integer(1))
        for one, value in zip([k, *sums], [following, *renewed], strict=True):
            one.add_incoming(value, loop)
        builder.cbranch(builder.icmp_unsigned("<", following, self.inner), loop, after)
        builder.position_at_end(after)
        return renewed

    def store(self, sums: list[Any], adds: Any) -> None:
        """Writes the sums to out, or adds them to what is there."""
        with self.builder.if_else(adds) as (added, set_anew):
            with added:
                for pointer, value in zip(self.out, sums, strict=True):
                    total = self.builder.fadd(value, self.builder.load(pointer, align=self.size))
                    self.builder.store(total, pointer, align=self.size)
            with set_anew:
                for pointer, value in zip(self.out, sums, strict=True):
                    self.builder.store(value, pointer, align=self.size)


def _tile(rows: int) -> Any:
    @intrinsic
    def tile(context: Any, x: Any, panels: Any, out: Any, row: Any, panel: Any, adds: Any) -> Any:
        """out[row : row + rows, panel's columns] = (or +=) x[row : row + rows] @ panel."""

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            made = _Tile(context, builder, x, rows, signature, values)
            made.store(made.run_down(), values[5])
            return cgutils.get_null_value(context.get_value_type(types.none))

        return types.none(x, panels, out, row, panel, types.boolean), generate

    return tile


_tile_6, _tile_5, _tile_4, _tile_3, _tile_2, _tile_1 = (_tile(rows) for rows in (6, 5, 4, 3, 2, 1))
OPTIONS: Any = {"fastmath": True, "nogil": True, "error_model": "numpy", "_nrt": False, "cache": True}


@njit(**OPTIONS)
def dense(x, panels, out, first, last, adds):  # type: ignore[no-untyped-def]
    """out[first:last] = (adds: +=) x[first:last] @ weight; x and out contiguous, out as wide as all panels."""
    for panel in range(panels.shape[0]):
        row = first
        while last - row >= 6:
            _tile_6(x, panels, out, row, panel, adds)
            row += 6
        left = last - row
        if left == 5:
            _tile_5(x, panels, out, row, panel, adds)
        elif left == 4:
            _tile_4(x, panels, out, row, panel, adds)
        elif left == 3:
            _tile_3(x, panels, out, row, panel, adds)
        elif left == 2:
            _tile_2(x, panels, out, row, panel, adds)
        elif left == 1:
            _tile_1(x, panels, out, row, panel, adds)
