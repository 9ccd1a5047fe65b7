"""The compiled search on the CPU: atoms sorted into bins, each centre against the bins around it.

The bins of a system divide its cell along its own vectors, whatever its shape; an atom within `reach` differs by at
most reach / (distance of the planes) in each fractional coordinate. Bins are looked at through the images of the
cell, so that a cell may be smaller than the reach. Along an open axis the bins divide the extent of the atoms.
Everything is computed in float64.
"""

from __future__ import annotations

import numpy as np
from numba import njit

OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy"}
DIVISIONS = (1.0, 1.0, 8.0)
"""bins within the reach along each axis: long runs along the last cost less than more runs nearer to the sphere"""
ROOM = 512
"""images along each axis that fit into the 10 bits of the code of an image"""


@njit(**OPTIONS)
def _cross(a, b, out):
    out[0] = a[1] * b[2] - a[2] * b[1]
    out[1] = a[2] * b[0] - a[0] * b[2]
    out[2] = a[0] * b[1] - a[1] * b[0]


@njit(**OPTIONS)
def complete(cell, flags):
    """Gives the open axes of a cell unit vectors normal to the rest, in place; as `sponge.cells.completed_cell`."""
    count = 0
    for k in range(3):
        if flags[k]:
            count += 1
        else:
            cell[k] = 0.0
    if count == 0:
        for k in range(3):
            cell[k, k] = 1.0
    elif count == 2:
        k = 0 if not flags[0] else (1 if not flags[1] else 2)
        _cross(cell[(k + 1) % 3], cell[(k + 2) % 3], cell[k])
        cell[k] /= np.sqrt((cell[k] ** 2).sum())
    elif count == 1:
        k = 0 if flags[0] else (1 if flags[1] else 2)
        axis = np.zeros(3)
        axis[np.argmin(np.abs(cell[k]))] = 1.0
        first, second = cell[(k + 1) % 3], cell[(k + 2) % 3]
        _cross(cell[k], axis, first)
        first /= np.sqrt((first**2).sum())
        _cross(cell[k], first, second)
        second /= np.sqrt((second**2).sum())


@njit(**OPTIONS)
def _invert(cell, inverse):
    a, b, c = cell[0], cell[1], cell[2]
    columns = np.empty((3, 3))
    _cross(b, c, columns[0])
    _cross(c, a, columns[1])
    _cross(a, b, columns[2])
    volume = (a * columns[0]).sum()
    for i in range(3):
        for k in range(3):
            inverse[i, k] = columns[k, i] / volume


@njit(**OPTIONS)
def divide(positions, starts, cells, flags, reach):
    """Returns what the search needs: atoms sorted by bin with their wrapped coordinates, and the bins of each system.

    order: the atom at each place; places: its coordinates; homes: the cell that it was in; fractions: along each axis
    from 0 to 1. Of each system: cell (completed), counts (bins along each axis), spans (the reach as a fraction), and
    first (its first bin). bins: the first place of each bin.
    """
    n_atoms, n_systems = len(positions), len(cells)
    fraction, home = np.empty((n_atoms, 3)), np.zeros((n_atoms, 3), dtype=np.int32)
    which = np.empty(n_atoms, dtype=np.int64)
    cell, counts = np.empty((n_systems, 3, 3)), np.empty((n_systems, 3), dtype=np.int64)
    spans, first = np.empty((n_systems, 3)), np.zeros(n_systems + 1, dtype=np.int64)
    inverse = np.empty((3, 3))
    for s in range(n_systems):
        begin, end = starts[s], starts[s + 1]
        cell[s] = cells[s]
        complete(cell[s], flags[s])
        _invert(cell[s], inverse)
        for k in range(3):
            height = 1.0 / np.sqrt((inverse[:, k] ** 2).sum())
            low, high = np.inf, -np.inf
            for a in range(begin, end):
                u = positions[a, 0] * inverse[0, k] + positions[a, 1] * inverse[1, k] + positions[a, 2] * inverse[2, k]
                if flags[s, k]:
                    whole = np.floor(u)
                    home[a, k] = np.int32(whole)
                    u -= whole
                low, high = min(low, u), max(high, u)
                fraction[a, k] = u
            if not flags[s, k]:
                extent = max(high - low, 1e-3 * reach)
                for a in range(begin, end):
                    fraction[a, k] = (fraction[a, k] - low) / extent
                height = extent
            spans[s, k] = reach / height * (1.0 + 1e-9) + 1e-12
            counts[s, k] = max(1, int(min(DIVISIONS[k] / spans[s, k], 1e6)))
        _limit(counts[s], 4 * (end - begin) + 8)
        nx, ny, nz = counts[s]
        for a in range(begin, end):
            x = min(int(fraction[a, 0] * nx), nx - 1)
            y = min(int(fraction[a, 1] * ny), ny - 1)
            z = min(int(fraction[a, 2] * nz), nz - 1)
            which[a] = first[s] + (x * ny + y) * nz + z
        first[s + 1] = first[s] + nx * ny * nz
    return _sort(positions, starts, fraction, home, which, cell, counts, spans, first)


@njit(**OPTIONS)
def _limit(counts, most):
    """Makes bins larger where there would be many more than atoms."""
    while counts[0] * counts[1] * counts[2] > most:
        k = np.argmax(counts)
        counts[k] = max(1, min(counts[k] - 1, int(0.8 * counts[k])))


@njit(**OPTIONS)
def _sort(positions, starts, fraction, home, which, cell, counts, spans, first):
    n_atoms, n_bins = len(positions), first[-1]
    bins = np.zeros(n_bins + 1, dtype=np.int64)
    for a in range(n_atoms):
        bins[which[a] + 1] += 1
    for b in range(n_bins):
        bins[b + 1] += bins[b]
    cursor = bins[:-1].copy()
    order = np.empty(n_atoms, dtype=np.int64)
    places = np.empty((3, n_atoms))
    homes, fractions = np.empty((n_atoms, 3), dtype=np.int32), np.empty((n_atoms, 3))
    for s in range(len(cell)):
        for a in range(starts[s], starts[s + 1]):
            p = cursor[which[a]]
            cursor[which[a]] += 1
            order[p] = a
            for k in range(3):
                homes[p, k] = home[a, k]
                fractions[p, k] = fraction[a, k]
                shifted = home[a, 0] * cell[s, 0, k] + home[a, 1] * cell[s, 1, k] + home[a, 2] * cell[s, 2, k]
                places[k, p] = positions[a, k] - shifted
    return order, places, homes, fractions, bins, cell, counts, spans, first


@njit(**OPTIONS)
def _look_around(fraction, span, counts, flags, low, high, wrap):
    """Sets the first and last bin within reach along each axis, counted through the images, and those images."""
    for k in range(3):
        size = counts[k]
        low[k] = int(np.floor((fraction[k] - span[k]) * size))
        high[k] = int(np.floor((fraction[k] + span[k]) * size))
        if not flags[k]:
            low[k], high[k] = max(low[k], 0), min(high[k], size - 1)
        wrap[0, k], wrap[1, k] = low[k] // size, high[k] // size


@njit(**OPTIONS)
def _near(places, p, a, b, cell, ix, iy, iz, square, found, n):
    """Adds the places from a to b - 1 whose image is near place p to found[n:]; returns the new end."""
    xs, ys, zs = places
    x, y, z = xs[p], ys[p], zs[p]
    if not (ix == 0 and iy == 0 and iz == 0):
        x -= ix * cell[0, 0] + iy * cell[1, 0] + iz * cell[2, 0]
        y -= ix * cell[0, 1] + iy * cell[1, 1] + iz * cell[2, 1]
        z -= ix * cell[0, 2] + iy * cell[1, 2] + iz * cell[2, 2]
    for q in range(a, b):
        dx, dy, dz = xs[q] - x, ys[q] - y, zs[q] - z
        found[n] = q
        n += dx * dx + dy * dy + dz * dz < square
    return n


@njit(**OPTIONS)
def search(begin, end, sorted_atoms, starts, flags, reach, half, guess):
    """Returns the edges of the centres at places begin to end - 1: place of the neighbour, code of its image, counts.

    The arrays grow where they are too short. Of a half list each pair is found from the centre that comes first, or
    from which the image is in the positive half space.
    """
    order, places, _, fractions, bins, cell, counts, spans, first = sorted_atoms
    found, images = np.empty(guess, dtype=np.int32), np.empty(guess, dtype=np.int32)
    degree = np.zeros(end - begin, dtype=np.int64)
    n, s = 0, 0
    low, high, wrap = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64), np.empty((2, 3), dtype=np.int64)
    for p in range(begin, end):
        while starts[s + 1] <= order[p]:
            s += 1
        began = n
        nx, ny, nz = counts[s]
        _look_around(fractions[p], spans[s], counts[s], flags[s], low, high, wrap)
        # Bins and images are counted along: a division costs as much as ten candidates.
        lowest, highest = low[2] - wrap[0, 2] * nz, high[2] - wrap[1, 2] * nz
        ix, jx = wrap[0, 0], low[0] - wrap[0, 0] * nx
        for _ in range(low[0], high[0] + 1):
            iy, jy = wrap[0, 1], low[1] - wrap[0, 1] * ny
            for _ in range(low[1], high[1] + 1):
                column = first[s] + (jx * ny + jy) * nz
                for iz in range(wrap[0, 2], wrap[1, 2] + 1):
                    home = ix == 0 and iy == 0 and iz == 0
                    if half and not home and (ix < 0 or (ix == 0 and (iy < 0 or (iy == 0 and iz < 0)))):
                        continue
                    a = bins[column + (lowest if iz == wrap[0, 2] else 0)]
                    b = bins[column + (highest if iz == wrap[1, 2] else nz - 1) + 1]
                    if half and home:
                        a = max(a, p + 1)
                    if b <= a:
                        continue
                    if n + b - a > len(found):
                        found, images = _grown(found, n, b - a), _grown(images, n, b - a)
                    held, n = n, _near(places, p, a, b, cell[s], ix, iy, iz, reach * reach, found, n)
                    if home and not half and a <= p < b:
                        n = _without(found, held, n, p)
                    images[held:n] = ((ix + ROOM) * 2 * ROOM + iy + ROOM) * 2 * ROOM + iz + ROOM
                jy += 1
                if jy == ny:
                    iy, jy = iy + 1, 0
            jx += 1
            if jx == nx:
                ix, jx = ix + 1, 0
        degree[p - begin] = n - began
    return found, images, degree


@njit(**OPTIONS)
def _grown(array, n, more):
    larger = np.empty(2 * len(array) + more, dtype=array.dtype)
    larger[:n] = array[:n]
    return larger


@njit(**OPTIONS)
def _without(found, begin, end, p):
    """Takes place p out of found[begin:end], which is ascending; returns the new end."""
    for k in range(begin, end):
        if found[k] == p:
            for m in range(k, end - 1):
                found[m] = found[m + 1]
            return end - 1
    return end


@njit(**OPTIONS)
def write(begin, end, sorted_atoms, found, images, degree, rows, centre, neighbor, shift):
    """Writes the edges of the centres at places begin to end - 1 into their rows; no shift where its length is zero."""
    order, homes = sorted_atoms[0], sorted_atoms[2]
    n, bits, mask = 0, 10, 2 * ROOM - 1
    for p in range(begin, end):
        atom, count = order[p], degree[p - begin]
        base = rows[atom]
        for k in range(count):
            centre[base + k], neighbor[base + k] = atom, order[found[n + k]]
        if len(shift):
            x, y, z = homes[p, 0] - ROOM, homes[p, 1] - ROOM, homes[p, 2] - ROOM
            for k in range(count):
                q, code = found[n + k], images[n + k]
                shift[base + k, 0] = (code >> (2 * bits)) + x - homes[q, 0]
                shift[base + k, 1] = ((code >> bits) & mask) + y - homes[q, 1]
                shift[base + k, 2] = (code & mask) + z - homes[q, 2]
        n += count


@njit(**OPTIONS)
def row_starts(order, degree, rows):
    """Sets the row pointers from the number of edges at each place."""
    rows[0] = 0
    for p in range(len(order)):
        rows[order[p] + 1] = degree[p]
    for a in range(len(order)):
        rows[a + 1] += rows[a]
