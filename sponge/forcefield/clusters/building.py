"""Lists of clusters in compiled loops: which four atoms meet which eight, at which image [Pall2013].

Atoms are sorted into columns of the cell and along them, eight after one another make a cluster. A half list holds
each pair of atoms once: an entry is half a cluster, a cluster that is not before it, and the image at which they meet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from mindsci.kernels.lanes import load, spread
from sponge.forcefield.clusters.pair_kernels import nothing_within
from sponge.neighbors.cell_kernels import OPTIONS

INLINE: Any = OPTIONS | {"forceinline": True}
SIZE = 8
"""atoms of a cluster, lanes of a vector"""
HALF = 4
EVERY = 0xFFFFFFFF
"""the bits of an entry whose 32 pairs all interact; bit 8 i + j is that of atom i of the half and j of the cluster"""
FAR = 1e5
"""[angstrom]: where places without an atom lie, one as far from the next"""


@njit(**OPTIONS)
def number_clusters(bins, counts):
    """Returns the first cluster of each column, and their number at the end."""
    columns, nz = counts[0] * counts[1], counts[2]
    first = np.zeros(columns + 1, dtype=np.int64)
    for c in range(columns):
        first[c + 1] = first[c] + (bins[(c + 1) * nz] - bins[c * nz] + SIZE - 1) // SIZE
    return first


@njit(**OPTIONS)
def fill_clusters(order, places, fractions, bins, counts, first, atoms, x, y, z, boxes, ranges):
    """Puts atoms into clusters: the atom and coordinates at each place, and the boxes around clusters and halves.

    boxes: lowest and highest coordinates of each half; ranges: of the fractions of each half along the cell. A place
    without an atom has atom -1 and lies far from everything.
    """
    nz, empty = counts[2], 0
    for c in range(len(first) - 1):
        begin, end = bins[c * nz], bins[(c + 1) * nz]
        for cluster in range(first[c], first[c + 1]):
            for lane in range(SIZE):
                p, place = begin + (cluster - first[c]) * SIZE + lane, cluster * SIZE + lane
                half = place // HALF
                if lane % HALF == 0:
                    boxes[0, :, half], boxes[1, :, half] = np.inf, -np.inf
                    ranges[half, 0], ranges[half, 1] = np.inf, -np.inf
                if p >= end:
                    atoms[place] = -1
                    empty += 1
                    x[place], y[place], z[place] = FAR * empty, FAR * empty, FAR * empty
                    continue
                atoms[place] = order[p]
                x[place], y[place], z[place] = places[0, p], places[1, p], places[2, p]
                for k in range(3):
                    boxes[0, k, half] = min(boxes[0, k, half], places[k, p])
                    boxes[1, k, half] = max(boxes[1, k, half], places[k, p])
                    ranges[half, 0, k] = min(ranges[half, 0, k], fractions[p, k])
                    ranges[half, 1, k] = max(ranges[half, 1, k], fractions[p, k])


@njit(**OPTIONS)
def _boxes(boxes, first):
    """Returns the box around each cluster and around each column: lowest and highest coordinates.

    Those of clusters go on with how high they and all before them in the column reach, and how low they and all after.
    """
    clusters, columns = np.empty((boxes.shape[2] // 2, 8)), np.empty((len(first) - 1, 6))
    columns[:, :3], columns[:, 3:] = np.inf, -np.inf
    for column in range(len(columns)):
        for cluster in range(first[column], first[column + 1]):
            for k in range(3):
                clusters[cluster, k] = min(boxes[0, k, 2 * cluster], boxes[0, k, 2 * cluster + 1])
                clusters[cluster, 3 + k] = max(boxes[1, k, 2 * cluster], boxes[1, k, 2 * cluster + 1])
                columns[column, k] = min(columns[column, k], clusters[cluster, k])
                columns[column, 3 + k] = max(columns[column, 3 + k], clusters[cluster, 3 + k])
            clusters[cluster, 6] = columns[column, 5]
        low = np.inf
        for cluster in range(first[column + 1] - 1, first[column] - 1, -1):
            low = min(low, clusters[cluster, 2])
            clusters[cluster, 7] = low
    return clusters, columns


@njit(**INLINE)
def _gap(box, low, high):
    """Returns the square of the distance between two boxes across the columns, and their distance along them."""
    x = max(0.0, max(box[0] - high[0], low[0] - box[3]))
    y = max(0.0, max(box[1] - high[1], low[1] - box[4]))
    return x * x + y * y, max(0.0, max(box[2] - high[2], low[2] - box[5]))


@njit(**OPTIONS)
def _span(begin, end, bottom, top, clusters):
    """Returns from which cluster of a column on one may reach up to the bottom, and from which on none reaches down."""
    low, high = begin, end
    while low < high:
        middle = (low + high) // 2
        if clusters[middle, 6] < bottom:
            low = middle + 1
        else:
            high = middle
    start, high = low, end
    while low < high:
        middle = (low + high) // 2
        if clusters[middle, 7] <= top:
            low = middle + 1
        else:
            high = middle
    return start, low


@njit(**INLINE)
def _touches(half, other, sx, sy, sz, x, y, z, square):
    """Returns whether a pair of atoms of a half, moved by (sx, sy, sz), and a cluster is closer than the reach."""
    at, i = other * SIZE, half * HALF
    x0, x1, x2, x3 = (spread(x[i] + sx), spread(x[i + 1] + sx), spread(x[i + 2] + sx), spread(x[i + 3] + sx))
    y0, y1, y2, y3 = (spread(y[i] + sy), spread(y[i + 1] + sy), spread(y[i + 2] + sy), spread(y[i + 3] + sy))
    z0, z1, z2, z3 = (spread(z[i] + sz), spread(z[i + 1] + sz), spread(z[i + 2] + sz), spread(z[i + 3] + sz))
    xs, ys, zs = load(x, at), load(y, at), load(z, at)
    return not nothing_within(x0, x1, x2, x3, y0, y1, y2, y3, z0, z1, z2, z3, xs, ys, zs, square)


@njit(**OPTIONS)
def _without_excluded(half, image, rows, partners, images, atoms, place_of, where, bits):
    """Clears the bits of excluded pairs in the entries of one half at one image; `where` knows the entries."""
    for i in range(HALF):
        atom = atoms[half * HALF + i]
        if atom < 0:
            continue
        for e in range(rows[atom], rows[atom + 1]):
            place = place_of[partners[e]]
            entry = where[place // SIZE]
            if images[e] == image and entry >= 0:
                bits[entry] &= ~np.uint32(1 << (i * SIZE + place % SIZE))


@njit(**OPTIONS)
def _room(array, n, more):
    if n + more <= len(array):
        return array
    larger = np.empty(2 * len(array) + more, dtype=array.dtype)
    larger[:n] = array[:n]
    return larger


@njit(**OPTIONS)
def pair_clusters(begin, end, reach, cell, flags, spans, counts, reaches, first, clusters, exclusions):
    """Returns the groups and entries of halves begin to end - 1.

    A group is a half at one image: (half, number of the image, its first entry, its first entry without exclusions).
    An entry is a cluster, and the bits of the pairs that interact. The half is moved by the image's vector.
    """
    atoms, place_of, x, y, z, boxes, ranges = clusters
    rows, partners, images = exclusions
    groups, n_groups = np.empty((64, 4), dtype=np.int32), 0
    others, bits = np.empty(1024, dtype=np.int32), np.empty(1024, dtype=np.uint32)
    mine, held = np.empty(1024, dtype=np.int32), np.empty(1024, dtype=np.uint32)
    where = np.full(len(atoms) // SIZE, -1, dtype=np.int32)
    low, high = np.empty(3), np.empty(3)
    near, far = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
    lowest, highest = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
    n, square, wide, whole = 0, reach * reach, 2 * reaches + 1, _boxes(boxes, first)
    kind = x.dtype.type
    rounded = kind(square * (1.0 + 1e-5))
    nx, ny = counts[0], counts[1]
    for half in range(begin, end):
        if atoms[half * HALF] < 0:
            continue
        for k in range(3):
            a, b = ranges[half, 0, k] - spans[k], ranges[half, 1, k] + spans[k]
            near[k], far[k] = int(np.floor(a * counts[k])), int(np.floor(b * counts[k]))
            if not flags[k]:
                near[k], far[k] = max(near[k], 0), min(far[k], counts[k] - 1)
            lowest[k], highest[k] = near[k] // counts[k], far[k] // counts[k]
        own = half // 2
        for ix in range(lowest[0], highest[0] + 1):
            for iy in range(lowest[1], highest[1] + 1):
                for iz in range(lowest[2], highest[2] + 1):
                    # The other lies at an image (ix, iy, iz): seen from there the half is moved the other way.
                    sx = -(ix * cell[0, 0] + iy * cell[1, 0] + iz * cell[2, 0])
                    sy = -(ix * cell[0, 1] + iy * cell[1, 1] + iz * cell[2, 1])
                    sz = -(ix * cell[0, 2] + iy * cell[1, 2] + iz * cell[2, 2])
                    mx, my, mz = kind(sx), kind(sy), kind(sz)
                    for k, s in enumerate((sx, sy, sz)):
                        low[k], high[k] = boxes[0, k, half] + s, boxes[1, k, half] + s
                    ahead = ix > 0 or (ix == 0 and (iy > 0 or (iy == 0 and iz >= 0)))
                    home = ix == 0 and iy == 0 and iz == 0
                    image = ((reaches[0] - ix) * wide[1] + reaches[1] - iy) * wide[2] + reaches[2] - iz
                    count = 0
                    for cx in range(max(near[0] - ix * nx, 0), min(far[0] - ix * nx, nx - 1) + 1):
                        low_y, high_y = max(near[1] - iy * ny, 0), min(far[1] - iy * ny, ny - 1)
                        for column in range(cx * ny + low_y, cx * ny + high_y + 1):
                            across, up = _gap(whole[1][column], low, high)
                            if across + up * up >= square:
                                continue
                            begins, ends = max(first[column], own if ahead else own + 1), first[column + 1]
                            up = np.sqrt(square - across)
                            begins, ends = _span(begins, ends, low[2] - up, high[2] + up, whole[0])
                            for other in range(begins, ends):
                                across, up = _gap(whole[0][other], low, high)
                                if across + up * up >= square:
                                    continue
                                if not _touches(half, other, mx, my, mz, x, y, z, rounded):
                                    continue
                                mine, held = _room(mine, count, 1), _room(held, count, 1)
                                mine[count], held[count] = other, EVERY
                                if home and other == own:
                                    held[count] = _later(half)
                                where[other] = count
                                count += 1
                    if count == 0:
                        continue
                    _without_excluded(half, image, rows, partners, images, atoms, place_of, where, held)
                    if n_groups == len(groups):
                        more = np.empty((2 * n_groups, 4), dtype=np.int32)
                        more[:n_groups] = groups
                        groups = more
                    others, bits = _room(others, n, count), _room(bits, n, count)
                    groups[n_groups, 0], groups[n_groups, 1], groups[n_groups, 2] = half, image, n
                    for complete in (False, True):
                        if complete:
                            groups[n_groups, 3] = n
                        for entry in range(count):
                            if (held[entry] == EVERY) == complete:
                                others[n], bits[n] = mine[entry], held[entry]
                                n += 1
                    n_groups += 1
                    for entry in range(count):
                        where[mine[entry]] = -1
    return groups[:n_groups].copy(), others[:n].copy(), bits[:n].copy()


@njit(**OPTIONS)
def _later(half):
    """Returns the bits of the pairs of a half with the atoms of its own cluster that come after each."""
    found = np.uint32(0)
    for i in range(HALF):
        for j in range((half % 2) * HALF + i + 1, SIZE):
            found |= np.uint32(1 << (i * SIZE + j))
    return found


@njit(**OPTIONS)
def nearest_images(rows, partners, positions, homes, inverse, flags, reaches, images):
    """Sets the number of the image at which each excluded pair is nearest, as `ForceField` has it.

    homes: the cell that each atom was in. The pair's first atom is moved, as the half of an entry.
    """
    wide = 2 * reaches + 1
    for a in range(len(rows) - 1):
        for e in range(rows[a], rows[a + 1]):
            b, number, inside = partners[e], 0, True
            for k in range(3):
                shift = 0
                if flags[k]:
                    u = 0.0
                    for m in range(3):
                        u += (positions[b, m] - positions[a, m]) * inverse[m, k]
                    # r_b - r_a - n a_k is nearest: a moves by n, and both were moved home.
                    shift = int(np.round(u)) + homes[a, k] - homes[b, k]
                inside = inside and abs(shift) <= reaches[k]
                number = number * wide[k] + reaches[k] + shift
            images[e] = number if inside else -1
