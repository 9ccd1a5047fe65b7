"""Constraints in compiled loops over clusters and waters, in float64; they hold no lock, so that threads share them."""

from __future__ import annotations

import numpy as np
from numba import njit

OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy"}
ITERATIONS = 200


@njit(**OPTIONS)
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(**OPTIONS)
def _factor(first, last, rows, columns, shared, sign, order, pairs, inverse_masses, left, right, lower, diagonal, row):
    """Factors the symmetric part of G(left) M^-1 G(right)^T of one cluster into L D L^T, row after row.

    left and right hold the vectors of the constraints in the order of elimination; `row` is zero before and after.
    """
    for k in range(first, last):
        c = order[k]
        weight = inverse_masses[pairs[c, 0]] + inverse_masses[pairs[c, 1]]
        pivot = weight * _dot(left[k - first], right[k - first])
        for e in range(rows[k], rows[k + 1]):
            j = columns[e]
            value = 0.0
            if shared[e] >= 0:
                both = _dot(left[k - first], right[j - first]) + _dot(left[j - first], right[k - first])
                value = 0.5 * sign[e] * inverse_masses[shared[e]] * both
            for i in range(rows[j], rows[j + 1]):
                value -= row[columns[i] - first] * lower[i]
            row[j - first] = value
            lower[e] = value / diagonal[j]
            pivot -= value * lower[e]
        diagonal[k] = pivot
        for e in range(rows[k], rows[k + 1]):
            row[columns[e] - first] = 0.0


@njit(**OPTIONS)
def _solve(first, last, rows, columns, lower, diagonal, x):
    """Solves L D L^T x = x in place, of one cluster."""
    for k in range(first, last):
        for e in range(rows[k], rows[k + 1]):
            x[k - first] -= lower[e] * x[columns[e] - first]
    for k in range(last - 1, first - 1, -1):
        x[k - first] /= diagonal[k]
    for k in range(last - 1, first - 1, -1):
        for e in range(rows[k], rows[k + 1]):
            x[columns[e] - first] -= lower[e] * x[k - first]


@njit(**OPTIONS)
def multipliers(low, high, elimination, size, pairs, inverse_masses, points, right, lower, diagonal, out):
    """Sets out to the solution of (G M^-1 G^T) out = right, for clusters low to high - 1; G at `points`."""
    starts, order, rows, columns, shared, sign = elimination
    d, x, row = np.empty((size, 3)), np.empty(size), np.zeros(size)
    for cluster in range(low, high):
        first, last = starts[cluster], starts[cluster + 1]
        for k in range(first, last):
            c = order[k]
            x[k - first] = right[c]
            for axis in range(3):
                d[k - first, axis] = points[pairs[c, 0], axis] - points[pairs[c, 1], axis]
        _factor(first, last, rows, columns, shared, sign, order, pairs, inverse_masses, d, d, lower, diagonal, row)
        _solve(first, last, rows, columns, lower, diagonal, x)
        for k in range(first, last):
            out[order[k]] = x[k - first]


@njit(**OPTIONS)
def project(low, high, elimination, size, pairs, inverse_masses, points, lower, diagonal, momenta):
    """Takes from the momenta of clusters low to high - 1 what would change the length of a bond, in place."""
    starts, order, rows, columns, shared, sign = elimination
    d, x, row = np.empty((size, 3)), np.empty(size), np.zeros(size)
    for cluster in range(low, high):
        first, last = starts[cluster], starts[cluster + 1]
        for k in range(first, last):
            i, j = pairs[order[k], 0], pairs[order[k], 1]
            x[k - first] = 0.0
            for axis in range(3):
                d[k - first, axis] = points[i, axis] - points[j, axis]
                change = inverse_masses[i] * momenta[i, axis] - inverse_masses[j] * momenta[j, axis]
                x[k - first] += d[k - first, axis] * change
        _factor(first, last, rows, columns, shared, sign, order, pairs, inverse_masses, d, d, lower, diagonal, row)
        _solve(first, last, rows, columns, lower, diagonal, x)
        for k in range(first, last):
            i, j = pairs[order[k], 0], pairs[order[k], 1]
            for axis in range(3):
                momenta[i, axis] -= x[k - first] * d[k - first, axis]
                momenta[j, axis] += x[k - first] * d[k - first, axis]


@njit(**OPTIONS)
def project_waters(low, high, waters, inverse_masses, points, momenta):
    """As `project`, of waters: three equations, the distances in the order O-H, O-H, H-H."""
    a, b, c = np.empty(3), np.empty(3), np.empty(3)
    for water in range(low, high):
        o, h, g = waters[water, 0], waters[water, 1], waters[water, 2]
        w_o, w_h, w_g = inverse_masses[o], inverse_masses[h], inverse_masses[g]
        x = y = z = 0.0
        for k in range(3):
            a[k], b[k] = points[o, k] - points[h, k], points[o, k] - points[g, k]
            c[k] = points[h, k] - points[g, k]
            v_o, v_h, v_g = w_o * momenta[o, k], w_h * momenta[h, k], w_g * momenta[g, k]
            x += a[k] * (v_o - v_h)
            y += b[k] * (v_o - v_g)
            z += c[k] * (v_h - v_g)
        # L D L^T of the symmetric matrix, written out.
        first = (w_o + w_h) * _dot(a, a)
        l_ba, l_ca = w_o * _dot(a, b) / first, -w_h * _dot(a, c) / first
        second = (w_o + w_g) * _dot(b, b) - l_ba * l_ba * first
        l_cb = (w_g * _dot(b, c) - l_ca * l_ba * first) / second
        third = (w_h + w_g) * _dot(c, c) - l_ca * l_ca * first - l_cb * l_cb * second
        y -= l_ba * x
        z = (z - l_ca * x - l_cb * y) / third
        y = y / second - l_cb * z
        x = x / first - l_ba * y - l_ca * z
        for k in range(3):
            momenta[o, k] -= x * a[k] + y * b[k]
            momenta[h, k] += x * a[k] - z * c[k]
            momenta[g, k] += y * b[k] + z * c[k]


@njit(**OPTIONS)
def solve_positions(
    low, high, elimination, size, pairs, length, inverse_masses, before, after, tolerance, lower, diagonal, moves, out
):
    """Adds to moves what gives the bonds of clusters low to high - 1 their lengths, and sets out to their errors.

    Newton's method with the symmetric part of its first matrix: what it leaves shrinks by the angle by which bonds
    turned in a step, each time.
    """
    starts, order, rows, columns, shared, sign = elimination
    old, new, x, row = np.empty((size, 3)), np.empty((size, 3)), np.empty(size), np.zeros(size)
    for cluster in range(low, high):
        first, last = starts[cluster], starts[cluster + 1]
        for k in range(first, last):
            i, j = pairs[order[k], 0], pairs[order[k], 1]
            for axis in range(3):
                old[k - first, axis] = before[i, axis] - before[j, axis]
                new[k - first, axis] = after[i, axis] - after[j, axis]
        _factor(first, last, rows, columns, shared, sign, order, pairs, inverse_masses, old, new, lower, diagonal, row)
        for _ in range(ITERATIONS):
            worst = 0.0
            for k in range(first, last):
                c = order[k]
                i, j = pairs[c, 0], pairs[c, 1]
                square = 0.0
                for axis in range(3):
                    d = after[i, axis] + moves[i, axis] - after[j, axis] - moves[j, axis]
                    square += d * d
                excess = square - length[c] * length[c]
                x[k - first] = -0.5 * excess
                error = abs(0.5 * excess / (length[c] * length[c]))
                out[c] = error
                # A comparison that is false for NaN would let it pass.
                if not error <= worst:
                    worst = error
            if worst <= tolerance or not np.isfinite(worst):
                break
            _solve(first, last, rows, columns, lower, diagonal, x)
            for k in range(first, last):
                i, j = pairs[order[k], 0], pairs[order[k], 1]
                for axis in range(3):
                    pull = x[k - first] * old[k - first, axis]
                    moves[i, axis] += inverse_masses[i] * pull
                    moves[j, axis] -= inverse_masses[j] * pull


@njit(**OPTIONS)
def _cross(a, b, out):
    out[0] = a[1] * b[2] - a[2] * b[1]
    out[1] = a[2] * b[0] - a[0] * b[2]
    out[2] = a[0] * b[1] - a[1] * b[0]


@njit(**OPTIONS)
def settle(low, high, waters, oxygen_hydrogen, hydrogen_hydrogen, masses, before, after, moves):
    """Sets moves to what makes waters low to high - 1 rigid again, NaN where nothing does [Miyamoto1992].

    The same steps as `reference.settle`, in the notation of the paper.
    """
    B0, C0, centre = np.empty(3), np.empty(3), np.empty(3)
    A1, B1, C1 = np.empty(3), np.empty(3), np.empty(3)
    X, Y, Z = np.empty(3), np.empty(3), np.empty(3)
    for w in range(low, high):
        o, h, g = waters[w, 0], waters[w, 1], waters[w, 2]
        total = masses[o] + masses[h] + masses[g]
        r_c = 0.5 * hydrogen_hydrogen[w]
        height = np.sqrt(oxygen_hydrogen[w] ** 2 - r_c**2)
        r_a = height * (masses[h] + masses[g]) / total
        r_b = height - r_a
        for k in range(3):
            centre[k] = (masses[o] * after[o, k] + masses[h] * after[h, k] + masses[g] * after[g, k]) / total
            A1[k], B1[k], C1[k] = after[o, k] - centre[k], after[h, k] - centre[k], after[g, k] - centre[k]
            B0[k], C0[k] = before[h, k] - before[o, k], before[g, k] - before[o, k]
        _cross(B0, C0, Z)
        Z /= np.sqrt(_dot(Z, Z))
        _cross(A1, Z, X)
        X /= np.sqrt(_dot(X, X))
        _cross(Z, X, Y)
        a1z, b1z, c1z = _dot(Z, A1), _dot(Z, B1), _dot(Z, C1)
        sin_phi = a1z / r_a
        cos_phi = np.sqrt(1.0 - sin_phi**2)
        sin_psi = (b1z - c1z) / (2.0 * r_c * cos_phi)
        cos_psi = np.sqrt(1.0 - sin_psi**2)
        a2y, b2x = r_a * cos_phi, -r_c * cos_psi
        b2y = -r_b * cos_phi - r_c * sin_psi * sin_phi
        c2y = -r_b * cos_phi + r_c * sin_psi * sin_phi
        b0x, b0y, c0x, c0y = _dot(X, B0), _dot(Y, B0), _dot(X, C0), _dot(Y, C0)
        b1x, b1y, c1x, c1y = _dot(X, B1), _dot(Y, B1), _dot(X, C1), _dot(Y, C1)
        alpha = b2x * (b0x - c0x) + b0y * b2y + c0y * c2y
        beta = b2x * (c0y - b0y) + b0x * b2y + c0x * c2y
        gamma = b0x * b1y - b1x * b0y + c0x * c1y - c1x * c0y
        square = alpha**2 + beta**2
        sin_theta = (alpha * gamma - beta * np.sqrt(square - gamma**2)) / square
        cos_theta = np.sqrt(1.0 - sin_theta**2)
        for k in range(3):
            turned = -a2y * sin_theta * X[k] + a2y * cos_theta * Y[k] + a1z * Z[k]
            moves[o, k] = centre[k] + turned - after[o, k]
            x, y = b2x * cos_theta - b2y * sin_theta, b2x * sin_theta + b2y * cos_theta
            moves[h, k] = centre[k] + x * X[k] + y * Y[k] + b1z * Z[k] - after[h, k]
            x, y = -b2x * cos_theta - c2y * sin_theta, -b2x * sin_theta + c2y * cos_theta
            moves[g, k] = centre[k] + x * X[k] + y * Y[k] + c1z * Z[k] - after[g, k]
