"""Point clouds of a scene: on its surfaces, evenly by area, with normals; and in a box around it.

The points are functions of the seed alone: nothing global is drawn from, and more points begin with the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from elec.geometry.csg import (
    Cylinder,
    Difference,
    Intersection,
    Solid,
    Sphere,
    SymmetricDifference,
    Transform,
    Translation,
    Union,
)
from elec.geometry.part import Part
from elec.geometry.scene import Body, Scene
from elec.geometry.shapes import Wire, faceted
from elec.geometry.tensors import MaterialTensors, distance_of, material_numbers, solids_of
from elec.materials import find_material
from mindsci import tree
from mindsci.errors import InputError
from mindsci.random import uniform
from mindsci.tree import Tree

# A point of a surface that a combination cut away is further from what is left than this part of the size.
ON_SURFACE = 1e-7
ROUNDS = 200
"""Draws before a surface counts as empty."""


class PointCloud(Tree):
    points: Float[Tensor, "n 3"]
    """[m]"""
    normals: Float[Tensor, "n 3"]
    """outward on surfaces, of unit length; in the volume, the direction away from the nearest solid"""
    part: Int[Tensor, "n"]
    """which of `names` a point lies on or in; -1 is the background"""
    signed_distance: Float[Tensor, "solids n"]
    """of each solid, negative inside [m]"""
    metal: Bool[Tensor, "n"]
    material: MaterialTensors
    """of the part that a point lies on or in"""
    names: tuple[str, ...]
    """of all parts; solids come in the same order on the axis `solids`"""
    frequency: float
    """[Hz]"""


def surface_cloud(scene: Scene, n: int, *, seed: int, frequency: float, segments: int = 128) -> PointCloud:
    """Returns n points spread over the surfaces of all parts by area, materials at a frequency [Hz].

    Points of round solids are drawn on an inscribed mesh of so many segments around and moved onto the surface.
    """
    _check(n, frequency)
    meshes = [(k, *piece) for k, part in enumerate(scene.parts) for piece in _meshes(part, segments)]
    if not meshes:
        raise InputError("the scene has no parts, so it has no surface; add a part")
    corners = torch.cat([mesh.triangles() for _, mesh, _ in meshes])
    counts = torch.tensor([len(mesh.faces) for _, mesh, _ in meshes])
    leaf = torch.arange(len(meshes)).repeat_interleave(counts)
    owner = torch.tensor([k for k, _, _ in meshes])[leaf]
    solids = [solid for _, _, solid in meshes]
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = normal.norm(dim=1).cumsum(0)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for counter in range(ROUNDS):
        u = uniform(torch.empty(n, 3, dtype=torch.float64), seed=seed, counter=counter)
        face = torch.searchsorted(area, u[:, 0] * area[-1], right=True).clamp(max=len(area) - 1)
        root = u[:, 1].sqrt()
        weights = torch.stack([1 - root, root * (1 - u[:, 2]), root * u[:, 2]], dim=1)
        points = (weights[..., None] * corners[face]).sum(1)
        points, normals, kept = _settled(scene, points, normal[face], owner[face], leaf[face], solids)
        found.append((points[kept], normals[kept], owner[face][kept]))
        if sum(len(points) for points, _, _ in found) >= n:
            break
    else:
        raise InputError(f"fewer than {n} points were found on the surfaces of the scene; do its solids cancel out?")
    points, normals, part = (torch.cat(values)[:n] for values in zip(*found, strict=True))
    return _cloud(scene, points, normals, part, frequency)


def volume_cloud(scene: Scene, n: int, bounds: Sequence[Sequence[float]], *, seed: int, frequency: float) -> PointCloud:
    """Returns n points spread evenly over the box of bounds ((x low, x high), (y ...), (z ...)) [m]."""
    _check(n, frequency)
    box = torch.as_tensor(bounds, dtype=torch.float64)
    if box.shape != (3, 2) or not bool((box[:, 1] > box[:, 0]).all()):
        raise InputError(f"bounds = {box.tolist()}: give a low and a higher end for each of x, y and z")
    u = uniform(torch.empty(n, 3, dtype=torch.float64), seed=seed, counter=0)
    points = box[:, 0] + (box[:, 1] - box[:, 0]) * u
    part = torch.full((n,), -1)
    normals = torch.zeros_like(points)
    least = torch.full((n,), torch.inf, dtype=torch.float64)
    for k, solid in enumerate(scene.parts):
        if solid.kind == "solid":
            distance, direction = _distance_and_normal(solid, points)
            part = torch.where(distance < 0, k, part)
            nearer = distance.abs() < least
            normals = torch.where(nearer[:, None], direction, normals)
            least = torch.where(nearer, distance.abs(), least)
    return _cloud(scene, points, normals, part, frequency)


def _cloud(scene: Scene, points: Tensor, normals: Tensor, part: Tensor, frequency: float) -> PointCloud:
    materials = [scene.material(each) for each in scene.parts]
    materials.append(find_material(scene.background, scene.materials))  # at -1
    table = torch.stack([material_numbers(material, frequency) for material in materials])[part]
    permittivity, permeability, conductivity, loss = table.permute(1, 2, 0)
    solids = solids_of(scene)
    nothing = torch.zeros(0, len(points), dtype=torch.float64)
    return PointCloud(
        points=points,
        normals=normals,
        part=part,
        signed_distance=torch.stack([distance_of(solid, points) for solid in solids]) if solids else nothing,
        metal=torch.tensor([material.is_metal for material in materials])[part],
        material=MaterialTensors(
            relative_permittivity=permittivity,
            relative_permeability=permeability,
            conductivity=conductivity,
            loss_tangent=loss,
        ),
        names=tuple(each.name for each in scene.parts),
        frequency=frequency,
    )


def _meshes(part: Part | Body, segments: int) -> list[tuple[Part, Solid | None]]:
    """Meshes that hold the surface of a part, each with its solid, or None where the mesh is the surface."""
    if isinstance(part, Part):
        return [(part, None)]
    return [(faceted(leaf, part.name, segments=segments), leaf) for leaf in _surfaces(part.solid)]


def _surfaces(solid: Solid) -> list[Solid]:
    """Solids with meshes whose surfaces together hold the surface of a combination."""
    if isinstance(solid, (Union, Intersection)):
        return [leaf for each in solid.solids for leaf in _surfaces(each)]
    if isinstance(solid, Difference):
        return _surfaces(solid.solid) + _surfaces(solid.removed)
    if isinstance(solid, SymmetricDifference):
        return _surfaces(solid.solid) + _surfaces(solid.other)
    if isinstance(solid, (Translation, Transform)):
        return [tree.replace(solid, solid=leaf) for leaf in _surfaces(solid.solid)]
    if isinstance(solid, Wire):
        ends = zip(solid.path[:-1], solid.path[1:], strict=True)
        balls: list[Solid] = [Sphere(center=node, radius=solid.radius) for node in solid.path]
        return balls + [Cylinder(start=start, end=end, radius=solid.radius) for start, end in ends]
    return [solid]


def _settled(
    scene: Scene, points: Tensor, normals: Tensor, owner: Tensor, leaf: Tensor, solids: list[Solid | None]
) -> tuple[Tensor, Tensor, Tensor]:
    """Moves points of inscribed meshes onto their solids; returns points, normals, and which are on the part's own."""
    points, normals = points.clone(), normals / normals.norm(dim=1, keepdim=True).clamp(min=1e-300)
    kept = torch.ones(len(points), dtype=torch.bool)
    for number, solid in enumerate(solids):
        chosen = (leaf == number).nonzero().squeeze(1)
        if solid is None or len(chosen) == 0:
            continue
        part = scene.parts[int(owner[chosen[0]])]
        assert isinstance(part, Body)
        for _ in range(3):
            distance, direction = _distance_and_normal(Body(name="", solid=solid), points[chosen])
            points[chosen] -= distance[:, None] * direction
        distance, direction = _distance_and_normal(part, points[chosen])
        # Exactly on the surface the gradient may be that of an inner crease: look a little outside instead.
        size = float(points.detach().abs().amax()) + 1e-300
        kept[chosen] = distance.abs() < ON_SURFACE * size
        length = direction.norm(dim=1)
        facing = torch.where((length > 0.5)[:, None], direction / length.clamp(min=1e-300)[:, None], normals[chosen])
        normals[chosen] = facing
    return points, normals, kept


def _distance_and_normal(solid: Part | Body, points: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        places = points.detach().clone().requires_grad_()
        shape = solid if isinstance(solid, Part) else tree.detach(solid)
        if isinstance(shape, Part):
            distance = distance_of(shape, places)
        else:
            distance = shape.solid.signed_distance(places)
        (gradient,) = torch.autograd.grad(distance.sum(), places)
    return distance.detach(), gradient


def _check(n: int, frequency: float) -> None:
    if n < 1:
        raise InputError(f"n = {n} points: ask for at least 1")
    if not frequency > 0:
        raise InputError(f"frequency = {frequency:g} Hz must be positive: losses are given at it")
