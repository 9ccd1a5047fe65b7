"""Compiled loops over points: the nearest triangle through a tree of boxes, and crossings of lines along one axis.

Plain loops over plain arrays that hold no lock: `elec.geometry.surface` calls them from several threads, each on points
of its own, so the numbers do not depend on how many there are.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

# Without _nrt every row that is looked at costs an atomic count of references; nothing here allocates.
OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}
DEEPEST = 64
"""Boxes that can wait at once: two a level, of a tree that halves."""


@njit(**OPTIONS)
def morton_codes(points, low, scale, codes):
    """Fills in the place of each point on a curve through 2^21 cells along each axis that keeps neighbours together."""
    for i in range(len(points)):
        code = np.int64(0)
        for axis in range(3):
            value = (points[i, axis] - low[axis]) * scale
            x = np.int64(min(max(value, 0.0), 2097151.0))
            x = (x | x << 32) & 0x1F00000000FFFF
            x = (x | x << 16) & 0x1F0000FF0000FF
            x = (x | x << 8) & 0x100F00F00F00F00F
            x = (x | x << 4) & 0x10C30C30C30C30C3
            x = (x | x << 2) & 0x1249249249249249
            code |= x << axis
        codes[i] = code


@njit(**OPTIONS)
def nearest_triangles(points, order, nodes, corners, waiting, bounds, squared, places):
    """Fills in the squared distance to the nearest triangle of each point and that triangle's place.

    Points are taken in the given order: the triangle of one bounds the distance of the next, so neighbours should
    follow one another. Node 1 is the root, 2k and 2k + 1 are the halves of k, and the leaves follow in the order of the
    corners. waiting and bounds are room for the boxes still to be looked at, DEEPEST of them.
    """
    leaves = len(nodes) // 2
    size = len(corners) // leaves
    place = 0
    for index in order:
        x, y, z = points[index, 0], points[index, 1], points[index, 2]
        best = _to_triangle(corners[place], x, y, z)
        waiting[0], bounds[0], count = 1, 0.0, 1
        while count > 0:
            count -= 1
            if bounds[count] >= best:
                continue
            node = waiting[count]
            if node >= leaves:
                first = (node - leaves) * size
                for candidate in range(first, first + size):
                    found = _to_triangle(corners[candidate], x, y, z)
                    if found < best:
                        best, place = found, candidate
                continue
            left = _to_box(nodes[2 * node], x, y, z)
            right = _to_box(nodes[2 * node + 1], x, y, z)
            near = 2 * node + (right < left)
            closer, farther = min(left, right), max(left, right)
            if farther < best:
                waiting[count], bounds[count] = 4 * node + 1 - near, farther
                count += 1
            if closer < best:
                waiting[count], bounds[count] = near, closer
                count += 1
        squared[index], places[index] = best, place


@njit(**OPTIONS)
def _to_box(node, x, y, z):
    """Squared distance to a turned box: three axes, then the lowest and highest coordinates along them."""
    total = 0.0
    for axis in range(3):
        along = node[3 * axis] * x + node[3 * axis + 1] * y + node[3 * axis + 2] * z
        beyond = max(node[9 + axis] - along, along - node[12 + axis])
        beyond = max(beyond, 0.0)
        total += beyond * beyond
    return total


@njit(**OPTIONS)
def _to_triangle(t, x, y, z):
    """Squared distance to a triangle [Ericson2004, sec. 5.1.5], by the region of its plane that the point is over."""
    ax, ay, az = x - t[0], y - t[1], z - t[2]
    ux, uy, uz = t[3] - t[0], t[4] - t[1], t[5] - t[2]
    vx, vy, vz = t[6] - t[0], t[7] - t[1], t[8] - t[2]
    d1, d2 = ux * ax + uy * ay + uz * az, vx * ax + vy * ay + vz * az
    uu, uv, vv = ux * ux + uy * uy + uz * uz, ux * vx + uy * vy + uz * vz, vx * vx + vy * vy + vz * vz
    d3, d4 = d1 - uu, d2 - uv
    d5, d6 = d1 - uv, d2 - vv
    s, r = 0.0, 0.0
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    if d1 <= 0.0 and d2 <= 0.0:
        pass
    elif d3 >= 0.0 and d4 <= d3:
        s = 1.0
    elif vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        s = d1 / uu
    elif d6 >= 0.0 and d5 <= d6:
        r = 1.0
    elif vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        r = d2 / vv
    elif va <= 0.0 and d4 - d3 >= 0.0 and d5 - d6 >= 0.0:
        r = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        s = 1.0 - r
    else:
        whole = va + vb + vc
        s, r = vb / whole, vc / whole
    dx, dy, dz = ax - s * ux - r * vx, ay - s * uy - r * vy, az - s * uz - r * vz
    return dx * dx + dy * dy + dz * dz


@njit(**OPTIONS)
def crossings_above(points, order, cells, starts, listed, triangles, vertices, counts):
    """Fills in how often a closed surface winds around each point: the signed crossings of the line above it.

    The axes are turned so that the line runs along the last. cells: low u, low v, cells per metre along u and v, and
    their numbers; the triangles whose projection touches cell k are listed[starts[k] : starts[k + 1]].
    """
    low_u, low_v, scale_u, scale_v = cells[0], cells[1], cells[2], cells[3]
    n_u, n_v = int(cells[4]), int(cells[5])
    for index in order:
        u, v, w = points[index, 0], points[index, 1], points[index, 2]
        i, j = math.floor((u - low_u) * scale_u), math.floor((v - low_v) * scale_v)
        # A point on the outermost rim is in the last cell; rounding may put it one further on.
        if i < -1 or j < -1 or i > n_u or j > n_v:
            counts[index] = 0
            continue
        i, j = min(max(int(i), 0), n_u - 1), min(max(int(j), 0), n_v - 1)
        total = 0
        for entry in range(starts[i * n_v + j], starts[i * n_v + j + 1]):
            total += _crossing(triangles[listed[entry]], vertices, u, v, w)
        counts[index] = total


@njit(**OPTIONS)
def _crossing(triangle, vertices, u, v, w):
    """How often one triangle, seen from above, winds around the line, where it crosses it above the point."""
    a, b, c = vertices[triangle[0]], vertices[triangle[1]], vertices[triangle[2]]
    highest = max(a[2], b[2], c[2])
    if highest <= w:
        return 0
    turns = 0
    for corner in range(3):
        turns += _edge(vertices, triangle[corner], triangle[(corner + 1) % 3], u, v)
    if turns == 0 or min(a[2], b[2], c[2]) > w:
        return turns
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    normal = ux * vy - uy * vx
    tilt = (uy * vz - uz * vy) * (u - a[0]) + (uz * vx - ux * vz) * (v - a[1])
    height = a[2] - tilt / normal if normal != 0.0 else highest
    return turns if min(height, highest) > w else 0


@njit(**OPTIONS)
def _edge(vertices, start, end, u, v):
    """As `elec.geometry.columns`: from the vertex of lower index to the other, so that neighbours agree to the bit."""
    first, second = min(start, end), max(start, end)
    au, av, bu, bv = vertices[first, 0], vertices[first, 1], vertices[second, 0], vertices[second, 1]
    up, down = av <= v < bv, bv <= v < av
    if not (up or down):
        return 0
    side = (bu - au) * (v - av) - (bv - av) * (u - au)
    turn = 0
    if up and side > 0.0:
        turn = 1
    elif down and side < 0.0:
        turn = -1
    return turn if start == first else -turn


@njit(**OPTIONS)
def solid_angles(points, order, corners, angles):
    """Fills in the sum of the solid angles of triangles at each point [VanOosterom1983, eq. 8]."""
    for index in order:
        x, y, z = points[index, 0], points[index, 1], points[index, 2]
        total = 0.0
        for k in range(len(corners)):
            t = corners[k]
            ax, ay, az = t[0] - x, t[1] - y, t[2] - z
            bx, by, bz = t[3] - x, t[4] - y, t[5] - z
            cx, cy, cz = t[6] - x, t[7] - y, t[8] - z
            la = math.sqrt(ax * ax + ay * ay + az * az)
            lb = math.sqrt(bx * bx + by * by + bz * bz)
            lc = math.sqrt(cx * cx + cy * cy + cz * cz)
            numerator = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
            ab, bc, ca = ax * bx + ay * by + az * bz, bx * cx + by * cy + bz * cz, cx * ax + cy * ay + cz * az
            total += 2.0 * math.atan2(numerator, la * lb * lc + ab * lc + bc * la + ca * lb)
        angles[index] = total
