"""Which atoms interact: lists of neighbours, exact for open systems and for cells of any shape and size."""

from sponge.neighbors.lists import Neighbors, all_pairs, check_distances, displacements, halved, reverse_edges, trimmed
from sponge.neighbors.search import NeighborSearch, neighbor_list

__all__ = [
    "NeighborSearch",
    "Neighbors",
    "all_pairs",
    "check_distances",
    "displacements",
    "halved",
    "neighbor_list",
    "reverse_edges",
    "trimmed",
]
