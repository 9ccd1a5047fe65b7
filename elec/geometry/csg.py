"""Constructive solids: signed distance in plain torch, differentiable in every parameter, and exact meshes.

Distances are negative inside [m]. Those of the primitives are exact; a union, intersection or difference takes the
smaller or larger of its parts [Ricci1973], which keeps the sign and the zero surface, and is a lower bound of the
distance elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from elec.geometry.fill import soft_fill
from elec.geometry.part import Part
from elec.geometry.polygon import polygon_distance, signed_area, triangulate
from elec.grid import AXES, Grid
from mindsci.errors import InputError, UnknownNameError
from mindsci.tree import Tree

if TYPE_CHECKING:
    import trimesh

Numbers = Sequence[float] | Tensor


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
        return Translation(solid=self, offset=_vector("offset", offset))

    def __or__(self, other: Solid) -> Union:
        return Union(solids=(self, other))

    def __and__(self, other: Solid) -> Intersection:
        return Intersection(solids=(self, other))

    def __sub__(self, other: Solid) -> Difference:
        return Difference(solid=self, removed=other)


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
        return _prism(corners, self.low[2], self.high[2], axis=2)


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
        return _capped(across - self.radius, height.abs() - 0.5 * length)


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
        return _capped(across, along)

    def surface(self) -> tuple[Tensor, Tensor]:
        return _prism(self.corners, self.low, self.high, axis=self.axis)


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


class Translation(Solid):
    solid: Solid
    offset: Float[Tensor, "3"]
    """[m]"""

    def signed_distance(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        return self.solid.signed_distance(points - self.offset)

    def surface(self) -> tuple[Tensor, Tensor]:
        vertices, faces = self.solid.surface()
        return vertices + self.offset, faces


class Sheet(Tree):
    """A simple polygon of no thickness in the plane axis = coordinate."""

    corners: Float[Tensor, "corners 2"]
    """[m], in the two other axes in their cyclic order"""
    coordinate: Float[Tensor, ""]
    """[m]"""
    axis: int = 2

    def surface(self) -> tuple[Tensor, Tensor]:
        """Returns vertices [m] and faces, whose normals point along the axis."""
        return _lift(self.corners, self.coordinate, self.axis), triangulate(self.corners)

    def mesh(self) -> trimesh.Trimesh:
        """Returns the sheet as a trimesh, vertices in [m]."""
        import trimesh

        vertices, faces = self.surface()
        return trimesh.Trimesh(vertices.detach().numpy(), faces.numpy(), process=False)

    def part(self, name: str, *, material: str = "pec") -> Part:
        """Returns the sheet as a part of a scene."""
        return sheets(name, [self], material=material)


def box(low: Numbers, high: Numbers) -> Box:
    """Returns the box between two corners [m]."""
    corners = Box(low=_vector("low", low), high=_vector("high", high))
    if not bool((corners.high > corners.low).all()):
        raise InputError(
            f"box from {corners.low.tolist()} to {corners.high.tolist()} m: each high must be above its low"
        )
    return corners


def sphere(center: Numbers, radius: float | Tensor) -> Sphere:
    """Returns the sphere of a centre and radius [m]."""
    return Sphere(center=_vector("center", center), radius=_positive("radius", radius))


def cylinder(start: Numbers, end: Numbers, radius: float | Tensor) -> Cylinder:
    """Returns the cylinder of a radius between the centres of its ends [m]."""
    ends = (_vector("start", start), _vector("end", end))
    if bool((ends[0] == ends[1]).all()):
        raise InputError(f"cylinder from {ends[0].tolist()} m to the same point has no length; move its end")
    return Cylinder(start=ends[0], end=ends[1], radius=_positive("radius", radius))


def extrusion(
    corners: Sequence[Sequence[float]] | Tensor, low: float | Tensor, high: float | Tensor, *, axis: str = "z"
) -> Extrusion:
    """Returns a polygon drawn out along an axis between two coordinates [m].

    The corners are (x, y) for axis "z", (y, z) for "x" and (z, x) for "y".
    """
    ends = (_number(low), _number(high))
    if not bool(ends[1] > ends[0]):
        raise InputError(f"extrusion from {float(ends[0]):g} to {float(ends[1]):g} m: high must be above low")
    return Extrusion(corners=_polygon(corners), low=ends[0], high=ends[1], axis=_axis(axis))


def sheet(corners: Sequence[Sequence[float]] | Tensor, coordinate: float | Tensor, *, axis: str = "z") -> Sheet:
    """Returns a polygon [m] in the plane axis = coordinate [m]; corners as for `extrusion`."""
    return Sheet(corners=_polygon(corners), coordinate=_number(coordinate), axis=_axis(axis))


def sheets(name: str, pieces: Sequence[Sheet], *, material: str = "pec") -> Part:
    """Returns several sheets as one part of a scene; they may overlap."""
    surfaces = [piece.surface() for piece in pieces]
    starts = [0]
    for vertices, _ in surfaces:
        starts.append(starts[-1] + len(vertices))
    faces = torch.cat([faces + start for (_, faces), start in zip(surfaces, starts, strict=False)])
    vertices = torch.cat([vertices for vertices, _ in surfaces]).detach()
    return Part(name=name, vertices=vertices, faces=faces, kind="sheet", material=material)


def union(*solids: Solid) -> Union:
    """Returns what any of the solids fills."""
    return Union(solids=solids)


def intersection(*solids: Solid) -> Intersection:
    """Returns what all of the solids fill."""
    return Intersection(solids=solids)


def difference(solid: Solid, *removed: Solid) -> Difference:
    """Returns a solid without what the others fill."""
    return Difference(solid=solid, removed=removed[0] if len(removed) == 1 else Union(solids=removed))


def _capped(across: Tensor, along: Tensor) -> Tensor:
    """Distance to a prism from the distances across and along its axis, each negative inside."""
    outside = torch.stack([across, along], dim=-1).clamp(min=0.0).norm(dim=-1)
    return outside + torch.maximum(across, along).clamp(max=0.0)


def _prism(corners: Tensor, low: Tensor, high: Tensor, *, axis: int) -> tuple[Tensor, Tensor]:
    """Vertices and outward faces of a polygon drawn out along an axis."""
    if float(signed_area(corners)) < 0:
        corners = corners.flip(0)
    n = len(corners)
    lid = triangulate(corners)
    here = torch.arange(n)
    following = here.roll(-1)
    walls = torch.cat(
        [torch.stack([here, following, following + n], 1), torch.stack([here, following + n, here + n], 1)]
    )
    vertices = torch.cat([_lift(corners, low, axis), _lift(corners, high, axis)])
    return vertices, torch.cat([lid.flip(1), lid + n, walls])


def _lift(corners: Tensor, coordinate: Tensor, axis: int) -> Tensor:
    """Points of a plane as points in space; the cyclic order of axes keeps counter-clockwise about the axis."""
    columns = {
        axis: coordinate.expand(len(corners)),
        (axis + 1) % 3: corners[:, 0],
        (axis + 2) % 3: corners[:, 1],
    }
    return torch.stack([columns[index] for index in range(3)], dim=1)


def _number(value: float | Tensor) -> Tensor:
    return value if isinstance(value, Tensor) else torch.tensor(float(value), dtype=torch.float64)


def _positive(name: str, value: float | Tensor) -> Tensor:
    number = _number(value)
    if not bool(number > 0):
        raise InputError(f"{name} = {float(number):g} m must be positive")
    return number


def _vector(name: str, values: Numbers) -> Tensor:
    vector = values if isinstance(values, Tensor) else torch.tensor(list(values), dtype=torch.float64)
    if vector.shape != (3,):
        raise InputError(f"{name} has shape {list(vector.shape)}; give three coordinates x, y, z in metres")
    return vector


def _polygon(corners: Sequence[Sequence[float]] | Tensor) -> Tensor:
    polygon = corners if isinstance(corners, Tensor) else torch.tensor(corners, dtype=torch.float64)
    if polygon.ndim != 2 or polygon.shape[1] != 2 or len(polygon) < 3:
        raise InputError(f"a polygon of shape {list(polygon.shape)}; give at least 3 corners of two coordinates")
    return polygon


def _axis(name: str) -> int:
    if name not in AXES:
        raise UnknownNameError.of("axis", name, AXES)
    return AXES.index(name)
