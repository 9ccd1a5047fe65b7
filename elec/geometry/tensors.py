"""A scene as tensors on a grid: distances, fills, open edges and faces, materials; what learned models are fed with.

All solids of the scene are on the axis `solids`, in the scene's order. Everything but the booleans is differentiable in
the parameters of `Body` solids.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from elec.geometry.fill import distances, lattice
from elec.geometry.part import Part
from elec.geometry.scene import Body, Components, Scene
from elec.geometry.subpixel import fill
from elec.geometry.winding import signed_distance
from elec.grid import Grid
from elec.materials import Material, find_material
from elec.numbers import along
from mindsci.tree import Tree, parameters
from mindsci.units import VACUUM_PERMITTIVITY


class MaterialTensors(Tree):
    """Material of each cell or point along x, y and z; where there is metal, of what is not."""

    relative_permittivity: Float[Tensor, "3 *n"]
    """real part, at the frequency"""
    relative_permeability: Float[Tensor, "3 *n"]
    conductivity: Float[Tensor, "3 *n"]
    """of all losses, at the frequency [S/m]"""
    loss_tangent: Float[Tensor, "3 *n"]
    """at the frequency"""


class GridTensors(Tree):
    """A scene on a grid."""

    x: Float[Tensor, "nodes_x"]
    """nodes [m]"""
    y: Float[Tensor, "nodes_y"]
    """nodes [m]"""
    z: Float[Tensor, "nodes_z"]
    """nodes [m]"""
    signed_distance: Float[Tensor, "solids nx ny nz"]
    """of each solid at the centres of cells, negative inside [m]"""
    occupancy: Bool[Tensor, "solids nx ny nz"]
    """whether the centre of a cell lies inside"""
    fill: Float[Tensor, "solids nx ny nz"]
    """share of the volume of each cell"""
    metal: Float[Tensor, "nx ny nz"]
    """share of the volume of each cell that is metal"""
    open_edges: Components
    """share of the length of each electric edge outside metal, sheets included: Ex (nx, ny + 1, nz + 1), Ey, Ez"""
    open_faces: Components
    """share of the area of each face outside solid metal: Hx (nx + 1, ny, nz), Hy, Hz"""
    material: MaterialTensors
    solids: tuple[str, ...]
    """names, in order"""
    frequency: float
    """[Hz]"""

    @property
    def grid(self) -> Grid:
        return Grid(x=self.x, y=self.y, z=self.z)


def grid_tensors(scene: Scene, grid: Grid, *, frequency: float, subsamples: int = 4) -> GridTensors:
    """Returns the tensors of a scene on a grid, its materials at a frequency [Hz].

    Where solids overlap a later one replaces an earlier; where two meet in one cell they lie side by side.
    """
    solids = solids_of(scene)
    centers = lattice(*(grid.centers(axis) for axis in range(3)))
    nothing = torch.zeros(0, *grid.shape, dtype=torch.float64, device=grid.x.device)
    distance = torch.stack([distance_of(solid, centers) for solid in solids]) if solids else nothing
    filled = [fill(_shape(solid), grid, subsamples=subsamples) for solid in solids]
    cuts = scene.metal_cuts(grid)
    ex, ey, ez = (
        torch.where(sheet, 0.0, edges) for sheet, edges in zip(scene.sheet_edges(grid), cuts.edges, strict=True)
    )
    left = torch.ones(grid.shape, dtype=torch.float64, device=grid.x.device)
    metal, shares = torch.zeros_like(left), []
    for solid, fraction in reversed(list(zip(solids, filled, strict=True))):
        share = torch.minimum(fraction, left)
        left = left - share
        material = scene.material(solid)
        if material.is_metal:
            metal = metal + share
        else:
            shares.append((material, share))
    shares.append((find_material(scene.background, scene.materials), left))
    return GridTensors(
        x=grid.x,
        y=grid.y,
        z=grid.z,
        signed_distance=distance,
        occupancy=distance.detach() < 0,
        fill=torch.stack(filled) if filled else nothing,
        metal=metal,
        open_edges=(ex, ey, ez),
        open_faces=cuts.faces,
        material=_mixed(shares, frequency),
        solids=tuple(solid.name for solid in solids),
        frequency=frequency,
    )


def solids_of(scene: Scene) -> list[Part | Body]:
    """Returns the solids of a scene, in order."""
    return [part for part in scene.parts if part.kind == "solid"]


def distance_of(solid: Part | Body, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n"]:
    """Returns the signed distance [m] of a part or body, with a gradient where its parameters ask for one."""
    if isinstance(solid, Part):
        return signed_distance(solid, points.reshape(-1, 3)).reshape(points.shape[:-1])
    if torch.is_grad_enabled() and parameters(solid.solid):
        return solid.solid.signed_distance(points)
    return distances(solid.solid, points)


def material_numbers(material: Material, frequency: float) -> Float[Tensor, "4 3"]:
    """Returns permittivity, permeability, conductivity [S/m] and loss tangent along x, y, z at a frequency [Hz].

    Metal is given the numbers of vacuum.
    """
    if material.is_metal:
        material = Material(name="vacuum")
    at = torch.tensor([frequency], dtype=torch.float64)
    epsilon = torch.cat([material.permittivity(at, axis) for axis in range(3)])
    permeability = [torch.as_tensor(along(material.relative_permeability, axis)) for axis in range(3)]
    conductivity = -epsilon.imag * 2.0 * math.pi * frequency * VACUUM_PERMITTIVITY
    numbers = [epsilon.real, torch.stack(permeability).to(torch.float64), conductivity]
    return torch.stack([*numbers, -epsilon.imag / epsilon.real])


def _mixed(shares: list[tuple[Material, Tensor]], frequency: float) -> MaterialTensors:
    """Means by volume over what is not metal; the loss tangent is that of the means."""
    opened = torch.stack([share for _, share in shares]).sum(0)
    background = material_numbers(shares[-1][0], frequency)
    ones = (1,) * opened.ndim
    total = torch.zeros(4, 3, *opened.shape, dtype=opened.dtype, device=opened.device)
    for material, share in shares:
        total = total + material_numbers(material, frequency).to(opened.device).reshape(4, 3, *ones) * share
    some = opened > 0
    mean = torch.where(some, total / torch.where(some, opened, 1.0), background.to(opened.device).reshape(4, 3, *ones))
    loss = mean[2] / (2.0 * math.pi * frequency * VACUUM_PERMITTIVITY * mean[0])
    return MaterialTensors(
        relative_permittivity=mean[0], relative_permeability=mean[1], conductivity=mean[2], loss_tangent=loss
    )


def _shape(solid: Part | Body) -> Part | Tree:
    return solid.solid if isinstance(solid, Body) else solid
