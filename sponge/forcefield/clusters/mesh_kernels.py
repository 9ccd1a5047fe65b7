"""Smooth particle mesh Ewald in compiled loops: charges to a grid, waves to a potential, forces read off it.

As `sponge.forcefield.pme`. The splines of a cluster's eight atoms are computed together; then each atom takes a row of
the grid along its last axis as one vector, the weights beyond the order of the splines being zero. Grids of charges and
of the potential are wider than the cell's by what a spline reaches beyond its end, so that no row is ever broken:
`fold` brings that home, `widen` lays it out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit

from mindsci.kernels.lanes import fma, load, spread, store, total
from sponge.forcefield.clusters.pair_kernels import OPTIONS

INLINE: Any = OPTIONS | {"forceinline": True}
LANES = 8
SCRATCH = 8 * LANES * LANES
"""numbers: values and slopes of three axes, each with a row of eight atoms for every point, and a row for each atom"""
X, Y, Z, SLOPE, OF_ATOMS = 0, 64, 128, 192, 384
"""where these begin: values along x, y, z, their slopes behind them; then along z atom by atom, values and slopes"""


def wide(sizes: Any, order: int) -> tuple[int, int, int]:
    """Returns the points of a grid with room for splines that reach over its end."""
    return int(sizes[0]) + order - 1, int(sizes[1]) + order - 1, int(sizes[2]) + LANES


@njit(**INLINE)
def _splines(order, at, scratch):
    """Sets M_n(w+n-1-i) for i = 0 to n - 1 and its derivative: weights of points in ascending order; w lies there."""
    w, kind = load(scratch, at), scratch.dtype.type
    store(scratch, at, 1.0 - w)
    store(scratch, at + LANES, w)
    for k in range(3, order + 1):
        if k == order:
            slopes = at + SLOPE
            store(scratch, slopes, 0.0 - load(scratch, at))
            store(scratch, slopes + (order - 1) * LANES, load(scratch, at + (order - 2) * LANES))
            for i in range(1, order - 1):
                change = load(scratch, at + (i - 1) * LANES) - load(scratch, at + i * LANES)
                store(scratch, slopes + i * LANES, change)
        share = kind(1.0 / (k - 1))
        store(scratch, at + (k - 1) * LANES, w * load(scratch, at + (k - 2) * LANES) * share)
        for i in range(1, k - 1):
            low, high = load(scratch, at + (k - 2 - i) * LANES), load(scratch, at + (k - 1 - i) * LANES)
            store(scratch, at + (k - 1 - i) * LANES, ((w + kind(i)) * low + (kind(k - i) - w) * high) * share)
        store(scratch, at, (1.0 - w) * load(scratch, at) * share)


@njit(**INLINE)
def _stencils(order, p, places, inverse, sizes, scratch, points):
    """Sets the splines of the cluster that begins at place p, and the first point of each atom's on the wide grid."""
    kind = places.x.dtype.type
    across, along = sizes[1] + order - 1, sizes[2] + LANES
    for lane in range(LANES):
        x, y, z = float(places.x[p + lane]), float(places.y[p + lane]), float(places.z[p + lane])
        at = 0
        for k in range(3):
            u = x * inverse[0, k] + y * inverse[1, k] + z * inverse[2, k]
            u = (u - np.floor(u)) * sizes[k]
            low = np.floor(u)
            scratch[X + k * LANES * LANES + lane] = kind(u - low)
            point = int(low) - order + 1
            point = point + sizes[k] if point < 0 else point
            at = at * (across if k == 1 else along) + point
        points[lane] = at
    for k in range(3):
        _splines(order, X + k * LANES * LANES, scratch)
    for lane in range(LANES):
        for i in range(order):
            scratch[OF_ATOMS + lane * LANES + i] = scratch[Z + i * LANES + lane]


@lru_cache(maxsize=8)
def spread_kernel(order: int) -> Any:
    """Returns kernel(first, last, atoms, places, inverse, sizes, scratch, points, grid), which clears a grid.

    It adds the charges at places first to last - 1, whole clusters; scratch has `SCRATCH` numbers, zero at
    first, points eight.
    """

    @njit(**OPTIONS)
    def kernel(first, last, atoms, places, inverse, sizes, scratch, points, grid):
        grid[:] = 0
        across, along = sizes[1] + order - 1, sizes[2] + LANES
        for cluster in range(first, last, LANES):
            _stencils(order, cluster, places, inverse, sizes, scratch, points)
            for lane in range(LANES):
                q = places.charge[cluster + lane]
                if atoms[cluster + lane] < 0 or q == 0:
                    continue
                row = load(scratch, OF_ATOMS + lane * LANES) * q
                for i in range(order):
                    at, plane = points[lane] + i * across * along, row * scratch[X + i * LANES + lane]
                    for j in range(order):
                        store(grid, at, fma(plane, scratch[Y + j * LANES + lane], load(grid, at)))
                        at += along

    return kernel


@njit(**OPTIONS)
def fold(first, last, grids, sizes, order, grid):
    """Sets planes first to last - 1 of a grid to the sum of wide ones, one of each thread."""
    across, along = sizes[1] + order - 1, sizes[2] + LANES
    for x in range(first, last):
        for y in range(sizes[1]):
            to = (x * sizes[1] + y) * sizes[2]
            for z in range(sizes[2]):
                grid[to + z] = 0
            for thread in range(len(grids)):
                for u in range(x, sizes[0] + order - 1, sizes[0]):
                    for v in range(y, across, sizes[1]):
                        at = (u * across + v) * along
                        for z in range(sizes[2]):
                            grid[to + z] += grids[thread, at + z]
                        for z in range(order - 1):
                            grid[to + z % sizes[2]] += grids[thread, at + sizes[2] + z]


@njit(**OPTIONS)
def widen(potential, sizes, order, grid):
    """Lays a potential out on a wide grid."""
    across, along = sizes[1] + order - 1, sizes[2] + LANES
    for x in range(sizes[0] + order - 1):
        for y in range(across):
            at, to = ((x % sizes[0]) * sizes[1] + y % sizes[1]) * sizes[2], (x * across + y) * along
            for z in range(sizes[2]):
                grid[to + z] = potential[at + z]
            for z in range(LANES):
                grid[to + sizes[2] + z] = potential[at + z % sizes[2]]


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


@lru_cache(maxsize=8)
def read_kernel(order: int) -> Any:
    """Returns kernel(first, last, atoms, places, inverse, sizes, scratch, points, potential, forces): adds the forces.

    Those at places first to last - 1, whole clusters, of half the potential on a wide grid.
    """

    @njit(**OPTIONS)
    def kernel(first, last, atoms, places, inverse, sizes, scratch, points, potential, forces):
        kind = places.x.dtype.type
        across, along = sizes[1] + order - 1, sizes[2] + LANES
        zero, slopes_of_atoms = spread(kind(0.0)), OF_ATOMS + LANES * LANES
        for cluster in range(first, last, LANES):
            _stencils(order, cluster, places, inverse, sizes, scratch, points)
            for lane in range(LANES):
                for i in range(order):
                    scratch[slopes_of_atoms + lane * LANES + i] = scratch[Z + SLOPE + i * LANES + lane]
            for lane in range(LANES):
                p = cluster + lane
                q = places.charge[p]
                if atoms[p] < 0 or q == 0:
                    continue
                plain, by_x, by_y = zero, zero, zero
                for i in range(order):
                    at, values, slopes = points[lane] + i * across * along, zero, zero
                    for j in range(order):
                        row = load(potential, at)
                        values = fma(row, scratch[Y + j * LANES + lane], values)
                        slopes = fma(row, scratch[Y + SLOPE + j * LANES + lane], slopes)
                        at += along
                    plain = fma(values, scratch[X + i * LANES + lane], plain)
                    by_x = fma(values, scratch[X + SLOPE + i * LANES + lane], by_x)
                    by_y = fma(slopes, scratch[X + i * LANES + lane], by_y)
                values, slopes = load(scratch, OF_ATOMS + lane * LANES), load(scratch, slopes_of_atoms + lane * LANES)
                u = -2.0 * q * sizes[0] * float(total(by_x * values))
                v = -2.0 * q * sizes[1] * float(total(by_y * values))
                w = -2.0 * q * sizes[2] * float(total(plain * slopes))
                forces[0, p] += kind(inverse[0, 0] * u + inverse[0, 1] * v + inverse[0, 2] * w)
                forces[1, p] += kind(inverse[1, 0] * u + inverse[1, 1] * v + inverse[1, 2] * w)
                forces[2, p] += kind(inverse[2, 0] * u + inverse[2, 1] * v + inverse[2, 2] * w)

    return kernel
