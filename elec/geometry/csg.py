"""Constructive solids: signed distance in plain torch, differentiable in every parameter, and exact meshes.

Distances are negative inside [m]. Those of the primitives are exact; a union, intersection, difference or symmetric
difference takes the smaller or larger of its parts [Ricci1973], which keeps the sign and the zero surface, and is a
lower bound of the distance elsewhere. Moving, turning, mirroring and scaling keep what a distance is: exact or a lower
bound.
Round solids are in `elec.geometry.shapes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from elec.geometry.arguments import Numbers, axis_index, number, polygon, positive, vector
from elec.geometry.fill import soft_fill
from elec.geometry.part import Part
from elec.geometry.polygon import polygon_distance, prism
from elec.grid import Grid
from mindsci.errors import InputError
from mindsci.tree import Tree

if TYPE_CHECKING:
    import trimesh


class Solid(Tree):
    """Base of the constructive solids."""

    def signed_distance(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        """Returns the distance [m] of each point [m] to the surface, negative inside."""
        raise NotImplementedError

    def surface(self) -> tuple[Tensor, Tensor]:
        """Returns vertices [m] and outward faces. Raises InputError where there is no exact polyhedron."""
        raise InputError(
            f"a {type(self).__name__.lower()} has no exact mesh; write its boxes and extrusions as parts of their own"
        )

    def mesh(self) -> trimesh.Trimesh:
        """Returns the exact surface as a trimesh, vertices in [m]."""
        import trimesh

        vertices, faces = self.surface()
        return trimesh.Trimesh(vertices.detach().numpy(), faces.numpy(), process=False)

    def part(self, name: str, *, material: str) -> Part:
        """Returns the solid as a part of a scene."""
        vertices, faces = self.surface()
        return Part(name=name, vertices=vertices.detach(), faces=faces, kind="solid", material=material)

    def soft_fill(self, grid: Grid) -> Float[Tensor, "nx ny nz"]:
        """Returns the fraction of each cell that is filled, differentiable in the parameters.

        Exact where the surface is flat across the cell, whatever its slant; second order where it is curved.
        """
        return soft_fill(self, grid)

    def translate(self, offset: Numbers) -> Translation:
        """Returns the solid moved by an offset [m]."""
        return Translation(solid=self, offset=vector("offset", offset))

    def rotate(self, axis: Numbers, angle: float | Tensor, *, about: Numbers = (0.0, 0.0, 0.0)) -> Transform:
        """Returns the solid turned by an angle [rad] about an axis through a point [m], counter-clockwise seen against
        it. The axis need not have unit length."""
        return rotated(self, vector("axis", axis), number(angle), vector("about", about))

    def scale(self, factor: float | Tensor, *, about: Numbers = (0.0, 0.0, 0.0)) -> Transform:
        """Returns the solid made larger by a factor, the same along all axes, from a point [m]."""
        center, identity = vector("about", about), torch.eye(3, dtype=torch.float64)
        factor = positive("factor", factor, unit="")
        return Transform(solid=self, turn=identity, factor=factor, offset=center - factor * center)

    def mirror(self, normal: Numbers, *, through: Numbers = (0.0, 0.0, 0.0)) -> Transform:
        """Returns the mirror image of the solid in the plane with a normal, through a point [m]."""
        return mirrored(self, vector("normal", normal), vector("through", through))

    def __or__(self, other: Solid) -> Union:
        return Union(solids=(self, other))

    def __and__(self, other: Solid) -> Intersection:
        return Intersection(solids=(self, other))

    def __sub__(self, other: Solid) -> Difference:
        return Difference(solid=self, removed=other)

    def __xor__(self, other: Solid) -> SymmetricDifference:
        return SymmetricDifference(solid=self, other=other)


class Box(Solid):
    """A box along the axes."""

    low: Float[Tensor, "3"]
    """[m]"""
    high: Float[Tensor, "3"]
    """[m]"""

    def signed_distance(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        beyond = torch.maximum(self.low - points, points - self.high)
        return beyond.clamp(min=0.0).norm(dim=-1) + beyond.amax(-1).clamp(max=0.0)

    def surface(self) -> tuple[Tensor, Tensor]:
        corners = torch.stack([self.low[:2], torch.stack([self.high[0], self.low[1]]), self.high[:2]])
        corners = torch.cat([corners, torch.stack([self.low[0], self.high[1]])[None]])
        return prism(corners, self.low[2], self.high[2], axis=2)


class Sphere(Solid):
    center: Float[Tensor, "3"]
    """[m]"""
    radius: Float[Tensor, ""]
    """[m]"""

    def signed_distance(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        return (points - self.center).norm(dim=-1) - self.radius


class Cylinder(Solid):
    """A round cylinder between the centres of its two ends."""

    start: Float[Tensor, "3"]
    """[m]"""
    end: Float[Tensor, "3"]
    """[m]"""
    radius: Float[Tensor, ""]
    """[m]"""

    def signed_distance(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        span = self.end - self.start
        length = span.norm()
        direction = span / length
        offset = points - 0.5 * (self.start + self.end)
        height = (offset * direction).sum(-1)
        across = (offset - height[..., None] * direction).norm(dim=-1)
        return capped(across - self.radius, height.abs() - 0.5 * length)


class Extrusion(Solid):
    """A simple polygon in the plane across an axis, drawn out between two coordinates along it."""

    corners: Float[Tensor, "corners 2"]
    """[m], in the two other axes in their cyclic order: (y, z) for x, (z, x) for y, (x, y) for z"""
    low: Float[Tensor, ""]
    """[m]"""
    high: Float[Tensor, ""]
    """[m]"""
    axis: int = 2

    def signed_distance(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        across = polygon_distance(self.corners, points[..., [(self.axis + 1) % 3, (self.axis + 2) % 3]])
        along = torch.maximum(self.low - points[..., self.axis], points[..., self.axis] - self.high)
        return capped(across, along)

    def surface(self) -> tuple[Tensor, Tensor]:
        return prism(self.corners, self.low, self.high, axis=self.axis)


class Union(Solid):
    solids: tuple[Solid, ...]

    def signed_distance(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        return torch.stack([solid.signed_distance(points) for solid in self.solids]).amin(0)


class Intersection(Solid):
    solids: tuple[Solid, ...]

    def signed_distance(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        return torch.stack([solid.signed_distance(points) for solid in self.solids]).amax(0)


class Difference(Solid):
    solid: Solid
    removed: Solid

    def signed_distance(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        return torch.maximum(self.solid.signed_distance(points), -self.removed.signed_distance(points))


class SymmetricDifference(Solid):
    """What exactly one of two solids fills."""

    solid: Solid
    other: Solid

    def signed_distance(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        first, second = self.solid.signed_distance(points), self.other.signed_distance(points)
        return torch.maximum(torch.minimum(first, second), -torch.maximum(first, second))


class Translation(Solid):
    solid: Solid
    offset: Float[Tensor, "3"]
    """[m]"""

    def signed_distance(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        return self.solid.signed_distance(points - self.offset)

    def surface(self) -> tuple[Tensor, Tensor]:
        vertices, faces = self.solid.surface()
        return vertices + self.offset, faces


class Transform(Solid):
    """A solid turned or mirrored, made larger by a factor, then moved: x -> factor turn x + offset."""

    solid: Solid
    turn: Float[Tensor, "3 3"]
    """orthogonal"""
    factor: Float[Tensor, ""]
    offset: Float[Tensor, "3"]
    """[m]"""

    def signed_distance(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        # Rows of points: turning back, by the transpose, is a product with the matrix from the right.
        return self.factor * self.solid.signed_distance((points - self.offset) @ self.turn / self.factor)

    def surface(self) -> tuple[Tensor, Tensor]:
        vertices, faces = self.solid.surface()
        mirrored = bool(torch.linalg.det(self.turn.detach()) < 0)
        return self.factor * vertices @ self.turn.T + self.offset, faces.flip(1) if mirrored else faces


def box(low: Numbers, high: Numbers) -> Box:
    """Returns the box between two corners [m]."""
    corners = Box(low=vector("low", low), high=vector("high", high))
    if not bool((corners.high > corners.low).all()):
        raise InputError(
            f"box from {corners.low.tolist()} to {corners.high.tolist()} m: each high must be above its low"
        )
    return corners


def sphere(center: Numbers, radius: float | Tensor) -> Sphere:
    """Returns the sphere of a centre and radius [m]."""
    return Sphere(center=vector("center", center), radius=positive("radius", radius))


def cylinder(start: Numbers, end: Numbers, radius: float | Tensor) -> Cylinder:
    """Returns the cylinder of a radius between the centres of its ends [m]."""
    ends = (vector("start", start), vector("end", end))
    if bool((ends[0] == ends[1]).all()):
        raise InputError(f"cylinder from {ends[0].tolist()} m to the same point has no length; move its end")
    return Cylinder(start=ends[0], end=ends[1], radius=positive("radius", radius))


def extrusion(
    corners: Sequence[Sequence[float]] | Tensor, low: float | Tensor, high: float | Tensor, *, axis: str = "z"
) -> Extrusion:
    """Returns a polygon drawn out along an axis between two coordinates [m].

    The corners are (x, y) for axis "z", (y, z) for "x" and (z, x) for "y".
    """
    ends = (number(low), number(high))
    if not bool(ends[1] > ends[0]):
        raise InputError(f"extrusion from {float(ends[0]):g} to {float(ends[1]):g} m: high must be above low")
    return Extrusion(corners=polygon(corners), low=ends[0], high=ends[1], axis=axis_index(axis))


def union(*solids: Solid) -> Union:
    """Returns what any of the solids fills."""
    return Union(solids=solids)


def intersection(*solids: Solid) -> Intersection:
    """Returns what all of the solids fill."""
    return Intersection(solids=solids)


def difference(solid: Solid, *removed: Solid) -> Difference:
    """Returns a solid without what the others fill."""
    return Difference(solid=solid, removed=removed[0] if len(removed) == 1 else Union(solids=removed))


def capped(across: Tensor, along: Tensor) -> Tensor:
    """Returns the distance to a prism from the distances across and along its axis, each negative inside."""
    outside = torch.stack([across, along], dim=-1).clamp(min=0.0).norm(dim=-1)
    return outside + torch.maximum(across, along).clamp(max=0.0)


def symmetric_difference(solid: Solid, other: Solid) -> SymmetricDifference:
    """Returns what exactly one of two solids fills."""
    return SymmetricDifference(solid=solid, other=other)


def rotated(solid: Solid, axis: Tensor, angle: Tensor, about: Tensor) -> Transform:
    """Returns the solid turned about an axis through a point [m], by Rodrigues' formula."""
    length = axis.norm()
    if not bool(length > 0):
        raise InputError("axis = [0, 0, 0] has no direction; give one such as (0, 0, 1)")
    zero = torch.zeros_like(length)
    x, y, z = (axis / length).unbind()
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
    identity = torch.eye(3, dtype=axis.dtype, device=axis.device)
    turn = identity + angle.sin() * cross + (1.0 - angle.cos()) * (cross @ cross)
    return Transform(solid=solid, turn=turn, factor=torch.ones_like(length.detach()), offset=about - turn @ about)


def mirrored(solid: Solid, normal: Tensor, through: Tensor) -> Transform:
    """Returns the mirror image of the solid in a plane through a point [m]."""
    length = normal.norm()
    if not bool(length > 0):
        raise InputError("normal = [0, 0, 0] has no direction; give one such as (1, 0, 0)")
    unit = normal / length
    turn = torch.eye(3, dtype=normal.dtype, device=normal.device) - 2.0 * torch.outer(unit, unit)
    factor = torch.ones_like(length.detach())
    return Transform(solid=solid, turn=turn, factor=factor, offset=through - turn @ through)
