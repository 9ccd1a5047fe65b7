"""Winding number and signed distance of a mesh at any points: plain torch, and compiled loops for millions of points.

The generalised winding number adds up the solid angles of all triangles [Jacobson2013]: 1 inside a closed surface, 0
outside, and a sensible fraction near the holes of an open one. Each solid angle is exact [VanOosterom1983].

The reference tries every triangle at every point. The compiled engine (`elec.geometry.surface`) gives the same numbers
to rounding; points that want a gradient get it from the triangle that it found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from elec.geometry.surface import surface_of
from mindsci.errors import InputError, UnknownNameError

# Pairs of a point and a triangle at a time: the two dozen numbers of each then stay in the processor's cache, and the
# memory held is 2^15 x 24 x 8 bytes = 6 MiB whatever the mesh.
PAIRS_AT_ONCE = 1 << 15
FEW_PAIRS = 1 << 16
"""Pairs below which the reference is done before the compiled loops are loaded."""
ENGINES = ("auto", "reference", "numba")


class Mesh(Protocol):
    """A part, a solid made of triangles: whatever has vertices [m] and faces."""

    vertices: Float[Tensor, "vertices 3"]
    faces: Int[Tensor, "faces 3"]


def winding_number(part: Mesh, points: Float[Tensor, "points 3"], *, engine: str = "auto") -> Float[Tensor, "points"]:
    """Returns how often the surface winds around each point [m].

    On the surface itself it jumps: a point there may get the number of either side. The engine is "reference" (plain
    torch), "numba" or, by default, the latter for many points on the CPU.
    """
    if _compiled(part, points, engine):
        found = surface_of(part).winding(_plain(points))
        return torch.from_numpy(found).to(points.dtype)
    corners = part.vertices[part.faces].permute(1, 2, 0).contiguous()
    winding = torch.zeros(len(points), dtype=points.dtype, device=points.device)
    for rows, faces in _pieces(len(points), corners.shape[2]):
        winding[rows] += _solid_angles(corners[:, :, None, faces], points[rows]).sum(1)
    return winding / (4.0 * math.pi)


def inside(part: Mesh, points: Float[Tensor, "points 3"], *, engine: str = "auto") -> Bool[Tensor, "points"]:
    """Returns which points [m] lie inside the surface: where it winds more than half a turn."""
    points = points.detach()
    with torch.no_grad():
        corners = part.vertices[part.faces].reshape(-1, 3)
        result = ((points >= corners.amin(0)) & (points <= corners.amax(0))).all(1)
        result[result.clone()] = winding_number(part, points[result], engine=engine) > 0.5
    return result


def signed_distance(part: Mesh, points: Float[Tensor, "points 3"], *, engine: str = "auto") -> Float[Tensor, "points"]:
    """Returns the distance [m] of each point to the nearest triangle, negative inside.

    Differentiable in the points and in the vertices. Where a surface crosses itself the triangles in its inside count
    too: the sign is right, the distance to the outside is at least this.
    """
    compiled = _compiled(part, points, engine)
    within = inside(part, points, engine="numba" if compiled else "reference")
    wanted = torch.is_grad_enabled() and (points.requires_grad or part.vertices.requires_grad)
    if compiled:
        squared, faces = surface_of(part).nearest(_plain(points))
        nearest, face = torch.from_numpy(squared).to(points.dtype), torch.from_numpy(faces)
    else:
        nearest, face = _nearest(part, points.detach())
    if wanted:
        return _oriented_distance(part.vertices[part.faces[face]], points, within)
    distance = nearest.sqrt()
    return torch.where(within, -distance, distance)


def _compiled(part: Mesh, points: Tensor, engine: str) -> bool:
    if engine not in ENGINES:
        raise UnknownNameError.of("engine", engine, ENGINES)
    on_cpu = points.device.type == "cpu" and part.vertices.device.type == "cpu"
    if engine == "numba" and not on_cpu:
        raise InputError(f"engine = 'numba' runs on the CPU and the points are on {points.device}; use 'reference'")
    return engine == "numba" or (engine == "auto" and on_cpu and len(points) * len(part.faces) > FEW_PAIRS)


def _plain(points: Tensor) -> ndarray:
    return points.detach().to(torch.float64).contiguous().numpy()


def _nearest(part: Mesh, points: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance to the nearest triangle and its number, by trying all that balls around them leave."""
    with torch.no_grad():
        triangles = part.vertices[part.faces]
        centers = triangles.mean(1)
        radii = (triangles - centers[:, None]).norm(dim=-1).amax(1)
        squared = torch.full((len(points),), math.inf, dtype=points.dtype, device=points.device)
        nearest = torch.zeros(len(points), dtype=torch.int64, device=points.device)
        for rows in torch.arange(len(points), device=points.device).split(max(1, 8 * PAIRS_AT_ONCE // len(triangles))):
            to_center = torch.cdist(points[rows], centers, compute_mode="donot_use_mm_for_euclid_dist")
            # A triangle whose ball of corners begins beyond the end of another's cannot be the nearest.
            nearest_end = (to_center + radii).amin(1, keepdim=True) * (1 + 1e-9)
            point, face = (to_center - radii <= nearest_end).nonzero(as_tuple=True)
            found = _squared_distances(triangles[face], points[rows[point]])
            squared.scatter_reduce_(0, rows[point], found, "amin")
            best = found == squared[rows[point]]
            nearest[rows[point[best]]] = face[best]
    return squared, nearest


def _oriented_distance(triangles: Tensor, points: Tensor, within: Tensor) -> Tensor:
    """The signed distance to one triangle each; over its face it is smooth through zero."""
    to_sides, height, over = _to_sides_and_plane(triangles, points)
    sign = torch.where(within, -1.0, 1.0).to(points.dtype)
    turned = torch.where(height.detach() == 0, 1.0, sign * torch.sign(height.detach()))
    beside = torch.where(to_sides > 0, torch.where(to_sides > 0, to_sides, 1.0).sqrt(), 0.0)
    return torch.where(over, turned * height, sign * beside)


def _pieces(n_points: int, n_triangles: int) -> Iterator[tuple[slice, slice]]:
    n_faces = max(1, min(n_triangles, PAIRS_AT_ONCE // 16))
    n_rows = max(1, PAIRS_AT_ONCE // n_faces)
    for row in range(0, n_points, n_rows):
        for face in range(0, n_triangles, n_faces):
            yield slice(row, row + n_rows), slice(face, face + n_faces)


def _solid_angles(corners: Float[Tensor, "3 3 1 faces"], points: Float[Tensor, "points 3"]) -> Tensor:
    """[VanOosterom1983, eq. 8]: tan(angle / 2) = a . (b x c) / (|a||b||c| + (a.b)|c| + (b.c)|a| + (c.a)|b|).

    Written out by coordinates: each is then one stretch of memory, several times faster than vectors of three.
    """
    px, py, pz = (points[:, axis, None] for axis in range(3))
    ax, ay, az = corners[0, 0] - px, corners[0, 1] - py, corners[0, 2] - pz
    bx, by, bz = corners[1, 0] - px, corners[1, 1] - py, corners[1, 2] - pz
    cx, cy, cz = corners[2, 0] - px, corners[2, 1] - py, corners[2, 2] - pz
    la = (ax * ax + ay * ay + az * az).sqrt()
    lb = (bx * bx + by * by + bz * bz).sqrt()
    lc = (cx * cx + cy * cy + cz * cz).sqrt()
    numerator = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
    denominator = (
        la * lb * lc
        + (ax * bx + ay * by + az * bz) * lc
        + (bx * cx + by * cy + bz * cz) * la
        + (cx * ax + cy * ay + cz * az) * lb
    )
    return 2.0 * torch.atan2(numerator, denominator)


def _squared_distances(triangles: Float[Tensor, "pairs 3 3"], points: Float[Tensor, "pairs 3"]) -> Tensor:
    """The nearest point is the foot on the plane where that falls inside the triangle, else it lies on a side."""
    to_sides, height, over = _to_sides_and_plane(triangles, points)
    return torch.where(over, height.square(), to_sides)


def _to_sides_and_plane(triangles: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Squared distance to the nearest side, height over the plane, and whether the foot falls inside the triangle."""
    sides = triangles.roll(-1, dims=1) - triangles
    offset = points[:, None] - triangles
    squared = (sides * sides).sum(-1)
    along = ((offset * sides).sum(-1) / torch.where(squared > 0, squared, 1.0)).clamp(0.0, 1.0)
    to_sides = (offset - along[..., None] * sides).square().sum(-1).amin(-1)
    normal = torch.linalg.cross(sides[:, 0], sides[:, 1])
    doubled = normal.square().sum(-1)
    flat = doubled > 0
    height = (offset[:, 0] * normal).sum(-1) / torch.where(flat, doubled, 1.0).sqrt()
    # A point is over the triangle when it lies on the inner side of each edge: (edge x offset) . normal >= 0.
    over = ((torch.linalg.cross(sides, offset) * normal[:, None]).sum(-1) >= 0).all(-1) & flat
    return to_sides, height, over
