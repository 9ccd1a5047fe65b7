"""Vectors of the processor as values in compiled loops: `load` from a row, add, subtract, multiply, `store`.

A compiler that vectorises a loop over rows first proves at run time that no two of its arrays overlap, for each row
again, and a row of some hundred cells is over soon: the proof costs up to half of the time. It also needs one loop for
each law and component, for with more arrays it gives up. Here the vectors are written down.

Products are fused with the sums they enter, and nothing else is reordered.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import intrinsic, overload, register_model

VECTOR_BYTES = 32


class Vector(types.Type):
    """As many numbers of a type as a vector of the processor holds."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self.lanes = lanes(dtype.bitwidth // 8)
        super().__init__(name=f"Vector({dtype}, {self.lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        number = manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(number, vector.lanes))


def lanes(itemsize: int) -> int:
    """Returns how many numbers of a size [bytes] are in a vector."""
    return VECTOR_BYTES // itemsize


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    vector = context.get_value_type(Vector(array_type.dtype))
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


@intrinsic
def load(context: Any, row: Any, index: Any) -> Any:
    """Returns the vector that begins at a place of a row of unit stride; there is no check of its length."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _pointer(context, builder, row, values[0], values[1])
        return builder.load(pointer, align=row.dtype.bitwidth // 8)

    return Vector(row.dtype)(row, index), generate


@intrinsic
def store(context: Any, row: Any, index: Any, vector: Any) -> Any:
    """Writes a vector to a row of unit stride from a place on."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _pointer(context, builder, row, values[0], values[1])
        builder.store(values[2], pointer, align=row.dtype.bitwidth // 8)
        return cgutils.get_null_value(context.get_value_type(types.none))

    return types.none(row, index, vector), generate


@intrinsic
def lanes_of(context: Any, row: Any) -> Any:
    """Returns how many numbers of a row are in a vector, known when the loop is compiled."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return ir.Constant(ir.IntType(64), lanes(row.dtype.bitwidth // 8))

    return types.uint64(row), generate


@intrinsic
def spread(context: Any, number: Any) -> Any:
    """Returns a vector of equal numbers."""
    vector = Vector(number)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = context.get_value_type(vector)
        one = builder.insert_element(ir.Constant(kind, ir.Undefined), values[0], ir.Constant(ir.IntType(32), 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), [0] * vector.lanes)
        return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), mask)

    return vector(number), generate


def _define(symbol: Any, instruction: str) -> None:
    @intrinsic
    def combine(context: Any, first: Any, second: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return getattr(builder, instruction)(*values, flags=("contract",))

        return first(first, second), generate

    @overload(symbol)
    def combined(first, second):  # type: ignore[no-untyped-def]  # compared with that of what it returns
        if isinstance(first, Vector) and first == second:
            return lambda first, second: combine(first, second)
        return None


for _symbol, _instruction in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _define(_symbol, _instruction)
