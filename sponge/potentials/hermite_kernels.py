"""Convolutions whose filter is read from a table of cubic Hermite pieces, in vectors of the processor.

A row of the table holds, for one knot and one distance r_k, the filter and spacing * its derivative of every feature.
The filter of an edge is a weighted sum of the four rows of its piece; so is its derivative, with other weights.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from mindsci.kernels.dense import OPTIONS, VECTOR_BYTES

BLOCK = 48
"""atoms of a block: their rows of 128 features in a few arrays fit the second-level cache"""


class Graph(NamedTuple):
    """Directed edges sorted by centre; `place` is -1 where an edge is longer than the cutoff."""

    rows: Any
    neighbors: Any
    place: Any
    pieces: Any
    slopes: Any


class _Row:
    """Vectors of a flat array from a place on, as the loop over a row's features meets them."""

    def __init__(self, context: Any, builder: Any, array: Any, value: Any, start: Any) -> None:
        self.builder, self.size = builder, array.dtype.bitwidth // 8
        self.vector = ir.VectorType(context.get_value_type(array.dtype), VECTOR_BYTES // self.size)
        self.data = builder.gep(context.make_array(array)(context, builder, value).data, [start])

    def _place(self, index: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(self.data, [index]), self.vector.as_pointer())

    def load(self, index: Any) -> Any:
        return self.builder.load(self._place(index), align=self.size)

    def store(self, value: Any, index: Any) -> None:
        self.builder.store(value, self._place(index), align=self.size)


class _Arithmetic:
    """Products and sums of vectors, fused where the processor can."""

    def __init__(self, builder: Any, vector: Any, size: int) -> None:
        self.builder, self.vector = builder, vector
        self.fused = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{vector.count}f{8 * size}"
        )

    def spread(self, scalar: Any) -> Any:
        one = self.builder.insert_element(ir.Constant(self.vector, ir.Undefined), scalar, ir.IntType(32)(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.vector.count), [0] * self.vector.count)
        return self.builder.shuffle_vector(one, ir.Constant(self.vector, ir.Undefined), mask)

    def add_product(self, a: Any, b: Any, to: Any) -> Any:
        return self.builder.call(self.fused, [a, b, to])

    def weigh(self, weights: Any, rows: Any) -> Any:
        total = self.builder.fmul(weights[0], rows[0])
        for weight, row in zip(weights[1:], rows[1:], strict=True):
            total = self.add_product(weight, row, total)
        return total

    def sum(self, value: Any) -> Any:
        total = self.builder.extract_element(value, ir.IntType(32)(0))
        for lane in range(1, self.vector.count):
            total = self.builder.fadd(total, self.builder.extract_element(value, ir.IntType(32)(lane)))
        return total


@intrinsic
def convolve(context: Any, table: Any, knot: Any, h: Any, at_h: Any, out: Any, at_out: Any, width: Any, w: Any) -> Any:
    """out[at_out + f] += W_f h[at_h + f], W_f the piece of the table from `knot` on, weighed by the tuple w."""
    arguments = (table, knot, h, at_h, out, at_out, width, w)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        n, integer = values[6], values[6].type
        source = _Row(context, builder, h, values[2], values[3])
        target = _Row(context, builder, out, values[4], values[5])
        pieces = [
            _Row(context, builder, table, values[0], builder.add(values[1], builder.mul(integer(k), n)))
            for k in range(4)
        ]
        do = _Arithmetic(builder, source.vector, source.size)
        weights = [do.spread(one) for one in cgutils.unpack_tuple(builder, values[7])]
        step = integer(source.vector.count)
        with cgutils.for_range_slice(builder, integer(0), n, step, inc=True) as (f, _):
            value = do.weigh(weights, [piece.load(f) for piece in pieces])
            target.store(do.add_product(value, source.load(f), target.load(f)), f)
        return cgutils.get_null_value(context.get_value_type(types.none))

    return types.none(*arguments), generate


@intrinsic
def convolve_back(
    context: Any,
    table: Any,
    knot: Any,
    h: Any,
    at_hi: Any,
    at_hj: Any,
    c: Any,
    at_ci: Any,
    at_cj: Any,
    out: Any,
    at_out: Any,
    width: Any,
    w: Any,
    slope: Any,
) -> Any:
    """out[f] += W_f c_j[f]; returns the sum over f of W'_f (c_i h_j + c_j h_i)[f]."""
    arguments = (table, knot, h, at_hi, at_hj, c, at_ci, at_cj, out, at_out, width, w, slope)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        n, integer = values[10], values[10].type
        hi, hj = (_Row(context, builder, h, values[2], values[k]) for k in (3, 4))
        ci, cj = (_Row(context, builder, c, values[5], values[k]) for k in (6, 7))
        target = _Row(context, builder, out, values[8], values[9])
        pieces = [
            _Row(context, builder, table, values[0], builder.add(values[1], builder.mul(integer(k), n)))
            for k in range(4)
        ]
        do = _Arithmetic(builder, hi.vector, hi.size)
        weights, slopes = ([do.spread(one) for one in cgutils.unpack_tuple(builder, values[k])] for k in (11, 12))
        total = cgutils.alloca_once_value(builder, ir.Constant(hi.vector, [0.0] * hi.vector.count))
        step = integer(hi.vector.count)
        with cgutils.for_range_slice(builder, integer(0), n, step, inc=True) as (f, _):
            rows = [piece.load(f) for piece in pieces]
            of_j = cj.load(f)
            target.store(do.add_product(do.weigh(weights, rows), of_j, target.load(f)), f)
            both = do.add_product(ci.load(f), hj.load(f), builder.fmul(of_j, hi.load(f)))
            builder.store(do.add_product(do.weigh(slopes, rows), both, builder.load(total)), total)
        return do.sum(builder.load(total))

    return table.dtype(*arguments), generate


@njit(**OPTIONS)
def gather(table, number, first, last, graph, h, of_h, out, of_out):  # type: ignore[no-untyped-def]
    """Adds to out[of_out] of atoms first .. last the sum of filter * h[of_h] over their neighbours.

    The filters are those of one interaction; h and out are (some, atoms, features).
    """
    knots, n, width = table.shape[1], h.shape[1], h.shape[2]
    for i in range(first, last):
        for e in range(graph.rows[i], graph.rows[i + 1]):
            if graph.place[e] >= 0:
                pieces = (graph.pieces[e, 0], graph.pieces[e, 1], graph.pieces[e, 2], graph.pieces[e, 3])
                at = (number * knots + graph.place[e]) * 2 * width
                at_h = (of_h * n + graph.neighbors[e]) * width
                convolve(table, at, h, at_h, out, (of_out * n + i) * width, width, pieces)


@njit(**OPTIONS)
def gather_back(table, number, first, last, graph, h, of_h, c, of_c, out, of_out, pull):  # type: ignore[no-untyped-def]
    """Sets out[of_out], the derivative by h[of_h], from c[of_c], that by the gathered sums; adds that by each distance.

    c: of all atoms, the neighbours among them.
    """
    knots, n, width = table.shape[1], h.shape[1], h.shape[2]
    for i in range(first, last):
        for f in range(width):
            out[of_out, i, f] = 0
        for e in range(graph.rows[i], graph.rows[i + 1]):
            if graph.place[e] >= 0:
                j = graph.neighbors[e]
                pieces = (graph.pieces[e, 0], graph.pieces[e, 1], graph.pieces[e, 2], graph.pieces[e, 3])
                slopes = (graph.slopes[e, 0], graph.slopes[e, 1], graph.slopes[e, 2], graph.slopes[e, 3])
                at = (number * knots + graph.place[e]) * 2 * width
                at_hi, at_hj = (of_h * n + i) * width, (of_h * n + j) * width
                at_ci, at_cj = (of_c * n + i) * width, (of_c * n + j) * width
                at_out = (of_out * n + i) * width
                pull[e] += convolve_back(
                    table, at, h, at_hi, at_hj, c, at_ci, at_cj, out, at_out, width, pieces, slopes
                )


@njit(**OPTIONS)
def sum_forces(first, last, graph, units, pull, forces):  # type: ignore[no-untyped-def]
    """Sets the force on each atom: moving it along the unit vector to a neighbour shortens their distance."""
    for i in range(first, last):
        for axis in range(3):
            total = 0.0
            for e in range(graph.rows[i], graph.rows[i + 1]):
                total += pull[e] * units[e, axis]
            forces[i, axis] = total


@njit(**OPTIONS)
def measure(
    positions, cell, system, rows, neighbors, shift, start, spacing, knots, units, lengths, place, pieces, slopes
):  # type: ignore[no-untyped-def]
    """Sets each edge's unit vector and length, its first knot (-1 beyond the table) and the weights of its four rows.

    The weights are the cubic Hermite polynomials and their derivatives. `shift` has no rows where nothing repeats.
    Returns the shortest edge's number, -1 without edges.
    """
    one = lengths.dtype.type(1)
    two, three = one + one, one + one + one
    six = two * three
    shortest = -1
    for i in range(rows.shape[0] - 1):
        for e in range(rows[i], rows[i + 1]):
            j = neighbors[e]
            x = positions[j, 0] - positions[i, 0]
            y = positions[j, 1] - positions[i, 1]
            z = positions[j, 2] - positions[i, 2]
            if shift.shape[0] > 0:
                s = system[i]
                for axis in range(3):
                    x += shift[e, axis] * cell[s, axis, 0]
                    y += shift[e, axis] * cell[s, axis, 1]
                    z += shift[e, axis] * cell[s, axis, 2]
            r = math.sqrt(x * x + y * y + z * z)
            units[e, 0], units[e, 1], units[e, 2], lengths[e] = x / r, y / r, z / r, r
            if shortest < 0 or r < lengths[shortest]:
                shortest = e
            u = (lengths[e] - start) / spacing
            k = int(u)
            if not (u >= 0 and k < knots - 1):
                place[e] = -1
                continue
            t = u - k
            place[e] = k
            pieces[e, 0] = (two * t - three) * t * t + one
            pieces[e, 1] = ((t - two) * t + one) * t
            pieces[e, 2] = (three - two * t) * t * t
            pieces[e, 3] = (t - one) * t * t
            slopes[e, 0] = six * (t - one) * t / spacing
            slopes[e, 1] = ((three * t - two * two) * t + one) / spacing
            slopes[e, 2] = six * (one - t) * t / spacing
            slopes[e, 3] = (three * t - two) * t / spacing
    return shortest


@njit(**OPTIONS)
def sum_virials(pull, units, lengths, rows, system, virials):  # type: ignore[no-untyped-def]
    """Adds -dE/d(strain) of each system; both directions of a pair carry its dE/dr."""
    for i in range(rows.shape[0] - 1):
        for e in range(rows[i], rows[i + 1]):
            for a in range(3):
                for b in range(3):
                    virials[system[i], a, b] -= 0.5 * pull[e] * lengths[e] * units[e, a] * units[e, b]
