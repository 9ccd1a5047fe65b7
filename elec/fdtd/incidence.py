"""A sheet of currents on which an incident wave starts: pairs of an edge and the face next to it outside."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from elec.fdtd.walls import Walls
from elec.grid import Grid
from mindsci.tree import Tree

Node = tuple[int, int, int]


class Sheet(Tree):
    """Pairs of an edge on a surface and the face next to it outside, with what each does to the other's curl."""

    edges: Int[Tensor, "places 4"]
    faces: Int[Tensor, "places 4"]
    current: Float[Tensor, "places"]
    """impressed J at the edge over the incident H at the face [1/m]"""
    magnetic_current: Float[Tensor, "places"]
    """impressed M at the face over the incident E at the edge [1/m]"""


def sheet_of_side(grid: Grid, axis: int, side: str, low: Node, high: Node, node: int, walls: Walls) -> Sheet:
    """Returns one side of a box: its tangential edges and the faces half a cell outside.

    curl component p + 2 has plus the derivative along p of component p + 1, and p + 1 minus that of p + 2.
    """
    outside = node - 1 if side == "low" else node
    sign = -1.0 if side == "low" else 1.0
    dual, cell = float(walls.dual_spacing(grid, axis)[node]), float(grid.spacing(axis)[outside])
    edges, faces, current, magnetic = [], [], [], []
    for along, other, curl in (((axis + 2) % 3, (axis + 1) % 3, 1.0), ((axis + 1) % 3, (axis + 2) % 3, -1.0)):
        ranges = [torch.tensor([node])] * 3
        ranges[along] = torch.arange(low[along], high[along])
        ranges[other] = inner_nodes(grid, other, low[other], high[other], walls)
        place = torch.cartesian_prod(*ranges)
        edges.append(torch.cat([torch.full((len(place), 1), along), place], dim=1))
        face = place.clone()
        face[:, axis] = outside
        faces.append(torch.cat([torch.full((len(place), 1), other), face], dim=1))
        # The edge misses the incident H of the far side of the surface; the face sees an incident E too much.
        current.append(torch.full((len(place),), -curl * sign / dual, dtype=torch.float64))
        magnetic.append(torch.full((len(place),), -curl * sign / cell, dtype=torch.float64))
    return Sheet(
        edges=torch.cat(edges),
        faces=torch.cat(faces),
        current=torch.cat(current),
        magnetic_current=torch.cat(magnetic),
    )


def inner_nodes(grid: Grid, axis: int, low: int, high: int, walls: Walls) -> Int[Tensor, "nodes"]:
    """Nodes low .. high, without those on a conducting wall and without the second image of a periodic one."""
    first, last = walls.sides(axis)
    start = low + (1 if low == 0 and first == "pec" else 0)
    stop = high - (1 if high == grid.shape[axis] and last in ("pec", "periodic") else 0)
    return torch.arange(start, stop + 1)
