"""Clusters: constraints that share atoms, directly or through others, and must be solved together."""

from __future__ import annotations

import itertools

import numpy
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from mindsci.tree import Tree


class Batch(Tree):
    """Clusters of one size, for operations on all of them at once."""

    constraints: Int[Tensor, "clusters size"]
    atoms: Int[Tensor, "clusters members"]
    incidence: Float[Tensor, "clusters size members"]
    """1 at the first atom of a constraint, -1 at the second one"""


class Elimination(Tree):
    """The order in which the constraints of each cluster are eliminated, and where its factors have entries.

    Constraints of cluster k are starts[k] to starts[k + 1] - 1 of `order`; row i of the strictly lower triangular
    factor has the columns columns[rows[i]] to columns[rows[i + 1] - 1], as places in `order`, ascending. An entry of
    two constraints that share an atom knows that atom and the sign of their coupling, one that fills in has atom -1.
    """

    starts: Int[Tensor, " clusters_and_end"]
    order: Int[Tensor, " constraints"]
    rows: Int[Tensor, " constraints_and_end"]
    columns: Int[Tensor, " entries"]
    shared: Int[Tensor, " entries"]
    sign: Float[Tensor, " entries"]
    size: int
    """constraints of the largest cluster"""


def label(pairs: Int[Tensor, "constraints 2"], n_atoms: int) -> Int[Tensor, " constraints"]:
    """Returns the number of the cluster of each constraint, from 0, in the order of their first constraints."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, second = pairs.T.numpy()
    links = coo_array((numpy.ones(len(first), dtype=bool), (first, second)), shape=(n_atoms, n_atoms))
    _, of_atoms = connected_components(links, directed=False)
    _, begin, inverse = numpy.unique(of_atoms[first], return_index=True, return_inverse=True)
    return torch.from_numpy(begin.argsort().argsort()[inverse])


def batches(
    pairs: Int[Tensor, "constraints 2"], chosen: Int[Tensor, " chosen"], cluster: Int[Tensor, " chosen"]
) -> list[Batch]:
    """Returns the clusters of some of the constraints in batches of equal numbers of constraints and atoms."""
    order, starts = _grouped(cluster.numpy())
    order, ends = chosen.numpy()[order], pairs.numpy()
    found: dict[tuple[int, int], list[tuple[NDArray[numpy.int64], NDArray[numpy.int64]]]] = {}
    for first, last in itertools.pairwise(starts.tolist()):
        members = order[first:last]
        atoms = numpy.unique(ends[members])
        found.setdefault((len(members), len(atoms)), []).append((members, atoms))
    result = []
    for (size, width), clusters in sorted(found.items()):
        constraints = numpy.stack([members for members, _ in clusters])
        atoms = numpy.stack([one for _, one in clusters])
        incidence = numpy.zeros((len(clusters), size, width))
        for end, sign in ((0, 1.0), (1, -1.0)):
            incidence += sign * (ends[constraints][:, :, end, None] == atoms[:, None, :])
        result.append(
            Batch(
                constraints=torch.from_numpy(constraints),
                atoms=torch.from_numpy(atoms),
                incidence=torch.from_numpy(incidence),
            )
        )
    return result


def elimination(pairs: Int[Tensor, "constraints 2"], cluster: Int[Tensor, " constraints"]) -> Elimination:
    """Returns the pattern of the factors of each cluster, with the constraint of fewest neighbours eliminated first.

    Molecules are chains and trees with few rings, so that hardly an entry fills in and a factor costs as much time as
    there are constraints.
    """
    order, starts = _grouped(cluster.numpy())
    ends = pairs.numpy()
    final = numpy.empty_like(order)
    rows, columns, shared, signs = [0], [], [], []
    for first, last in itertools.pairwise(starts.tolist()):
        members = order[first:last]
        coupling = _couplings(ends[members])
        sequence, lower = _eliminate([set(row) for row in coupling])
        final[first:last] = members[sequence]
        for k, row in enumerate(lower):
            for j in row:
                atom, sign = coupling[sequence[k]].get(sequence[j], (-1, 0.0))
                columns.append(first + j)
                shared.append(atom)
                signs.append(sign)
            rows.append(len(columns))
    return Elimination(
        starts=torch.from_numpy(starts),
        order=torch.from_numpy(final),
        rows=torch.tensor(rows),
        columns=torch.tensor(columns, dtype=torch.int64),
        shared=torch.tensor(shared, dtype=torch.int64),
        sign=torch.tensor(signs, dtype=torch.float64),
        size=int(numpy.diff(starts).max(initial=0)),
    )


def _grouped(cluster: NDArray[numpy.int64]) -> tuple[NDArray[numpy.int64], NDArray[numpy.int64]]:
    """Constraints sorted by cluster, and where each cluster starts."""
    order = numpy.argsort(cluster, kind="stable").astype(numpy.int64)
    _, starts = numpy.unique(cluster[order], return_index=True)
    return order, numpy.append(starts, len(order)).astype(numpy.int64)


def _couplings(ends: NDArray[numpy.int64]) -> list[dict[int, tuple[int, float]]]:
    """Of each constraint: those that share an atom with it, that atom, and the sign of the coupling."""
    at: dict[int, list[tuple[int, float]]] = {}
    for k, (first, second) in enumerate(ends.tolist()):
        at.setdefault(first, []).append((k, 1.0))
        at.setdefault(second, []).append((k, -1.0))
    coupling: list[dict[int, tuple[int, float]]] = [{} for _ in ends]
    for atom, touching in at.items():
        for k, sign in touching:
            coupling[k] |= {j: (atom, sign * other) for j, other in touching if j != k}
    return coupling


def _eliminate(neighbours: list[set[int]]) -> tuple[list[int], list[list[int]]]:
    """The order of elimination by least degree, and the columns of each row of the factor, in that order."""
    import heapq

    count = len(neighbours)
    heap = [(len(one), k) for k, one in enumerate(neighbours)]
    heapq.heapify(heap)
    place, sequence = [-1] * count, []
    lower: list[list[int]] = [[] for _ in range(count)]
    while heap:
        degree, k = heapq.heappop(heap)
        if place[k] >= 0 or degree != len(neighbours[k]):
            continue
        place[k] = len(sequence)
        sequence.append(k)
        left = neighbours[k]
        for j in left:
            lower[j].append(place[k])
            # Those that remain are coupled through the one that goes.
            neighbours[j] = (neighbours[j] | left) - {j, k}
            heapq.heappush(heap, (len(neighbours[j]), j))
    return sequence, [sorted(lower[k]) for k in sequence]
