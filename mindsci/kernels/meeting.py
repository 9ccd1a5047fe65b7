"""Where threads that run one compiled loop wait for one another, without leaving it.

For loops so short that handing work to threads anew would cost more than the work: each thread calls the same loop
with its own number, and all meet wherever one reads what another wrote.
"""

from __future__ import annotations

import sys
from typing import Any, cast

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

PATIENCE = 4000
"""looks at the counter before a thread lets others run; a look takes some nanoseconds"""


def _first(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return context.make_array(kind)(context, builder, array).data


def _is_counter(array: Any) -> bool:
    return isinstance(array, types.Array) and array.dtype == types.int64


@intrinsic
def _arrival(context: Any, counter: Any) -> Any:
    if not _is_counter(counter):
        return None

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        one = ir.Constant(ir.IntType(64), 1)
        return builder.atomic_rmw("add", _first(context, builder, counter, values[0]), one, "seq_cst")

    return types.int64(counter), generate


@intrinsic
def _arrivals(context: Any, counter: Any) -> Any:
    if not _is_counter(counter):
        return None

    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return builder.load_atomic(_first(context, builder, counter, values[0]), "acquire", 8)

    return types.int64(counter), generate


@intrinsic
def _yielding(context: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        if sys.platform != "win32":
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.none(), generate


# Compiled code calls these without the context that they are declared with.
_arrive, _arrived, _let_others_run = (cast(Any, one) for one in (_arrival, _arrivals, _yielding))


@njit(nogil=True, cache=True, error_model="numpy")
def meet(counter, threads, meeting):  # type: ignore[no-untyped-def]
    """Waits until all threads are at this meeting, which are numbered 1, 2, ... on a counter that begins at zero."""
    if threads > 1:
        _arrive(counter)
        looks = 0
        while _arrived(counter) < threads * meeting:
            looks += 1
            if looks > PATIENCE:
                _let_others_run()
