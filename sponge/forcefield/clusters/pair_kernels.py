"""Forces between clusters, eight pairs at a time: Lennard-Jones and Coulomb within the cutoff.

Each row of an entry is one atom of the half against the eight of the cluster. What a pair does follows from constants
of a kernel, so that every combination of sums is compiled by itself. Everything is computed in the precision of the
coordinates; energies and virials of a group are then added in float64.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from mindsci.kernels.lanes import bits_mask, choose, fma, gather, load, mask_bits, root_inverse, spread, store, total

OPTIONS: Any = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    "_nrt": False,
}
# Not "fastmath": forces must have the same bits whether energies are summed beside them or not.
INLINE: Any = OPTIONS | {"forceinline": True}


class Places(NamedTuple):
    """What the kernels know of the places of clusters; a place without an atom has no charge and no depth."""

    x: Any
    y: Any
    z: Any
    charge: Any
    """with the root of Coulomb's constant, so that a product is an energy times a length"""
    radius: Any
    """half of sigma"""
    depth: Any
    """root of 4 epsilon"""
    kind: Any


class Listed(NamedTuple):
    """Groups and entries of `building.pair_clusters`, and the vectors of the images."""

    groups: Any
    ends: Any
    others: Any
    bits: Any
    images: Any


class Terms(NamedTuple):
    """Constants of a force field, in the precision of the kernel."""

    numbers: Any
    """cutoff^2, 1/cutoff^2, cutoff, start of the switch, 1 / its width, Coulomb: constant and slope, map of r^2 (2)"""
    force: Any
    energy: Any
    """coefficients of the smooth parts of Coulomb's force over r and energy, of the mapped r^2"""
    sigma: Any
    depth: Any
    """tables by kind and kind, flat, where there is no rule of combination"""
    kinds: Any


class Shape(NamedTuple):
    """What is compiled into a kernel."""

    lennard_jones: str
    coulomb: bool
    slope: bool
    """whether Coulomb's force has a constant part"""
    tables: bool
    n_force: int
    n_energy: int
    observed: bool
    """whether energies and the virial are summed"""


@njit(**INLINE)
def polynomial(coefficients, count, u):
    """Returns the value at lanes u, even and odd powers apart: two chains of operations, neither of which waits."""
    square = u * u
    last = count - 1
    even, odd = spread(coefficients[last - last % 2]), spread(coefficients.dtype.type(0.0))
    if count > 1:
        odd = spread(coefficients[last - 1 + last % 2])
    for k in range(last // 2 - 1, -1, -1):
        even = fma(even, square, coefficients[2 * k])
    for k in range((count - 2) // 2 - 1, -1, -1):
        odd = fma(odd, square, coefficients[2 * k + 1])
    return fma(odd, u, even)


@njit(**INLINE)
def _attraction(flags, r2, inverse, square, s, d, numbers):
    """Returns Lennard-Jones's force over r and energy."""
    switch, shift, line = flags[0], flags[1], flags[2]
    s2 = s * s
    x2 = s2 * square
    x6 = x2 * x2 * x2
    deep = d * x6
    pull = deep * fma(x6, 12.0, -6.0) * square
    dispersion = deep * (x6 - 1.0)
    if switch:
        t = (r2 * inverse - numbers[3]) * numbers[4]
        t = choose(t > 0.0, t, 0.0)
        left = 1.0 - t
        share = 1.0 - t * t * t * fma(t, fma(t, 6.0, -15.0), 10.0)
        step = t * left
        pull = fma(pull, share, dispersion * (30.0 * numbers[4]) * (step * step) * inverse)
        dispersion = dispersion * share
    if shift:
        y2 = s2 * numbers[1]
        y6 = y2 * y2 * y2
        end = d * y6 * (y6 - 1.0)
        dispersion = dispersion - end
        if line:
            tilt = d * y6 * (12.0 * y6 - 6.0) / numbers[2]
            pull = pull - tilt * inverse
            dispersion = dispersion + (r2 * inverse - numbers[2]) * tilt
    return pull, dispersion


@njit(**INLINE)
def _row(masked, flags, bits, deep, r2, q, s, d, terms):
    """Returns the force over r, and the two energies; deep: whether the row's atom attracts any other."""
    switch, _, line, coulomb, slope, _, observed, n_force, n_energy = flags
    numbers = terms.numbers
    within = r2 < numbers[0]
    if masked:
        within = within & bits_mask(bits)
    if coulomb or switch or line:
        inverse = root_inverse(r2)
        square = inverse * inverse
    else:
        inverse = r2
        square = 1.0 / r2
    # Two atoms of three in water have a charge alone; a branch that goes one way for a whole group costs nothing.
    if not coulomb or deep:
        pull, dispersion = _attraction(flags, r2, inverse, square, s, d, numbers)
    else:
        pull = spread(numbers.dtype.type(0.0))
        dispersion = pull
    electric = r2
    if coulomb:
        u = fma(r2, numbers[8], numbers[7])
        smooth = square * inverse - polynomial(terms.force, n_force, u)
        if slope:
            smooth = smooth - inverse * numbers[6]
        pull = fma(q, smooth, pull)
        if observed:
            electric = inverse - polynomial(terms.energy, n_energy, u) + numbers[5]
            if slope:
                electric = electric + r2 * inverse * numbers[6]
            electric = choose(within, q * electric, 0.0)
    if observed:
        dispersion = choose(within, dispersion, 0.0)
    return choose(within, pull, 0.0), dispersion, electric


@njit(**INLINE)
def nothing_within(x0, x1, x2, x3, y0, y1, y2, y3, z0, z1, z2, z3, x, y, z, square):
    """Returns whether no pair is closer than the root of `square`: of entries made with a skin, every third."""
    dx, dy, dz = x0 - x, y0 - y, z0 - z
    near = fma(dx, dx, fma(dy, dy, dz * dz)) < square
    dx, dy, dz = x1 - x, y1 - y, z1 - z
    near = near | (fma(dx, dx, fma(dy, dy, dz * dz)) < square)
    dx, dy, dz = x2 - x, y2 - y, z2 - z
    near = near | (fma(dx, dx, fma(dy, dy, dz * dz)) < square)
    dx, dy, dz = x3 - x, y3 - y, z3 - z
    near = near | (fma(dx, dx, fma(dy, dy, dz * dz)) < square)
    return mask_bits(near) == 0


@njit(**INLINE)
def _entries(masked, flags, begin, end, base, move, listed, places, terms, fx, fy, fz, out):
    """Takes some entries of a group; `move` is where the image moves the half."""
    coulomb, tables, observed = flags[3], flags[5], flags[6]
    zero = spread(places.x.dtype.type(0.0))
    x0, x1 = spread(places.x[base] + move[0]), spread(places.x[base + 1] + move[0])
    x2, x3 = spread(places.x[base + 2] + move[0]), spread(places.x[base + 3] + move[0])
    y0, y1 = spread(places.y[base] + move[1]), spread(places.y[base + 1] + move[1])
    y2, y3 = spread(places.y[base + 2] + move[1]), spread(places.y[base + 3] + move[1])
    z0, z1 = spread(places.z[base] + move[2]), spread(places.z[base + 1] + move[2])
    z2, z3 = spread(places.z[base + 2] + move[2]), spread(places.z[base + 3] + move[2])
    fx0, fx1, fx2, fx3 = zero, zero, zero, zero
    fy0, fy1, fy2, fy3 = zero, zero, zero, zero
    fz0, fz1, fz2, fz3 = zero, zero, zero, zero
    lj, el, xx, yy, zz, xy, xz, yz = zero, zero, zero, zero, zero, zero, zero, zero
    for e in range(begin, end):
        at, bits = np.int64(listed.others[e]) * 8, listed.bits[e]
        xj, yj, zj = load(places.x, at), load(places.y, at), load(places.z, at)
        if nothing_within(x0, x1, x2, x3, y0, y1, y2, y3, z0, z1, z2, z3, xj, yj, zj, terms.numbers[0]):
            continue
        gx, gy, gz = zero, zero, zero
        for k in range(4):
            if k == 0:
                dx, dy, dz = x0 - xj, y0 - yj, z0 - zj
            elif k == 1:
                dx, dy, dz = x1 - xj, y1 - yj, z1 - zj
            elif k == 2:
                dx, dy, dz = x2 - xj, y2 - yj, z2 - zj
            else:
                dx, dy, dz = x3 - xj, y3 - yj, z3 - zj
            r2 = fma(dx, dx, fma(dy, dy, dz * dz))
            q = zero
            if coulomb:
                q = load(places.charge, at) * places.charge[base + k]
            if tables:
                index = load(places.kind, at) + places.kind[base + k] * terms.kinds[0]
                s, d = gather(terms.sigma, index), gather(terms.depth, index)
            else:
                s = load(places.radius, at) + places.radius[base + k]
                d = load(places.depth, at) * places.depth[base + k]
            deep = places.depth[base + k] != 0
            pull, dispersion, electric = _row(masked, flags, bits >> np.uint32(8 * k), deep, r2, q, s, d, terms)
            gx, gy, gz = fma(dx, pull, gx), fma(dy, pull, gy), fma(dz, pull, gz)
            if k == 0:
                fx0, fy0, fz0 = fma(dx, pull, fx0), fma(dy, pull, fy0), fma(dz, pull, fz0)
            elif k == 1:
                fx1, fy1, fz1 = fma(dx, pull, fx1), fma(dy, pull, fy1), fma(dz, pull, fz1)
            elif k == 2:
                fx2, fy2, fz2 = fma(dx, pull, fx2), fma(dy, pull, fy2), fma(dz, pull, fz2)
            else:
                fx3, fy3, fz3 = fma(dx, pull, fx3), fma(dy, pull, fy3), fma(dz, pull, fz3)
            if observed:
                lj = lj + dispersion
                if coulomb:
                    el = el + electric
                hx, hy = dx * pull, dy * pull
                xx, yy, zz = fma(hx, dx, xx), fma(hy, dy, yy), fma(dz * pull, dz, zz)
                xy, xz, yz = fma(hx, dy, xy), fma(hx, dz, xz), fma(hy, dz, yz)
        store(fx, at, load(fx, at) - gx)
        store(fy, at, load(fy, at) - gy)
        store(fz, at, load(fz, at) - gz)
    fx[base] += total(fx0)
    fx[base + 1] += total(fx1)
    fx[base + 2] += total(fx2)
    fx[base + 3] += total(fx3)
    fy[base] += total(fy0)
    fy[base + 1] += total(fy1)
    fy[base + 2] += total(fy2)
    fy[base + 3] += total(fy3)
    fz[base] += total(fz0)
    fz[base + 1] += total(fz1)
    fz[base + 2] += total(fz2)
    fz[base + 3] += total(fz3)
    if observed:
        out[0] += np.float64(total(lj))
        out[1] += np.float64(total(el))
        out[2] += np.float64(total(xx))
        out[3] += np.float64(total(yy))
        out[4] += np.float64(total(zz))
        out[5] += np.float64(total(xy))
        out[6] += np.float64(total(xz))
        out[7] += np.float64(total(yz))


@njit(**INLINE)
def take_groups(first, last, flags, listed, places, terms, fx, fy, fz, out):
    """Adds the forces of groups first to last - 1, and to out what `pair_kernel` says."""
    for g in range(first, last):
        base, image = np.int64(listed.groups[g, 0]) * 4, listed.groups[g, 1]
        begin, middle, end = listed.groups[g, 2], listed.groups[g, 3], listed.ends[g]
        move = (listed.images[image, 0], listed.images[image, 1], listed.images[image, 2])
        if middle > begin:
            _entries(True, flags, begin, middle, base, move, listed, places, terms, fx, fy, fz, out)
        if end > middle:
            _entries(False, flags, middle, end, base, move, listed, places, terms, fx, fy, fz, out)


def flags_of(shape: Shape) -> tuple[int, ...]:
    """Returns the choices of a shape as the kernels take them."""
    way = shape.lennard_jones
    shift, line = way in ("potential_shift", "force_shift"), way == "force_shift"
    choices = (way == "switch", shift, line, shape.coulomb, shape.slope, shape.tables, shape.observed)
    return (*map(int, choices), shape.n_force, shape.n_energy)


@lru_cache(maxsize=64)
def pair_kernel(shape: Shape) -> Any:
    """Returns kernel(first, last, listed, places, terms, fx, fy, fz, out), which takes groups first to last - 1.

    It adds to the forces at the places, and to out: energies of Lennard-Jones and Coulomb, and the virial's xx, yy, zz,
    xy, xz, yz.
    """
    # Numbers alone are held by the kernel, so that it is found again on disk; they are folded into it.
    flags = flags_of(shape)

    @njit(**OPTIONS)
    def kernel(first, last, listed, places, terms, fx, fy, fz, out):
        take_groups(first, last, flags, listed, places, terms, fx, fy, fz, out)

    return kernel
