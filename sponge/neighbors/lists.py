"""The neighbour list as potentials see it: edges sorted by their centre, with row pointers."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree
from sponge.system import System, name_atom


class Neighbors(Tree):
    """The neighbours of every atom: edges from a centre to a neighbour, those of one centre after one another.

    The edges of atom a are rows[a] to rows[a + 1] - 1. Neighbour b is meant at its image,
    r_ab = r_b - r_a + shift @ cell (`displacements`); an atom may be its own neighbour, at an image. A full list holds
    both directions of a pair, a half list either one. Pairs beyond the cutoff may be there, for later.
    """

    rows: Int[Tensor, " atoms_and_end"]
    """first edge of each atom, and the number of edges at the end"""
    centre: Int[Tensor, " edges"]
    neighbor: Int[Tensor, " edges"]
    shift: Int[Tensor, "edges 3"] | None
    """whole numbers of cell vectors, int32; None where no system of the batch repeats"""
    half: bool
    cutoff: float
    """no pair closer than this is missing [angstrom]"""
    skin: float = 0.0
    """the list was made for cutoff + skin, and holds until an atom has moved by half the skin [angstrom]"""
    origin: Float[Tensor, "atoms 3"] | None = None
    """positions that the list was made at [angstrom]; None where it holds wherever the atoms are"""
    origin_cell: Float[Tensor, "systems 3 3"] | None = None
    periodic: Bool[Tensor, "systems 3"] | None = None
    worst: Float[Tensor, " two"] | None = None
    """only of a list of fixed capacity, whose last edges may be void: the largest share of the skin that was used, and
    of the capacity that was needed, by this list and those before it; above 1 a pair may be missing"""

    @property
    def n_edges(self) -> int:
        """Edges that there is room for; all of them count unless the capacity is fixed."""
        return self.neighbor.shape[0]


def displacements(system: System, neighbors: Neighbors) -> Float[Tensor, "edges 3"]:
    """Returns r_ab = r_b - r_a + shift @ cell of every edge [angstrom], differentiable in positions and cell.

    A void edge of a list of fixed capacity is longer than the cutoff, so that it adds nothing.
    """
    centre, neighbor = neighbors.centre, neighbors.neighbor
    vectors = system.positions.index_select(0, neighbor) - system.positions.index_select(0, centre)
    if neighbors.shift is not None:
        shift = neighbors.shift.to(vectors.dtype)
        if system.n_systems == 1:
            vectors = vectors + shift @ system.cell[0]
        else:
            cell = system.cell.index_select(0, system.system.index_select(0, centre))
            vectors = vectors + torch.einsum("ek,ekd->ed", shift, cell)
    if neighbors.worst is None:
        return vectors
    void = torch.arange(neighbors.n_edges, device=centre.device) >= neighbors.rows[-1]
    return torch.where(void[:, None], 2.0 * (neighbors.cutoff + neighbors.skin), vectors)


def all_pairs(system: System, *, half: bool = False) -> Neighbors:
    """Returns every pair of atoms of the same open system, whatever their distance.

    The list depends on the topology alone, so it never needs to be made again; exact for any potential that
    is zero, with its derivative, beyond its cutoff. Raises InputError for a periodic system.
    """
    if bool(system.periodic.any()):
        raise InputError("a periodic system has no finite list of all pairs; use neighbor_list with a cutoff")
    first = system.starts[:-1].index_select(0, system.system)
    count = system.atom_counts.index_select(0, system.system)
    atoms = torch.arange(system.n_atoms, device=first.device)
    own = atoms - first
    degree = count - 1 - own if half else count - 1
    rows = row_pointers(degree)
    centre = atoms.repeat_interleave(degree)
    place = torch.arange(len(centre), device=first.device) - rows.index_select(0, centre)
    if half:
        neighbor = centre + 1 + place
    else:
        neighbor = first.index_select(0, centre) + place + (place >= own.index_select(0, centre))
    return Neighbors(rows=rows, centre=centre, neighbor=neighbor, shift=None, half=half, cutoff=float("inf"))


def row_pointers(degree: Int[Tensor, " atoms"]) -> Int[Tensor, " atoms_and_end"]:
    """Returns the running sum of the number of edges of each atom, from 0."""
    return torch.cat([degree.new_zeros(1), degree.cumsum(0)])


def trimmed(system: System, neighbors: Neighbors, cutoff: float) -> Neighbors:
    """Returns the list without the edges that are longer than the cutoff [angstrom] at these positions.

    For potentials that spend much more on an edge than its distance. Raises InputError for a longer cutoff.
    """
    if cutoff > neighbors.cutoff:
        raise InputError(f"a list for {neighbors.cutoff:g} angstrom does not serve {cutoff:g}; make one that does")
    with torch.no_grad():
        near = (displacements(system, neighbors) ** 2).sum(-1) < cutoff**2
        kept = near.nonzero().flatten()
        centre = neighbors.centre.index_select(0, kept)
        atoms = torch.arange(len(neighbors.rows), device=centre.device)
        return Neighbors(
            rows=torch.searchsorted(centre, atoms),
            centre=centre,
            neighbor=neighbors.neighbor.index_select(0, kept),
            shift=None if neighbors.shift is None else neighbors.shift.index_select(0, kept),
            half=neighbors.half,
            cutoff=cutoff,
        )


def halved(neighbors: Neighbors) -> Neighbors:
    """Returns the list with each pair once; a half list is returned as it is.

    Raises InputError for a list of fixed capacity.
    """
    if neighbors.half:
        return neighbors
    if neighbors.worst is not None:
        raise InputError("a list of fixed capacity keeps both directions of each pair; ask for a half list")
    centre, neighbor, shift = neighbors.centre, neighbors.neighbor, neighbors.shift
    once = centre < neighbor
    if shift is not None:
        # An atom that meets its own images: of two opposite shifts, the one whose first number is positive.
        first = torch.where(shift[:, 0] != 0, shift[:, 0], torch.where(shift[:, 1] != 0, shift[:, 1], shift[:, 2]))
        once |= (centre == neighbor) & (first > 0)
    kept = once.nonzero().flatten()
    centre = centre.index_select(0, kept)
    return tree.replace(
        neighbors,
        rows=torch.searchsorted(centre, torch.arange(len(neighbors.rows), device=centre.device)),
        centre=centre,
        neighbor=neighbor.index_select(0, kept),
        shift=None if shift is None else shift.index_select(0, kept),
        half=True,
    )


def reverse_edges(neighbors: Neighbors) -> Int[Tensor, " edges"]:
    """Returns the edge from neighbour to centre, at the opposite shift, of each edge of a full list.

    A sum over the edges that end at an atom becomes one over those that start at it: no scattering.
    """
    if neighbors.half or neighbors.worst is not None:
        raise InputError("only a full list that holds just its edges has both directions of each")
    shift = neighbors.shift
    there = _ranks(neighbors.centre, neighbors.neighbor, shift)
    back = _ranks(neighbors.neighbor, neighbors.centre, None if shift is None else -shift)
    found = torch.empty_like(there)
    found[there] = back
    return found


def _ranks(first: Tensor, second: Tensor, shift: Tensor | None) -> Tensor:
    """Edges in the order of (first, second, shift)."""
    keys = [first, second, *([] if shift is None else shift.unbind(-1))]
    order = torch.arange(len(first), device=first.device)
    for key in reversed(keys):
        order = order[key[order].argsort(stable=True)]
    return order


def check_distances(system: System, neighbors: Neighbors, closest: float = 0.0) -> None:
    """Raises InputError, naming the atoms, where two of them are not farther apart than `closest` [angstrom]."""
    with torch.no_grad():
        if neighbors.n_edges == 0:
            return
        squared = (displacements(system, neighbors) ** 2).sum(-1)
        least, edge = squared.min(0)
        if float(least) > closest**2:
            return
        a, b = int(neighbors.centre[edge]), int(neighbors.neighbor[edge])
        pairs = int((squared <= closest**2).sum()) // (1 if neighbors.half else 2)
    raise InputError(
        f"{name_atom(system, a)} and {name_atom(system, b)} are {float(least) ** 0.5:.3g} angstrom apart ({pairs} "
        f"pairs are that close); the limit is {closest:g}: move them apart"
    )
