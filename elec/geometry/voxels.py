"""Parts on the Yee grid: which cells they fill, which electric edges they turn to metal."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from elec.geometry.columns import inside_lattice, lattice_pairs, stretches_inside, summed_lengths
from elec.geometry.fill import SignedDistance, distances, lattice
from elec.geometry.part import Part, flat_axis, planes
from elec.grid import AXES, ON_NODE_FRACTION, Grid
from mindsci.errors import InputError

# Lines along z that are followed at a time; each crosses the surface a few times.
LINES_AT_ONCE = 1 << 20
ROUNDING = 1e-12

EdgeMasks = tuple[Tensor, Tensor, Tensor]
"""Bool tensors of the electric edges: Ex (nx, ny + 1, nz + 1), Ey (nx + 1, ny, nz + 1), Ez (nx + 1, ny + 1, nz)."""


def occupancy(part: Part, grid: Grid) -> Bool[Tensor, "nx ny nz"]:
    """Returns which cells have their centre inside a solid."""
    _needs_solid(part)
    filled = torch.zeros(grid.shape, dtype=torch.bool, device=grid.x.device)
    window = _window(part, grid)
    centers = [grid.centers(axis)[piece] for axis, piece in enumerate(window)]
    if all(center.numel() for center in centers):
        filled[window] = inside_lattice(part, *centers)
    return filled


def fill_fractions(part: Part, grid: Grid, *, subsamples: int = 4) -> Float[Tensor, "nx ny nz"]:
    """Returns the fraction of each cell that a solid fills.

    Exact for a solid whose faces are all normal to an axis. For others it is exact along z and, across, a mean over
    subsamples x subsamples lines in each cell.
    """
    _needs_solid(part)
    if subsamples < 1:
        raise InputError(f"subsamples = {subsamples} must be at least 1; 4 is usual")
    fractions = torch.zeros(grid.shape, dtype=torch.float64, device=grid.x.device)
    window = _window(part, grid)
    filled = fractions[window]
    if filled.numel() == 0:
        return fractions
    # Between the planes of such a solid every line along z runs the same, so one line each is exact.
    rectilinear = bool(flat_axis(part)[0].any(1).all())
    cuts = planes(part)
    x, cell_x, weight_x = _samples(grid.x, window[0], cuts[0], 1 if rectilinear else subsamples)
    y, cell_y, weight_y = _samples(grid.y, window[1], cuts[1], 1 if rectilinear else subsamples)
    nodes = grid.z[window[2].start : window[2].stop + 1]
    n_x, n_y = filled.shape[:2]
    lengths = torch.zeros(n_x * n_y, filled.shape[2], dtype=torch.float64, device=grid.x.device)
    for block in torch.arange(x.numel(), device=x.device).split(max(1, LINES_AT_ONCE // y.numel())):
        stretches = stretches_inside(part, x[block], y)
        i, j = block[stretches.line // y.numel()], stretches.line % y.numel()
        columns, weights = cell_x[i] * n_y + cell_y[j], weight_x[i] * weight_y[j]
        lengths += summed_lengths(stretches, columns, weights, nodes, n_columns=n_x * n_y)
    filled[:] = (lengths.reshape(filled.shape) / nodes.diff()).clamp(max=1.0)
    # What rounding leaves of a share that was added and taken away again.
    filled[filled < ROUNDING] = 0.0
    return fractions


def _samples(nodes: Tensor, window: slice, cuts: list[float], subsamples: int) -> tuple[Tensor, Tensor, Tensor]:
    """Splits the cells of a window evenly and at the cuts; returns middle [m], cell and share of the cell of each."""
    nodes = nodes[window.start : window.stop + 1]
    even = [nodes[:-1] + nodes.diff() * (step / subsamples) for step in range(subsamples)]
    inner = torch.tensor(cuts, dtype=nodes.dtype, device=nodes.device)
    inner = inner[(inner > nodes[0]) & (inner < nodes[-1])]
    ends = torch.cat([*even, nodes[-1:], inner]).unique()
    middle = 0.5 * (ends[1:] + ends[:-1])
    cell = (torch.searchsorted(nodes, middle, right=True) - 1).clamp(0, nodes.numel() - 2)
    return middle, cell, ends.diff() / nodes.diff()[cell]


def no_edges(grid: Grid) -> EdgeMasks:
    """Returns false for every electric edge."""
    ex, ey, ez = (
        torch.zeros(
            [grid.shape[axis] + (axis != component) for axis in range(3)], dtype=torch.bool, device=grid.x.device
        )
        for component in range(3)
    )
    return (ex, ey, ez)


def solid_edges(part: Part | SignedDistance, grid: Grid, *, border: bool = True) -> EdgeMasks:
    """Returns the electric edges whose midpoint lies inside a solid, or on its surface where border is true.

    An edge on the surface is found by looking a thousandth of a cell to each of its four sides: it counts as inside
    when any side is (border) or when all of them are (no border). A signed distance is compared with as much.
    """
    if not isinstance(part, Part):
        reach = ON_NODE_FRACTION * min(grid.smallest_cell())
        ex, ey, ez = (_near_component(part, grid, component, reach if border else -reach) for component in range(3))
        return (ex, ey, ez)
    _needs_solid(part)
    ex, ey, ez = (_solid_component(part, grid, component, border) for component in range(3))
    return (ex, ey, ez)


def _near_component(solid: SignedDistance, grid: Grid, component: int, reach: float) -> Bool[Tensor, "ex ey ez"]:
    places = lattice(*(grid.centers(axis) if axis == component else grid.nodes(axis) for axis in range(3)))
    return distances(solid, places) <= reach


def _solid_component(part: Part, grid: Grid, component: int, border: bool) -> Bool[Tensor, "ex ey ez"]:
    places = [grid.centers(axis) if axis == component else grid.nodes(axis) for axis in range(3)]
    mask = torch.zeros([place.numel() for place in places], dtype=torch.bool, device=grid.x.device)
    window = _window(part, grid, nodes=[axis != component for axis in range(3)])
    places = [place[piece] for place, piece in zip(places, window, strict=True)]
    if not all(place.numel() for place in places):
        return mask
    across = [axis for axis in range(3) if axis != component]
    votes = []
    for first in (-1, 1):
        for second in (-1, 1):
            moved = list(places)
            for axis, side in zip(across, (first, second), strict=True):
                moved[axis] = places[axis] + side * ON_NODE_FRACTION * float(grid.spacing(axis).min())
            votes.append(inside_lattice(part, *moved))
    stacked = torch.stack(votes)
    mask[window] = stacked.any(0) if border else stacked.all(0)
    return mask


def sheet_edges(part: Part, grid: Grid) -> EdgeMasks:
    """Returns the electric edges that a sheet turns to metal: in its plane, with the midpoint inside or on the rim.

    Raises InputError where a plane of the sheet lies off the grid lines or no edge is covered.
    """
    masks = no_edges(grid)
    for axis, index, triangles in planes_of(part, grid):
        _mark_plane(masks, triangles, grid, axis, index)
    if not any(bool(mask.any()) for mask in masks):
        raise InputError(f"sheet '{part.name}' covers no edge of the grid; use smaller cells")
    return masks


def planes_of(part: Part, grid: Grid) -> Iterator[tuple[int, int, Float[Tensor, "faces 3 3"]]]:
    """Yields the planes of a sheet within the grid: axis, node, and the triangles in it.

    Raises InputError where a plane lies off the grid lines, or a triangle in no plane across an axis.
    """
    if part.kind != "sheet":
        raise InputError(f"part '{part.name}' is a {part.kind}; this takes sheets")
    triangles = part.triangles()
    flat, level = flat_axis(part)
    left_over = torch.ones(len(triangles), dtype=torch.bool, device=triangles.device)
    for axis in range(3):
        for coordinate in level[flat[:, axis] & left_over, axis].unique().tolist():
            if not _reaches(grid, axis, coordinate):
                continue  # a model that is cut by the border of the grid goes on beyond it
            index = grid.node_index(axis, coordinate, what=f"sheet '{part.name}', whose plane")
            yield axis, index, triangles[flat[:, axis] & left_over & (level[:, axis] == coordinate)]
        left_over &= ~flat[:, axis]
    if bool(left_over.any()):
        raise InputError(f"sheet '{part.name}' has triangles on no axis plane; rotate it, or make it a solid")


def _reaches(grid: Grid, axis: int, coordinate: float) -> bool:
    """Whether a coordinate lies within the grid or on its border."""
    nodes = grid.nodes(axis)
    last = nodes.numel() - 1
    low, high = (
        float(nodes[0]) - grid.on_node_tolerance(axis, 0),
        float(nodes[last]) + grid.on_node_tolerance(axis, last),
    )
    return low <= coordinate <= high


def _mark_plane(masks: EdgeMasks, triangles: Float[Tensor, "faces 3 3"], grid: Grid, axis: int, index: int) -> None:
    """Marks the edges in one plane of the grid (node `index` of `axis`) that the triangles cover."""
    across = [other for other in range(3) if other != axis]
    projected = triangles[:, :, across]
    tolerance = ON_NODE_FRACTION * min(float(grid.spacing(other).min()) for other in across)
    for component in across:
        u, v = (grid.centers(other) if other == component else grid.nodes(other) for other in across)
        covered = masks[component].select(axis, index)
        for triangle, i, j in lattice_pairs(projected, u, v, reach=tolerance):
            inside = in_triangle(projected[triangle], torch.stack([u[i], v[j]], dim=1), tolerance)
            covered[i[inside], j[inside]] = True


def in_triangle(
    corners: Float[Tensor, "pairs 3 2"], points: Float[Tensor, "pairs 2"], tolerance: float
) -> Bool[Tensor, "pairs"]:
    """Returns whether each point lies in its triangle or within the tolerance [m] of its border."""
    edges = corners.roll(-1, dims=1) - corners
    offset = points[:, None] - corners
    cross = edges[..., 0] * offset[..., 1] - edges[..., 1] * offset[..., 0]
    area = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]
    distance = torch.sign(area)[:, None] * cross / edges.norm(dim=-1)
    return (distance >= -tolerance).all(1)


def _window(part: Part, grid: Grid, nodes: list[bool] | None = None) -> tuple[slice, slice, slice]:
    """The cells (or nodes) along each axis that reach into the part's bounding box; nothing outside it is tested."""
    low, high = part.bounds().tolist()
    window = []
    for axis in range(len(AXES)):
        lines = grid.nodes(axis)
        margin = 2 * ON_NODE_FRACTION * float(grid.spacing(axis).max())
        edges = torch.tensor([low[axis] - margin, high[axis] + margin], dtype=lines.dtype, device=lines.device)
        first = int(torch.searchsorted(lines, edges[0]))
        last = int(torch.searchsorted(lines, edges[1], right=True))
        if nodes is not None and nodes[axis]:
            window.append(slice(first, last))
        else:
            window.append(slice(max(first - 1, 0), min(last, grid.shape[axis])))
    return (window[0], window[1], window[2])


def _needs_solid(part: Part) -> None:
    if part.kind != "solid":
        raise InputError(f"part '{part.name}' is a {part.kind}, which fills no volume; give a solid")
