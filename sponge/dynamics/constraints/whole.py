"""Molecules that a file has cut at the boundary of their cell, put together."""

from __future__ import annotations

import numpy
import torch
from jaxtyping import Int
from torch import Tensor

from mindsci import tree
from sponge.cells import completed_cell, inverse
from sponge.system import System


def made_whole(system: System, links: Int[Tensor, "links 2"]) -> System:
    """Returns the system with linked atoms at each other's nearest image: whole cell vectors are added to some.

    Whole molecules stay as they are, to the bit. A molecule that goes through its own cell cannot be whole.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order

    if len(links) == 0 or not bool(system.periodic.any()):
        return system
    n_atoms = system.n_atoms
    first, second = links.cpu().T.numpy()
    # One more atom is linked to all, so that a single search goes through all molecules.
    roots = _first_atoms(first, second, n_atoms)
    rows = numpy.concatenate([first, numpy.full(len(roots), n_atoms)])
    columns = numpy.concatenate([second, roots])
    graph = coo_array((numpy.ones(len(rows)), (rows, columns)), shape=(n_atoms + 1,) * 2).tocsr()
    order, parents = breadth_first_order(graph, n_atoms, directed=False)
    child = torch.from_numpy(order[parents[order] >= 0]).to(torch.int64)
    child = child[torch.from_numpy(parents)[child] < n_atoms]
    parent = torch.from_numpy(parents)[child].to(torch.int64)
    device = system.positions.device
    vectors = (system.positions[child.to(device)] - system.positions[parent.to(device)]).detach().double()
    owner = system.system[child.to(device)]
    complete = completed_cell(system.cell.detach().double(), system.periodic)
    fractions = torch.einsum("td,tdk->tk", vectors, inverse(complete)[owner])
    steps = -(fractions.round() * system.periodic[owner]).to(torch.int64).cpu().numpy()
    if not steps.any():
        return system
    shift = numpy.zeros((n_atoms, 3), dtype=numpy.int64)
    for one, before, step in zip(child.tolist(), parent.tolist(), steps, strict=True):
        shift[one] = shift[before] + step
    whole = torch.from_numpy(shift).to(system.cell)
    moved = torch.einsum("ak,akd->ad", whole, system.cell.index_select(0, system.system))
    return tree.replace(system, positions=system.positions + moved, neighbors=None)


def _first_atoms(first: numpy.ndarray, second: numpy.ndarray, n_atoms: int) -> numpy.ndarray:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((numpy.ones(len(first), dtype=bool), (first, second)), shape=(n_atoms, n_atoms))
    _, label = connected_components(links, directed=False)
    return numpy.unique(label, return_index=True)[1]
