"""What parts ask of the grid: lines on their faces, rims a third of a cell outside the metal, cells small enough.

Sizes come from the wavelength in each material, from layers, strips and gaps, which get a least number of cells, and
from the distance between a rim and the next conductor, over which the field of the rim decays.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from elec.geometry import Part, Scene
from elec.geometry.part import flat_axis, planes, rim_edges
from elec.geometry.scene import Body
from elec.materials import Material, find_material
from elec.mesh.lines import Limit, Station, rim
from elec.numbers import along, plain, plain_real
from mindsci import tree
from mindsci.tree import Tree
from mindsci.units import SPEED_OF_LIGHT

EVERYWHERE = (-math.inf, math.inf)
RIM_SAMPLES = 16
"""Places along a rim at which it is seen whether metal ends there."""
ASIDE = 1e-5
"""How far beside a rim that is seen, as a fraction of the scene's size."""
RIM_REACH = 2.0
"""Cells on each side of a rim that keep its size."""
DIELECTRIC, METAL, SHEET = 1, 4, 5
"""Ranks of lines: a rim, with 2, takes the place of a dielectric face, which need lie on no line."""


class Demand(Tree):
    """Cells that are asked for."""

    cells_per_wavelength: float
    cells_across: int
    """least cells across a layer, a strip and a gap"""
    cells_at_rim: float
    """cells in the distance between a rim and the next conductor"""
    frequency: float
    """[Hz]"""


class Rim(Tree):
    """A straight piece of the border of thin metal, along one axis."""

    across: int
    """axis along which metal ends here"""
    at: float
    """[m]"""
    side: int
    """1 where the metal lies at larger coordinates, -1 at smaller ones, 0 where both occur"""
    normal: int
    """normal axis of the sheet"""
    level: float
    """coordinate of the sheet along it [m]"""
    part: str


class Face(Tree):
    """A plane piece of metal, by the box around it."""

    normal: int
    level: float
    """[m]"""
    low: tuple[float, float, float]
    """[m]"""
    high: tuple[float, float, float]
    """[m]"""

    def overlaps(self, other: Face) -> bool:
        """Whether the two lie over one another, seen along the normal."""
        across = [axis for axis in range(3) if axis != self.normal]
        return all(self.low[axis] < other.high[axis] and other.low[axis] < self.high[axis] for axis in across)


def refractive_index(material: Material, frequency: float) -> float:
    """Returns c times the wave number over the angular frequency: loss shortens the wavelength too."""
    at = torch.tensor([frequency], dtype=torch.float64)
    permeability = max(plain_real(along(material.relative_permeability, axis)) for axis in range(3))
    permittivity = [plain(material.permittivity(at, axis)[0]) for axis in range(3)]
    return max((cmath.sqrt(value * permeability)).real for value in permittivity)


def largest_cell(material: Material, demand: Demand) -> float:
    """Returns the largest cell in a material [m]."""
    return (
        SPEED_OF_LIGHT / demand.frequency / refractive_index(material, demand.frequency) / demand.cells_per_wavelength
    )


def stations_and_limits(scene: Scene, demand: Demand) -> tuple[list[list[Station]], list[list[Limit]]]:
    """Returns what the parts ask of each axis."""
    stations: list[list[Station]] = [[], [], []]
    limits: list[list[Limit]] = [[], [], []]
    background = find_material(scene.background, scene.materials)
    low, high = EVERYWHERE
    for axis in range(3):
        why = f"{demand.cells_per_wavelength:g} cells per wavelength in '{background.name}'"
        limits[axis].append(Limit(low=low, high=high, size=largest_cell(background, demand), why=why))
    for part in scene.parts:
        _of_part(part, scene.material(part), demand, stations, limits)
    faces = metal_faces(scene)
    _between_faces(faces, demand, limits)
    for one in rims(scene):
        _of_rim(one, faces, demand, stations, limits)
    return stations, limits


def _of_part(part: Part | Body, material: Material, demand: Demand, stations: Any, limits: Any) -> None:
    mesh = mesh_of(part)
    low, high = mesh.bounds().tolist()
    rank = SHEET if part.kind == "sheet" else METAL if material.is_metal else DIELECTRIC
    straight = bool(flat_axis(mesh)[0].any(1).all())
    for axis in range(3):
        for level in face_levels(mesh)[axis]:
            stations[axis].append(Station(at=level, why=f"a face of '{part.name}'", rank=rank))
        if not material.is_metal:
            why = f"{demand.cells_per_wavelength:g} cells per wavelength in '{part.name}'"
            limits[axis].append(Limit(low=low[axis], high=high[axis], size=largest_cell(material, demand), why=why))
        # Plane faces of metal lie on lines of their own; what is round needs cells to be round.
        if part.kind == "solid" and not (material.is_metal and straight):
            size = (high[axis] - low[axis]) / demand.cells_across
            why = f"{demand.cells_across} cells across '{part.name}'"
            limits[axis].append(Limit(low=low[axis], high=high[axis], size=size, why=why))


def mesh_of(part: Part | Body) -> Part:
    """Returns the triangles of a part."""
    return part.part() if isinstance(part, Body) else part


def face_levels(part: Part) -> list[list[float]]:
    """Returns the planes of the faces normal to each axis [m], without the rims of sheets."""
    if part.kind == "solid":
        return list(planes(part))
    flat, level = flat_axis(part)
    return [_distinct(level[flat[:, axis], axis], part.flat_tolerance()) for axis in range(3)]


def _distinct(values: Tensor, tolerance: float) -> list[float]:
    found: list[float] = []
    for value in values.unique().tolist():
        if not found or value - found[-1] > tolerance:
            found.append(value)
    return found


def metal_faces(scene: Scene) -> list[Face]:
    """Returns the plane faces of metal that are normal to an axis: those of sheets and of solids."""
    found = []
    for part in scene.parts:
        if not scene.material(part).is_metal:
            continue
        mesh = mesh_of(part)
        flat, level = flat_axis(mesh)
        corners = mesh.triangles()
        for axis in range(3):
            for value in face_levels(mesh)[axis]:
                chosen = corners[flat[:, axis] & ((level[:, axis] - value).abs() <= mesh.flat_tolerance())]
                low, high = chosen.amin((0, 1)).tolist(), chosen.amax((0, 1)).tolist()
                found.append(Face(normal=axis, level=value, low=tuple(low), high=tuple(high)))
    return found


def _between_faces(faces: Sequence[Face], demand: Demand, limits: list[list[Limit]]) -> None:
    """Cells across what lies between two faces of metal that look at one another."""
    for face in faces:
        distance = next_conductor(face.normal, face.level, face, faces)
        if math.isfinite(distance):
            why = f"{demand.cells_across} cells across {distance * 1e3:.4g} mm between metal"
            size = distance / demand.cells_across
            low = min(
                (other.level for other in faces if _is_next(face, other, distance) and other.level < face.level),
                default=face.level,
            )
            high = max(
                (other.level for other in faces if _is_next(face, other, distance) and other.level > face.level),
                default=face.level,
            )
            limits[face.normal].append(Limit(low=low, high=high, size=size, why=why))


def _is_next(face: Face, other: Face, distance: float) -> bool:
    return (
        other.normal == face.normal
        and face.overlaps(other)
        and abs(abs(other.level - face.level) - distance) <= 1e-9 * distance
    )


def next_conductor(normal: int, level: float, face: Face, faces: Sequence[Face]) -> float:
    """Returns the distance [m] to the nearest face of metal over or under a face, infinite where there is none."""
    return min(
        (
            abs(other.level - level)
            for other in faces
            if other.normal == normal and other.level != level and face.overlaps(other)
        ),
        default=math.inf,
    )


def _of_rim(one: Rim, faces: Sequence[Face], demand: Demand, stations: Any, limits: Any) -> None:
    why = f"a rim of '{one.part}'"
    place = Station(at=one.at, why=why, rank=2) if one.side == 0 else rim(one.at, one.side, why)
    stations[one.across].append(place)
    sheets = [face for face in faces if face.normal == one.normal and face.level == one.level]
    distance = min((next_conductor(one.normal, one.level, face, faces) for face in sheets), default=math.inf)
    if math.isfinite(distance):
        size = distance / demand.cells_at_rim
        reach = RIM_REACH * size
        told = f"{demand.cells_at_rim:g} cells in {distance * 1e3:.4g} mm from {why} to the next metal"
        limits[one.across].append(Limit(low=one.at - reach, high=one.at + reach, size=size, why=told))


def rims(scene: Scene) -> list[Rim]:
    """Returns where thin metal ends along an axis: borders of sheets with metal on one side only."""
    sheets = [part for part in scene.parts if isinstance(part, Part) and part.kind == "sheet"]
    if not sheets:
        return []
    bounds = scene.bounds()
    aside = ASIDE * math.dist(*zip(*bounds, strict=True))
    found: dict[tuple[int, float, int, float], Rim] = {}
    for part in sheets:
        flat, level = flat_axis(part)
        for normal in range(3):
            for coordinate in face_levels(part)[normal]:
                chosen = part.faces[flat[:, normal] & ((level[:, normal] - coordinate).abs() <= part.flat_tolerance())]
                metal = _in_plane(sheets, normal, coordinate, aside)
                for one in _straight_rims(part, chosen, normal, coordinate, metal, aside):
                    key = (one.across, one.at, one.normal, one.level)
                    if key in found and found[key].side != one.side:
                        one = tree.replace(one, side=0)
                    found[key] = one
    return list(found.values())


def _in_plane(sheets: Sequence[Part], normal: int, level: float, aside: float) -> Float[Tensor, "faces 3 2"]:
    """The triangles of all sheets in a plane, in the two axes across it."""
    across = [axis for axis in range(3) if axis != normal]
    found = []
    for part in sheets:
        corners = part.triangles()
        inside = (corners[:, :, normal] - level).abs().amax(1) <= aside
        found.append(corners[inside][:, :, across])
    return torch.cat(found)


def _straight_rims(part: Part, faces: Tensor, normal: int, level: float, metal: Tensor, aside: float) -> list[Rim]:
    across = [axis for axis in range(3) if axis != normal]
    found = []
    for start, end in part.vertices[rim_edges(faces)]:
        for place, axis in enumerate(across):
            other = across[1 - place]
            if abs(float(start[axis] - end[axis])) > part.flat_tolerance() or float((start - end)[other].abs()) == 0.0:
                continue
            steps = (torch.arange(RIM_SAMPLES, dtype=start.dtype) + 0.5) / RIM_SAMPLES
            points = torch.empty(RIM_SAMPLES, 2, dtype=start.dtype)
            points[:, 1 - place] = start[other] + steps * (end[other] - start[other])
            sides = []
            for step in (-aside, aside):
                points[:, place] = start[axis] + step
                sides.append(_covered(points, metal))
            upper, lower = bool((sides[1] & ~sides[0]).any()), bool((sides[0] & ~sides[1]).any())
            if upper or lower:
                found.append(
                    Rim(
                        across=axis,
                        at=float(start[axis]),
                        side=int(upper) - int(lower),
                        normal=normal,
                        level=level,
                        part=part.name,
                    )
                )
    return found


def _covered(points: Float[Tensor, "points 2"], triangles: Float[Tensor, "faces 3 2"]) -> Bool[Tensor, "points"]:
    """Which points lie in any of the triangles."""
    edges = triangles.roll(-1, dims=1) - triangles
    offset = points[:, None, None] - triangles
    cross = edges[..., 0] * offset[..., 1] - edges[..., 1] * offset[..., 0]
    area = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]
    return ((cross * torch.sign(area)[:, None]) >= 0).all(2).any(1)
