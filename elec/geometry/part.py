"""A part: a triangle mesh with a material, either a closed solid or a thin sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindsci.tree import Tree

# A face counts as normal to an axis when its corners agree to this fraction of the part's size: float32 files round
# coordinates to 6e-8 of their value.
FLAT_FRACTION = 1e-6

Planes = tuple[list[float], list[float], list[float]]


class Part(Tree):
    """Triangles with a material. A solid is closed and its faces point outward; a sheet is flat, on axis planes."""

    name: str
    vertices: Float[Tensor, "vertices 3"]
    """[m]"""
    faces: Int[Tensor, "faces 3"]
    kind: Literal["solid", "sheet"] = "solid"
    material: str = "pec"

    def triangles(self) -> Float[Tensor, "faces 3 3"]:
        """Corners of each triangle [m]: (face, corner, coordinate)."""
        return self.vertices[self.faces]

    def bounds(self) -> Float[Tensor, "2 3"]:
        """Lowest and highest coordinates [m]."""
        used = self.vertices[self.faces.reshape(-1)]
        return torch.stack([used.amin(0), used.amax(0)])

    def area(self) -> float:
        """Area of all triangles [m^2]."""
        a, b, c = self.triangles().unbind(1)
        return float(0.5 * torch.linalg.cross(b - a, c - a).norm(dim=1).sum())

    def volume(self) -> float:
        """Enclosed volume of a solid [m^3], by the divergence theorem."""
        a, b, c = (self.triangles() - self.bounds().mean(0)).unbind(1)
        return float(torch.linalg.cross(a, b).mul(c).sum() / 6.0)

    def flat_tolerance(self) -> float:
        """How far [m] coordinates of one plane may differ."""
        low, high = self.bounds()
        return FLAT_FRACTION * float((high - low).norm())


def bounds(parts: Sequence[Part]) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
    """Returns the lowest and highest coordinate of all parts for each axis [m]."""
    corners = torch.stack([part.bounds() for part in parts])
    low, high = corners[:, 0].amin(0).tolist(), corners[:, 1].amax(0).tolist()
    return ((low[0], high[0]), (low[1], high[1]), (low[2], high[2]))


def planes(part: Part) -> Planes:
    """Returns the coordinates [m], for each axis, that grid lines should meet.

    They are the planes of the faces normal to an axis and, for a sheet, also its rims that run along an axis.
    """
    tolerance = part.flat_tolerance()
    flat, level = _flat(part.triangles(), tolerance)
    found = [level[flat[:, axis], axis] for axis in range(3)]
    if part.kind == "sheet":
        rims = part.vertices[rim_edges(part.faces)]
        along, place = _flat(rims, tolerance)
        found = [torch.cat([found[axis], place[along[:, axis] & (along.sum(1) == 2), axis]]) for axis in range(3)]
    x, y, z = (_distinct(values, tolerance) for values in found)
    return (x, y, z)


def all_planes(parts: Sequence[Part]) -> Planes:
    """Returns the planes of several parts together [m]."""
    each = [planes(part) for part in parts]
    x, y, z = (sorted({value for found in each for value in found[axis]}) for axis in range(3))
    return (x, y, z)


def flat_axis(part: Part) -> tuple[Bool[Tensor, "faces 3"], Float[Tensor, "faces 3"]]:
    """Returns, for each triangle and axis, whether it is normal to that axis, and its coordinate there [m]."""
    return _flat(part.triangles(), part.flat_tolerance())


def rim_edges(faces: Int[Tensor, "faces 3"]) -> Int[Tensor, "edges 2"]:
    """Returns the edges that belong to one triangle only, as pairs of vertices."""
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(1).values
    edges, counts = torch.unique(edges, dim=0, return_counts=True)
    return edges[counts == 1]


def _flat(
    corners: Float[Tensor, "items corners 3"], tolerance: float
) -> tuple[Bool[Tensor, "items 3"], Float[Tensor, "items 3"]]:
    """Whether the corners of each item agree in each coordinate, and the coordinate of the first."""
    return (corners.amax(1) - corners.amin(1)) <= tolerance, corners[:, 0]


def _distinct(values: Tensor, tolerance: float) -> list[float]:
    """The sorted values without those that repeat the one before within the tolerance."""
    values = values.unique()
    if values.numel() == 0:
        return []
    new = torch.cat([torch.ones(1, dtype=torch.bool, device=values.device), values.diff() > tolerance])
    return values[new].tolist()
