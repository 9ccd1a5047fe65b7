"""SchNet's energies and forces as compiled sweeps over blocks of atoms, without a tape.

The filter of an interaction is a function of one distance: it is read from a table (`hermite_kernels`). The forces
come from a backward pass written by hand: what a dense layer, an activation and a convolution hand back is again a
dense layer, a product and a convolution. Each interaction is one sweep, forward and backward; inside it a block of
atoms stays in the cache from its convolution to its last layer. With x the features of an atom, h = B x,
c_i = sum_j W(r_ij) h_j and x <- x + A2 ssp(A1 c + a1) + a2 [Schutt2017], the derivatives of the energy are, from the
last interaction on,

    x'_o = A2^T x',  c' = A1^T (ssp' x'_o),  h'_i = sum_j W(r_ij) c'_j,  r'_ij += sum_f W' (c'_i h_j + c'_j h_i),
    x' <- x' + B^T h'.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import njit, prange

from mindsci.kernels.dense import OPTIONS, dense
from sponge.potentials.hermite_kernels import convolve, convolve_back
from sponge.potentials.softplus_kernels import activate

BLOCK = 48
"""atoms of a block: their rows of 128 features in a few arrays fit the second-level cache"""


class Graph(NamedTuple):
    """Directed edges sorted by centre; `place` is -1 where an edge is longer than the cutoff."""

    rows: Any
    neighbors: Any
    place: Any
    pieces: Any
    slopes: Any


class Weights(NamedTuple):
    """Packed panels of each interaction's layers, forward and transposed, and of the read-out."""

    table: Any
    embedding: Any
    embedding_h: Any
    before: Any
    inner: Any
    inner_bias: Any
    outer: Any
    outer_bias: Any
    before_back: Any
    inner_back: Any
    outer_back: Any
    hidden: Any
    hidden_bias: Any
    final: Any
    final_bias: Any
    hidden_back: Any


class Work(NamedTuple):
    """What the sweeps leave behind, (interactions, atoms, features) each.

    An array whose first axis is shorter than the interactions is used again: at inference all but h and d are.
    """

    x: Any
    h: Any
    c: Any
    o: Any
    d: Any
    gx: Any
    go: Any
    gc: Any
    gh: Any
    y: Any
    """scratch (atoms, features)"""
    narrow_y: Any
    narrow_o: Any
    narrow_d: Any


@njit(**OPTIONS)
def begin(first, last, kinds, graph, weights, work, pull):  # type: ignore[no-untyped-def]
    """Sets the features that each atom begins with, and no pull on any edge."""
    for i in range(first, last):
        for f in range(work.y.shape[1]):
            work.x[0, i, f] = weights.embedding[kinds[i], f]
            work.h[0, i, f] = weights.embedding_h[kinds[i], f]
        for e in range(graph.rows[i], graph.rows[i + 1]):
            pull[e] = 0


@njit(**OPTIONS)
def forward(number, first, last, graph, weights, work):  # type: ignore[no-untyped-def]
    """Runs an interaction for atoms first .. last, up to the h of the next."""
    n, width = work.y.shape
    knots, of_c = weights.table.shape[1], number % work.c.shape[0]
    for i in range(first, last):
        for f in range(width):
            work.c[of_c, i, f] = 0
        for e in range(graph.rows[i], graph.rows[i + 1]):
            if graph.place[e] >= 0:
                pieces = (graph.pieces[e, 0], graph.pieces[e, 1], graph.pieces[e, 2], graph.pieces[e, 3])
                at = (number * knots + graph.place[e]) * 2 * width
                at_h = (number * n + graph.neighbors[e]) * width
                convolve(weights.table, at, work.h, at_h, work.c, (of_c * n + i) * width, width, pieces)
    o, x = work.o[number % work.o.shape[0]], work.x[number % work.x.shape[0]]
    after = work.x[(number + 1) % work.x.shape[0]]
    dense(work.c[of_c], weights.inner[number], work.y, first, last, False)
    activate(work.y, weights.inner_bias[number], o, work.d[number], first, last)
    for i in range(first, last):
        for f in range(width):
            after[i, f] = x[i, f] + weights.outer_bias[number, f]
    dense(o, weights.outer[number], after, first, last, True)
    if number + 1 < work.h.shape[0]:
        dense(after, weights.before[number + 1], work.h[number + 1], first, last, False)


@njit(**OPTIONS)
def read_out(first, last, weights, work, energies):  # type: ignore[no-untyped-def]
    """Sets the energies of atoms first .. last, and their derivatives by the last features."""
    interactions = work.h.shape[0]
    dense(work.x[interactions % work.x.shape[0]], weights.hidden, work.narrow_y, first, last, False)
    activate(work.narrow_y, weights.hidden_bias, work.narrow_o, work.narrow_d, first, last)
    for i in range(first, last):
        total = weights.final_bias[0]
        for f in range(weights.final.shape[0]):
            total += weights.final[f] * work.narrow_o[i, f]
            work.narrow_y[i, f] = weights.final[f] * work.narrow_d[i, f]
        energies[i] = total
    dense(work.narrow_y, weights.hidden_back, work.gx[(interactions - 1) % work.gx.shape[0]], first, last, False)


@njit(**OPTIONS)
def through_layers(number, first, last, weights, work):  # type: ignore[no-untyped-def]
    """Takes the derivative by an interaction's result back to that by its convolution."""
    go = work.go[number % work.go.shape[0]]
    dense(work.gx[number % work.gx.shape[0]], weights.outer_back[number], go, first, last, False)
    for i in range(first, last):
        for f in range(go.shape[1]):
            work.y[i, f] = go[i, f] * work.d[number, i, f]
    dense(work.y, weights.inner_back[number], work.gc[number % work.gc.shape[0]], first, last, False)


@njit(**OPTIONS)
def backward(number, first, last, graph, weights, work, pull):  # type: ignore[no-untyped-def]
    """Adds an interaction's part to the derivative by each distance, and passes the rest to the one below."""
    n, width = work.y.shape
    knots, of_c, of_h = weights.table.shape[1], number % work.gc.shape[0], number % work.gh.shape[0]
    for i in range(first, last):
        for f in range(width):
            work.gh[of_h, i, f] = 0
        for e in range(graph.rows[i], graph.rows[i + 1]):
            if graph.place[e] >= 0:
                j = graph.neighbors[e]
                pieces = (graph.pieces[e, 0], graph.pieces[e, 1], graph.pieces[e, 2], graph.pieces[e, 3])
                slopes = (graph.slopes[e, 0], graph.slopes[e, 1], graph.slopes[e, 2], graph.slopes[e, 3])
                at = (number * knots + graph.place[e]) * 2 * width
                at_hi, at_hj = (number * n + i) * width, (number * n + j) * width
                at_ci, at_cj = (of_c * n + i) * width, (of_c * n + j) * width
                at_out = (of_h * n + i) * width
                pull[e] += convolve_back(
                    weights.table,
                    at,
                    work.h,
                    at_hi,
                    at_hj,
                    work.gc,
                    at_ci,
                    at_cj,
                    work.gh,
                    at_out,
                    width,
                    pieces,
                    slopes,
                )
    if number > 0:
        above, below = work.gx[number % work.gx.shape[0]], work.gx[(number - 1) % work.gx.shape[0]]
        for i in range(first, last):
            for f in range(width):
                below[i, f] = above[i, f]
        dense(work.gh[of_h], weights.before_back[number], below, first, last, True)
        through_layers(number - 1, first, last, weights, work)


@njit(**OPTIONS)
def end(first, last, graph, units, pull, forces):  # type: ignore[no-untyped-def]
    """Sums the force on each atom: moving it along the unit vector to a neighbour shortens their distance."""
    for i in range(first, last):
        for axis in range(3):
            total = 0.0
            for e in range(graph.rows[i], graph.rows[i + 1]):
                total += pull[e] * units[e, axis]
            forces[i, axis] = total


@njit(**OPTIONS)
def evaluate(kinds, graph, weights, work, units, pull, energies, forces):  # type: ignore[no-untyped-def]
    """Sets each atom's energy and force and each edge's dE/dr, in one thread."""
    interactions = work.h.shape[0]
    n = kinds.shape[0]
    begin(0, n, kinds, graph, weights, work, pull)
    for number in range(interactions):
        for first in range(0, n, BLOCK):
            forward(number, first, min(first + BLOCK, n), graph, weights, work)
    for first in range(0, n, BLOCK):
        last = min(first + BLOCK, n)
        read_out(first, last, weights, work, energies)
        through_layers(interactions - 1, first, last, weights, work)
    for number in range(interactions - 1, -1, -1):
        for first in range(0, n, BLOCK):
            backward(number, first, min(first + BLOCK, n), graph, weights, work, pull)
    end(0, n, graph, units, pull, forces)


@njit(parallel=True, **OPTIONS)
def evaluate_parallel(kinds, graph, weights, work, units, pull, energies, forces):  # type: ignore[no-untyped-def]
    """The same in all threads: each sweep ends before the next, since neighbours lie in other blocks."""
    interactions = work.h.shape[0]
    n = kinds.shape[0]
    blocks = (n + BLOCK - 1) // BLOCK
    for block in prange(blocks):
        begin(block * BLOCK, min(block * BLOCK + BLOCK, n), kinds, graph, weights, work, pull)
    for number in range(interactions):
        for block in prange(blocks):
            forward(number, block * BLOCK, min(block * BLOCK + BLOCK, n), graph, weights, work)
    for block in prange(blocks):
        read_out(block * BLOCK, min(block * BLOCK + BLOCK, n), weights, work, energies)
        through_layers(interactions - 1, block * BLOCK, min(block * BLOCK + BLOCK, n), weights, work)
    for back in range(interactions):
        number = interactions - 1 - back
        for block in prange(blocks):
            backward(number, block * BLOCK, min(block * BLOCK + BLOCK, n), graph, weights, work, pull)
    for block in prange(blocks):
        end(block * BLOCK, min(block * BLOCK + BLOCK, n), graph, units, pull, forces)
