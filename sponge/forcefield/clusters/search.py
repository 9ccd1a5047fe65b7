"""Lists of clusters of a system, as `sponge.neighbors.NeighborSearch` makes and keeps those of atoms."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from mindsci.kernels.threads import runs, together
from mindsci.tree import Tree
from sponge.forcefield.clusters import building
from sponge.forcefield.clusters.pair_kernels import Listed, Places
from sponge.forcefield.clusters.terms import PairTerms
from sponge.neighbors import Neighbors, NeighborSearch
from sponge.neighbors.cell_kernels import divide
from sponge.neighbors.search import used_skin
from sponge.system import System

ATOMS_PER_THREAD = 250
"""below this a thread costs more than it gives"""
CHUNK = 512
"""halves of clusters that a thread takes at a time while a list is made"""


class ClusterList(Tree):
    """Which clusters interact, for one force field; good for pairs closer than `cutoff` until the skin is used up."""

    cutoff: float
    skin: float
    origin: Float[Tensor, "atoms 3"]
    origin_cell: Float[Tensor, "systems 3 3"]
    periodic: Bool[Tensor, "systems 3"]
    listed: Listed
    places: Places
    atoms: Any
    """the atom at each place, -1 where there is none"""
    place_of: Any
    homes: Any
    """of each atom: the cell that it was in"""
    reaches: Any
    """images listed along each axis, on either side"""
    bounds: tuple[int, ...]
    """the first group of each thread, and the end"""

    def plain(self, system: System) -> Neighbors:
        """Returns the half list of atoms at the present positions."""
        return NeighborSearch(cutoff=self.cutoff, half=True).build(system)


class ClusterSearch(Tree):
    """How the list of clusters of one system is made and kept; as `NeighborSearch`."""

    terms: PairTerms
    cutoff: float
    skin: float

    def build(self, system: System) -> ClusterList:
        """Returns the list for the present positions, the same for the same positions and number of threads."""
        plain = NeighborSearch(cutoff=self.cutoff, skin=self.skin)
        plain.check(system)
        dtype, n_atoms = self.terms.dtype, system.n_atoms
        positions = np.ascontiguousarray(system.positions.detach().double().numpy())
        given = np.ascontiguousarray(system.cell.detach().double().numpy())
        flags = system.periodic.numpy()
        edge = _edge(positions, given[0], flags[0])
        sorted_atoms = divide(positions, np.array([0, n_atoms]), given, flags, edge)
        order, places, homes_at, fractions, bins, cells, counts, spans_of_edge, _ = sorted_atoms
        cell, counts, flags = cells[0], counts[0], flags[0]
        inverse = np.linalg.inv(cell)
        reach = self.cutoff + self.skin
        spans = spans_of_edge[0] * (reach / edge)
        reaches = np.where(flags, np.floor(spans * (1.0 + 1e-6) + 1e-6) + 1, 0).astype(np.int64)
        first = building.number_clusters(bins, counts)
        n_places = int(first[-1]) * building.SIZE
        atoms, xyz = np.empty(n_places, np.int32), np.empty((3, n_places), dtype)
        boxes, ranges = np.empty((2, 3, n_places // building.HALF)), np.empty((n_places // building.HALF, 2, 3))
        building.fill_clusters(order, places, fractions, bins, counts, first, atoms, *xyz, boxes, ranges)
        place_of, homes = np.empty(n_atoms, np.int32), np.empty((n_atoms, 3), np.int32)
        real = np.flatnonzero(atoms >= 0)
        place_of[atoms[real]], homes[order] = real, homes_at
        excluded_at = np.empty(len(self.terms.partners), np.int32)
        excluded = self.terms.rows, self.terms.partners, excluded_at
        building.nearest_images(*excluded[:2], positions, homes, inverse, flags, reaches, excluded_at)
        clusters = (atoms, place_of, *xyz, boxes, ranges)
        threads = threads_for(n_atoms)
        found = _pairs(
            (reach, cell, flags, spans, counts, reaches, first, clusters, excluded), n_places // building.HALF, threads
        )
        return ClusterList(
            cutoff=self.cutoff,
            skin=self.skin,
            origin=system.positions.detach(),
            origin_cell=system.cell.detach() if system.cell.requires_grad else system.cell,
            periodic=system.periodic,
            listed=Listed(*found, np.zeros(((2 * reaches + 1).prod(), 3), dtype)),
            places=self._places(atoms, xyz),
            atoms=atoms,
            place_of=place_of,
            homes=homes,
            reaches=reaches,
            bounds=_bounds(found[0], len(found[2]), threads),
        )

    def _places(self, atoms: Any, xyz: Any) -> Places:
        def at(values: Any) -> Any:
            return np.where(atoms >= 0, values[atoms], 0).astype(values.dtype)

        terms = self.terms
        return Places(*xyz, at(terms.charge), at(terms.radius), at(terms.depth), at(terms.kind))

    def refresh(self, system: System) -> System:
        """Returns the system with a list that serves at its positions: the one that it has, or a new one."""
        held = system.neighbors
        if (
            isinstance(held, ClusterList)
            and len(held.place_of) == system.n_atoms
            and held.cutoff >= self.cutoff
            and held.skin > 0
            and held.places.x.dtype == self.terms.dtype
            and (held.periodic is system.periodic or torch.equal(held.periodic, system.periodic))
            and bool(used_skin(system, held) < 1.0)
        ):
            return system
        return tree.replace(system, neighbors=self.build(system))

    def build_within(self, system: System, capacity: int, worst: Tensor | None = None) -> Any:
        """Raises InputError: lists of fixed capacity are for devices."""
        raise InputError('a force field of engine "numba" makes lists of any length; use it without Resident')


def threads_for(n_atoms: int) -> int:
    """Returns the threads that so many atoms are worth."""
    return max(1, min(torch.get_num_threads(), n_atoms // ATOMS_PER_THREAD))


def _edge(positions: Any, cell: Any, flags: Any) -> float:
    """The edge of a cube that holds as many atoms as a cluster [angstrom]."""
    extent = np.ptp(positions, axis=0) + 1.0
    volume = abs(np.linalg.det(cell)) if flags.all() else float(extent.prod())
    return float((building.SIZE * volume / len(positions)) ** (1.0 / 3.0))


def _pairs(arguments: Any, halves: int, threads: int) -> tuple[Any, Any, Any, Any]:
    """Groups, their ends, others and bits, found in chunks, so that the list is the same for any number of threads."""
    chunks = runs(halves, max(1, halves // CHUNK))
    found: list[Any] = [None] * len(chunks)

    def work(thread: int) -> None:
        for k in range(thread, len(chunks), threads):
            found[k] = building.pair_clusters(*chunks[k], *arguments)

    together(work, threads)
    before = np.cumsum([0, *(len(others) for _, others, _ in found)])
    for k, (groups, _, _) in enumerate(found):
        groups[:, 2:] += np.int32(before[k])
    groups, others, bits = (np.concatenate([one[k] for one in found]) for k in range(3))
    return groups, np.append(groups[1:, 2], np.int32(len(others))), others, bits


def _bounds(groups: Any, n_entries: int, threads: int) -> tuple[int, ...]:
    """Groups shared out by their entries."""
    shares = [n_entries * k // threads for k in range(threads)]
    return (*np.searchsorted(groups[:, 2], shares).tolist(), len(groups))
