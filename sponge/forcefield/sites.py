"""Virtual sites: where their parents put them, and the forces that they hand on to them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci import tree
from sponge.forcefield.bonded import between
from sponge.system import System
from sponge.topology import VirtualSites


def place_virtual_sites(system: System, sites: VirtualSites | None) -> System:
    """Returns the system with every site rebuilt from its parents, so that forces on it become forces on them."""
    if sites is None:
        return system
    a, b, c = sites.parents.unbind(1)
    to_b, to_c = between(system, a, b), between(system, a, c)
    weights, cross = sites.weights.to(to_b.dtype), sites.cross.to(to_b.dtype)
    # The weights sum to 1: relative to the first parent, the others may lie across a boundary of the cell.
    placed = system.positions.index_select(0, a) + weights[:, 1:2] * to_b + weights[:, 2:3] * to_c
    placed = placed + cross[:, None] * torch.linalg.cross(to_b, to_c)
    return tree.replace(system, positions=system.positions.index_copy(0, sites.site, placed))


def spread_site_forces(
    system: System, sites: VirtualSites, forces: Float[Tensor, "atoms 3"]
) -> tuple[Float[Tensor, "atoms 3"], Float[Tensor, "systems 3 3"]]:
    """Returns the forces with those on sites handed to their parents [eV/angstrom], and what a virial then lacks [eV].

    A parent takes the force times the derivative of the site by it. A virial that counted sites as atoms of their own
    lacks sum (r_p - r_s) f_p over the parents, float64: it is zero of sites without a cross product, and symmetrised.
    """
    a, b, c = sites.parents.unbind(1)
    to_b, to_c = between(system, a, b), between(system, a, c)
    weights, cross = sites.weights.to(to_b.dtype), sites.cross.to(to_b.dtype)[:, None]
    on_site = forces.index_select(0, sites.site)
    # Of f . (to_b x to_c), by to_b and by to_c.
    of_b = weights[:, 1:2] * on_site + cross * torch.linalg.cross(to_c, on_site)
    of_c = weights[:, 2:3] * on_site + cross * torch.linalg.cross(on_site, to_b)
    spread = forces.index_fill(0, sites.site, 0.0)
    spread = spread.index_add(0, a, on_site - of_b - of_c).index_add(0, b, of_b).index_add(0, c, of_c)
    place = weights[:, 1:2] * to_b + weights[:, 2:3] * to_c + cross * torch.linalg.cross(to_b, to_c)
    outer = torch.einsum("si,sj->sij", to_b, of_b) + torch.einsum("si,sj->sij", to_c, of_c)
    outer = (outer - torch.einsum("si,sj->sij", place, on_site)).double()
    owner = system.system.index_select(0, sites.site)
    lacking = outer.new_zeros(system.n_systems, 3, 3).index_add(0, owner, outer)
    return spread, 0.5 * (lacking + lacking.mT)
