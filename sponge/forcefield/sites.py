"""Virtual sites: where their parents put them."""

from __future__ import annotations

import torch

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
