"""Covalent terms, 1-4 pairs and what an Ewald sum counts too much, in compiled loops over terms.

Forces go to the places of clusters, out takes energies and the virial as `pair_kernels` has it. Everything is computed
in float64: the terms are few, and bonds are stiff. Derivatives of dihedrals are those of [Blondel1996].
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from mindsci.kernels.lanes import WIDTH, load, store
from sponge.forcefield.clusters.pair_kernels import OPTIONS, polynomial

INLINE: Any = OPTIONS | {"forceinline": True}
ENERGY = 0
"""of out: these terms add to the first energy"""


class Frame(NamedTuple):
    """Where the atoms are, and the cell whose nearest image is meant."""

    place_of: Any
    x: Any
    y: Any
    z: Any
    cell: Any
    inverse: Any
    """rows of the inverse are zero along open axes"""


@njit(**INLINE)
def _between(frame, a, b):
    """Returns b - a at the nearest image, and both places."""
    p, q = frame.place_of[a], frame.place_of[b]
    dx = float(frame.x[q]) - float(frame.x[p])
    dy = float(frame.y[q]) - float(frame.y[p])
    dz = float(frame.z[q]) - float(frame.z[p])
    inverse, cell = frame.inverse, frame.cell
    u = round(dx * inverse[0, 0] + dy * inverse[1, 0] + dz * inverse[2, 0])
    v = round(dx * inverse[0, 1] + dy * inverse[1, 1] + dz * inverse[2, 1])
    w = round(dx * inverse[0, 2] + dy * inverse[1, 2] + dz * inverse[2, 2])
    dx -= u * cell[0, 0] + v * cell[1, 0] + w * cell[2, 0]
    dy -= u * cell[0, 1] + v * cell[1, 1] + w * cell[2, 1]
    dz -= u * cell[0, 2] + v * cell[1, 2] + w * cell[2, 2]
    return dx, dy, dz


@njit(**INLINE)
def _push(frame, forces, atom, fx, fy, fz):
    p = frame.place_of[atom]
    forces[0, p] += fx
    forces[1, p] += fy
    forces[2, p] += fz


@njit(**INLINE)
def _note(out, dx, dy, dz, fx, fy, fz):
    """Adds the virial of a force on an atom at d from a point where the others of its term are referred to."""
    out[2] += dx * fx
    out[3] += dy * fy
    out[4] += dz * fz
    out[5] += 0.5 * (dx * fy + dy * fx)
    out[6] += 0.5 * (dx * fz + dz * fx)
    out[7] += 0.5 * (dy * fz + dz * fy)


@njit(**INLINE)
def _pull(frame, forces, out, a, b, dx, dy, dz, pull):
    """A force of pull times d on the second atom, and its opposite on the first."""
    fx, fy, fz = pull * dx, pull * dy, pull * dz
    _push(frame, forces, b, fx, fy, fz)
    _push(frame, forces, a, -fx, -fy, -fz)
    _note(out, dx, dy, dz, fx, fy, fz)


@njit(**OPTIONS)
def bonds(first, last, frame, atoms, length, stiffness, forces, out):
    """1/2 k (r - r0)^2."""
    for t in range(first, last):
        dx, dy, dz = _between(frame, atoms[t, 0], atoms[t, 1])
        r = math.sqrt(dx * dx + dy * dy + dz * dz)
        off = r - length[t]
        out[ENERGY] += 0.5 * stiffness[t] * off * off
        _pull(frame, forces, out, atoms[t, 0], atoms[t, 1], dx, dy, dz, -stiffness[t] * off / r)


@njit(**OPTIONS)
def scaled_pairs(first, last, frame, atoms, sigma, epsilon, product, forces, out):
    """4 epsilon ((sigma / r)^12 - (sigma / r)^6) + product / r."""
    for t in range(first, last):
        dx, dy, dz = _between(frame, atoms[t, 0], atoms[t, 1])
        square = 1.0 / (dx * dx + dy * dy + dz * dz)
        x6 = (sigma[t] * sigma[t] * square) ** 3
        deep, electric = 4.0 * epsilon[t] * x6, product[t] * math.sqrt(square)
        out[ENERGY] += deep * (x6 - 1.0) + electric
        pull = (deep * (12.0 * x6 - 6.0) + electric) * square
        _pull(frame, forces, out, atoms[t, 0], atoms[t, 1], dx, dy, dz, pull)


@njit(**INLINE)
def _wave(r2, alpha):
    """Returns erf(alpha r) / r and minus its derivative over r."""
    r = math.sqrt(r2)
    energy = math.erf(alpha * r) / r
    return energy, (energy - 2.0 * alpha / math.sqrt(math.pi) * math.exp(-((alpha * r) ** 2))) / r2


@njit(**OPTIONS | {"_nrt": True})
def excluded_waves(first, last, frame, atoms, product, scale, energies, slopes, alpha, forces, out):
    """-product erf(alpha r) / r: takes out what the sum over waves has of excluded pairs.

    energies and slopes: coefficients of `smooth.ewald_parts`, of u = scale r^2 - 1, for eight pairs at a time; pairs
    beyond u = 1 take the function itself.
    """
    d, u = np.zeros((3, WIDTH)), np.zeros(WIDTH)
    energy, pull = np.zeros(WIDTH), np.zeros(WIDTH)
    for begin in range(first, last, WIDTH):
        count = min(WIDTH, last - begin)
        for k in range(count):
            d[0, k], d[1, k], d[2, k] = _between(frame, atoms[begin + k, 0], atoms[begin + k, 1])
            u[k] = scale * (d[0, k] * d[0, k] + d[1, k] * d[1, k] + d[2, k] * d[2, k]) - 1.0
        store(energy, 0, polynomial(energies, len(energies), load(u, 0)))
        store(pull, 0, polynomial(slopes, len(slopes), load(u, 0)))
        for k in range(count):
            if not u[k] <= 1.0:
                energy[k], pull[k] = _wave((u[k] + 1.0) / scale, alpha)
            strength = product[begin + k]
            out[ENERGY] -= strength * energy[k]
            i, j = atoms[begin + k, 0], atoms[begin + k, 1]
            _pull(frame, forces, out, i, j, d[0, k], d[1, k], d[2, k], -strength * pull[k])


@njit(**OPTIONS)
def angles(first, last, frame, atoms, angle, stiffness, forces, out):
    """1/2 k (theta - theta0)^2."""
    for t in range(first, last):
        i, j, k = atoms[t, 0], atoms[t, 1], atoms[t, 2]
        ax, ay, az = _between(frame, j, i)
        bx, by, bz = _between(frame, j, k)
        a2, b2 = ax * ax + ay * ay + az * az, bx * bx + by * by + bz * bz
        dot = ax * bx + ay * by + az * bz
        cx, cy, cz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        cross = math.sqrt(cx * cx + cy * cy + cz * cz)
        off = math.atan2(cross, dot) - angle[t]
        out[ENERGY] += 0.5 * stiffness[t] * off * off
        # A straight angle has no plane to bend in.
        scale = -stiffness[t] * off / max(cross, 1e-12)
        u, v = dot / a2, dot / b2
        fx, fy, fz = scale * (u * ax - bx), scale * (u * ay - by), scale * (u * az - bz)
        gx, gy, gz = scale * (v * bx - ax), scale * (v * by - ay), scale * (v * bz - az)
        _push(frame, forces, i, fx, fy, fz)
        _push(frame, forces, k, gx, gy, gz)
        _push(frame, forces, j, -fx - gx, -fy - gy, -fz - gz)
        _note(out, ax, ay, az, fx, fy, fz)
        _note(out, bx, by, bz, gx, gy, gz)


@njit(**OPTIONS)
def dihedrals(first, last, frame, atoms, periodicity, phase, barrier, forces, out):
    """k (1 + cos(n phi - phi0)); of a negative n instead 1/2 k (phi - phi0)^2 around the circle."""
    for t in range(first, last):
        i, j, k, m = atoms[t, 0], atoms[t, 1], atoms[t, 2], atoms[t, 3]
        ax, ay, az = _between(frame, i, j)
        bx, by, bz = _between(frame, j, k)
        cx, cy, cz = _between(frame, k, m)
        lx, ly, lz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        rx, ry, rz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
        l2, r2 = lx * lx + ly * ly + lz * lz, rx * rx + ry * ry + rz * rz
        b = math.sqrt(bx * bx + by * by + bz * bz)
        phi = math.atan2(b * (ax * rx + ay * ry + az * rz), lx * rx + ly * ry + lz * rz)
        n = periodicity[t]
        if n >= 0:
            out[ENERGY] += barrier[t] * (1.0 + math.cos(n * phi - phase[t]))
            slope = -barrier[t] * n * math.sin(n * phi - phase[t])
        else:
            off = phi - phase[t]
            off -= 2.0 * math.pi * round(off / (2.0 * math.pi))
            out[ENERGY] += 0.5 * barrier[t] * off * off
            slope = barrier[t] * off
        l2, r2 = max(l2, 1e-12), max(r2, 1e-12)
        s, u = slope * b / l2, -slope * b / r2
        fx, fy, fz = s * lx, s * ly, s * lz
        gx, gy, gz = u * rx, u * ry, u * rz
        # What a turn about the axis leaves, shared by its two ends as lever arms are.
        v, w = (ax * bx + ay * by + az * bz) / (b * b), (cx * bx + cy * by + cz * bz) / (b * b)
        hx, hy, hz = v * fx - w * gx, v * fy - w * gy, v * fz - w * gz
        _push(frame, forces, i, fx, fy, fz)
        _push(frame, forces, m, gx, gy, gz)
        _push(frame, forces, j, -fx - hx, -fy - hy, -fz - hz)
        _push(frame, forces, k, hx - gx, hy - gy, hz - gz)
        _note(out, -ax, -ay, -az, fx, fy, fz)
        _note(out, bx + cx, by + cy, bz + cz, gx, gy, gz)
        _note(out, bx, by, bz, hx - gx, hy - gy, hz - gz)
