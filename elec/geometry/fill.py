"""The filled fraction of cells from a signed distance: smooth in it, so that gradients reach the shape."""

from __future__ import annotations

import itertools
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from elec.grid import Grid
from mindsci.tree import parameters

# Widths below this fraction of the cell are taken as this: the formula divides by each of them, and loses 1e-8 of its
# sixteen digits for each; a surface along the grid is blurred by as much.
THINNEST = 1e-4
# Points whose distance is asked for at a time: a few hundred bytes for each.
POINTS_AT_ONCE = 1 << 19


class SignedDistance(Protocol):
    def signed_distance(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]: ...


def soft_fill(solid: SignedDistance, grid: Grid) -> Float[Tensor, "nx ny nz"]:
    """Returns the fraction of each cell inside a solid, its surface taken as flat across the cell.

    Only cells nearer to the surface than their half diagonal are cut: a signed distance is never larger than the
    distance to the surface.
    """
    centers, sizes = lattice(*(grid.centers(axis) for axis in range(3))), [grid.spacing(axis) for axis in range(3)]
    distance = distances(solid, centers)
    half_diagonal = 0.5 * lattice(*sizes).norm(dim=-1)
    near = (distance.abs() < half_diagonal).nonzero()
    fraction = (distance < 0).to(distance.dtype)
    if len(near) == 0:
        return fraction
    points = centers[near.unbind(1)]
    cell = torch.stack([size[index] for size, index in zip(sizes, near.unbind(1), strict=True)], dim=-1)
    wanted = torch.is_grad_enabled() and bool(parameters(solid))
    with torch.enable_grad():
        points.requires_grad_()
        depth = solid.signed_distance(points)
        (normal,) = torch.autograd.grad(depth.sum(), points, create_graph=wanted)
    cut = plane_fraction(depth if wanted else depth.detach(), normal, cell)
    return fraction.index_put(near.unbind(1), cut)


def lattice(x: Float[Tensor, "nx"], y: Float[Tensor, "ny"], z: Float[Tensor, "nz"]) -> Float[Tensor, "nx ny nz 3"]:
    """Returns the vectors of every combination of three lists."""
    return torch.stack(torch.meshgrid(x, y, z, indexing="ij"), dim=-1)


def distances(solid: SignedDistance, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
    """Returns the signed distances [m], without a gradient and in pieces that bound the memory."""
    with torch.no_grad():
        pieces = [solid.signed_distance(piece) for piece in points.reshape(-1, 3).split(POINTS_AT_ONCE)]
        return torch.cat(pieces).reshape(points.shape[:-1])


def plane_fraction(
    distance: Float[Tensor, "*n"], normal: Float[Tensor, "*n 3"], sizes: Float[Tensor, "*n 3"]
) -> Float[Tensor, "*n"]:
    """Returns the fraction of a box behind a plane, from the plane's distance to the centre of the box.

    The depths of the points of a box along the normal are distributed as a sum of three uniform variables as wide as
    the box's sides projected on it: a spline with corners at the box's corners [Scardovelli2000].
    """
    widths = torch.maximum(normal.abs() * sizes, THINNEST * sizes)
    reach = 0.5 * widths.sum(-1)
    depth = (-distance).clamp(-reach, reach)
    total = torch.zeros_like(depth)
    for signs in itertools.product((-1, 1), repeat=3):
        corner = 0.5 * sum(sign * widths[..., axis] for axis, sign in enumerate(signs))
        total = total + signs[0] * signs[1] * signs[2] * (depth + corner).clamp(min=0.0) ** 3
    return (total / (6.0 * widths.prod(-1))).clamp(0.0, 1.0)
