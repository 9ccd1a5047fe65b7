"""The recursion of absorbing layers on short stretches of rows, in vectors of the processor.

The layers across the contiguous axis are some ten cells at both ends of each row. A compiler that vectorises such a
loop first proves at run time that its arrays do not overlap, which takes longer than the loop; here the vectors are
written down. Ten cells are two vectors of eight that overlap: both are loaded before either is stored, so that the
cells they share are computed twice and changed once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

VECTOR_BYTES = 32


@intrinsic
def _two_vectors(
    context: Any, psi: Any, b: Any, c: Any, plus: Any, minus: Any, gain: Any, target: Any, m: Any, n: Any, shift: Any
) -> Any:
    """psi <- b psi + c (plus - minus) and target += gain psi, in two vectors from places m and n of psi, b and c.

    The other arrays are taken `shift` places later. All have unit stride and the precision of psi.
    """
    arrays = (psi, b, c, plus, minus, gain, target)
    lanes = VECTOR_BYTES // (psi.dtype.bitwidth // 8)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        vector = ir.VectorType(context.get_value_type(psi.dtype), lanes)
        aligned = psi.dtype.bitwidth // 8

        def place(number: int, index: Any) -> Any:
            made = context.make_array(arrays[number])(context, builder, values[number])
            return builder.bitcast(builder.gep(made.data, [index]), vector.as_pointer())

        def load(number: int, index: Any) -> Any:
            return builder.load(place(number, index), align=aligned)

        stores = []
        for start in values[7:9]:
            later = builder.add(start, values[9])
            change = builder.fsub(load(3, later), load(4, later))
            renewed = builder.fadd(builder.fmul(load(1, start), load(0, start)), builder.fmul(load(2, start), change))
            moved = builder.fadd(load(6, later), builder.fmul(load(5, later), renewed))
            stores += [(renewed, place(0, start)), (moved, place(6, later))]
        for value, pointer in stores:
            builder.store(value, pointer, align=aligned)
        return cgutils.get_null_value(context.get_value_type(types.none))

    return types.none(*arrays, m, n, shift), generate


@njit(fastmath=True, nogil=True, error_model="numpy", _nrt=False)
def absorb_stretch(psi, b, c, plus, minus, gain, target, first, last, shift):  # type: ignore[no-untyped-def]
    """Advances places first .. last of a row of psi, and what it adds to the target, `shift` places later."""
    lanes, one = np.uint64(VECTOR_BYTES // psi.itemsize), np.uint64(1)
    m = first
    while m + lanes + lanes < last:
        _two_vectors(psi, b, c, plus, minus, gain, target, m, m, shift)
        m += lanes
    if last - m >= lanes:
        _two_vectors(psi, b, c, plus, minus, gain, target, m, last - lanes, shift)
        return
    while m < last:
        psi[m] = b[m] * psi[m] + c[m] * (plus[m + shift] - minus[m + shift])
        target[m + shift] += gain[m + shift] * psi[m]
        m += one
