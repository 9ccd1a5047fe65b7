"""Making a closed, outward-facing surface of the triangles in a file, or saying where it is not closed.

NumPy, since it runs once at reading and nothing is differentiated.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

# The underscore: the number of vertices or faces may differ between what is given and what is returned.
Vertices = Float[ndarray, "_vertices 3"]
Faces = Int[ndarray, "_faces 3"]


def merge_vertices(vertices: Vertices, faces: Faces, *, tolerance: float) -> tuple[Vertices, Faces]:
    """Returns the mesh with vertices closer than the tolerance [m] made one, and faces that collapse left out."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    unique, inverse = np.unique(vertices, axis=0, return_inverse=True)
    faces = inverse.reshape(-1)[faces]
    pairs = cKDTree(unique).query_pairs(tolerance, output_type="ndarray")
    if len(pairs):
        links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(unique), len(unique)))
        _, label = connected_components(links, directed=False)
        _, first, label = np.unique(label, return_index=True, return_inverse=True)
        unique, faces = unique[first], label[faces]
    collapsed = (faces[:, 0] == faces[:, 1]) | (faces[:, 1] == faces[:, 2]) | (faces[:, 2] == faces[:, 0])
    return _without_unused(unique, faces[~collapsed])


def without_slivers(vertices: Vertices, faces: Faces) -> tuple[Vertices, Faces]:
    """Returns a sheet's mesh without triangles of no area, which lie in no plane."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    sides = np.stack([b - a, c - b, a - c])
    longest = (sides**2).sum(-1).max(0)
    doubled_area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    return _without_unused(vertices, faces[doubled_area > 1e-12 * longest])


def _without_unused(vertices: Vertices, faces: Faces) -> tuple[Vertices, Faces]:
    used, inverse = np.unique(faces, return_inverse=True)
    return vertices[used], inverse.reshape(faces.shape)


def directed_edges(faces: Faces) -> Int[ndarray, "edges 2"]:
    """Returns the three edges of each face in its direction: all first edges, then all second, then all third."""
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def open_edges(faces: Faces) -> Int[ndarray, "edges 2"]:
    """Returns the edges that an odd number of faces share: the rims of holes."""
    edges, counts = np.unique(np.sort(directed_edges(faces), axis=1), axis=0, return_counts=True)
    return edges[counts % 2 == 1]


def unbalanced_edges(faces: Faces) -> Int[ndarray, "edges 2"]:
    """Returns the edges that are not run through as often one way as the other; none on a closed, oriented surface."""
    edges = directed_edges(faces)
    forward = np.where(edges[:, 0] < edges[:, 1], 1, -1)
    unique, inverse = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True)
    balance = np.bincount(inverse.reshape(-1), weights=forward, minlength=len(unique))
    return unique[balance != 0]


def oriented(faces: Faces) -> Faces:
    """Returns the faces turned so that neighbours agree, walking over edges that exactly two faces share."""
    n_faces = len(faces)
    edges = directed_edges(faces)
    forward = edges[:, 0] < edges[:, 1]
    owner = np.tile(np.arange(n_faces), 3)
    _, inverse, counts = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(-1)
    order = np.argsort(inverse, kind="stable")
    order = order[counts[inverse[order]] == 2].reshape(-1, 2)
    disagree = forward[order[:, 0]] == forward[order[:, 1]]
    neighbours: list[list[tuple[int, bool]]] = [[] for _ in range(n_faces)]
    for (one, other), turn in zip(owner[order].tolist(), disagree.tolist(), strict=True):
        neighbours[one].append((other, turn))
        neighbours[other].append((one, turn))
    turned = np.zeros(n_faces, dtype=bool)
    seen = np.zeros(n_faces, dtype=bool)
    for start in range(n_faces):
        if seen[start]:
            continue
        seen[start] = True
        waiting = [start]
        while waiting:
            face = waiting.pop()
            for other, turn in neighbours[face]:
                if not seen[other]:
                    seen[other] = True
                    turned[other] = turned[face] ^ turn
                    waiting.append(other)
    return np.where(turned[:, None], faces[:, ::-1], faces)


def bodies(faces: Faces) -> list[Faces]:
    """Returns the faces of each body: those that hang together by their vertices."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n_vertices = int(faces.max()) + 1
    edges = directed_edges(faces)
    links = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n_vertices, n_vertices))
    _, label = connected_components(links, directed=False)
    of_face = label[faces[:, 0]]
    return [faces[of_face == body] for body in np.unique(of_face)]


def volume(vertices: Vertices, faces: Faces) -> float:
    """Returns the signed volume [m^3] of a closed surface: negative where its faces point inward."""
    corners = vertices[faces] - vertices[faces[0, 0]]
    return float(np.einsum("fi,fi->", np.cross(corners[:, 0], corners[:, 1]), corners[:, 2]) / 6.0)
