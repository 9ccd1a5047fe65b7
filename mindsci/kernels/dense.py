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


def _tile(rows: int, adds: bool) -> Any:
    @intrinsic
    def tile(context: Any, x: Any, panels: Any, out: Any, row: Any, panel: Any) -> Any:
        """out[row : row + rows, panel's columns] = (or +=) x[row : row + rows] @ panel."""
        lanes = VECTOR_BYTES // (x.dtype.bitwidth // 8)

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            number = context.get_value_type(x.dtype)
            vector = ir.VectorType(number, lanes)
            size = x.dtype.bitwidth // 8
            arrays = [
                context.make_array(t)(context, builder, value)
                for t, value in zip(signature.args[:3], values[:3], strict=True)
            ]
            integer = values[3].type
            inner = cgutils.unpack_tuple(builder, arrays[0].shape)[1]
            columns = cgutils.unpack_tuple(builder, arrays[2].shape)[1]
            width = integer(2 * lanes)
            from_x = [
                builder.gep(arrays[0].data, [builder.mul(builder.add(values[3], integer(r)), inner)])
                for r in range(rows)
            ]
            from_panel = builder.gep(arrays[1].data, [builder.mul(builder.mul(values[4], inner), width)])
            to = [
                builder.gep(
                    arrays[2].data,
                    [
                        builder.add(
                            builder.mul(builder.add(values[3], integer(r)), columns),
                            builder.add(builder.mul(values[4], width), integer(half * lanes)),
                        )
                    ],
                )
                for r in range(rows)
                for half in range(2)
            ]
            before = builder.block
            loop = builder.append_basic_block("tile")
            after = builder.append_basic_block("tile_end")
            builder.branch(loop)
            builder.position_at_end(loop)
            k = builder.phi(integer)
            k.add_incoming(integer(0), before)
            sums = []
            for _ in to:
                phi = builder.phi(vector)
                phi.add_incoming(ir.Constant(vector, [0.0] * lanes), before)
                sums.append(phi)
            start = builder.mul(k, width)
            halves = [
                builder.load(
                    builder.bitcast(
                        builder.gep(from_panel, [builder.add(start, integer(half * lanes))]), vector.as_pointer()
                    ),
                    align=size,
                )
                for half in range(2)
            ]
            fma = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f{8 * size}"
            )
            renewed = []
            for r in range(rows):
                scalar = builder.load(builder.gep(from_x[r], [k]))
                spread = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.IntType(32)(0))
                mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
                spread = builder.shuffle_vector(spread, ir.Constant(vector, ir.Undefined), mask)
                renewed += [builder.call(fma, [spread, halves[half], sums[2 * r + half]]) for half in range(2)]
            following = builder.add(k, integer(1))
            k.add_incoming(following, loop)
            for phi, value in zip(sums, renewed, strict=True):
                phi.add_incoming(value, loop)
            builder.cbranch(builder.icmp_unsigned("<", following, inner), loop, after)
            builder.position_at_end(after)
            for pointer, value in zip(to, renewed, strict=True):
                place = builder.bitcast(pointer, vector.as_pointer())
                if adds:
                    value = builder.fadd(value, builder.load(place, align=size))
                builder.store(value, place, align=size)
            return cgutils.get_null_value(context.get_value_type(types.none))

        return types.none(x, panels, out, row, panel), generate

    return tile


_set_6, _set_5, _set_4, _set_3, _set_2, _set_1 = (_tile(rows, False) for rows in (6, 5, 4, 3, 2, 1))
_add_6, _add_5, _add_4, _add_3, _add_2, _add_1 = (_tile(rows, True) for rows in (6, 5, 4, 3, 2, 1))
OPTIONS: Any = {"fastmath": True, "nogil": True, "error_model": "numpy", "_nrt": False, "cache": True}


@njit(**OPTIONS)
def dense(x, panels, out, first, last):  # type: ignore[no-untyped-def]
    """out[first:last] = x[first:last] @ weight; x, out contiguous, out as wide as the panels together."""
    for panel in range(panels.shape[0]):
        row = first
        while last - row >= 6:
            _set_6(x, panels, out, row, panel)
            row += 6
        left = last - row
        if left == 5:
            _set_5(x, panels, out, row, panel)
        elif left == 4:
            _set_4(x, panels, out, row, panel)
        elif left == 3:
            _set_3(x, panels, out, row, panel)
        elif left == 2:
            _set_2(x, panels, out, row, panel)
        elif left == 1:
            _set_1(x, panels, out, row, panel)


@njit(**OPTIONS)
def dense_add(x, panels, out, first, last):  # type: ignore[no-untyped-def]
    """out[first:last] += x[first:last] @ weight."""
    for panel in range(panels.shape[0]):
        row = first
        while last - row >= 6:
            _add_6(x, panels, out, row, panel)
            row += 6
        left = last - row
        if left == 5:
            _add_5(x, panels, out, row, panel)
        elif left == 4:
            _add_4(x, panels, out, row, panel)
        elif left == 3:
            _add_3(x, panels, out, row, panel)
        elif left == 2:
            _add_2(x, panels, out, row, panel)
        elif left == 1:
            _add_1(x, panels, out, row, panel)
