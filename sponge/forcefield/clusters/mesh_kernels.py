"""Smooth particle mesh Ewald in compiled loops: charges to a grid, waves to a potential, forces read off it.

As `sponge.forcefield.pme`; a row of the grid along its last axis is one vector of the processor, the weights beyond the
order of the splines being zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from mindsci.kernels.lanes import fma, load, spread, store, total
from sponge.forcefield.clusters.pair_kernels import OPTIONS

INLINE: Any = OPTIONS | {"forceinline": True}
LANES = 8


@njit(**INLINE)
def _splines(w, order, values, slopes):
    """Sets M_n(w + n - 1 - i) and its derivative, i = 0 to n - 1: weights of points in ascending order."""
    one = w * 0 + 1
    values[0], values[1] = one - w, w
    for k in range(3, order + 1):
        if k == order:
            slopes[0], slopes[order - 1] = -values[0], values[order - 2]
            for i in range(1, order - 1):
                slopes[i] = values[i - 1] - values[i]
        share = one / (k - 1)
        values[k - 1] = share * w * values[k - 2]
        for i in range(1, k - 1):
            values[k - 1 - i] = share * ((w + i) * values[k - 2 - i] + (k - i - w) * values[k - 1 - i])
        values[0] = share * (one - w) * values[0]


@njit(**INLINE)
def _first_point(u, size, order):
    """Returns the first point that a charge at the fraction u of the cell reaches, and how far it is past a point."""
    at = (u - np.floor(u)) * size
    low = np.floor(at)
    point = int(low) - order + 1
    return point + size if point < 0 else point, at - low


@njit(**INLINE)
def _stencil(p, places, inverse, sizes, order, scratch):
    kind = places.x.dtype.type
    x, y, z = places.x[p], places.y[p], places.z[p]
    a, u = _first_point(x * inverse[0, 0] + y * inverse[1, 0] + z * inverse[2, 0], sizes[0], order)
    b, v = _first_point(x * inverse[0, 1] + y * inverse[1, 1] + z * inverse[2, 1], sizes[1], order)
    c, w = _first_point(x * inverse[0, 2] + y * inverse[1, 2] + z * inverse[2, 2], sizes[2], order)
    _splines(kind(u), order, scratch[0], scratch[3])
    _splines(kind(v), order, scratch[1], scratch[4])
    _splines(kind(w), order, scratch[2], scratch[5])
    return a, b, c


@njit(**OPTIONS)
def spread_charges(first, last, atoms, places, inverse, sizes, order, scratch, grid):
    """Clears a grid and adds to it the charges at places first to last - 1; scratch is (6, 8) of zeros at first."""
    grid[:] = 0
    zero = places.x.dtype.type(0.0)
    for p in range(first, last):
        q = places.charge[p]
        if atoms[p] < 0 or q == zero:
            continue
        a, b, c = _stencil(p, places, inverse, sizes, order, scratch)
        row = load(scratch[2], 0) * q
        for i in range(order):
            x = a + i if a + i < sizes[0] else a + i - sizes[0]
            for j in range(order):
                y = b + j if b + j < sizes[1] else b + j - sizes[1]
                weight = scratch[0, i] * scratch[1, j]
                at = (x * sizes[1] + y) * sizes[2]
                if c + LANES <= sizes[2]:
                    store(grid, at + c, fma(row, weight, load(grid, at + c)))
                else:
                    for k in range(order):
                        z = c + k if c + k < sizes[2] else c + k - sizes[2]
                        grid[at + z] += weight * q * scratch[2, k]


@njit(**OPTIONS)
def add_grids(first, last, grids):
    """Adds all grids to the first one, at points first to last - 1."""
    for thread in range(1, len(grids)):
        for k in range(first, last):
            grids[0, k] += grids[thread, k]


@njit(**OPTIONS)
def convolve(first, last, waves, factor, once):
    """Multiplies rows of waves, real and imaginary parts in turn, by their factors; returns the energy of the rows."""
    energy = 0.0
    for row in range(first, last):
        for k in range(factor.shape[1]):
            real, imaginary, f = waves[row, 2 * k], waves[row, 2 * k + 1], factor[row, k]
            energy += float(once[k] * f * (real * real + imaginary * imaginary))
            waves[row, 2 * k] = f * real
            waves[row, 2 * k + 1] = f * imaginary
    return energy


@njit(**OPTIONS)
def read_forces(first, last, atoms, places, inverse, sizes, order, scratch, potential, forces):
    """Adds the forces at places first to last - 1, of half the potential on the grid."""
    kind = places.x.dtype.type
    for p in range(first, last):
        q = places.charge[p]
        if atoms[p] < 0 or q == kind(0.0):
            continue
        a, b, c = _stencil(p, places, inverse, sizes, order, scratch)
        plain = spread(kind(0.0))
        by_x, by_y = plain, plain
        values, slopes = load(scratch[2], 0), load(scratch[5], 0)
        near = c + LANES <= sizes[2]
        for i in range(order):
            x = a + i if a + i < sizes[0] else a + i - sizes[0]
            for j in range(order):
                y = b + j if b + j < sizes[1] else b + j - sizes[1]
                at = (x * sizes[1] + y) * sizes[2]
                if near:
                    row = load(potential, at + c)
                else:
                    for k in range(order):
                        scratch[6, k] = potential[at + (c + k if c + k < sizes[2] else c + k - sizes[2])]
                    row = load(scratch[6], 0)
                plain = fma(row, scratch[0, i] * scratch[1, j], plain)
                by_x = fma(row, scratch[3, i] * scratch[1, j], by_x)
                by_y = fma(row, scratch[0, i] * scratch[4, j], by_y)
        u = -2.0 * q * sizes[0] * float(total(by_x * values))
        v = -2.0 * q * sizes[1] * float(total(by_y * values))
        w = -2.0 * q * sizes[2] * float(total(plain * slopes))
        forces[0, p] += kind(inverse[0, 0] * u + inverse[0, 1] * v + inverse[0, 2] * w)
        forces[1, p] += kind(inverse[1, 0] * u + inverse[1, 1] * v + inverse[1, 2] * w)
        forces[2, p] += kind(inverse[2, 0] * u + inverse[2, 1] * v + inverse[2, 2] * w)
