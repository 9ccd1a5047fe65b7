"""Angles, dihedrals, centres and pairs that follow from bonds."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy
from numpy.typing import NDArray


class Neighborhood(NamedTuple):
    """What bonds make of atoms; each once, ends ascending."""

    near: list[list[int]]
    """of each atom its bonded ones, ascending"""
    bonds: list[tuple[int, int]]
    angles: list[tuple[int, int, int]]
    torsions: list[tuple[int, int, int, int]]
    centres: list[tuple[int, int, int, int]]
    """an atom of three bonds or more, and three of its neighbours"""
    chains: list[tuple[int, int, int, int, int]]
    """five atoms in a row"""


def neighborhood(bonds: NDArray[numpy.int64], n_atoms: int) -> Neighborhood:
    """Returns the angles, dihedrals, centres and rows of five atoms of a graph of bonds."""
    near: list[list[int]] = [[] for _ in range(n_atoms)]
    pairs = [(int(i), int(j)) for i, j in bonds.tolist()]
    for i, j in pairs:
        near[i].append(j)
        near[j].append(i)
    for atoms in near:
        atoms.sort()
    angles = [(a, b, c) for b in range(n_atoms) for a, c in itertools.combinations(near[b], 2)]
    torsions = set()
    for b, c in pairs:
        for a, d in itertools.product(near[b], near[c]):
            if a != c and d != b and a != d:
                torsions.add((a, b, c, d) if a < d else (d, c, b, a))
    centres = [(at, *three) for at in range(n_atoms) for three in itertools.combinations(near[at], 3)]
    chains = set()
    for b, c, d in angles:
        for a, e in itertools.product(near[b], near[d]):
            if len({a, b, c, d, e}) == 5:
                chains.add((a, b, c, d, e) if a < e else (e, d, c, b, a))
    return Neighborhood(near, pairs, angles, sorted(torsions), centres, sorted(chains))


def pairs_by_bonds(near: list[list[int]]) -> tuple[NDArray[numpy.int64], NDArray[numpy.int64]]:
    """Returns pairs of atoms two bonds apart or less, and pairs three apart by the shortest way; first < second."""
    close, third = [], []
    for atom, first in enumerate(near):
        second = {other for one in first for other in near[one]}
        within = second.union(first) - {atom}
        beyond = {other for one in second for other in near[one]} - within - {atom}
        close += [(atom, other) for other in within if other > atom]
        third += [(atom, other) for other in beyond if other > atom]
    return (
        numpy.array(sorted(close), dtype=numpy.int64).reshape(-1, 2),
        numpy.array(sorted(third), dtype=numpy.int64).reshape(-1, 2),
    )
