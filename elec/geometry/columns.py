"""Which stretches of vertical lines lie inside a closed mesh: exact, and fast enough for whole grids.

A line along z through (x, y) crosses the triangles whose projection on the xy plane winds around (x, y); walking up the
line, each crossing adds or takes one from the winding number. Whether an edge of the projection passes left or right of
the point is evaluated once for each edge, in the same order of operations for both triangles that share it, so that a
line through an edge or a corner is never counted twice or missed: on a closed mesh every line enters as often as it
leaves, whatever the rounding.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from elec.geometry.part import Part
from mindsci.tree import Tree

# Pairs of a triangle and a line held at a time: about 20 numbers of 8 bytes for each.
PAIRS_AT_ONCE = 1 << 20


class Stretches(Tree):
    """Stretches of lines inside a solid: line (i, j) of the lattice has the index i * len(y) + j."""

    line: Int[Tensor, "stretches"]
    low: Float[Tensor, "stretches"]
    """[m]"""
    high: Float[Tensor, "stretches"]
    """[m]"""


def stretches_inside(part: Part, x: Float[Tensor, "nx"], y: Float[Tensor, "ny"]) -> Stretches:
    """Returns where the lines along z through each (x[i], y[j]) [m], both sorted, run inside a closed part."""
    events = [_crossings(part, pairs, x, y) for pairs in lattice_pairs(part.triangles()[:, :, :2], x, y)]
    if not events:
        nothing = torch.zeros(0, dtype=torch.float64)
        return Stretches(line=nothing.long(), low=nothing, high=nothing)
    line, height, step = (torch.cat(values) for values in zip(*events, strict=True))
    order = height.argsort(stable=True)
    order = order[line[order].argsort(stable=True)]
    line, height, step = line[order], height[order], step[order]
    # The steps of one line add up to zero, so the running sum over all lines starts each of them at zero.
    inside = (step.cumsum(0) > 0)[:-1] & (height[1:] > height[:-1])
    return Stretches(line=line[:-1][inside], low=height[:-1][inside], high=height[1:][inside])


def lattice_pairs(
    triangles: Float[Tensor, "faces 3 2"], x: Float[Tensor, "nx"], y: Float[Tensor, "ny"], *, reach: float = 0.0
) -> Iterator[tuple[Int[Tensor, "pairs"], Int[Tensor, "pairs"], Int[Tensor, "pairs"]]]:
    """Yields (triangle, i, j), in pieces, for the lattice points in each triangle's bounding box, `reach` [m] wider."""
    low, high = (triangles.amin(1) - reach).T.contiguous(), (triangles.amax(1) + reach).T.contiguous()
    x, y = x.contiguous(), y.contiguous()
    first_i, first_j = torch.searchsorted(x, low[0]), torch.searchsorted(y, low[1])
    count_i = torch.searchsorted(x, high[0], right=True) - first_i
    count_j = torch.searchsorted(y, high[1], right=True) - first_j
    counts = count_i * count_j
    busy = counts.nonzero().squeeze(1)
    piece = counts[busy].cumsum(0) // PAIRS_AT_ONCE
    for part_of_busy in busy.split(torch.unique_consecutive(piece, return_counts=True)[1].tolist()):
        count = counts[part_of_busy]
        triangle = part_of_busy.repeat_interleave(count)
        within = torch.arange(triangle.numel(), device=x.device) - (count.cumsum(0) - count).repeat_interleave(count)
        i = first_i[triangle] + within // count_j[triangle]
        j = first_j[triangle] + within % count_j[triangle]
        yield triangle, i, j


def _crossings(
    part: Part, pairs: tuple[Tensor, Tensor, Tensor], x: Tensor, y: Tensor
) -> tuple[Int[Tensor, "events"], Float[Tensor, "events"], Int[Tensor, "events"]]:
    """Returns (line, height, step of the winding number going up) of the lines that cross their triangle."""
    triangle, i, j = pairs
    px, py = x[i], y[j]
    winding = torch.zeros_like(triangle)
    for corner in range(3):
        start, end = part.faces[triangle, corner], part.faces[triangle, (corner + 1) % 3]
        winding += _edge_winding(part.vertices, start, end, px, py)
    crossed = winding.nonzero().squeeze(1)
    triangle, px, py = triangle[crossed], px[crossed], py[crossed]
    a, b, c = part.vertices[part.faces[triangle]].unbind(1)
    normal = torch.linalg.cross(b - a, c - a)
    upright = torch.where(normal[:, 2] == 0, 1.0, normal[:, 2])
    height = a[:, 2] - (normal[:, 0] * (px - a[:, 0]) + normal[:, 1] * (py - a[:, 1])) / upright
    corners = torch.stack([a[:, 2], b[:, 2], c[:, 2]])
    # On a steep triangle the quotient may run past its corners.
    height = height.clamp(corners.amin(0), corners.amax(0))
    return i[crossed] * y.numel() + j[crossed], height, -winding[crossed]


def _edge_winding(vertices: Tensor, start: Tensor, end: Tensor, px: Tensor, py: Tensor) -> Int[Tensor, "pairs"]:
    """+1 or -1 where the projected edge crosses the half-line from p towards +x going up or down, else 0.

    Always computed from the vertex of lower index to that of higher index: the neighbour gets exactly the negative.
    """
    forward = start < end
    first, second = torch.where(forward, start, end), torch.where(forward, end, start)
    ax, ay = vertices[first, 0], vertices[first, 1]
    bx, by = vertices[second, 0], vertices[second, 1]
    up = (ay <= py) & (by > py)
    down = (by <= py) & (ay > py)
    side = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
    crossing = (up & (side > 0)).long() - (down & (side < 0)).long()
    return torch.where(forward, crossing, -crossing)


def inside_lattice(
    part: Part, x: Float[Tensor, "nx"], y: Float[Tensor, "ny"], z: Float[Tensor, "nz"]
) -> Bool[Tensor, "nx ny nz"]:
    """Returns which points of the lattice x by y by z [m], each sorted, lie inside a closed part."""
    stretches = stretches_inside(part, x, y)
    z = z.contiguous()
    entering = torch.searchsorted(z, stretches.low)
    leaving = torch.searchsorted(z, stretches.high)
    change = torch.zeros(x.numel() * y.numel(), z.numel() + 1, dtype=torch.int32, device=z.device)
    one = torch.ones_like(stretches.line, dtype=torch.int32)
    change.index_put_((stretches.line, entering), one, accumulate=True)
    change.index_put_((stretches.line, leaving), -one, accumulate=True)
    return (change.cumsum(1)[:, :-1] > 0).reshape(x.numel(), y.numel(), z.numel())


def lengths_inside(
    part: Part, x: Float[Tensor, "nx"], y: Float[Tensor, "ny"], nodes: Float[Tensor, "nodes_z"]
) -> Float[Tensor, "nx ny nz"]:
    """Returns the length [m] inside a closed part of each line (x[i], y[j]) between neighbouring nodes in z [m]."""
    stretches = stretches_inside(part, x, y)
    weights = torch.ones_like(stretches.low)
    lengths = summed_lengths(stretches, stretches.line, weights, nodes, n_columns=x.numel() * y.numel())
    return lengths.reshape(x.numel(), y.numel(), nodes.numel() - 1)


def summed_lengths(
    stretches: Stretches,
    columns: Int[Tensor, "stretches"],
    weights: Float[Tensor, "stretches"],
    nodes: Float[Tensor, "nodes_z"],
    *,
    n_columns: int,
) -> Float[Tensor, "columns nz"]:
    """Returns the weighted length [m] of the stretches in each cell of the column that each belongs to.

    Each stretch covers the cells from its first to its last in full, which a running sum fills in, less what is missing
    in these two.
    """
    nodes = nodes.contiguous()
    n_cells = nodes.numel() - 1
    low, high = stretches.low.clamp(min=nodes[0]), stretches.high.clamp(max=nodes[-1])
    met = high > low
    low, high, columns, weights = low[met], high[met], columns[met], weights[met]
    first = (torch.searchsorted(nodes, low, right=True) - 1).clamp(max=n_cells - 1)
    last = torch.searchsorted(nodes, high) - 1
    covered = torch.zeros(n_columns, n_cells + 1, dtype=nodes.dtype, device=nodes.device)
    covered.index_put_((columns, first), weights, accumulate=True)
    covered.index_put_((columns, last + 1), -weights, accumulate=True)
    lengths = covered.cumsum(1)[:, :-1] * nodes.diff()
    lengths.index_put_((columns, first), weights * (nodes[first] - low), accumulate=True)
    lengths.index_put_((columns, last), weights * (high - nodes[last + 1]), accumulate=True)
    return lengths
