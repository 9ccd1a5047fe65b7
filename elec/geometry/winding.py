"""Winding number and signed distance of a mesh at any points, in plain torch.

The generalised winding number adds up the solid angles of all triangles [Jacobson2013]: 1 inside a closed surface, 0
outside, and a sensible fraction near the holes of an open one. Each solid angle is exact [VanOosterom1983].
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from elec.geometry.part import Part

# Pairs of a point and a triangle at a time: the two dozen numbers of each then stay in the processor's cache, and the
# memory held is 2^15 x 24 x 8 bytes = 6 MiB whatever the mesh.
PAIRS_AT_ONCE = 1 << 15


def winding_number(part: Part, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points"]:
    """Returns how often the surface winds around each point [m].

    On the surface itself it jumps: a point there may get the number of either side.
    """
    corners = part.triangles().permute(1, 2, 0).contiguous()
    winding = torch.zeros(len(points), dtype=points.dtype, device=points.device)
    for rows, faces in _pieces(len(points), corners.shape[2]):
        winding[rows] += _solid_angles(corners[:, :, None, faces], points[rows]).sum(1)
    return winding / (4.0 * math.pi)


def inside(part: Part, points: Float[Tensor, "points 3"]) -> Bool[Tensor, "points"]:
    """Returns which points [m] lie inside the surface: where it winds more than half a turn."""
    low, high = part.bounds()
    result = ((points >= low) & (points <= high)).all(1)
    result[result.clone()] = winding_number(part, points[result]) > 0.5
    return result


def signed_distance(part: Part, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points"]:
    """Returns the distance [m] of each point to the nearest triangle, negative inside."""
    triangles = part.triangles()
    centers = triangles.mean(1)
    radii = (triangles - centers[:, None]).norm(dim=-1).amax(1)
    squared = torch.full((len(points),), math.inf, dtype=points.dtype, device=points.device)
    for rows in torch.arange(len(points), device=points.device).split(max(1, 8 * PAIRS_AT_ONCE // len(triangles))):
        to_center = torch.cdist(points[rows], centers, compute_mode="donot_use_mm_for_euclid_dist")
        # A triangle whose ball of corners begins beyond the end of another's cannot be the nearest.
        nearest_end = (to_center + radii).amin(1, keepdim=True) * (1 + 1e-9)
        point, face = (to_center - radii <= nearest_end).nonzero(as_tuple=True)
        found = _squared_distances(triangles[face], points[rows[point]])
        squared.scatter_reduce_(0, rows[point], found, "amin")
    distance = squared.sqrt()
    return torch.where(inside(part, points), -distance, distance)


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
    sides = triangles.roll(-1, dims=1) - triangles
    offset = points[:, None] - triangles
    along = ((offset * sides).sum(-1) / (sides * sides).sum(-1)).clamp(0.0, 1.0)
    to_sides = (offset - along[..., None] * sides).square().sum(-1).amin(-1)
    normal = torch.linalg.cross(sides[:, 0], sides[:, 1])
    length = normal.norm(dim=-1)
    height = (offset[:, 0] * normal).sum(-1) / length
    # A point is over the triangle when it lies on the inner side of each edge: (edge x offset) . normal >= 0.
    over = ((torch.linalg.cross(sides, offset) * normal[:, None]).sum(-1) >= 0).all(-1)
    return torch.where(over & (length > 0), height.square(), to_sides)
