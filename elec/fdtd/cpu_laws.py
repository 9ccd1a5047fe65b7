"""Faraday's and Ampère's law on a plane of cells, compiled: each row is read and written once, layers included."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from elec.fdtd.cpu_vectors import Vector, lanes_of, load, spread, store

# Indices are unsigned: Numba checks signed ones for Python's counting from the end, which keeps loops from vectorising.
U = np.uint64
U0, U1, U2, U3 = U(0), U(1), U(2), U(3)
# Without _nrt every row that is looked at costs an atomic count of references; nothing here allocates.
OPTIONS = {"fastmath": True, "cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}
PART = {**OPTIONS, "cache": False, "forceinline": True}


class Changes(NamedTuple):
    """Differences of neighbours in a vector of cells, with the sign that they have in the curl.

    x_by_y is what the curl's x component gets along y: the change of the field's z component.
    """

    x_by_y: Vector
    x_by_z: Vector
    y_by_z: Vector
    y_by_x: Vector
    z_by_x: Vector
    z_by_y: Vector


class Sums(NamedTuple):
    """What layers remember along a row: two recursive sums for each axis, and their factors.

    Across x and y the factors are equal along the row; inside says whether the row lies in these layers.
    """

    rows: tuple[np.ndarray, ...]
    inside_x: bool
    inside_y: bool
    b_x: Vector
    c_x: Vector
    b_y: Vector
    c_y: Vector
    b_z: np.ndarray
    c_z: np.ndarray


@njit(**PART)
def _factor(factors, slab):
    """The factor of a place in the layers of an axis, zero outside."""
    return spread(factors[U(slab)] if slab >= 0 else factors.dtype.type(0))


@njit(**PART)
def _sums(i, j, first, second, memory, layers, b, c):
    """The sums first and second, those of one law, of the row i, j. Outside layers none is read, whatever they name."""
    slab_x, slab_y = layers.slab_x[i], layers.slab_y[j]
    s_x, s_y = U(max(slab_x, 0)), U(max(slab_y, 0))
    rows = (
        memory[0][first, s_x, j],
        memory[0][second, s_x, j],
        memory[1][first, i, s_y],
        memory[1][second, i, s_y],
        memory[2][first, i, j],
        memory[2][second, i, j],
    )
    b_x, c_x = _factor(b[0], slab_x), _factor(c[0], slab_x)
    b_y, c_y = _factor(b[1], slab_y), _factor(c[1], slab_y)
    return Sums(rows, slab_x >= 0, slab_y >= 0, b_x, c_x, b_y, c_y, b[2], c[2])


@njit(**PART)
def _renew(row, k, b, c, change):
    """psi <- b psi + c change [Roden2000]."""
    psi = b * load(row, k) + c * change
    store(row, k, psi)
    return psi


@njit(**PART)
def _curl(k, place, in_z, change, inverse, sums):
    """The stretched curl in the vector of cells from k on; `place` is that of k in the sums of the layers along z."""
    inverse_x, inverse_y, inverse_z = inverse[0], inverse[1], load(inverse[2], k)
    x = inverse_y * change.x_by_y + inverse_z * change.x_by_z
    y = inverse_z * change.y_by_z + inverse_x * change.y_by_x
    z = inverse_x * change.z_by_x + inverse_y * change.z_by_y
    if sums.inside_x:
        z = z + _renew(sums.rows[0], k, sums.b_x, sums.c_x, change.z_by_x)
        y = y + _renew(sums.rows[1], k, sums.b_x, sums.c_x, change.y_by_x)
    if sums.inside_y:
        x = x + _renew(sums.rows[2], k, sums.b_y, sums.c_y, change.x_by_y)
        z = z + _renew(sums.rows[3], k, sums.b_y, sums.c_y, change.z_by_y)
    if in_z:
        b, c = load(sums.b_z, place), load(sums.c_z, place)
        y = y + _renew(sums.rows[4], place, b, c, change.y_by_z)
        x = x + _renew(sums.rows[5], place, b, c, change.x_by_z)
    return x, y, z


@njit(**PART)
def _three(field, axes, i, j):
    """The rows of the three components along the kernel's axes."""
    return field[axes[0], i, j], field[axes[1], i, j], field[axes[2], i, j]


@njit(**PART)
def _table_rows(table, rows, axes, i, j):
    """The rows of a table for the three components at i, j."""
    return table[rows[axes[0], i, j]], table[rows[axes[1], i, j]], table[rows[axes[2], i, j]]


@njit(**OPTIONS)
def faraday_plane(plane, state, coefficients, layers):
    """Advances the magnetic field of a plane by one step; gain = -dt / mu."""
    electric, magnetic, axes, lanes = state.electric, state.magnetic, state.axes, lanes_of(state.electric)
    i, inverse_h = U(plane), coefficients.inverse_h
    for j in range(U(electric.shape[2] - 1)):
        e, h = _three(electric, axes, i, j), _three(magnetic, axes, i, j)
        up, right = _three(electric, axes, i + U1, j), _three(electric, axes, i, j + U1)
        gain = _table_rows(coefficients.gain, coefficients.rows_h, axes, i, j)
        inverse = spread(inverse_h[0][i]), spread(inverse_h[1][j]), inverse_h[2]
        sums = _sums(i, j, U2, U3, state.memory, layers, layers.b_h, layers.c_h)
        for part in range(3):
            in_z, shift = part != 1, U(layers.ends[2] - layers.ends[1] if part == 2 else 0)
            for k in range(U(layers.ends[part]), U(layers.ends[part + 1]), lanes):
                e_x, e_y, e_z = load(e[0], k), load(e[1], k), load(e[2], k)
                change = Changes(
                    x_by_y=load(right[2], k) - e_z,
                    x_by_z=e_y - load(e[1], k + U1),
                    y_by_z=load(e[0], k + U1) - e_x,
                    y_by_x=e_z - load(up[2], k),
                    z_by_x=load(up[1], k) - e_y,
                    z_by_y=e_x - load(right[0], k),
                )
                x, y, z = _curl(k, k - shift, in_z, change, inverse, sums)
                store(h[0], k, load(h[0], k) + load(gain[0], k) * x)
                store(h[1], k, load(h[1], k) + load(gain[1], k) * y)
                store(h[2], k, load(h[2], k) + load(gain[2], k) * z)


@njit(**OPTIONS)
def ampere_plane(plane, state, coefficients, layers, around):
    """Advances the electric field of a plane by one step.

    Before the first node lies a plane or row of zeros, or the last cells of a periodic axis; before k = 0 the padding
    of the row before. Conductor and padding have decay = drive = 0, so rows need no exception.
    """
    electric, magnetic, axes, lanes = state.electric, state.magnetic, state.axes, lanes_of(state.electric)
    i, inverse_e, rows = U(plane), coefficients.inverse_e, coefficients.rows_e
    before = i - U1 if i > U0 else U(around.before[0])
    for j in range(U(electric.shape[2] - 1)):
        e, h = _three(electric, axes, i, j), _three(magnetic, axes, i, j)
        down, left = (
            _three(magnetic, axes, before, j),
            _three(magnetic, axes, i, j - U1 if j > U0 else U(around.before[1])),
        )
        below = _three(state.magnetic_below, axes, i, j)
        if around.periodic[2]:
            below[0][0], below[1][0] = h[0][around.before[2]], h[1][around.before[2]]
        decay = _table_rows(coefficients.decay, rows, axes, i, j)
        drive = _table_rows(coefficients.drive, rows, axes, i, j)
        inverse = spread(inverse_e[0][i]), spread(inverse_e[1][j]), inverse_e[2]
        sums = _sums(i, j, U0, U1, state.memory, layers, layers.b_e, layers.c_e)
        for part in range(3):
            in_z, shift = part != 1, U(layers.ends[2] - layers.ends[1] if part == 2 else 0)
            for k in range(U(layers.ends[part]), U(layers.ends[part + 1]), lanes):
                h_x, h_y, h_z = load(h[0], k), load(h[1], k), load(h[2], k)
                change = Changes(
                    x_by_y=h_z - load(left[2], k),
                    x_by_z=load(below[1], k) - h_y,
                    y_by_z=h_x - load(below[0], k),
                    y_by_x=load(down[2], k) - h_z,
                    z_by_x=h_y - load(down[1], k),
                    z_by_y=load(left[0], k) - h_x,
                )
                x, y, z = _curl(k, k - shift, in_z, change, inverse, sums)
                store(e[0], k, load(decay[0], k) * load(e[0], k) + load(drive[0], k) * x)
                store(e[1], k, load(decay[1], k) * load(e[1], k) + load(drive[1], k) * y)
                store(e[2], k, load(decay[2], k) * load(e[2], k) + load(drive[2], k) * z)
