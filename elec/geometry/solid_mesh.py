"""A solid bounded by triangles, which may have holes: it takes part in whatever a constructive solid does."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from elec.geometry.csg import Solid
from elec.geometry.part import Part
from elec.geometry.winding import signed_distance
from mindsci.errors import InputError


class MeshSolid(Solid):
    """Inside is where the surface winds more than half a turn [Jacobson2013]; faces point outward.

    The distance is exact where the surface is closed. Over a hole the sign changes where the winding number passes a
    half, which on a flat hole is its plane, and there the distance jumps from plus to minus that of the rim.
    Differentiable in the vertices.
    """

    vertices: Float[Tensor, "vertices 3"]
    """[m]"""
    faces: Int[Tensor, "faces 3"]

    def signed_distance(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        return signed_distance(self, points.reshape(-1, 3)).reshape(points.shape[:-1])

    def surface(self) -> tuple[Tensor, Tensor]:
        return self.vertices, self.faces


def mesh_solid(part: Part) -> MeshSolid:
    """Returns a closed part as a constructive solid: to unite, cut, turn, or move with a gradient."""
    if part.kind != "solid":
        raise InputError(f"part '{part.name}' is a {part.kind}, which fills no volume; give a solid")
    return MeshSolid(vertices=part.vertices, faces=part.faces)
