"""Which atoms interact: pairs within a cutoff, exact for open systems and for any triclinic cell."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindsci.errors import InputError
from mindsci.tree import Tree
from sponge.system import System, completed_cell

CHUNK = 4_000_000
"""candidate pairs looked at in one go: 4e6 displacements take about 100 MB in float64"""


class Pairs(Tree):
    """Pairs of interacting atoms, each once: (i, j) stands for (j, i) too.

    Atom j is meant at its image: r_ij = r_j - r_i + shift @ cell. An atom may pair with its own image.
    """

    i: Int[Tensor, " pairs"]
    j: Int[Tensor, " pairs"]
    shift: Float[Tensor, "pairs 3"] | None = None
    """whole numbers of cell vectors; None for an open system"""


def displacements(system: System, pairs: Pairs) -> Float[Tensor, "pairs 3"]:
    """Returns r_ij = r_j - r_i of every pair, at the image meant [angstrom]; differentiable."""
    vectors = system.positions.index_select(0, pairs.j) - system.positions.index_select(0, pairs.i)
    if pairs.shift is None:
        return vectors
    if system.n_systems == 1:
        return vectors + pairs.shift @ system.cell[0]
    cell = system.cell[system.system[pairs.i]]
    return vectors + torch.einsum("pk,pkd->pd", pairs.shift, cell)


def all_pairs(system: System) -> Pairs:
    """Returns every pair of atoms of the same open system, whatever their distance.

    The list depends on the topology alone, so it never needs to be built again; exact for any potential that
    is zero, with its derivative, beyond its cutoff. Raises InputError for a periodic system.
    """
    if any(system.periodic):
        raise InputError("a periodic system has no finite list of all pairs; use neighbor_pairs with a cutoff")
    counts = torch.bincount(system.system, minlength=system.n_systems)
    first = counts.cumsum(0) - counts
    if bool((counts == counts[0]).all()):
        i, j = torch.triu_indices(int(counts[0]), int(counts[0]), offset=1, device=counts.device)
        return Pairs(i=(first[:, None] + i).flatten(), j=(first[:, None] + j).flatten())
    found = [torch.triu_indices(int(n), int(n), offset=1, device=counts.device) for n in counts]
    i, j = torch.cat([pairs + start for pairs, start in zip(found, first, strict=True)], dim=1)
    return Pairs(i=i, j=j)


@torch.no_grad()
def neighbor_pairs(system: System, cutoff: float) -> Pairs:
    """Returns the pairs closer than the cutoff [angstrom], among all images of a periodic system."""
    if not cutoff > 0:
        raise InputError(f"cutoff = {cutoff} angstrom; a cutoff is positive")
    if any(system.periodic):
        return _periodic_pairs(system, cutoff)
    pairs = all_pairs(system)
    near = (displacements(system, pairs) ** 2).sum(-1) < cutoff**2
    return Pairs(i=pairs.i[near], j=pairs.j[near])


def _periodic_pairs(system: System, cutoff: float) -> Pairs:
    cells = completed_cell(system.cell, system.periodic)
    counts = torch.bincount(system.system, minlength=system.n_systems).tolist()
    found, start = [], 0
    for cell, n_atoms in zip(cells, counts, strict=True):
        i, j, shift = _pairs_of_one(system.positions[start : start + n_atoms], cell, system.periodic, cutoff)
        found.append((i + start, j + start, shift))
        start += n_atoms
    i, j, shift = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Pairs(i=i, j=j, shift=shift)


def _pairs_of_one(
    positions: Tensor, cell: Tensor, periodic: tuple[bool, bool, bool], cutoff: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Looks at every pair in every image that can be near enough, a chunk of images at a time."""
    repeats = torch.tensor(periodic, device=cell.device)
    inverse = torch.linalg.inv(cell)
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
