"""Making the most of a broken mesh: repeated faces, faces turned every which way, bodies inside out, holes.

What is left undecided after that is judged by the generalised winding number, which jumps by one across every face: a
face of a sound solid has more than a half on its inner side and less on its outer side. Where too much of the surface
does not, there is no saying what is inside, and the place of the worst face is named.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy import ndarray

from elec.geometry.part import Part
from elec.geometry.topology import Faces, Vertices, bodies, oriented, unbalanced_edges, volume
from elec.geometry.winding import winding_number

# How far [of the size of the face] from a face its two sides are looked at.
BESIDE = 1e-3
UNDECIDED = 0.1
"""Share of the area that may be undecided: the rims of holes and strips that lie open are, sound surfaces are not."""


def without_repeats(faces: Faces) -> Faces:
    """Returns the faces with one of each that occurs several times, whichever way its copies run."""
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    return faces[np.sort(first)]


def facing_outward(vertices: Vertices, faces: Faces) -> Faces:
    """Returns the faces with each body that lies in no other, or in an even number of others, turned outward.

    A body within another is left as it is: facing inward it is a cavity, facing outward it is filled twice.
    """
    groups = bodies(faces)
    if len(groups) == 1:
        return faces if volume(vertices, faces) > 0 else faces[:, ::-1]
    ends = np.array([[vertices[group].min((0, 1)), vertices[group].max((0, 1))] for group in groups])
    turned = []
    for k, group in enumerate(groups):
        place = vertices[group[0, 0]]
        around = ((ends[:, 0] < place) & (place < ends[:, 1])).all(1)
        around[k] = False
        depth = sum(abs(_winding(vertices, groups[other], place)) > 0.5 for other in np.flatnonzero(around))
        outward = volume(vertices, group) > 0 or depth % 2 == 1
        turned.append(group if outward else group[:, ::-1])
    return np.concatenate(turned)


def mended(vertices: Vertices, faces: Faces) -> Faces:
    """Returns the faces once each, neighbours agreeing and bodies turned outward; holes stay open."""
    faces = without_repeats(faces)
    if len(unbalanced_edges(faces)):
        faces = oriented(faces)
    return facing_outward(vertices, faces)


def undecided(vertices: Vertices, faces: Faces) -> tuple[float, ndarray]:
    """Returns the share of the area whose two sides are not inside and outside, and the middle of its largest face."""
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    doubled = np.linalg.norm(normal, axis=1)
    step = BESIDE * normal / np.sqrt(np.where(doubled > 0, doubled, 1.0))[:, None]
    middle = corners.mean(1)
    sides = torch.from_numpy(np.concatenate([middle - step, middle + step]))
    part = Part(name="mesh", vertices=torch.from_numpy(vertices), faces=torch.from_numpy(np.ascontiguousarray(faces)))
    inner, outer = winding_number(part, sides).numpy().reshape(2, -1)
    # A part that crosses itself has faces inside, with more than a half on both sides: they bound nothing.
    vague = ((inner < 0.5) | ((outer > 0.5) & (outer < 0.9))) & (doubled > 0)
    if not vague.any():
        return 0.0, middle[0]
    worst = np.where(vague, doubled, 0.0).argmax()
    return float(doubled[vague].sum() / doubled.sum()), middle[worst]


def _winding(vertices: Vertices, faces: Faces, place: ndarray) -> float:
    part = Part(name="body", vertices=torch.from_numpy(vertices), faces=torch.from_numpy(np.ascontiguousarray(faces)))
    return float(winding_number(part, torch.from_numpy(place[None]), engine="reference"))
