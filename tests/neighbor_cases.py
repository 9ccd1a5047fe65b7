"""Structures for neighbour lists, and lists compared as sets of edges."""

from __future__ import annotations

import ase
import numpy
from numpy.typing import NDArray

from sponge.neighbors import Neighbors


def random_atoms(seed: int, n_atoms: int, edge: float, pbc: tuple[bool, bool, bool]) -> ase.Atoms:
    """A skewed cell, with atoms up to three cells outside it."""
    random = numpy.random.default_rng(seed)
    cell = edge * (numpy.eye(3) + random.uniform(-0.6, 0.6, (3, 3)))
    positions = random.uniform(-3, 3, (n_atoms, 3)) @ cell
    return ase.Atoms(numbers=[18] * n_atoms, positions=positions, cell=cell, pbc=pbc)


def rows_of(found: Neighbors, *, both_ways: bool = False) -> NDArray[numpy.int64]:
    """Edges as rows (centre, neighbour, shift), sorted; of a half list in both directions, if asked."""
    count = int(found.rows[-1])
    shift = numpy.zeros((count, 3)) if found.shift is None else found.shift[:count].numpy()
    there = numpy.column_stack([found.centre[:count], found.neighbor[:count], shift]).astype(int)
    if both_ways:
        there = numpy.concatenate([there, numpy.column_stack([there[:, 1], there[:, 0], -there[:, 2:]])])
    return there[numpy.lexsort(there.T)]


def same_edges(one: Neighbors, other: Neighbors) -> None:
    """Asserts that two lists hold the same edges; half lists, whichever way they name a pair."""
    assert one.half == other.half
    rows = [rows_of(found, both_ways=found.half) for found in (one, other)]
    numpy.testing.assert_array_equal(*rows)
