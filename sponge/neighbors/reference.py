"""The reference search, the truth that the compiled ones are tested against: every pair in every image."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from sponge import cells
from sponge.system import System

CHUNK = 4_000_000
"""candidate pairs looked at in one go: 4e6 displacements take about 100 MB in float64"""


def edges(system: System, cutoff: float, *, half: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Returns centre, neighbour and shift of every pair closer than the cutoff, sorted by all of them.

    In float64 whatever the precision of the positions. Time and memory grow as the square of the size of a system.
    """
    cell = cells.completed_cell(system.cell.detach().double(), system.periodic)
    positions = system.positions.detach().double()
    starts = system.starts.tolist()
    found = []
    for k, (first, last) in enumerate(itertools.pairwise(starts)):
        i, j, shift = _pairs_of_one(positions[first:last], cell[k], system.periodic[k], cutoff)
        if not half:
            i, j, shift = torch.cat([i, j]), torch.cat([j, i]), torch.cat([shift, -shift])
        order = torch.arange(len(i), device=i.device)
        for key in (*reversed(shift.unbind(-1)), j, i):
            order = order[key[order].argsort(stable=True)]
        found.append((i[order] + first, j[order] + first, shift[order].to(torch.int32)))
    centre, neighbor, shift = (torch.cat(parts) for parts in zip(*found, strict=True))
    return centre, neighbor, shift


def _pairs_of_one(positions: Tensor, cell: Tensor, repeats: Tensor, cutoff: float) -> tuple[Tensor, Tensor, Tensor]:
    """Looks at every pair in every image that can be near enough, a chunk of images at a time; each pair once."""
    inverse = cells.inverse(cell)
    home = torch.where(repeats, torch.floor(positions @ inverse), 0.0)
    wrapped = positions - home @ cell
    images = _half_images(inverse, repeats, cutoff)
    n_atoms = len(positions)
    between = wrapped[None, :, :] - wrapped[:, None, :]
    once = torch.ones(n_atoms, n_atoms, dtype=torch.bool, device=cell.device).triu(1)
    found = []
    for chunk in images.split(max(1, CHUNK // n_atoms**2)):
        squared = ((between[None] + (chunk @ cell)[:, None, None, :]) ** 2).sum(-1)
        near = squared < cutoff**2
        # The home image holds each pair twice, and each atom with itself.
        near &= once | (chunk != 0).any(-1)[:, None, None]
        image, i, j = near.nonzero(as_tuple=True)
        found.append((i, j, chunk[image] + home[i] - home[j]))
    i, j, shift = (torch.cat(parts) for parts in zip(*found, strict=True))
    return i, j, shift


def _half_images(inverse: Tensor, repeats: Tensor, cutoff: float) -> Tensor:
    """Returns the cell shifts that can bring two wrapped atoms within the cutoff; of s and -s only one.

    The planes of the cell are 1 / |column of the inverse| apart, and wrapped atoms less than one cell.
    """
    reach = torch.floor(cutoff * torch.linalg.vector_norm(inverse, dim=0)) + 1
    limits = torch.where(repeats, reach, 0.0).to(torch.int64).tolist()
    axes = [torch.arange(-n, n + 1, device=inverse.device) for n in limits]
    images = torch.cartesian_prod(*axes).to(inverse.dtype)
    # The list is in lexical order and symmetric about its middle, the home image.
    return images[len(images) // 2 :]
