"""PaiNN's messages and their first and second derivatives on a CPU, compiled: one pass over the pairs each.

With a the atom that receives, b the one that sends, u the unit vector from a to b, phi what b sends, W the filters of
the pair, and the entries s (scalars), v (vectors), d (directions) of phi and W [Schutt2021, eq. 7 and 8],

    scalars_a += Ws phi_s,    vectors_a += Wv phi_v v_b + Wd phi_d u;    without rows in v, no vectors are sent.

Let L = sum (gs scalars + gv vectors). `backward` sets the derivatives of L by phi, v, W and u; `second` sets those of
D = the derivative of L along (hphi, hv, hW, hu) by phi, v, W, u, gs and gv. Each row is a loop of its own with few
arrays, since a compiler gives up vectors where it has to prove that many arrays do not overlap.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

OPTIONS: Any = {"fastmath": True, "cache": True, "nogil": True, "error_model": "numpy"}
S, V, D = 0, 1, 2
"""entries of phi and W"""


@njit(**OPTIONS)
def _add(out, a, b):  # type: ignore[no-untyped-def]
    for f in range(out.shape[0]):
        out[f] += a[f] * b[f]


@njit(**OPTIONS)
def _add_two(out, a, b, c, d):  # type: ignore[no-untyped-def]
    for f in range(out.shape[0]):
        out[f] += a[f] * b[f] + c[f] * d[f]


@njit(**OPTIONS)
def _set(out, a, b):  # type: ignore[no-untyped-def]
    for f in range(out.shape[0]):
        out[f] = a[f] * b[f]


@njit(**OPTIONS)
def _set_two(out, a, b, c, d):  # type: ignore[no-untyped-def]
    for f in range(out.shape[0]):
        out[f] = a[f] * b[f] + c[f] * d[f]


@njit(**OPTIONS)
def _add_scaled(out, a, x):  # type: ignore[no-untyped-def]
    for f in range(out.shape[0]):
        out[f] += a[f] * x


@njit(**OPTIONS)
def _along(out, g, x, y, z):  # type: ignore[no-untyped-def]
    for f in range(out.shape[0]):
        out[f] = g[0, f] * x + g[1, f] * y + g[2, f] * z


@njit(**OPTIONS)
def _dot(out, g, v):  # type: ignore[no-untyped-def]
    for f in range(out.shape[0]):
        out[f] = g[0, f] * v[0, f] + g[1, f] * v[1, f] + g[2, f] * v[2, f]


@njit(**OPTIONS)
def _sum(a, b):  # type: ignore[no-untyped-def]
    total = a.dtype.type(0)
    for f in range(a.shape[0]):
        total += a[f] * b[f]
    return total


@njit(**OPTIONS)
def forward(phi, v, filters, units, i, j, scalars, vectors):  # type: ignore[no-untyped-def]
    """Adds the messages of each pair, in both directions, to `scalars` and `vectors`."""
    sent = np.empty(scalars.shape[1], scalars.dtype)
    for pair in range(i.shape[0]):
        w = filters[pair]
        for turn in range(2):
            a, b = (i[pair], j[pair]) if turn == 0 else (j[pair], i[pair])
            sign = scalars.dtype.type(1 - 2 * turn)
            _add(scalars[a], w[S], phi[b, S])
            _set(sent, w[D], phi[b, D])
            for k in range(3):
                _add_scaled(vectors[a, k], sent, sign * units[pair, k])
            if v.shape[0] > 0:
                _set(sent, w[V], phi[b, V])
                for k in range(3):
                    _add(vectors[a, k], sent, v[b, k])


@njit(**OPTIONS)
def backward(phi, v, filters, units, gs, gv, i, j, of_phi, of_v, of_filters, of_units):  # type: ignore[no-untyped-def]
    """Adds the derivatives of L."""
    row, sent = np.empty(gs.shape[1], gs.dtype), np.empty(gs.shape[1], gs.dtype)
    for pair in range(i.shape[0]):
        w, of_w = filters[pair], of_filters[pair]
        for turn in range(2):
            a, b = (i[pair], j[pair]) if turn == 0 else (j[pair], i[pair])
            sign = gs.dtype.type(1 - 2 * turn)
            _add(of_phi[b, S], w[S], gs[a])
            _add(of_w[S], phi[b, S], gs[a])
            _along(row, gv[a], sign * units[pair, 0], sign * units[pair, 1], sign * units[pair, 2])
            _add(of_phi[b, D], w[D], row)
            _add(of_w[D], phi[b, D], row)
            _set(sent, w[D], phi[b, D])
            for k in range(3):
                of_units[pair, k] += sign * _sum(sent, gv[a, k])
            if v.shape[0] > 0:
                _dot(row, gv[a], v[b])
                _add(of_phi[b, V], w[V], row)
                _add(of_w[V], phi[b, V], row)
                _set(sent, w[V], phi[b, V])
                for k in range(3):
                    _add(of_v[b, k], sent, gv[a, k])


@njit(**OPTIONS)
def second(given, along, i, j, found):  # type: ignore[no-untyped-def]
    """Adds the derivatives of D. given: phi, v, W, u, gs, gv; along: those of the first four; found: of all six."""
    phi, v, filters, units, gs, gv = given
    h_phi, h_v, h_filters, h_units = along
    of_phi, of_v, of_filters, of_units, of_gs, of_gv = found
    count = gs.shape[1]
    row, h_row, sent, h_sent = (
        np.empty(count, gs.dtype),
        np.empty(count, gs.dtype),
        np.empty(count, gs.dtype),
        np.empty(count, gs.dtype),
    )
    for pair in range(i.shape[0]):
        w, h_w, of_w = filters[pair], h_filters[pair], of_filters[pair]
        for turn in range(2):
            a, b = (i[pair], j[pair]) if turn == 0 else (j[pair], i[pair])
            sign = gs.dtype.type(1 - 2 * turn)
            p, h_p, of_p, u, h_u = phi[b], h_phi[b], of_phi[b], units[pair], h_units[pair]
            _add_two(of_gs[a], h_w[S], p[S], w[S], h_p[S])
            _add(of_p[S], h_w[S], gs[a])
            _add(of_w[S], h_p[S], gs[a])
            _along(row, gv[a], sign * u[0], sign * u[1], sign * u[2])
            _along(h_row, gv[a], sign * h_u[0], sign * h_u[1], sign * h_u[2])
            _add_two(of_p[D], h_w[D], row, w[D], h_row)
            _add_two(of_w[D], h_p[D], row, p[D], h_row)
            _set(sent, w[D], p[D])
            _set_two(h_sent, h_w[D], p[D], w[D], h_p[D])
            for k in range(3):
                _add_scaled(of_gv[a, k], h_sent, sign * u[k])
                _add_scaled(of_gv[a, k], sent, sign * h_u[k])
                of_units[pair, k] += sign * _sum(h_sent, gv[a, k])
            if v.shape[0] > 0:
                _dot(row, gv[a], v[b])
                _dot(h_row, gv[a], h_v[b])
                _add_two(of_p[V], h_w[V], row, w[V], h_row)
                _add_two(of_w[V], h_p[V], row, p[V], h_row)
                _set(sent, w[V], p[V])
                _set_two(h_sent, h_w[V], p[V], w[V], h_p[V])
                for k in range(3):
                    _add_two(of_gv[a, k], h_sent, v[b, k], sent, h_v[b, k])
                    _add(of_v[b, k], h_sent, gv[a, k])


@njit(**OPTIONS)
def _weigh(out, row, weights):  # type: ignore[no-untyped-def]
    a, b, c, d = weights[0], weights[1], weights[2], weights[3]
    for f in range(out.shape[0]):
        out[f] = a * row[0, 0, f] + b * row[0, 1, f] + c * row[1, 0, f] + d * row[1, 1, f]


@njit(**OPTIONS)
def interpolate(table, place, pieces, values):  # type: ignore[no-untyped-def]
    """Sets each pair's filters, read from a table (knots, 2, filters) of cubic Hermite pieces; 0 beyond it."""
    for pair in range(values.shape[0]):
        if place[pair] < 0:
            values[pair] = 0
        else:
            _weigh(values[pair], table[place[pair] : place[pair] + 2], pieces[pair])


@njit(**OPTIONS)
def slopes(table, place, weights, of_values, pull):  # type: ignore[no-untyped-def]
    """Adds to each pair's derivative by its distance what comes through its filters."""
    row = np.empty(of_values.shape[1], of_values.dtype)
    for pair in range(of_values.shape[0]):
        if place[pair] >= 0:
            _weigh(row, table[place[pair] : place[pair] + 2], weights[pair])
            pull[pair] += _sum(row, of_values[pair])
