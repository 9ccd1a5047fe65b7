"""Simple polygons in a plane: distance, differentiable, and triangulation, exact."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindsci.errors import InputError


def signed_area(corners: Float[Tensor, "corners 2"]) -> Float[Tensor, ""]:
    """Returns the area [m^2], positive where the corners run counter-clockwise."""
    following = corners.roll(-1, dims=0)
    return 0.5 * (corners[:, 0] * following[:, 1] - corners[:, 1] * following[:, 0]).sum()


def polygon_distance(corners: Float[Tensor, "corners 2"], points: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n"]:
    """Returns the distance [m] of each point to the border, negative inside."""
    edge = corners.roll(-1, dims=0) - corners
    offset = points[..., None, :] - corners
    along = ((offset * edge).sum(-1) / (edge * edge).sum(-1)).clamp(0.0, 1.0)
    # The square of the distance is smooth where the distance is zero; the root is taken of the smallest only.
    squared = (offset - along[..., None] * edge).square().sum(-1).amin(-1)
    distance = torch.where(squared > 0, torch.where(squared > 0, squared, 1.0).sqrt(), 0.0)
    y0, y1 = corners[:, 1], corners.roll(-1, dims=0)[:, 1]
    y = points[..., None, 1]
    upward, downward = (y0 <= y) & (y1 > y), (y1 <= y) & (y0 > y)
    side = edge[:, 0] * offset[..., 1] - edge[:, 1] * offset[..., 0]
    winding = (upward & (side > 0)).sum(-1) - (downward & (side < 0)).sum(-1)
    return torch.where(winding != 0, -distance, distance)


def triangulate(corners: Float[Tensor, "corners 2"]) -> Int[Tensor, "triangles 3"]:
    """Returns counter-clockwise triangles that fill a simple polygon, by cutting ears [Meisters1975].

    Raises InputError where the polygon has no area or crosses itself.
    """
    points = corners.detach().tolist()
    remaining = list(range(len(points)))
    if len(points) < 3 or float(signed_area(corners).abs()) == 0.0:
        raise InputError(f"a polygon of {len(points)} corners without area cannot be meshed; give at least 3 corners")
    if _crosses_itself(corners.detach()):
        raise InputError("the polygon crosses itself and cannot be meshed; list its corners in order along the rim")
    if float(signed_area(corners)) < 0:
        remaining.reverse()
    triangles = []
    while len(remaining) > 3:
        ear = _find_ear(points, remaining)
        if ear is None:
            raise InputError("the polygon touches itself and cannot be meshed; split it where its rim meets itself")
        triangles.append([remaining[ear - 1], remaining[ear], remaining[(ear + 1) % len(remaining)]])
        del remaining[ear]
    triangles.append(remaining)
    return torch.tensor(triangles)


def prism(corners: Tensor, low: Tensor, high: Tensor, *, axis: int) -> tuple[Tensor, Tensor]:
    """Returns vertices and outward faces of a polygon drawn out along an axis."""
    if float(signed_area(corners)) < 0:
        corners = corners.flip(0)
    n = len(corners)
    lid = triangulate(corners)
    here = torch.arange(n)
    following = here.roll(-1)
    walls = torch.cat(
        [torch.stack([here, following, following + n], 1), torch.stack([here, following + n, here + n], 1)]
    )
    vertices = torch.cat([lift(corners, low, axis), lift(corners, high, axis)])
    return vertices, torch.cat([lid.flip(1), lid + n, walls])


def lift(corners: Tensor, coordinate: Tensor, axis: int) -> Tensor:
    """Returns points of a plane as points in space; the cyclic order of axes keeps counter-clockwise about the axis."""
    columns = {
        axis: coordinate.expand(len(corners)),
        (axis + 1) % 3: corners[:, 0],
        (axis + 2) % 3: corners[:, 1],
    }
    return torch.stack([columns[index] for index in range(3)], dim=1)


def _crosses_itself(corners: Float[Tensor, "corners 2"]) -> bool:
    """Whether two sides cut through each other."""
    ends = corners.roll(-1, dims=0)

    def side_of(points: Tensor) -> Tensor:
        """On which side of each edge (row) each point (column) lies."""
        edge, offset = (ends - corners)[:, None], points[None] - corners[:, None]
        return torch.sign(edge[..., 0] * offset[..., 1] - edge[..., 1] * offset[..., 0])

    parted = side_of(corners) * side_of(ends) < 0
    return bool((parted & parted.T).any())


def _find_ear(points: list[list[float]], remaining: list[int]) -> int | None:
    """The place of a convex corner whose triangle holds no other corner."""
    n = len(remaining)
    for place in range(n):
        before, here, after = (points[remaining[(place + step) % n]] for step in (-1, 0, 1))
        if _turn(before, here, after) <= 0:
            continue
        corners = (before, here, after)
        others = (points[index] for index in remaining if points[index] not in corners)
        if not any(
            _turn(before, here, p) >= 0 and _turn(here, after, p) >= 0 and _turn(after, before, p) >= 0 for p in others
        ):
            return place
    return None


def _turn(a: list[float], b: list[float], c: list[float]) -> float:
    """Positive where a, b, c turn left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
