"""How much of each edge and of each face of the grid lies outside metal: what a conformal scheme is made of.

Edges are cut at the exact crossings of their line with the surface, quarters of faces along the straight line between
the crossings of their edges: lengths are exact, areas second order in the cell over the radius of curvature. Where two
surfaces meet inside a quarter the chord cuts their corner off: all faces along a rim, which whole faces would feel as
four times the error. Both are smooth in the crossings, so that gradients reach the parameters of constructive solids.

A surface that runs along the grid is seen from its open side: each face looks at its edges from a millionth of a cell
inside it, and an edge on a surface counts as metal because one of the four lines around it does.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from elec.geometry.columns import lengths_inside
from elec.geometry.fill import SignedDistance, distances, lattice
from elec.geometry.part import Part
from elec.grid import Grid
from mindsci import tree
from mindsci.tree import Tree, parameters

Components = tuple[Tensor, Tensor, Tensor]
Shape = Part | SignedDistance

# How far [cells] the lines beside an edge run from it: far above rounding, far below any error of the scheme.
BESIDE = 1e-6
# Rounds that leave a quarter each before the last step of Newton, which squares what is left. A line that runs BESIDE a
# face sees the surface that it crosses only from points that are nearer to it than to that face: 4e-9 of half an edge.
QUARTERINGS = 14
ROUNDING = 1e-9


class Cuts(Tree):
    """Fractions outside metal, between 0 and 1."""

    edges: Components
    """of the length of each electric edge: Ex (nx, ny + 1, nz + 1), Ey, Ez"""
    faces: Components
    """of the area of each face: Hx (nx + 1, ny, nz), Hy, Hz"""
    walls: Components
    """area of the metal's surface in the box around each face, over the volume of that box [1/m]"""


class Halves(Tree):
    """What is inside a shape on the two halves of every edge along one axis, low half then high half."""

    fraction: Float[Tensor, "x y z"]
    low: Bool[Tensor, "x y z"]
    """whether the part inside begins at the low end of its half"""


class _Lines(Tree):
    """Edges along one axis as seen from one of the four lines beside them."""

    open: Float[Tensor, "x y z"]
    low: Bool[Tensor, "x y z"]
    """whether the open part begins at the low end"""


def metal_cuts(shapes: Sequence[tuple[Shape, bool]], grid: Grid) -> Cuts:
    """Returns what solids leave open; each comes with whether it is metal, and replaces those before it.

    A shape is a closed `Part` or anything with a signed distance; the fractions are differentiable in the parameters of
    the latter.
    """
    fine = _halved(grid)
    known = [None if isinstance(shape, Part) else distances(shape, _nodes(fine)) for shape, _ in shapes]
    with_known = [(shape, metal, d) for (shape, metal), d in zip(shapes, known, strict=True)]
    beside = [
        {shift: _open_lines(with_known, fine, axis, shift) for shift in itertools.product((-1, 1), repeat=2)}
        for axis in range(3)
    ]
    edges, faces, walls = [], [], []
    for axis in range(3):
        halves = torch.stack([lines.open for lines in beside[axis].values()]).amin(0)
        quarters = _open_faces(beside, axis)
        traces = _wall_traces(beside, axis, fine)
        for other in range(3):
            if other == axis:
                halves = _pairs(halves, axis)
            else:
                halves, quarters, traces = (
                    halves[_every_other(other, 0)],
                    _pairs(quarters, other),
                    _pairs(traces, other),
                )
        edges.append(halves)
        faces.append(quarters[_every_other(axis, 0)])
        walls.append(_wall_density(traces, quarters, grid, axis))
    return Cuts(
        edges=(edges[0], edges[1], edges[2]),
        faces=(faces[0], faces[1], faces[2]),
        walls=(walls[0], walls[1], walls[2]),
    )


def _halved(grid: Grid) -> Grid:
    x, y, z = (_divided(grid.nodes(axis), 2) for axis in range(3))
    return Grid(x=x, y=y, z=z)


def _pairs(values: Tensor, axis: int) -> Tensor:
    """Mean of the two halves of each edge along an axis."""
    return 0.5 * (values[_every_other(axis, 0)] + values[_every_other(axis, 1)])


def solid_cuts(solid: Shape, grid: Grid) -> Cuts:
    """Returns what one metal solid leaves open, differentiable in its parameters where it is a constructive one."""
    return metal_cuts([(solid, True)], grid)


def _nodes(grid: Grid) -> Float[Tensor, "x y z 3"]:
    return lattice(*(grid.nodes(axis) for axis in range(3)))


def _open_lines(
    shapes: Sequence[tuple[Shape, bool, Tensor | None]], grid: Grid, axis: int, shift: tuple[int, int]
) -> _Lines:
    """The open part of all edges along an axis, on lines moved sideways by the shift."""
    metal: Halves | None = None
    for shape, is_metal, known in shapes:
        if metal is None and not is_metal:
            continue
        lines = [grid.nodes(other) for other in range(3)]
        for step, other in zip(shift, ((axis + 1) % 3, (axis + 2) % 3), strict=True):
            lines[other] = lines[other] + step * BESIDE * float(grid.spacing(other).min())
        halves = (
            _halves_of_part(shape, lines, axis)
            if isinstance(shape, Part)
            else _halves_of_solid(shape, lines, axis, known)
        )
        metal = halves if metal is None else (_joined(metal, halves) if is_metal else _without(metal, halves))
    if metal is None:
        sizes = [grid.shape[other] + (other != axis) for other in range(3)]
        whole = torch.ones(sizes, dtype=torch.float64, device=grid.x.device)
        return _Lines(open=whole, low=torch.ones_like(whole, dtype=torch.bool))
    first, second = (metal.fraction[_every_other(axis, start)] for start in (0, 1))
    return _Lines(open=1.0 - 0.5 * (first + second), low=first <= second)


def _every_other(axis: int, start: int) -> tuple[slice, ...]:
    return tuple(slice(start, None, 2) if other == axis else slice(None) for other in range(3))


def _joined(a: Halves, b: Halves) -> Halves:
    """What is inside either: exact while each half is cut once at most by each."""
    same = a.low == b.low
    fraction = torch.where(same, torch.maximum(a.fraction, b.fraction), (a.fraction + b.fraction).clamp(max=1.0))
    return Halves(fraction=fraction, low=torch.where(a.fraction >= b.fraction, a.low, b.low))


def _without(a: Halves, b: Halves) -> Halves:
    """What is inside the first and not the second."""
    rest = 1.0 - b.fraction
    same = a.low == ~b.low
    fraction = torch.where(same, torch.minimum(a.fraction, rest), (a.fraction + rest - 1.0).clamp(min=0.0))
    return Halves(fraction=fraction, low=torch.where(a.fraction <= rest, a.low, ~b.low))


def _halves_of_part(part: Part, lines: list[Tensor], axis: int) -> Halves:
    """Exact crossings: the part is turned so that the axis is the one along which its lines are followed."""
    order = [(axis + 1) % 3, (axis + 2) % 3, axis]
    turned = tree.replace(part, vertices=part.vertices[:, order])
    u, v, along = (lines[other] for other in order)
    quarters = _divided(along, 4)
    low, high = turned.bounds()
    at = [_span(values, float(low[k]), float(high[k])) for k, values in enumerate((u, v))]
    inside = torch.zeros(u.numel(), v.numel(), quarters.numel() - 1, dtype=along.dtype, device=along.device)
    if all(piece.stop > piece.start for piece in at):
        inside[at[0], at[1]] = lengths_inside(turned, u[at[0]], v[at[1]], quarters)
    inside = inside / quarters.diff()
    first, second = inside[..., 0::2], inside[..., 1::2]
    fraction = (0.5 * (first + second)).clamp(0.0, 1.0)
    back = [order.index(other) for other in range(3)]
    return Halves(fraction=fraction.permute(back), low=(first >= second).permute(back))


def _span(values: Tensor, low: float, high: float) -> slice:
    """The sorted values between two ends."""
    ends = torch.tensor([low, high], dtype=values.dtype, device=values.device)
    first, last = torch.searchsorted(values.contiguous(), ends).tolist()
    return slice(first, last)


def _divided(nodes: Tensor, pieces: int) -> Tensor:
    """The nodes with each interval divided evenly."""
    steps = torch.arange(pieces, dtype=nodes.dtype, device=nodes.device) / pieces
    inner = nodes[:-1, None] + nodes.diff()[:, None] * steps
    return torch.cat([inner.reshape(-1), nodes[-1:]])


def _halves_of_solid(solid: SignedDistance, lines: list[Tensor], axis: int, known: Tensor | None) -> Halves:
    """Crossings by nesting, then one step of Newton, which carries the gradient: ds = -d(distance) / slope."""
    known = distances(solid, lattice(*lines)) if known is None else known
    count = lines[axis].numel() - 1
    first, second = known.narrow(axis, 0, count), known.narrow(axis, 1, count)
    length = lines[axis].diff().reshape([-1 if other == axis else 1 for other in range(3)])
    # The distance is never larger than that to the surface, so an edge that is cut has an end within half its length.
    # Twice as much also finds those that a surface only grazes between their ends.
    near = (torch.minimum(first.abs(), second.abs()) <= length).nonzero()
    ends = [torch.stack([lines[k][index] for k, index in enumerate(near.unbind(1))], dim=-1)]
    cell = lines[axis].diff()[near[:, axis]]
    direction = torch.zeros(3, dtype=cell.dtype, device=cell.device)
    direction[axis] = 1.0
    ends += [ends[0] + 0.5 * cell[:, None] * direction, ends[0] + cell[:, None] * direction]
    inside = [distances(solid, points) <= 0 for points in ends]
    whole = (first <= 0).repeat_interleave(2, dim=axis)
    fraction, low = whole.to(known.dtype), torch.ones_like(whole)
    for half in range(2):
        here, there = inside[half], inside[half + 1]
        cut = here != there
        part = here.to(known.dtype)
        if bool(cut.any()):
            crossing = _crossing(solid, ends[half][cut], ends[half + 1][cut], here[cut])
            part = part.index_put((cut.nonzero().squeeze(1),), torch.where(here[cut], crossing, 1.0 - crossing))
        index = list(near.unbind(1))
        index[axis] = 2 * index[axis] + half
        fraction, low = fraction.index_put(tuple(index), part), low.index_put(tuple(index), here)
    return Halves(fraction=fraction, low=low)


def _crossing(
    solid: SignedDistance, start: Float[Tensor, "n 3"], end: Float[Tensor, "n 3"], inside: Bool[Tensor, "n"]
) -> Float[Tensor, "n"]:
    """Where the surface cuts each segment, as a fraction from its start."""
    low, width = torch.zeros_like(start[:, 0]), 1.0
    for _ in range(QUARTERINGS):
        width = 0.25 * width
        inner = low + width * torch.arange(1, 4, dtype=low.dtype, device=low.device)[:, None]
        same = (distances(solid, start + inner[..., None] * (end - start)) <= 0) == inside
        low = low + width * same.cumprod(0).sum(0)
    middle = low + 0.5 * width
    wanted = torch.is_grad_enabled() and bool(parameters(solid))
    with torch.enable_grad():
        points = (start + middle[:, None] * (end - start)).requires_grad_()
        distance = solid.signed_distance(points)
        (normal,) = torch.autograd.grad(distance.sum(), points, retain_graph=wanted)
    slope = (normal * (end - start)).sum(-1)
    # Where the surface only grazes the segment the slope says nothing; the rounds alone are exact to 4e-9.
    steep = slope.abs() > 1e-3 * (end - start).norm(dim=-1)
    moved = torch.where(steep, -(distance if wanted else distance.detach()) / torch.where(steep, slope, 1.0), 0.0)
    crossing = middle + moved
    # A surface that meets an end within rounding still moves with its parameters.
    return crossing + (crossing.clamp(0.0, 1.0) - crossing).detach()


def _open_faces(beside: list[dict[tuple[int, int], _Lines]], normal: int) -> Float[Tensor, "x y z"]:
    """The open share of the faces across an axis, from the crossings of their four edges.

    With the open lengths b, t (along p, below and above) and l, r (along q, left and right) of a unit square, the
    polygon closes with a cut whose normal times its length is N = (l - r, b - t), and has the area (r + t + N.x) / 2
    by the divergence theorem, x being any point of the cut.
    """
    p, q = (normal + 1) % 3, (normal + 2) % 3
    below, above = (_seen(beside[p], 0, side, q) for side in (1, -1))
    left, right = (_seen(beside[q], 1, side, p) for side in (1, -1))
    cut_p, cut_q = left.open - right.open, below.open - above.open
    total, count = torch.zeros_like(cut_p), torch.zeros_like(cut_p)
    for lines, fixed, along_p in ((below, 0.0, True), (above, 1.0, True), (left, 0.0, False), (right, 1.0, False)):
        crossed = (lines.open > ROUNDING) & (lines.open < 1.0 - ROUNDING)
        place = torch.where(lines.low, lines.open, 1.0 - lines.open)
        depth = cut_p * place + cut_q * fixed if along_p else cut_p * fixed + cut_q * place
        total, count = total + torch.where(crossed, depth, 0.0), count + crossed
    area = 0.5 * (right.open + above.open + total / count.clamp(min=1.0))
    # Where all crossings lie on nodes the face is open or not, and grows with the mean length along p and along q.
    sides = torch.stack([lines.open for lines in (below, above, left, right)])
    growth = 0.5 * sides.sum(0)
    uncut = sides.detach().amax(0) + growth - growth.detach()
    return torch.where(count > 0, area.clamp(0.0, 1.0), uncut)


def _wall_traces(beside: list[dict[tuple[int, int], _Lines]], normal: int, grid: Grid) -> Float[Tensor, "x y z"]:
    """The length of the metal's surface in the faces across an axis over their area [1/m].

    It is the chord that closes the open polygon, and what lies on the edges themselves: there the line beside an edge
    is open in the face and not beyond it. At a corner of the metal one of the two lines along the normal is open
    beyond too, and half of the face's box has no wall.
    """
    p, q = (normal + 1) % 3, (normal + 2) % 3
    length_p, length_q = (
        grid.spacing(axis).reshape([-1 if other == axis else 1 for other in range(3)]) for axis in (p, q)
    )
    below, above = (_seen(beside[p], 0, side, q) for side in (1, -1))
    left, right = (_seen(beside[q], 1, side, p) for side in (1, -1))
    chord_p, chord_q = (below.open - above.open) * length_p, (left.open - right.open) * length_q
    cut = (chord_p**2 + chord_q**2) > 0
    chord = torch.where(cut, torch.where(cut, chord_p**2 + chord_q**2, 1.0).sqrt(), 0.0)
    along_p = sum(_closed_beyond(beside[p], 0, side, q) for side in (1, -1)) * length_p
    along_q = sum(_closed_beyond(beside[q], 1, side, p) for side in (1, -1)) * length_q
    return (chord + along_p + along_q) / (length_p * length_q)


def _closed_beyond(lines: dict[tuple[int, int], _Lines], place: int, side: int, across: int) -> Tensor:
    """What is open of the edges at one border of each face as the face sees them, and closed from their other side."""
    total = torch.zeros(())
    for other in (-1, 1):
        here, beyond = (lines[(at, other) if place == 0 else (other, at)].open for at in (side, -side))
        total = total + 0.5 * (here - beyond).clamp(min=0.0)
    size = total.shape[across] - 1
    return total.narrow(across, 0 if side > 0 else 1, size)


def _wall_density(traces: Tensor, opened: Tensor, grid: Grid, normal: int) -> Float[Tensor, "x y z"]:
    """The area of the surface in the boxes around faces over their volume [1/m].

    traces and open shares of the faces come at the nodes and at the centres along the normal. A piece of the surface
    has the area sqrt(a^2 + b^2): a from its traces across the box, b from what it takes of the open area on the way
    through. What belongs to a face inside the metal goes to its neighbour on the open side.
    """
    nodes, centers = _every_other(normal, 0), _every_other(normal, 1)
    before, after = _beside(traces[centers], normal)
    across = 0.5 * traces[nodes] + 0.25 * (before + after)
    before, after = _beside(opened[centers], normal)
    dual = grid.dual_spacing(normal).reshape([-1 if other == normal else 1 for other in range(3)])
    along = (after - before) / dual
    some = (across > 0) | (along != 0)
    area = torch.where(some, torch.where(some, across**2 + along**2, 1.0).sqrt(), 0.0) * dual
    closed = opened[nodes] <= ROUNDING
    to_next, to_last = (torch.where(closed & (side * along > 0), area, 0.0) for side in (1, -1))
    area = torch.where(closed, 0.0, area)
    size, none = area.shape[normal] - 1, torch.zeros_like(area.narrow(normal, 0, 1))
    area = area + torch.cat([none, to_next.narrow(normal, 0, size)], dim=normal)
    return (area + torch.cat([to_last.narrow(normal, 1, size), none], dim=normal)) / dual


def _beside(centers: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """What lies before and after each node; beyond the ends, the same as within them."""
    first, last = centers.narrow(axis, 0, 1), centers.narrow(axis, centers.shape[axis] - 1, 1)
    return torch.cat([first, centers], dim=axis), torch.cat([centers, last], dim=axis)


def _seen(lines: dict[tuple[int, int], _Lines], place: int, side: int, across: int) -> _Lines:
    """The edges at one border of each face as the face sees them: moved into it, whichever way along its normal."""
    keys = [(side, other) if place == 0 else (other, side) for other in (-1, 1)]
    first, second = (lines[key] for key in keys)
    better = first.open >= second.open
    size = better.shape[across] - 1
    start = 0 if side > 0 else 1

    def cut(values: Tensor) -> Tensor:
        return values.narrow(across, start, size)

    return _Lines(
        open=cut(torch.where(better, first.open, second.open)), low=cut(torch.where(better, first.low, second.low))
    )
