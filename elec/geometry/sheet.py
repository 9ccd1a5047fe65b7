"""Sheets: polygons of no thickness in planes across an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from elec.geometry.arguments import axis_index, number, polygon
from elec.geometry.part import Part
from elec.geometry.polygon import lift, triangulate
from mindsci.tree import Tree

if TYPE_CHECKING:
    import trimesh


class Sheet(Tree):
    """A simple polygon of no thickness in the plane axis = coordinate."""

    corners: Float[Tensor, "corners 2"]
    """[m], in the two other axes in their cyclic order"""
    coordinate: Float[Tensor, ""]
    """[m]"""
    axis: int = 2

    def surface(self) -> tuple[Tensor, Tensor]:
        """Returns vertices [m] and faces, whose normals point along the axis."""
        return lift(self.corners, self.coordinate, self.axis), triangulate(self.corners)

    def mesh(self) -> trimesh.Trimesh:
        """Returns the sheet as a trimesh, vertices in [m]."""
        import trimesh

        vertices, faces = self.surface()
        return trimesh.Trimesh(vertices.detach().numpy(), faces.numpy(), process=False)

    def part(self, name: str, *, material: str = "pec") -> Part:
        """Returns the sheet as a part of a scene."""
        return sheets(name, [self], material=material)


def sheet(corners: Sequence[Sequence[float]] | Tensor, coordinate: float | Tensor, *, axis: str = "z") -> Sheet:
    """Returns a polygon [m] in the plane axis = coordinate [m]; corners as for `extrusion`."""
    return Sheet(corners=polygon(corners), coordinate=number(coordinate), axis=axis_index(axis))


def sheets(name: str, pieces: Sequence[Sheet], *, material: str = "pec") -> Part:
    """Returns several sheets as one part of a scene; they may overlap."""
    surfaces = [piece.surface() for piece in pieces]
    starts = [0]
    for vertices, _ in surfaces:
        starts.append(starts[-1] + len(vertices))
    faces = torch.cat([faces + start for (_, faces), start in zip(surfaces, starts, strict=False)])
    vertices = torch.cat([vertices for vertices, _ in surfaces]).detach()
    return Part(name=name, vertices=vertices, faces=faces, kind="sheet", material=material)
