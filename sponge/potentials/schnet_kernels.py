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

from numba import njit

from mindsci.kernels.dense import OPTIONS, dense
from sponge.potentials.hermite_kernels import BLOCK, gather, gather_back, sum_forces
from sponge.potentials.softplus_kernels import activate


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
def forward(first, last, number, graph, weights, work):  # type: ignore[no-untyped-def]
    """Runs an interaction for atoms first .. last, up to the h of the next."""
    of_c = number % work.c.shape[0]
    for i in range(first, last):
        for f in range(work.y.shape[1]):
            work.c[of_c, i, f] = 0
    gather(weights.table, number, first, last, graph, work.h, number, work.c, of_c)
    o, x = work.o[number % work.o.shape[0]], work.x[number % work.x.shape[0]]
    after = work.x[(number + 1) % work.x.shape[0]]
    dense(work.c[of_c], weights.inner[number], work.y, first, last, False)
    activate(work.y, weights.inner_bias[number], o, work.d[number], first, last)
    for i in range(first, last):
        for f in range(x.shape[1]):
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
def through_layers(first, last, number, weights, work):  # type: ignore[no-untyped-def]
    """Takes the derivative by an interaction's result back to that by its convolution."""
    go = work.go[number % work.go.shape[0]]
    dense(work.gx[number % work.gx.shape[0]], weights.outer_back[number], go, first, last, False)
    for i in range(first, last):
        for f in range(go.shape[1]):
            work.y[i, f] = go[i, f] * work.d[number, i, f]
    dense(work.y, weights.inner_back[number], work.gc[number % work.gc.shape[0]], first, last, False)


@njit(**OPTIONS)
def backward(first, last, number, graph, weights, work, pull):  # type: ignore[no-untyped-def]
    """Adds an interaction's part to the derivative by each distance, and passes the rest to the one below."""
    of_c, of_h = number % work.gc.shape[0], number % work.gh.shape[0]
    gather_back(weights.table, number, first, last, graph, work.h, number, work.gc, of_c, work.gh, of_h, pull)
    if number > 0:
        above, below = work.gx[number % work.gx.shape[0]], work.gx[(number - 1) % work.gx.shape[0]]
        for i in range(first, last):
            for f in range(below.shape[1]):
                below[i, f] = above[i, f]
        dense(work.gh[of_h], weights.before_back[number], below, first, last, True)
        through_layers(first, last, number - 1, weights, work)


@njit(**OPTIONS)
def evaluate(kinds, graph, weights, work, units, pull, energies, forces):  # type: ignore[no-untyped-def]
    """Sets each atom's energy and force and each edge's dE/dr: all sweeps in one call, which few atoms are worth."""
    interactions = work.h.shape[0]
    n = kinds.shape[0]
    begin(0, n, kinds, graph, weights, work, pull)
    for number in range(interactions):
        for first in range(0, n, BLOCK):
            forward(first, min(first + BLOCK, n), number, graph, weights, work)
    for first in range(0, n, BLOCK):
        last = min(first + BLOCK, n)
        read_out(first, last, weights, work, energies)
        through_layers(first, last, interactions - 1, weights, work)
    for number in range(interactions - 1, -1, -1):
        for first in range(0, n, BLOCK):
            backward(first, min(first + BLOCK, n), number, graph, weights, work, pull)
    sum_forces(0, n, graph, units, pull, forces)
