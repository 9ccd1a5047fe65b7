"""Vectors of the processor inside compiled loops: eight numbers that go through every operation together.

A compiler turns a plain loop into such vectors only where it can prove that iterations do not meet. Loops over pairs of
atoms add to forces of both, which it cannot; here they are written in vectors. Types: `Lanes` of float32, float64 or
int32, and `Mask`, what comparisons give. Operators take a scalar beside lanes. All functions are for compiled code.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing import signature
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import intrinsic, lower_builtin, models, register_model

WIDTH = 8


class Lanes(types.Type):
    """Eight numbers of a dtype of Numba."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"lanes({dtype})")


class Mask(types.Type):
    """Eight truths."""

    def __init__(self) -> None:
        super().__init__(name="mask")


mask_type = Mask()
_ELEMENT = {types.float32: ir.FloatType(), types.float64: ir.DoubleType(), types.int32: ir.IntType(32)}
_TRUTHS = ir.VectorType(ir.IntType(1), WIDTH)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, ir.VectorType(_ELEMENT[kind.dtype], WIDTH))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Mask) -> None:
        super().__init__(manager, kind, _TRUTHS)


def _vector(dtype: Any) -> ir.VectorType:
    return ir.VectorType(_ELEMENT[dtype], WIDTH)


def _spread(builder: Any, scalar: Any) -> Any:
    none, lane = ir.Constant(ir.VectorType(scalar.type, WIDTH), ir.Undefined), ir.IntType(32)
    mask = ir.Constant(ir.VectorType(lane, WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(builder.insert_element(none, scalar, lane(0)), none, mask)


def _as_lanes(context: Any, builder: Any, value: Any, kind: Any, dtype: Any) -> Any:
    """The value itself, or a scalar in every lane."""
    return value if isinstance(kind, Lanes) else _spread(builder, context.cast(builder, value, kind, dtype))


def _of_both(arguments: Any) -> Any:
    """The dtype of an operation between lanes, or lanes and a scalar; None where there is none."""
    dtypes = {kind.dtype for kind in arguments if isinstance(kind, Lanes)}
    if len(dtypes) != 1 or not all(isinstance(kind, (Lanes, types.Number)) for kind in arguments):
        return None
    (dtype,) = dtypes
    # A fraction beside whole lanes would be cut.
    mixed = dtype == types.int32 and any(isinstance(kind, types.Float) for kind in arguments)
    return None if mixed else dtype


def _call(builder: Any, name: str, result: Any, *values: Any) -> Any:
    kind = ir.FunctionType(result, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)


def _suffix(dtype: Any) -> str:
    return f"v{WIDTH}{'i' if dtype == types.int32 else 'f'}{dtype.bitwidth}"


def _binary(function: Callable[..., Any], floating: str | None, whole: str | None) -> None:
    """Makes an operator work on lanes."""

    class Template(AbstractTemplate):
        def generic(self, arguments: Any, keywords: Any) -> Any:
            if len(arguments) != 2:
                return None
            dtype = _of_both(arguments)
            if dtype is None or (whole if dtype == types.int32 else floating) is None:
                return None
            return signature(Lanes(dtype), *arguments)

    infer_global(function)(Template)

    def lower(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        dtype = sig.return_type.dtype
        a, b = (_as_lanes(context, builder, v, k, dtype) for v, k in zip(values, sig.args, strict=True))
        name: Any = whole if dtype == types.int32 else floating
        return getattr(builder, name)(a, b)

    for kinds in ((Lanes, Lanes), (Lanes, types.Number), (types.Number, Lanes)):
        lower_builtin(function, *kinds)(lower)


def _comparison(function: Callable[..., Any], sign: str) -> None:
    """Makes a comparison of lanes give a mask; false where a number is none."""

    class Template(AbstractTemplate):
        def generic(self, arguments: Any, keywords: Any) -> Any:
            return None if _of_both(arguments) is None else signature(mask_type, *arguments)

    infer_global(function)(Template)

    def lower(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        dtype = _of_both(sig.args)
        a, b = (_as_lanes(context, builder, v, k, dtype) for v, k in zip(values, sig.args, strict=True))
        return builder.icmp_signed(sign, a, b) if dtype == types.int32 else builder.fcmp_ordered(sign, a, b)

    for kinds in ((Lanes, Lanes), (Lanes, types.Number), (types.Number, Lanes)):
        lower_builtin(function, *kinds)(lower)


def _logic(function: Callable[..., Any], name: str) -> None:
    """Makes & and | work on masks."""

    class Template(AbstractTemplate):
        def generic(self, arguments: Any, keywords: Any) -> Any:
            return signature(mask_type, *arguments) if all(isinstance(one, Mask) for one in arguments) else None

    infer_global(function)(Template)

    def lower(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return getattr(builder, name)(*values)

    lower_builtin(function, Mask, Mask)(lower)


_binary(operator.add, "fadd", "add")
_binary(operator.sub, "fsub", "sub")
_binary(operator.mul, "fmul", "mul")
_binary(operator.truediv, "fdiv", None)
for _function, _sign in ((operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"), (operator.ge, ">=")):
    _comparison(_function, _sign)
_logic(operator.and_, "and_")
_logic(operator.or_, "or_")


def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _vector(kind.dtype).as_pointer())


def _is_row(array: Any) -> bool:
    return isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C" and array.dtype in _ELEMENT


@intrinsic
def load(context: Any, array: Any, index: Any) -> Any:
    """Returns array[index : index + 8] of a contiguous array."""
    if not _is_row(array):
        return None

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        place = _place(context, builder, array, *values)
        return builder.load(place, align=array.dtype.bitwidth // 8)

    return Lanes(array.dtype)(array, types.intp), generate


@intrinsic
def store(context: Any, array: Any, index: Any, value: Any) -> Any:
    """Sets array[index : index + 8] of a contiguous array."""
    if not _is_row(array) or value != Lanes(array.dtype):
        return None

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        place = _place(context, builder, array, *values[:2])
        builder.store(values[2], place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(array, types.intp, value), generate


@intrinsic
def gather(context: Any, array: Any, index: Any) -> Any:
    """Returns array[index] for eight indices of a contiguous array."""
    if not _is_row(array) or index != Lanes(types.int32):
        return None

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        data = context.make_array(array)(context, builder, values[0]).data
        found = ir.Constant(_vector(array.dtype), ir.Undefined)
        for k in range(WIDTH):
            lane = ir.IntType(32)(k)
            at = builder.sext(builder.extract_element(values[1], lane), ir.IntType(64))
            found = builder.insert_element(found, builder.load(builder.gep(data, [at])), lane)
        return found

    return Lanes(array.dtype)(array, index), generate


@intrinsic
def spread(context: Any, scalar: Any) -> Any:
    """Returns a number in every lane."""
    if scalar not in _ELEMENT:
        return None

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return _spread(builder, values[0])

    return Lanes(scalar)(scalar), generate


@intrinsic
def choose(context: Any, mask: Any, first: Any, second: Any) -> Any:
    """Returns `first` where the mask is true and `second` elsewhere; either may be a scalar."""
    dtype = _of_both([first, second])
    if not isinstance(mask, Mask) or dtype is None:
        return None

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        one, other = (
            _as_lanes(context, builder, v, k, dtype) for v, k in zip(values[1:], (first, second), strict=True)
        )
        return builder.select(values[0], one, other)

    return Lanes(dtype)(mask, first, second), generate


@intrinsic
def bits_mask(context: Any, bits: Any) -> Any:
    """Returns the mask of the lowest eight bits of a whole number, the lowest one first."""
    if not isinstance(bits, types.Integer):
        return None

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        (value,), byte = values, ir.IntType(8)
        return builder.bitcast(builder.trunc(value, byte) if value.type.width > 8 else value, _TRUTHS)

    return mask_type(bits), generate


@intrinsic
def mask_bits(context: Any, mask: Any) -> Any:
    """Returns the truths of a mask as the lowest eight bits of an int64."""
    if not isinstance(mask, Mask):
        return None

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return builder.zext(builder.bitcast(values[0], ir.IntType(8)), ir.IntType(64))

    return types.int64(mask), generate


@intrinsic
def total(context: Any, value: Any) -> Any:
    """Returns the sum over the lanes, by halves."""
    if not isinstance(value, Lanes):
        return None

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        (found,), lane, width = values, ir.IntType(32), WIDTH
        add = builder.add if value.dtype == types.int32 else builder.fadd
        while width > 1:
            width //= 2
            halves = [ir.Constant(ir.VectorType(lane, width), list(range(k, k + width))) for k in (0, width)]
            found = add(*(builder.shuffle_vector(found, found, half) for half in halves))
        return builder.extract_element(found, lane(0))

    return value.dtype(value), generate


def _elementary(name: str) -> Any:
    @intrinsic
    def function(context: Any, value: Any) -> Any:
        if not isinstance(value, Lanes) or value.dtype == types.int32:
            return None

        def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
            return _call(builder, f"llvm.{name}.{_suffix(value.dtype)}", values[0].type, values[0])

        return value(value), generate

    return function


sqrt = _elementary("sqrt")
floor = _elementary("floor")
nearest = _elementary("nearbyint")
absolute = _elementary("fabs")


@intrinsic
def fma(context: Any, a: Any, b: Any, c: Any) -> Any:
    """Returns a b + c, rounded once."""
    dtype = _of_both([a, b, c])
    if dtype is None or dtype == types.int32:
        return None

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        lanes = [_as_lanes(context, builder, v, k, dtype) for v, k in zip(values, (a, b, c), strict=True)]
        return _call(builder, f"llvm.fma.{_suffix(dtype)}", lanes[0].type, *lanes)

    return Lanes(dtype)(a, b, c), generate


@intrinsic
def whole(context: Any, value: Any) -> Any:
    """Returns float lanes cut to int32."""
    if not isinstance(value, Lanes) or value.dtype == types.int32:
        return None

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return builder.fptosi(values[0], _vector(types.int32))

    return Lanes(types.int32)(value), generate


def _has_fast_roots() -> bool:
    """Whether the processor has an approximate 1 / sqrt of eight float32."""
    return bool(llvmlite.binding.get_host_cpu_features().get("avx", False))


@intrinsic
def root_inverse(context: Any, value: Any) -> Any:
    """Returns 1 / sqrt(value), to 2 units in the last place: of float32 by an estimate and Newton's method."""
    if not isinstance(value, Lanes) or value.dtype == types.int32:
        return None
    estimates = value.dtype == types.float32 and _has_fast_roots()

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        (x,) = values
        if not estimates:
            root = _call(builder, f"llvm.sqrt.{_suffix(value.dtype)}", x.type, x)
            return builder.fdiv(ir.Constant(x.type, [1.0] * WIDTH), root)
        guess = _call(builder, "llvm.x86.avx.rsqrt.ps.256", x.type, x)
        half, three_halves = (ir.Constant(x.type, [number] * WIDTH) for number in (-0.5, 1.5))
        square = builder.fmul(guess, guess)
        factor = _call(builder, f"llvm.fma.{_suffix(value.dtype)}", x.type, builder.fmul(x, square), half, three_halves)
        return builder.fmul(guess, factor)

    return value(value), generate
