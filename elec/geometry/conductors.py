"""Conductors of a scene that are known by their surface: where their sheets lie, and which walls their skins are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from elec.geometry.columns import lattice_pairs
from elec.geometry.cuts import Components, Cuts, metal_cuts
from elec.geometry.part import Part
from elec.geometry.voxels import in_triangle, planes_of
from elec.grid import Grid
from elec.materials import Skin, Surface

# Pieces of a half cell along each axis in which a sheet is either there or not.
PIECES = 4


class OnEdges(NamedTuple):
    """A sheet: what it covers of the strip around each edge, over the distance of the neighbouring cells' centres."""

    surface: Surface
    weight: Components
    """[1/m]"""


class OnFaces(NamedTuple):
    """A skin: its area in the box around each face, over the volume of that box."""

    skin: Skin
    weight: Components
    """[1/m]"""


def sheets_on_edges(scene: Any, grid: Grid) -> list[OnEdges]:
    """Returns the sheets that fields pass through. Where two cover one place, both carry a current."""
    found = []
    for part in scene.parts:
        material = scene.material(part)
        if part.kind == "sheet" and isinstance(material.surface, Surface):
            weight = _none(grid, on_edges=True)
            for axis, index, coverage in _covered(part, grid):
                for component, share in coverage.items():
                    weight[component].select(axis, index).add_(share / grid.dual_spacing(axis)[index])
            found.append(OnEdges(material.surface, (weight[0], weight[1], weight[2])))
    return found


def skins_on_faces(scene: Any, grid: Grid, cuts: Cuts | None) -> list[OnFaces]:
    """Returns the skins of solids, of which the walls of the cuts are made, and those of both sides of sheets."""
    found = []
    solids = [part for part in scene.parts if part.kind == "solid"]
    metals = {(material := scene.material(part)).name: material for part in solids if scene.material(part).is_metal}
    closed = {
        name: _closed(metal_cuts([(scene.shape(part), scene.material(part).name == name) for part in solids], grid))
        for name in (metals if cuts is not None and len(metals) > 1 else ())
    }
    for name, material in metals.items():
        if material.surface is None or cuts is None:
            continue
        weight = cuts.walls
        if closed:
            total = [sum(parts) for parts in zip(*closed.values(), strict=True)]
            x, y, z = (
                walls * torch.where(whole > 0, own / torch.where(whole > 0, whole, 1.0), 0.0)
                for walls, own, whole in zip(cuts.walls, closed[name], total, strict=True)
            )
            weight = (x, y, z)
        found.append(OnFaces(material.surface, weight))
    for part in scene.parts:
        material = scene.material(part)
        if part.kind == "sheet" and isinstance(material.surface, Skin):
            found.append(OnFaces(material.surface, _both_sides(part, grid)))
    return found


def _closed(cuts: Cuts) -> list[Tensor]:
    """How many of its four edges metal closes around each face."""
    found = []
    for normal in range(3):
        total = torch.zeros(())
        for component, across in (((normal + 1) % 3, (normal + 2) % 3), ((normal + 2) % 3, (normal + 1) % 3)):
            shut = 1.0 - cuts.edges[component].detach()
            size = shut.shape[across] - 1
            total = total + shut.narrow(across, 0, size) + shut.narrow(across, 1, size)
        found.append(total)
    return found


def _both_sides(part: Part, grid: Grid) -> Components:
    """The faces that stand on a sheet, above and below: the strip of an edge belongs to the face beside it."""
    weight = _none(grid, on_edges=False)
    for axis, index, coverage in _covered(part, grid):
        for component, share in coverage.items():
            for cell in (index - 1, index):
                if 0 <= cell < grid.shape[axis]:
                    weight[3 - axis - component].select(axis, cell).add_(share / grid.spacing(axis)[cell])
    return (weight[0], weight[1], weight[2])


def _none(grid: Grid, *, on_edges: bool) -> list[Tensor]:
    return [
        torch.zeros(
            [grid.shape[axis] + ((axis != component) == on_edges) for axis in range(3)],
            dtype=torch.float64,
            device=grid.x.device,
        )
        for component in range(3)
    ]


def _covered(part: Part, grid: Grid) -> Iterator[tuple[int, int, dict[int, Float[Tensor, "u v"]]]]:
    """Yields, for each plane of a sheet, its axis, its node, and what is covered of the strips around the edges in it.

    The strip of an edge is as long as the edge and as wide as the cells' centres beside it are apart.
    """
    for axis, index, triangles in planes_of(part, grid):
        across = [other for other in range(3) if other != axis]
        ends = [_pieces(grid.nodes(other)) for other in across]
        u, v = (0.5 * (one[1:] + one[:-1]) for one in ends)
        covered = torch.zeros(u.numel(), v.numel(), dtype=torch.float64, device=grid.x.device)
        projected = triangles[:, :, across]
        for triangle, i, j in lattice_pairs(projected, u, v, reach=0.0):
            inside = in_triangle(projected[triangle], torch.stack([u[i], v[j]], dim=1), 0.0)
            covered[i[inside], j[inside]] = 1.0
        shares = {}
        for component in across:
            share = covered
            for dim, (other, lines) in enumerate(zip(across, ends, strict=True)):
                share = _mean(share, lines.diff(), dim, of_cells=other == component)
            shares[component] = share
        yield axis, index, shares


def _pieces(nodes: Tensor) -> Tensor:
    """The nodes, with the pieces of each half cell between them."""
    steps = torch.arange(2 * PIECES, dtype=nodes.dtype, device=nodes.device) / (2 * PIECES)
    return torch.cat([(nodes[:-1, None] + nodes.diff()[:, None] * steps).reshape(-1), nodes[-1:]])


def _mean(values: Tensor, sizes: Tensor, dim: int, *, of_cells: bool) -> Tensor:
    """The mean of pieces over each cell along a dimension, or over the half cells beside each node."""
    values = values.movedim(dim, 0)
    shape = (-1, 2 * PIECES, *values.shape[1:])
    weighted = (values * sizes.reshape(-1, *[1] * (values.ndim - 1))).reshape(shape)
    lengths = sizes.reshape(-1, 2 * PIECES)
    if of_cells:
        return (weighted.sum(1) / lengths.sum(1).reshape(-1, *[1] * (values.ndim - 1))).movedim(0, dim)
    total, length = (_around_nodes(part[:, :PIECES].sum(1), part[:, PIECES:].sum(1)) for part in (weighted, lengths))
    return (total / length.reshape(-1, *[1] * (values.ndim - 1))).movedim(0, dim)


def _around_nodes(low: Tensor, high: Tensor) -> Tensor:
    """The sum of what lies in the half cells before and after each node."""
    none = torch.zeros_like(low[:1])
    return torch.cat([low, none]) + torch.cat([none, high])
