"""From densities, or any values of cells, to the media of the solver; and finished patterns to parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from elec.design.region import Region
from elec.fdtd import Media, Walls, outer_walls, padded
from elec.fdtd.media import BOX
from elec.geometry import Part, edge_average
from elec.grid import Grid
from elec.materials import Material
from mindsci.errors import InputError
from mindsci.tree import Tree


class Mixture(Tree):
    """Two materials whose properties are interpolated linearly in the density; each may differ along the axes.

    damping [S/m] adds a conductivity 4 rho (1 - rho) damping, so that gray costs power: a nudge towards patterns.
    """

    void: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """relative permittivity along x, y and z"""
    solid: tuple[float, float, float] = (1.0, 1.0, 1.0)
    void_conductivity: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """[S/m]"""
    solid_conductivity: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """[S/m]"""
    damping: float = 0.0

    def permittivity(self, density: Float[Tensor, "*n"], axis: int) -> Float[Tensor, "*n"]:
        """Returns the relative permittivity along an axis."""
        return self.void[axis] + (self.solid[axis] - self.void[axis]) * density

    def conductivity(self, density: Float[Tensor, "*n"], axis: int) -> Float[Tensor, "*n"]:
        """Returns the conductivity along an axis [S/m]."""
        between = (self.solid_conductivity[axis] - self.void_conductivity[axis]) * density
        return self.void_conductivity[axis] + between + self.damping * 4.0 * density * (1.0 - density)


def mixture(void: Material, solid: Material, *, damping: float = 0.0) -> Mixture:
    """Returns the mixture of two isotropic materials; damping [S/m]. Raises InputError for others."""
    for material in (void, solid):
        plain = not material.poles and material.surface is None
        numbers = (material.relative_permittivity, material.relative_permeability, material.conductivity)
        if material.is_metal or not plain or any(isinstance(number, tuple) for number in numbers) or numbers[1] != 1.0:
            raise InputError(
                f"material '{material.name}' cannot be mixed by density: give two isotropic dielectrics without "
                "dispersion, or design a metal shape through the parameters of its solids"
            )
    (e0, e1), (s0, s1) = (
        (float(getattr(void, name)), float(getattr(solid, name))) for name in ("relative_permittivity", "conductivity")
    )
    return Mixture(
        void=(e0, e0, e0),
        solid=(e1, e1, e1),
        void_conductivity=(s0, s0, s0),
        solid_conductivity=(s1, s1, s1),
        damping=damping,
    )


def cell_media(
    grid: Grid,
    permittivity: Any,
    conductivity: Any = 0.0,
    *,
    metal: Bool[Tensor, "3 x y z"] | None = None,
    walls: Walls = BOX,
    dtype: torch.dtype = torch.float64,
) -> Media:
    """Returns media from values of the cells: a number, (nx, ny, nz), or three such, one for each component.

    Each edge takes the mean of the cells around it (`elec.geometry.edge_average`). Differentiable. Conductivity [S/m].
    """
    nodes = [grid.nodes(axis).numel() for axis in range(3)]
    outside = outer_walls(nodes, walls=walls, device=grid.x.device)
    return Media(
        permittivity=_on_edges(grid, permittivity, nodes, 1.0, dtype),
        conductivity=_on_edges(grid, conductivity, nodes, 0.0, dtype),
        permeability=torch.ones((), dtype=dtype, device=grid.x.device).expand(3, *nodes),
        metal=outside if metal is None else outside | metal,
    )


def _on_edges(grid: Grid, cells: Any, nodes: Sequence[int], outside: float, dtype: torch.dtype) -> Tensor:
    if not isinstance(cells, (Tensor, tuple, list)):
        return torch.full((), float(cells), dtype=dtype, device=grid.x.device).expand(3, *nodes)
    if isinstance(cells, Tensor):
        return padded(edge_average(cells, grid), nodes, value=outside).to(dtype)
    components = [edge_average(values, grid)[axis] for axis, values in enumerate(cells)]
    return padded(components, nodes, value=outside).to(dtype)


def design_media(
    region: Region,
    density: Float[Tensor, "bx by bz"],
    mixture: Mixture,
    *,
    background: Float[Tensor, "nx ny nz"] | float = 1.0,
    metal: Bool[Tensor, "3 x y z"] | None = None,
    walls: Walls = BOX,
    dtype: torch.dtype = torch.float64,
) -> Media:
    """Returns the media of a design in its surroundings, whose relative permittivity is given for each cell."""
    grid = region.grid
    around = torch.as_tensor(background, dtype=torch.float64, device=grid.x.device).expand(grid.shape)
    zero = torch.zeros_like(around)
    permittivity = [region.insert(around, mixture.permittivity(density, axis)) for axis in range(3)]
    lossy = any((*mixture.void_conductivity, *mixture.solid_conductivity, mixture.damping))
    conductivity: Any = 0.0
    if lossy:
        conductivity = [region.insert(zero, mixture.conductivity(density, axis)) for axis in range(3)]
    return cell_media(grid, permittivity, conductivity, metal=metal, walls=walls, dtype=dtype)


def pattern_part(region: Region, pattern: Bool[Tensor, "bx by bz"], name: str, *, material: str) -> Part:
    """Returns the cells of a finished pattern as one part: its outer surface, for STL, STEP viewers and scenes."""
    filled = torch.nn.functional.pad(pattern.cpu(), (1, 1, 1, 1, 1, 1), value=False)
    if not bool(filled.any()):
        raise InputError("the pattern has no solid cell, so there is no part to make of it")
    box = region.box()
    count = [n + 1 for n in box.shape]
    quads = []
    for axis in range(3):
        before, after = filled.narrow(axis, 0, filled.shape[axis] - 1), filled.narrow(axis, 1, filled.shape[axis] - 1)
        across = [other for other in range(3) if other != axis]
        for outward, wall in ((1, before & ~after), (-1, after & ~before)):
            inner = wall.narrow(across[0], 1, box.shape[across[0]]).narrow(across[1], 1, box.shape[across[1]])
            quads.append(_quads(inner.nonzero(), axis, outward, count))
    corners, faces = torch.cat(quads).unique(return_inverse=True)
    index = torch.stack([corners // (count[1] * count[2]), corners // count[2] % count[1], corners % count[2]], dim=1)
    vertices = torch.stack([box.nodes(axis)[index[:, axis]].cpu() for axis in range(3)], dim=1).to(torch.float64)
    triangles = torch.cat([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])
    return Part(name=name, vertices=vertices, faces=triangles, kind="solid", material=material)


def _quads(lowest: Tensor, axis: int, outward: int, count: Sequence[int]) -> Tensor:
    """Numbers of the four corners of each face, anticlockwise from outside."""
    u, v = (axis + 1) % 3, (axis + 2) % 3
    turns = [(0, 0), (1, 0), (1, 1), (0, 1)] if outward > 0 else [(0, 0), (0, 1), (1, 1), (1, 0)]
    corners = []
    for step_u, step_v in turns:
        place = lowest.clone()
        place[:, u] += step_u
        place[:, v] += step_v
        corners.append((place[:, 0] * count[1] + place[:, 1]) * count[2] + place[:, 2])
    return torch.stack(corners, dim=1)
