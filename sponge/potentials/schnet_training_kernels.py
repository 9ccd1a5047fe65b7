"""The derivative of SchNet's energies and forces by its weights, in compiled sweeps.

A loss L of energies E and forces F has, with a = dL/dE of each system and v = dL/dF of each atom,

    dL/dw = d/dw (sum a E + D E),    D: the derivative along dr_ij/dt = (v_i - v_j) . (r_j - r_i) / r_ij,

since sum_i v_i . F_i is linear in dE/dr_ij. D E comes from a tangent sweep forward (dots below), and the derivative of
the sum from a sweep back in which X = a x' + d(x')/dt stands for each x' of the first backward pass (`schnet_kernels`):

    dc_i/dt = sum_j W' dr/dt h_j + W dh_j/dt,  do/dt = ssp' A1 dc/dt,
    Xo = A2^T X,  Y = ssp' Xo + ssp'' (A1 dc/dt) x'_o,  C = A1^T Y,  H_i = sum_j W C_j + W' dr/dt c'_j,  X <- X + B^T H.

Weights of dense layers then take products over all atoms, such as X o^T + x' (do/dt)^T for A2, which are left to the
library; the table takes Q = C_i h_j + C_j h_i + c'_i dh_j/dt + c'_j dh_i/dt for each pair's filter and
dr/dt (c'_i h_j + c'_j h_i) for its slope.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import njit

from mindsci.kernels.dense import OPTIONS, dense
from sponge.potentials.hermite_kernels import convolve

CHUNK = 16
"""features of the table that one thread adds to: no two threads write the same row"""


class Tangent(NamedTuple):
    """What the second pair of sweeps leaves behind, (interactions, atoms, features) each."""

    x: Any
    """dx/dt, one more than interactions"""
    h: Any
    c: Any
    y: Any
    """A1 dc/dt"""
    o: Any
    big_x: Any
    """X of each interaction's result; [0] of big_first is that of the first features"""
    big_y: Any
    big_c: Any
    big_h: Any
    big_first: Any
    scratch: Any
    small_x: Any
    """x'_y = ssp' x'_o of each interaction: what B and A1 hand back for the weights' products"""
    narrow: Any
    """(6, atoms, hidden): A dx/dt, d(read-out)/dt, Y, y', o, scratch"""


@njit(**OPTIONS)
def _weights_along(graph, e, rate):  # type: ignore[no-untyped-def]
    """Returns the weights of an edge's four rows whose sum is dW/dt."""
    return (
        graph.slopes[e, 0] * rate,
        graph.slopes[e, 1] * rate,
        graph.slopes[e, 2] * rate,
        graph.slopes[e, 3] * rate,
    )


@njit(**OPTIONS)
def _pieces(graph, e):  # type: ignore[no-untyped-def]
    return (graph.pieces[e, 0], graph.pieces[e, 1], graph.pieces[e, 2], graph.pieces[e, 3])


@njit(**OPTIONS)
def tangent_forward(first, last, number, graph, weights, work, tangent, rates):  # type: ignore[no-untyped-def]
    """Runs an interaction's tangent for atoms first .. last."""
    n, width = work.y.shape
    knots = weights.table.shape[1]
    for i in range(first, last):
        for f in range(width):
            tangent.c[number, i, f] = 0
        for e in range(graph.rows[i], graph.rows[i + 1]):
            if graph.place[e] >= 0:
                at = (number * knots + graph.place[e]) * 2 * width
                at_h, out = (number * n + graph.neighbors[e]) * width, (number * n + i) * width
                along = _weights_along(graph, e, rates[e])
                convolve(weights.table, at, work.h, at_h, tangent.c, out, width, along)
                if number > 0:
                    convolve(weights.table, at, tangent.h, at_h, tangent.c, out, width, _pieces(graph, e))
    dense(tangent.c[number], weights.inner[number], tangent.y[number], first, last, False)
    for i in range(first, last):
        for f in range(width):
            tangent.o[number, i, f] = work.d[number, i, f] * tangent.y[number, i, f]
            tangent.x[number + 1, i, f] = tangent.x[number, i, f]
    dense(tangent.o[number], weights.outer[number], tangent.x[number + 1], first, last, True)
    if number + 1 < work.h.shape[0]:
        dense(tangent.x[number + 1], weights.before[number + 1], tangent.h[number + 1], first, last, False)


@njit(**OPTIONS)
def turn_round(first, last, weights, work, tangent, scales):  # type: ignore[no-untyped-def]
    """Begins the sweep back: X of the last features, and what the read-out's weights need."""
    interactions = work.h.shape[0]
    narrow = tangent.narrow
    dense(tangent.x[interactions], weights.hidden, narrow[0], first, last, False)
    for i in range(first, last):
        for f in range(weights.final.shape[0]):
            slope, rate = work.narrow_d[i, f], narrow[0, i, f]
            narrow[1, i, f] = slope * rate + scales[i] * work.narrow_o[i, f]
            narrow[3, i, f] = weights.final[f] * slope
            # ssp'' = ssp' (1 - ssp')
            narrow[2, i, f] = weights.final[f] * slope * (scales[i] + (1 - slope) * rate)
    dense(narrow[2], weights.hidden_back, tangent.big_x[interactions - 1], first, last, False)


@njit(**OPTIONS)
def through_layers(first, last, number, weights, work, tangent):  # type: ignore[no-untyped-def]
    dense(tangent.big_x[number], weights.outer_back[number], tangent.scratch, first, last, False)
    for i in range(first, last):
        for f in range(tangent.scratch.shape[1]):
            slope, xo = work.d[number, i, f], work.go[number, i, f]
            tangent.small_x[number, i, f] = slope * xo
            tangent.big_y[number, i, f] = slope * (tangent.scratch[i, f] + (1 - slope) * tangent.y[number, i, f] * xo)
    dense(tangent.big_y[number], weights.inner_back[number], tangent.big_c[number], first, last, False)


@njit(**OPTIONS)
def back(first, last, number, graph, weights, work, tangent, rates):  # type: ignore[no-untyped-def]
    """Takes X through an interaction's convolution, to the result of the one below."""
    n, width = work.y.shape
    knots = weights.table.shape[1]
    for i in range(first, last):
        for f in range(width):
            tangent.big_h[number, i, f] = 0
        for e in range(graph.rows[i], graph.rows[i + 1]):
            if graph.place[e] >= 0:
                at = (number * knots + graph.place[e]) * 2 * width
                at_c, out = (number * n + graph.neighbors[e]) * width, (number * n + i) * width
                along = _weights_along(graph, e, rates[e])
                convolve(weights.table, at, tangent.big_c, at_c, tangent.big_h, out, width, _pieces(graph, e))
                convolve(weights.table, at, work.gc, at_c, tangent.big_h, out, width, along)
    for i in range(first, last):
        for f in range(width):
            value = tangent.big_x[number, i, f]
            if number > 0:
                tangent.big_x[number - 1, i, f] = value
            else:
                tangent.big_first[i, f] = value
    if number > 0:
        dense(tangent.big_h[number], weights.before_back[number], tangent.big_x[number - 1], first, last, True)
        through_layers(first, last, number - 1, weights, work, tangent)
    else:
        dense(tangent.big_h[0], weights.before_back[0], tangent.big_first, first, last, True)


@njit(**OPTIONS)
def add_to_table(start, stop, number, graph, work, tangent, rates, table):  # type: ignore[no-untyped-def]
    """Adds each pair's part, once, to the derivative by features start .. stop of the table."""
    for i in range(work.y.shape[0]):
        for e in range(graph.rows[i], graph.rows[i + 1]):
            j, k = graph.neighbors[e], graph.place[e]
            if k < 0 or j < i:
                continue
            # An atom that pairs with its own image lists the pair twice.
            half = 0.5 if i == j else 1.0
            p0, p1, p2, p3 = _pieces(graph, e)
            s0, s1, s2, s3 = _weights_along(graph, e, rates[e])
            half = table.dtype.type(half)
            for f in range(start, stop):
                hi, hj = work.h[number, i, f], work.h[number, j, f]
                ci, cj = work.gc[number, i, f], work.gc[number, j, f]
                value = tangent.big_c[number, i, f] * hj + tangent.big_c[number, j, f] * hi
                if number > 0:
                    value += ci * tangent.h[number, j, f] + cj * tangent.h[number, i, f]
                value *= half
                slope = half * (ci * hj + cj * hi)
                table[number, k, 0, f] += p0 * value + s0 * slope
                table[number, k, 1, f] += p1 * value + s1 * slope
                table[number, k + 1, 0, f] += p2 * value + s2 * slope
                table[number, k + 1, 1, f] += p3 * value + s3 * slope
