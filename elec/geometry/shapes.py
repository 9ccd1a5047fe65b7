"""Round solids and strips: cone, torus, wire, strip; and meshes inscribed in the round ones.

Distances are exact, those of a wire outside it: inside a bent wire they are a lower bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from elec.geometry.arguments import Numbers, number, positive, vector
from elec.geometry.csg import Cylinder, Extrusion, Solid, Sphere, Transform, Translation, extrusion
from elec.geometry.part import Part
from elec.geometry.polygon import polygon_distance
from mindsci.errors import InputError

# A strip whose path turns back more sharply than this has a mitre longer than 3.9 widths.
SHARPEST_TURN = math.radians(150.0)


class Cone(Solid):
    """A round cone or frustum between the centres of its two ends."""

    start: Float[Tensor, "3"]
    """[m]"""
    end: Float[Tensor, "3"]
    """[m]"""
    start_radius: Float[Tensor, ""]
    """[m]"""
    end_radius: Float[Tensor, ""]
    """[m]; zero at a tip"""

    def signed_distance(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        length = (self.end - self.start).norm()
        height, across = _along_and_across(points, self.start, (self.end - self.start) / length)
        # In a plane through the axis the solid is a trapezoid, as wide on both sides of it.
        zero, first, last = torch.zeros_like(length), self.start_radius, self.end_radius
        corners = [(-first, zero), (first, zero)] if bool(first > 0) else [(zero, zero)]
        corners += [(last, length), (-last, length)] if bool(last > 0) else [(zero, length)]
        trapezoid = torch.stack([torch.stack(corner) for corner in corners])
        return polygon_distance(trapezoid, torch.stack([across, height], dim=-1))


class Torus(Solid):
    center: Float[Tensor, "3"]
    """[m]"""
    axis: Float[Tensor, "3"]
    """of any length"""
    ring_radius: Float[Tensor, ""]
    """of the circle in the middle of the tube [m]"""
    tube_radius: Float[Tensor, ""]
    """[m]"""

    def signed_distance(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        height, across = _along_and_across(points, self.center, self.axis / self.axis.norm())
        return torch.stack([across - self.ring_radius, height], dim=-1).norm(dim=-1) - self.tube_radius


class Wire(Solid):
    """All points within a radius of a path: round sections, round bends, round ends."""

    path: Float[Tensor, "nodes 3"]
    """[m]"""
    radius: Float[Tensor, ""]
    """[m]"""

    def signed_distance(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
        nearest: Tensor | None = None
        for start, end in zip(self.path[:-1], self.path[1:], strict=True):
            span, offset = end - start, points - start
            along = ((offset * span).sum(-1) / (span * span).sum()).clamp(0.0, 1.0)
            distance = (offset - along[..., None] * span).norm(dim=-1)
            nearest = distance if nearest is None else torch.minimum(nearest, distance)
        assert nearest is not None
        return nearest - self.radius


def cone(start: Numbers, end: Numbers, start_radius: float | Tensor, end_radius: float | Tensor = 0.0) -> Cone:
    """Returns the frustum between the centres of its ends [m] with the radii there [m]; one of them may be zero."""
    ends = (vector("start", start), vector("end", end))
    radii = (number(start_radius), number(end_radius))
    if bool((ends[0] == ends[1]).all()):
        raise InputError(f"cone from {ends[0].tolist()} m to the same point has no length; move its end")
    if bool(radii[0] < 0) or bool(radii[1] < 0) or not bool(radii[0] + radii[1] > 0):
        raise InputError(
            f"cone of radii {float(radii[0]):g} and {float(radii[1]):g} m: one must be positive, none below 0"
        )
    return Cone(start=ends[0], end=ends[1], start_radius=radii[0], end_radius=radii[1])


def torus(center: Numbers, axis: Numbers, ring_radius: float | Tensor, tube_radius: float | Tensor) -> Torus:
    """Returns the torus about an axis through its centre [m], of the radii of its ring and of its tube [m]."""
    radii = (positive("ring_radius", ring_radius), positive("tube_radius", tube_radius))
    direction = vector("axis", axis)
    if not bool(direction.norm() > 0):
        raise InputError("axis = [0, 0, 0] has no direction; give one such as (0, 0, 1)")
    if not bool(radii[1] < radii[0]):
        raise InputError(
            f"tube_radius = {float(radii[1]):g} m must be below ring_radius = {float(radii[0]):g} m: the tube would "
            "cross itself"
        )
    return Torus(center=vector("center", center), axis=direction, ring_radius=radii[0], tube_radius=radii[1])


def wire(path: Sequence[Sequence[float]] | Tensor, radius: float | Tensor) -> Wire:
    """Returns the round wire of a radius [m] along straight pieces between points [m]."""
    nodes = _path(path, 3)
    return Wire(path=nodes, radius=positive("radius", radius))


def strip(
    path: Sequence[Sequence[float]] | Tensor,
    width: float | Tensor,
    low: float | Tensor,
    high: float | Tensor,
    *,
    axis: str = "z",
) -> Extrusion:
    """Returns a strip of a width [m] along a path in the plane across an axis, between two coordinates on it [m].

    The points of the path are given as the corners of `extrusion`; its ends are square, its bends mitred.
    """
    return extrusion(strip_outline(path, width), low, high, axis=axis)


def strip_outline(path: Sequence[Sequence[float]] | Tensor, width: float | Tensor) -> Float[Tensor, "corners 2"]:
    """Returns the corners [m] of a strip of a width along a path [m], counter-clockwise; for `sheet` or `extrusion`."""
    nodes, half = _path(path, 2), 0.5 * positive("width", width)
    direction = nodes.diff(dim=0)
    direction = direction / direction.norm(dim=1, keepdim=True)
    normal = torch.stack([-direction[:, 1], direction[:, 0]], dim=1)
    cosine = (normal[:-1] * normal[1:]).sum(1)
    sharp = (cosine < math.cos(SHARPEST_TURN)).nonzero().squeeze(1)
    if len(sharp):
        raise InputError(
            f"the path of the strip turns back by more than 150 degrees at {nodes[sharp[0] + 1].tolist()} m; split it "
            "there into two strips"
        )
    mitre = (normal[:-1] + normal[1:]) / (1.0 + cosine[:, None])
    offset = half * torch.cat([normal[:1], mitre, normal[-1:]])
    return torch.cat([nodes - offset, (nodes + offset).flip(0)])


def faceted(solid: Solid, name: str, *, material: str = "pec", segments: int = 64) -> Part:
    """Returns a part with flat faces inscribed in a sphere, cylinder, cone or torus, moved or turned as it may be.

    With n segments around, the surface lies at most radius (1 - cos(pi / n)) inside the true one, 0.12 % at 64.
    Other solids give their exact mesh. Raises InputError where there is none.
    """
    if segments < 3:
        raise InputError(f"segments = {segments}: a round solid needs at least 3; 64 is usual")
    vertices, faces = _facets(solid, segments)
    return Part(name=name, vertices=vertices.detach(), faces=faces, kind="solid", material=material)


def _facets(solid: Solid, segments: int) -> tuple[Tensor, Tensor]:
    if isinstance(solid, Translation):
        vertices, faces = _facets(solid.solid, segments)
        return vertices + solid.offset, faces
    if isinstance(solid, Transform):
        vertices, faces = _facets(solid.solid, segments)
        mirrored = bool(torch.linalg.det(solid.turn.detach()) < 0)
        return solid.factor * vertices @ solid.turn.T + solid.offset, faces.flip(1) if mirrored else faces
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    around = (torch.arange(segments, dtype=torch.float64) / segments) * 2.0 * math.pi
    if isinstance(solid, Sphere):
        polar = torch.linspace(math.pi, 0.0, segments // 2 + 1, dtype=torch.float64)
        return _revolved(solid.radius * polar.sin(), solid.radius * polar.cos(), solid.center, up, around)
    if isinstance(solid, (Cylinder, Cone)):
        length = (solid.end - solid.start).norm()
        radii = (solid.radius, solid.radius) if isinstance(solid, Cylinder) else (solid.start_radius, solid.end_radius)
        zero = torch.zeros_like(length)
        profile = torch.stack([zero, *radii, zero]), torch.stack([zero, zero, length, length])
        return _revolved(*profile, solid.start, (solid.end - solid.start) / length, around)
    if isinstance(solid, Torus):
        radius = solid.ring_radius + solid.tube_radius * around.cos()
        axis = solid.axis / solid.axis.norm()
        return _revolved(radius, solid.tube_radius * around.sin(), solid.center, axis, around, closed=True)
    return solid.surface()


def _revolved(
    radius: Tensor, height: Tensor, center: Tensor, axis: Tensor, around: Tensor, *, closed: bool = False
) -> tuple[Float[Tensor, "_vertices 3"], Int[Tensor, "_faces 3"]]:
    """A profile turned about an axis; one that is not closed begins and ends on it."""
    least = torch.eye(3, dtype=axis.dtype)[int(axis.detach().abs().argmin())]
    first = torch.linalg.cross(axis, least)
    first = first / first.norm()
    second = torch.linalg.cross(axis, first)
    circle = around.cos()[:, None] * first + around.sin()[:, None] * second
    vertices = center + radius[:, None, None] * circle + height[:, None, None] * axis
    n, m = vertices.shape[:2]
    numbers = torch.arange(n * m).reshape(n, m)
    here = torch.cat([numbers, numbers[:1]]) if closed else numbers
    a, b, c, d = here[:-1], here[:-1].roll(-1, 1), here[1:].roll(-1, 1), here[1:]
    faces = torch.cat([torch.stack([a, b, c], -1), torch.stack([a, c, d], -1)]).reshape(-1, 3)
    # On the axis a ring is one point, and half of the triangles beside it have no area.
    on_axis = (radius.detach() == 0) if not closed else torch.zeros(n, dtype=torch.bool)
    on_axis = on_axis | (radius.detach() <= 1e-12 * radius.detach().max())
    single = torch.where(on_axis[:, None], numbers[:, :1], numbers).reshape(-1)
    faces = single[faces]
    proper = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    used, faces = torch.unique(faces[proper], return_inverse=True)
    return vertices.reshape(-1, 3)[used], faces


def _along_and_across(points: Tensor, origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    offset = points - origin
    height = (offset * direction).sum(-1)
    return height, (offset - height[..., None] * direction).norm(dim=-1)


def _path(points: Sequence[Sequence[float]] | Tensor, dimensions: int) -> Tensor:
    nodes = points if isinstance(points, Tensor) else torch.tensor(points, dtype=torch.float64)
    if nodes.ndim != 2 or nodes.shape[1] != dimensions or len(nodes) < 2:
        raise InputError(f"a path of shape {list(nodes.shape)}; give at least 2 points of {dimensions} coordinates")
    if bool((nodes.detach().diff(dim=0) == 0).all(1).any()):
        raise InputError("two points of the path that follow one another are the same; remove one")
    return nodes
