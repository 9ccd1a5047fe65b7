"""Compiled loops over the places of clusters: where atoms are, and what acts on them."""

from __future__ import annotations

from numba import njit

from sponge.forcefield.clusters.pair_kernels import OPTIONS


@njit(**OPTIONS)
def follow(first, last, positions, cell, atoms, homes, x, y, z):
    """Sets the coordinates at places first to last - 1, each atom moved home to the cell."""
    kind = x.dtype.type
    for p in range(first, last):
        a = atoms[p]
        if a >= 0:
            u, v, w = homes[a, 0], homes[a, 1], homes[a, 2]
            x[p] = kind(positions[a, 0] - (u * cell[0, 0] + v * cell[1, 0] + w * cell[2, 0]))
            y[p] = kind(positions[a, 1] - (u * cell[0, 1] + v * cell[1, 1] + w * cell[2, 1]))
            z[p] = kind(positions[a, 2] - (u * cell[0, 2] + v * cell[1, 2] + w * cell[2, 2]))


@njit(**OPTIONS)
def clear(first, last, forces):
    """Sets the forces of one thread at places first to last - 1 to zero."""
    for k in range(3):
        for p in range(first, last):
            forces[k, p] = 0.0


@njit(**OPTIONS)
def collect(first, last, place_of, parts, forces):
    """Sets the forces of atoms first to last - 1 to the sum of those of the threads."""
    for a in range(first, last):
        p = place_of[a]
        for k in range(3):
            total = parts[0][k, p]
            for thread in range(1, len(parts)):
                total += parts[thread][k, p]
            forces[a, k] = total
