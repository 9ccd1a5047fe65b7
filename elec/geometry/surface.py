"""A triangle surface made ready for millions of points: a tree of boxes, lines along one axis, caps over its holes.

The tree halves the triangles at the median of their centres and keeps around each half a box turned the way it faces
[Gottschalk1996]: that of a smooth patch of size s and radius R is only s^2 / 8R thick, which leaves few triangles to
try even where a point is almost as far from many.

The generalised winding number is exact. Triangles from every unpaired edge to a common apex close the surface; around
the closed one a line to infinity winds a whole number of times, which its signed crossings count, and what the added
triangles contribute is taken off again by their solid angles [Jacobson2013, sec. 4]. A closed surface has none, and a
surface with holes only as many as unpaired edges.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy import ndarray

from elec.geometry.topology import directed_edges

# Points that one thread takes at a time; what it holds for them besides the results is some 40 bytes each.
POINTS_AT_ONCE = 1 << 16
LEAF = 3
"""Triangles in a leaf at least; less than twice as many at most."""
LISTED_PER_TRIANGLE = 24
"""Entries of the lists of cells that long triangles may cause, on the mean; more make the cells larger."""
# The apex of a cap lies off the plane of its hole, where points of a lattice like to lie: the two contributions that
# cancel there would be rounded differently. Any direction will do that no one draws in.
OFF_PLANE = (0.287341, 0.331877, 0.246193)


class Surface:
    """Arrays for the compiled loops, of triangles as they are at the time."""

    def __init__(self, vertices: ndarray, faces: ndarray) -> None:
        self.vertices, self.faces = vertices, faces
        self.order, self.nodes = tree_of_boxes(vertices[faces])
        self.corners = vertices[faces[self.order]].reshape(-1, 9)
        self.low = vertices[faces].min((0, 1))
        self.high = vertices[faces].max((0, 1))
        apexes, caps = closing_triangles(vertices, faces)
        self.lines = Lines(np.concatenate([vertices, apexes]), np.concatenate([faces, caps]))
        self.caps = np.concatenate([vertices, apexes])[caps].reshape(-1, 9)

    def nearest(self, points: ndarray) -> tuple[ndarray, ndarray]:
        """Returns the squared distance [m^2] to the nearest triangle, and its face, for each point [m]."""
        from elec.geometry import surface_kernels as kernels

        squared, places = np.empty(len(points)), np.empty(len(points), dtype=np.int64)
        low, scale = self._cube(points)

        def work(piece: slice) -> None:
            codes = np.empty(piece.stop - piece.start, dtype=np.int64)
            kernels.morton_codes(points[piece], low, scale, codes)
            room = np.empty(kernels.DEEPEST, dtype=np.int64), np.empty(kernels.DEEPEST)
            order = np.argsort(codes) + piece.start
            kernels.nearest_triangles(points, order, self.nodes, self.corners, *room, squared, places)

        in_threads(work, len(points))
        return squared, self.order[places]

    def winding(self, points: ndarray) -> ndarray:
        """Returns the generalised winding number of each point [m]; whole where the surface is closed."""
        from elec.geometry import surface_kernels as kernels

        counts = np.empty(len(points), dtype=np.int64)
        winding = np.zeros(len(points))
        axes = list(self.lines.axes)

        def work(piece: slice) -> None:
            order = np.arange(piece.stop - piece.start)
            turned = np.ascontiguousarray(points[piece][:, axes])
            lines = self.lines
            kernels.crossings_above(
                turned, order, lines.cells, lines.starts, lines.listed, lines.faces, lines.vertices, counts[piece]
            )
            if len(self.caps):
                kernels.solid_angles(points[piece], order, self.caps, winding[piece])

        in_threads(work, len(points))
        return counts - winding / (4.0 * math.pi)

    def _cube(self, points: ndarray) -> tuple[ndarray, float]:
        low = points.min(0) if len(points) else self.low
        size = float((points.max(0) - low).max()) if len(points) else 0.0
        return low, 2.0**21 / size if size > 0 else 1.0


class Lines:
    """Cells of a plane, with the triangles whose projection touches each: those that lines across it can cross."""

    def __init__(self, vertices: ndarray, faces: ndarray) -> None:
        corners = vertices[faces]
        extent = corners.max(1) - corners.min(1)
        across = [(extent[:, (w + 1) % 3] * extent[:, (w + 2) % 3]).sum() for w in range(3)]
        whole = np.ptp(corners.reshape(-1, 3), axis=0)
        crowded = [across[w] / max(whole[(w + 1) % 3] * whole[(w + 2) % 3], 1e-300) for w in range(3)]
        along = int(np.argmin(crowded))
        self.axes = ((along + 1) % 3, (along + 2) % 3, along)
        self.vertices = np.ascontiguousarray(vertices[:, list(self.axes)])
        self.faces = np.ascontiguousarray(faces)
        low = self.vertices[faces][..., :2].min((0, 1))
        high = self.vertices[faces][..., :2].max((0, 1))
        size = np.maximum(high - low, 1e-300)
        cell = math.sqrt(float(size[0] * size[1]) / len(faces)) or float(size.max())
        while True:
            number = np.clip(np.ceil(size / cell), 1, 4096)
            first, last = self._spans(low, number / size, number)
            counts = (last - first + 1).prod(1)
            if counts.sum() <= LISTED_PER_TRIANGLE * len(faces) or (number == 1).all():
                break
            cell *= 1.5
        self.cells = np.array([*low, *(number / size), *number])
        self.starts, self.listed = _lists(first, last, counts, number.astype(np.int64))

    def _spans(self, low: ndarray, scale: ndarray, number: ndarray) -> tuple[ndarray, ndarray]:
        """First and last cell of each triangle along both axes; the expression is the one that points use."""
        corners = self.vertices[self.faces][..., :2]
        ends = [np.floor((bound - low) * scale) for bound in (corners.min(1), corners.max(1))]
        first, last = (np.clip(end, 0, number - 1).astype(np.int64) for end in ends)
        return first, last


def surface_of(part: Any) -> Surface:
    """Returns the surface of a part or other mesh: made once, and again where its vertices were changed in place."""
    with _lock:
        state = (part.vertices.data_ptr(), part.vertices._version, part.faces._version)
        known = _surfaces.get(part)
        if known is None or known[0] != state:
            vertices = np.ascontiguousarray(part.vertices.detach().cpu().to(torch.float64).numpy())
            faces = np.ascontiguousarray(part.faces.cpu().numpy().astype(np.int64))
            known = (state, Surface(vertices.copy(), faces))
            _surfaces[part] = known
        return known[1]


_surfaces: weakref.WeakKeyDictionary[Any, tuple[Any, Surface]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def tree_of_boxes(corners: ndarray) -> tuple[ndarray, ndarray]:
    """Returns the order of triangles along the leaves, and the boxes: (nodes, 3 axes and their low and high ends).

    Every leaf has the same number of triangles; some occur twice to make it so.
    """
    n = len(corners)
    depth = max(0, int(math.log2(n / LEAF))) if n > LEAF else 0
    size = -(-n // 2**depth)
    order = np.minimum(np.arange(size * 2**depth), n - 1)
    centers = corners.mean(1)
    nodes = np.zeros((2 ** (depth + 1), 15))
    for level in range(depth + 1):
        groups = order.reshape(2**level, -1)
        nodes[2**level : 2 ** (level + 1)] = _boxes(corners[groups])
        if level < depth:
            places = centers[groups]
            longest = np.ptp(places, axis=1).argmax(1)
            keys = np.take_along_axis(places, longest[:, None, None], axis=2)[..., 0]
            order = np.take_along_axis(groups, keys.argsort(1, kind="stable"), axis=1).reshape(-1)
    return order, nodes


def _boxes(corners: ndarray) -> ndarray:
    """Boxes of groups of triangles (group, triangle, corner, coordinate), turned to face the way these do on the mean.

    Groups that face all ways, as the whole of a closed surface does, have boxes along x, y, z.
    """
    normals = np.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0])
    facing, total = normals.sum(1), np.linalg.norm(normals, axis=2).sum(1)
    length = np.linalg.norm(facing, axis=1)
    axes = np.tile(np.eye(3), (len(corners), 1, 1))
    turned = length > 0.5 * total
    axes[turned, 2] = facing[turned] / length[turned, None]
    # Any direction across serves; the coordinate axis that is least along the normal gives one without cancellation.
    least = np.eye(3)[np.abs(axes[turned, 2]).argmin(1)]
    across = np.cross(axes[turned, 2], least)
    axes[turned, 0] = across / np.linalg.norm(across, axis=1, keepdims=True)
    axes[turned, 1] = np.cross(axes[turned, 2], axes[turned, 0])
    along = np.matmul(corners.reshape(len(corners), -1, 3), axes.transpose(0, 2, 1))
    return np.concatenate([axes.reshape(-1, 9), along.min(1), along.max(1)], axis=1)


def closing_triangles(vertices: ndarray, faces: ndarray) -> tuple[ndarray, ndarray]:
    """Returns apexes, and the triangles to them that give every edge a neighbour running the other way.

    Each group of unpaired edges that hang together has an apex of its own, near the middle of its edges.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = unpaired_edges(faces)
    if len(edges) == 0:
        return np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)
    used, local = np.unique(edges, return_inverse=True)
    local = local.reshape(-1, 2)
    links = coo_array((np.ones(len(edges)), (local[:, 0], local[:, 1])), shape=(len(used), len(used)))
    n_groups, label = connected_components(links, directed=False)
    group = label[local[:, 0]]
    apexes = np.empty((n_groups, 3))
    for which in range(n_groups):
        rim = vertices[edges[group == which]].reshape(-1, 3)
        apexes[which] = rim.mean(0) + np.array(OFF_PLANE) * np.linalg.norm(np.ptp(rim, axis=0))
    return apexes, np.stack([edges[:, 1], edges[:, 0], len(vertices) + group], axis=1)


def unpaired_edges(faces: ndarray) -> ndarray:
    """Returns the directed edges that no neighbour runs through the other way, as often as they lack one."""
    edges = directed_edges(faces)
    forward = np.where(edges[:, 0] < edges[:, 1], 1, -1)
    unique, inverse = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True)
    balance = np.bincount(inverse.reshape(-1), weights=forward, minlength=len(unique)).astype(np.int64)
    left = np.where((balance < 0)[:, None], unique[:, ::-1], unique)
    return np.repeat(left, np.abs(balance), axis=0)


def _lists(first: ndarray, last: ndarray, counts: ndarray, number: ndarray) -> tuple[ndarray, ndarray]:
    """The triangles of each cell, one list after another, and where each begins."""
    triangle = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(triangle)) - np.repeat(np.cumsum(counts) - counts, counts)
    wide = (last - first + 1)[triangle, 1]
    cell = (first[triangle, 0] + within // wide) * number[1] + first[triangle, 1] + within % wide
    order = np.argsort(cell, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=int(number.prod())))])
    return starts, triangle[order]


def in_threads(work: Callable[[slice], None], n_points: int) -> None:
    """Calls work on pieces of the points, from as many threads as torch uses."""
    from concurrent.futures import ThreadPoolExecutor

    pieces = [slice(s, min(s + POINTS_AT_ONCE, n_points)) for s in range(0, n_points, POINTS_AT_ONCE)]
    threads = min(torch.get_num_threads(), len(pieces))
    if threads < 2:
        for piece in pieces:
            work(piece)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, pieces))
