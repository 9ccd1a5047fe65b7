"""Parts and materials together, and what they mean for the coefficients of the Yee scheme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from elec.geometry.part import Part, Planes, all_planes, bounds
from elec.geometry.voxels import EdgeMasks, fill_fractions, no_edges, sheet_edges, solid_edges
from elec.grid import Grid
from elec.materials import Material, find_material
from mindsci.errors import InputError
from mindsci.tree import Tree

Components = tuple[Tensor, Tensor, Tensor]


class CellMaterials(Tree):
    """Material of each cell: fractions of cells at a border are mixed by volume."""

    relative_permittivity: Float[Tensor, "nx ny nz"]
    relative_permeability: Float[Tensor, "nx ny nz"]
    conductivity: Float[Tensor, "nx ny nz"]
    """[S/m]"""


class EdgeMaterials(Tree):
    """Material of each electric edge: Ex (nx, ny + 1, nz + 1), Ey (nx + 1, ny, nz + 1), Ez (nx + 1, ny + 1, nz)."""

    relative_permittivity: Components
    conductivity: Components
    """[S/m]"""
    metal: EdgeMasks
    """true where the tangential field is held at zero"""


class Scene(Tree):
    """Parts in a background. A later solid replaces an earlier one where they overlap; sheets are never replaced."""

    parts: tuple[Part, ...]
    materials: Mapping[str, Material]
    background: str = "vacuum"

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"two parts are named '{name}'; give each its own name")
        for part in self.parts:
            material = self.material(part)
            if part.kind == "sheet" and not material.is_metal:
                raise InputError(
                    f"sheet '{part.name}' is of '{material.name}': a sheet has no thickness, so it can only be perfect "
                    'metal; set material = "pec", or give the part as a solid'
                )
        if find_material(self.background, self.materials).is_metal:
            raise InputError("the background cannot be metal; use 'vacuum' or a dielectric")

    def material(self, part: Part) -> Material:
        return find_material(part.material, self.materials)

    def bounds(self) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
        """Lowest and highest coordinate of all parts for each axis [m]."""
        if not self.parts:
            raise InputError("the scene has no parts, so its extent is not known; add a part")
        return bounds(self.parts)

    def planes(self) -> Planes:
        """Coordinates that grid lines should meet, for each axis [m]."""
        return all_planes(self.parts)

    def cell_materials(self, grid: Grid, *, subsamples: int = 4) -> CellMaterials:
        """Returns the material of each cell; metal solids leave what was there before them."""
        background = find_material(self.background, self.materials)
        values = {
            name: torch.full(grid.shape, getattr(background, name), dtype=torch.float64, device=grid.x.device)
            for name in ("relative_permittivity", "relative_permeability", "conductivity")
        }
        for part in self.parts:
            material = self.material(part)
            if part.kind == "solid" and not material.is_metal:
                fraction = fill_fractions(part, grid, subsamples=subsamples)
                if not bool(fraction.any()):
                    raise InputError(f"part '{part.name}' fills no cell of the grid; use smaller cells or a wider grid")
                for name, value in values.items():
                    values[name] = torch.lerp(value, torch.full_like(value, getattr(material, name)), fraction)
        return CellMaterials(**values)

    def metal_edges(self, grid: Grid) -> EdgeMasks:
        """Returns the electric edges inside or on metal."""
        solid, sheets = list(no_edges(grid)), list(no_edges(grid))
        for part in self.parts:
            if part.kind == "sheet":
                sheets = _either(sheets, sheet_edges(part, grid))
            elif self.material(part).is_metal:
                edges = solid_edges(part, grid)
                if not any(bool(mask.any()) for mask in edges):
                    raise InputError(f"metal part '{part.name}' covers no edge of the grid; use smaller cells")
                solid = _either(solid, edges)
            elif any(bool(mask.any()) for mask in solid):
                hollow = solid_edges(part, grid, border=False)
                solid = [mask & ~replaced for mask, replaced in zip(solid, hollow, strict=True)]
        ex, ey, ez = _either(solid, sheets)
        return (ex, ey, ez)

    def edge_materials(self, grid: Grid, *, subsamples: int = 4) -> EdgeMaterials:
        """Returns permittivity and conductivity [S/m] of each electric edge, and whether it is metal.

        An edge takes the mean over the four cells around it, weighted by their areas across the edge: Ampere's law
        integrated over the dual face with a tangential electric field that is continuous [Taflove2005, ch. 3].
        """
        cells = self.cell_materials(grid, subsamples=subsamples)
        return EdgeMaterials(
            relative_permittivity=edge_average(cells.relative_permittivity, grid),
            conductivity=edge_average(cells.conductivity, grid),
            metal=self.metal_edges(grid),
        )

    def face_permeability(self, grid: Grid, *, subsamples: int = 4) -> Components:
        """Returns the relative permeability of each magnetic component: Hx (nx + 1, ny, nz), Hy, Hz.

        The flux through a face is continuous, so the two cells beside it act in series along its normal.
        """
        cells = self.cell_materials(grid, subsamples=subsamples)
        hx, hy, hz = (_series_average(cells.relative_permeability, grid, axis) for axis in range(3))
        return (hx, hy, hz)


def edge_average(cells: Float[Tensor, "nx ny nz"], grid: Grid) -> Components:
    """Returns, for each electric component, the mean of the cells around its edges, weighted by their areas."""
    ex, ey, ez = (_edge_average(cells, grid, component) for component in range(3))
    return (ex, ey, ez)


def _edge_average(cells: Tensor, grid: Grid, component: int) -> Tensor:
    total = cells
    for axis in range(3):
        if axis != component:
            size = _along(grid.spacing(axis), axis)
            # Outside the grid there is no cell: the border takes the cells that exist.
            total = _neighbour_sum(total * size, axis) / _neighbour_sum(size, axis)
    return total


def _series_average(cells: Tensor, grid: Grid, axis: int) -> Tensor:
    size = _along(grid.spacing(axis), axis)
    return _neighbour_sum(size, axis) / _neighbour_sum(size / cells, axis)


def _neighbour_sum(values: Tensor, axis: int) -> Tensor:
    """Sum of the two cells beside each node along an axis; at the ends, of the one."""
    first, last = values.narrow(axis, 0, 1), values.narrow(axis, values.shape[axis] - 1, 1)
    inner = values.narrow(axis, 1, values.shape[axis] - 1) + values.narrow(axis, 0, values.shape[axis] - 1)
    return torch.cat([first, inner, last], dim=axis)


def _along(values: Tensor, axis: int) -> Tensor:
    shape = [1, 1, 1]
    shape[axis] = -1
    return values.reshape(shape)


def _either(first: Sequence[Tensor], second: Sequence[Tensor]) -> list[Tensor]:
    return [a | b for a, b in zip(first, second, strict=True)]
