"""PhysNet's energies, charges and their derivatives as compiled sweeps over blocks of atoms, without a tape.

As in `schnet_kernels`: what depends on a distance is read from a table, what layers and sums over neighbours hand back
are layers and sums again, and a block of atoms stays in the cache while a module works on it. With a = ssp(x), the own
part ssp(W_i a + b_i), h = ssp(W_j a + b_j), c = own + sum_j G(r_ij) h_j through residual layers, and
x <- gate x + W ssp(c) + b through residual layers [Unke2019], a module hands back

    c' = ssp' (W^T x'),  h'_i = sum_j G c'_j,  r'_ij += sum_f G' (c'_i h_j + c'_j h_i),
    x' <- gate x' + ssp'(x) (W_i^T (ssp' c') + W_j^T (ssp' h')),

and a residual layer x <- x + V ssp(U ssp(x) + u) + v hands back x' <- x' + ssp'(x) U^T (ssp' V^T x').

The layers of a module, in order: own, others, two of each message residual, after, two of each atom residual, two of
each output residual. Layer l follows the activation whose slopes are l + 1; those of x come first, the output's last.

Each sweep takes a block of atoms, first to last - 1, and reads of others what an earlier sweep has left.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import njit

from mindsci.kernels.dense import OPTIONS, dense
from sponge.potentials.hermite_kernels import gather, gather_back
from sponge.potentials.softplus_kernels import activate


class Weights(NamedTuple):
    """Packed panels of each module's layers, forward and transposed."""

    table: Any
    embedding: Any
    layers: Any
    biases: Any
    back: Any
    gates: Any
    final: Any
    """(modules, 2, features): of energy and charge"""
    none: Any
    """no bias"""


class Work(NamedTuple):
    """What the sweeps leave behind, (some, atoms, features) each, and scratch (atoms, features)."""

    h: Any
    slopes: Any
    """(modules, activations, atoms, features)"""
    c: Any
    gc: Any
    """of two modules: one is read by neighbours while the next is written"""
    gh: Any
    x: Any
    gx: Any
    y: Any
    a: Any
    b: Any


@njit(**OPTIONS)
def _residual(m, layer, x, first, last, weights, work):  # type: ignore[no-untyped-def]
    activate(x, weights.none, work.a, work.slopes[m, layer + 1], first, last)
    dense(work.a, weights.layers[m, layer], work.y, first, last, False)
    activate(work.y, weights.biases[m, layer], work.a, work.slopes[m, layer + 2], first, last)
    dense(work.a, weights.layers[m, layer + 1], x, first, last, True)
    for i in range(first, last):
        for f in range(x.shape[1]):
            x[i, f] += weights.biases[m, layer + 1, f]


@njit(**OPTIONS)
def _weigh(out, x, slope, first, last):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        for f in range(x.shape[1]):
            out[i, f] = x[i, f] * slope[i, f]


@njit(**OPTIONS)
def _residual_back(m, layer, gx, first, last, weights, work):  # type: ignore[no-untyped-def]
    dense(gx, weights.back[m, layer + 1], work.y, first, last, False)
    _weigh(work.y, work.y, work.slopes[m, layer + 2], first, last)
    dense(work.y, weights.back[m, layer], work.a, first, last, False)
    slope = work.slopes[m, layer + 1]
    for i in range(first, last):
        for f in range(gx.shape[1]):
            gx[i, f] += work.a[i, f] * slope[i, f]


@njit(**OPTIONS)
def begin(first, last, kinds, weights, work, outputs):  # type: ignore[no-untyped-def]
    """Sets the features that each atom begins with, and no outputs."""
    for i in range(first, last):
        outputs[i, 0] = 0
        outputs[i, 1] = 0
        for f in range(work.x.shape[1]):
            work.x[i, f] = weights.embedding[kinds[i], f]
            work.gx[i, f] = 0


@njit(**OPTIONS)
def enter(first, last, m, weights, work):  # type: ignore[no-untyped-def]
    """Sets what atoms send in a module, and their own part of the message."""
    activate(work.x, weights.none, work.a, work.slopes[m, 0], first, last)
    dense(work.a, weights.layers[m, 0], work.y, first, last, False)
    activate(work.y, weights.biases[m, 0], work.c[0], work.slopes[m, 1], first, last)
    dense(work.a, weights.layers[m, 1], work.y, first, last, False)
    activate(work.y, weights.biases[m, 1], work.h[m], work.slopes[m, 2], first, last)


@njit(**OPTIONS)
def forward(first, last, m, counts, graph, weights, work, outputs):  # type: ignore[no-untyped-def]
    """Runs a module, and adds its energies and charges."""
    messages, atoms, ends = counts
    c, x = work.c[0], work.x
    gather(weights.table, m, first, last, graph, work.h, m, work.c, 0)
    for k in range(messages):
        _residual(m, 2 + 2 * k, c, first, last, weights, work)
    after = 2 + 2 * messages
    activate(c, weights.none, work.a, work.slopes[m, after + 1], first, last)
    for i in range(first, last):
        for f in range(x.shape[1]):
            x[i, f] = weights.gates[m, f] * x[i, f] + weights.biases[m, after, f]
    dense(work.a, weights.layers[m, after], x, first, last, True)
    for k in range(atoms):
        _residual(m, after + 1 + 2 * k, x, first, last, weights, work)
    output = after + 1 + 2 * atoms
    for i in range(first, last):
        for f in range(x.shape[1]):
            c[i, f] = x[i, f]
    for k in range(ends):
        _residual(m, output + 2 * k, c, first, last, weights, work)
    activate(c, weights.none, work.a, work.slopes[m, output + 2 * ends + 1], first, last)
    for i in range(first, last):
        energy, charge = x.dtype.type(0), x.dtype.type(0)
        for f in range(x.shape[1]):
            energy += weights.final[m, 0, f] * work.a[i, f]
            charge += weights.final[m, 1, f] * work.a[i, f]
        outputs[i, 0] += energy
        outputs[i, 1] += charge


@njit(**OPTIONS)
def through_layers(first, last, m, counts, weights, work, of_outputs):  # type: ignore[no-untyped-def]
    """Adds what a module's outputs hand back, and takes the derivative by its features back to that by its messages."""
    messages, atoms, ends = counts
    after = 2 + 2 * messages
    output = after + 1 + 2 * atoms
    gx, b = work.gx, work.b
    slope = work.slopes[m, output + 2 * ends + 1]
    for i in range(first, last):
        for f in range(gx.shape[1]):
            known = weights.final[m, 0, f] * of_outputs[i, 0] + weights.final[m, 1, f] * of_outputs[i, 1]
            b[i, f] = known * slope[i, f]
    for k in range(ends - 1, -1, -1):
        _residual_back(m, output + 2 * k, b, first, last, weights, work)
    for i in range(first, last):
        for f in range(gx.shape[1]):
            gx[i, f] += b[i, f]
    for k in range(atoms - 1, -1, -1):
        _residual_back(m, after + 1 + 2 * k, gx, first, last, weights, work)
    gc = work.gc[m % 2]
    dense(gx, weights.back[m, after], gc, first, last, False)
    _weigh(gc, gc, work.slopes[m, after + 1], first, last)
    for k in range(messages - 1, -1, -1):
        _residual_back(m, 2 + 2 * k, gc, first, last, weights, work)


@njit(**OPTIONS)
def backward(first, last, m, graph, weights, work, pull):  # type: ignore[no-untyped-def]
    """Adds a module's part to the derivative by each distance, and passes the rest to the one below."""
    gather_back(weights.table, m, first, last, graph, work.h, m, work.gc, m % 2, work.gh, 0, pull)
    _weigh(work.y, work.gc[m % 2], work.slopes[m, 1], first, last)
    dense(work.y, weights.back[m, 0], work.b, first, last, False)
    _weigh(work.y, work.gh[0], work.slopes[m, 2], first, last)
    dense(work.y, weights.back[m, 1], work.b, first, last, True)
    gx, slope = work.gx, work.slopes[m, 0]
    for i in range(first, last):
        for f in range(gx.shape[1]):
            gx[i, f] = weights.gates[m, f] * gx[i, f] + work.b[i, f] * slope[i, f]
