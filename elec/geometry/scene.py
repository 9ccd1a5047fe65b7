"""Parts and materials together, and what they mean for the coefficients of the Yee scheme."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from elec.geometry.csg import Solid
from elec.geometry.cuts import Cuts, metal_cuts
from elec.geometry.part import Part, Planes, all_planes, bounds
from elec.geometry.shapes import faceted
from elec.geometry.subpixel import (
    Boxes,
    Filling,
    effective_materials,
    fill,
    permeability_and_conductivity,
    permittivity_conductivity_and_cross_terms,
    response_of,
)
from elec.geometry.voxels import EdgeMasks, no_edges, sheet_edges, solid_edges
from elec.grid import AXES, Grid
from elec.materials import Material, find_material
from elec.materials.dispersion import susceptibility
from elec.numbers import Number, Real, along, mean
from mindsci.errors import InputError
from mindsci.tree import Tree
from mindsci.units import VACUUM_PERMITTIVITY

Components = tuple[Tensor, Tensor, Tensor]
ELECTRIC = ("relative_permittivity", "conductivity")
MAGNETIC = ("relative_permeability", "magnetic_conductivity")
CELLS = (*ELECTRIC, "relative_permeability")


class CellMaterials(Tree):
    """Material of each cell: fractions of cells at a border are mixed by volume, the axes of a diagonal one averaged.

    Poles are no part of it: it is what a dispersive material is at infinite frequency.
    """

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
    cross: tuple[Components, Components]
    """entries (c, c + 1) and (c, c + 2) of the inverse effective permittivity (relative) at edges of component c"""


class FaceMaterials(Tree):
    """Material of each magnetic component: Hx (nx + 1, ny, nz), Hy, Hz."""

    relative_permeability: Components
    magnetic_conductivity: Components
    """[ohm/m]"""


class Body(Tree):
    """A constructive solid in a scene: its parameters get gradients, which those of a `Part` do not."""

    name: str
    solid: Solid
    material: str = "pec"
    kind: Literal["solid"] = "solid"

    def part(self) -> Part:
        """Returns the exact mesh, or that inscribed in a round solid. Raises InputError for a combination."""
        return faceted(self.solid, self.name, material=self.material)

    def bounds(self) -> Float[Tensor, "2 3"]:
        """Lowest and highest coordinates [m], as those of the mesh."""
        return self.part().bounds()


class Scene(Tree):
    """Parts in a background. A later solid replaces an earlier one where they overlap; sheets are never replaced."""

    parts: tuple[Part | Body, ...]
    materials: Mapping[str, Material]
    background: str = "vacuum"

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"two parts are named '{name}'; give each its own name")
        for part in self.parts:
            material = self.material(part)
            if part.kind == "sheet" and material.kind == "dielectric":
                raise InputError(
                    f"sheet '{part.name}' is of '{material.name}': a sheet has no thickness, so it must be of 'pec', a "
                    "conductor such as 'copper', or a material of kind \"sheet\"; or give the part as a solid"
                )
            if part.kind == "solid" and material.kind == "sheet":
                raise InputError(
                    f"part '{part.name}' is a solid of '{material.name}', which is a sheet without thickness; give the "
                    'part as a sheet, or the material kind = "conductor"'
                )
        if find_material(self.background, self.materials).kind != "dielectric":
            raise InputError("the background cannot be metal or a sheet; use 'vacuum' or a dielectric")

    def material(self, part: Part | Body) -> Material:
        return find_material(part.material, self.materials)

    @staticmethod
    def shape(part: Part | Body) -> Part | Solid:
        """Returns the shape of a part."""
        return _shape(part)

    def bounds(self) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
        """Lowest and highest coordinate of all parts for each axis [m]."""
        if not self.parts:
            raise InputError("the scene has no parts, so its extent is not known; add a part")
        return bounds(self._meshes())

    def planes(self) -> Planes:
        """Coordinates that grid lines should meet, for each axis [m]."""
        return all_planes(self._meshes())

    def _meshes(self) -> list[Part]:
        return [part.part() if isinstance(part, Body) else part for part in self.parts]

    def _solids(self) -> list[Part | Body]:
        return [part for part in self.parts if part.kind == "solid"]

    def cell_materials(self, grid: Grid, *, subsamples: int = 4) -> CellMaterials:
        """Returns the material of each cell; metal solids leave what was there before them."""
        return CellMaterials(
            **self._mixed(
                grid,
                lambda one: {name: _double(mean(getattr(one, name)), grid) for name in CELLS},
                subsamples=subsamples,
            )
        )

    def cell_conductivity(
        self, grid: Grid, frequencies: Sequence[float], *, subsamples: int = 4
    ) -> Float[Tensor, "f nx ny nz"]:
        """Returns the conductivity of each cell [S/m] at frequencies [Hz], with the loss of poles: omega Im epsilon."""
        omega = 2.0 * math.pi * torch.tensor(list(frequencies), dtype=torch.float64, device=grid.x.device)

        def lost(material: Material) -> dict[str, Tensor]:
            response = susceptibility(material.poles, omega.cpu() / (2.0 * math.pi)).imag.to(omega.device)
            total = _double(mean(material.conductivity), grid) - omega * VACUUM_PERMITTIVITY * response
            return {"conductivity": total.reshape(-1, 1, 1, 1)}

        return self._mixed(grid, lost, subsamples=subsamples)["conductivity"]

    def _mixed(
        self, grid: Grid, values: Callable[[Material], dict[str, Tensor]], *, subsamples: int
    ) -> dict[str, Tensor]:
        """Values of materials mixed by volume in each cell; metal solids leave what was there before them."""
        background = values(find_material(self.background, self.materials)).items()
        mixed = {name: value.expand(*value.shape[:-3], *grid.shape) for name, value in background}
        for part in self._solids():
            material = self.material(part)
            if not material.is_metal:
                fraction = fill(_shape(part), grid, subsamples=subsamples)
                if not bool(fraction.any()):
                    raise InputError(f"part '{part.name}' fills no cell of the grid; use smaller cells or a wider grid")
                for name, value in values(material).items():
                    mixed[name] = torch.lerp(mixed[name], value.expand_as(mixed[name]), fraction)
        return mixed

    def metal_edges(self, grid: Grid) -> EdgeMasks:
        """Returns the electric edges inside or on metal: the staircase of the solids, and the sheets."""
        solid = list(no_edges(grid))
        for part in self._solids():
            if self.material(part).is_metal:
                edges = solid_edges(_shape(part), grid)
                if not any(bool(mask.any()) for mask in edges):
                    raise InputError(f"metal part '{part.name}' covers no edge of the grid; use smaller cells")
                solid = _either(solid, edges)
            elif any(bool(mask.any()) for mask in solid):
                hollow = solid_edges(_shape(part), grid, border=False)
                solid = [mask & ~replaced for mask, replaced in zip(solid, hollow, strict=True)]
        ex, ey, ez = _either(solid, self.sheet_edges(grid))
        return (ex, ey, ez)

    def sheet_edges(self, grid: Grid) -> EdgeMasks:
        """Returns the electric edges that sheets of metal turn to metal."""
        sheets = list(no_edges(grid))
        for part in self.parts:
            if isinstance(part, Part) and part.kind == "sheet" and self.material(part).is_metal:
                sheets = _either(sheets, sheet_edges(part, grid))
        ex, ey, ez = sheets
        return (ex, ey, ez)

    def metal_cuts(self, grid: Grid) -> Cuts:
        """Returns how much of each edge and face lies outside metal solids. Sheets are no part of it.

        Raises InputError for a metal part that reaches no edge of the grid.
        """
        solids = self._solids()
        cuts = metal_cuts([(_shape(part), self.material(part).is_metal) for part in solids], grid)
        if not any(bool((edges < 1.0).any()) for edges in cuts.edges):
            for part in solids:
                if self.material(part).is_metal:
                    raise InputError(f"metal part '{part.name}' covers no edge of the grid; use smaller cells")
        return cuts

    def edge_materials(self, grid: Grid, *, subsamples: int = 4) -> EdgeMaterials:
        """Returns permittivity and conductivity [S/m] of each electric edge, and whether it is metal (staircase).

        They are of the effective tensor of the box around the edge, metal left out (`elec.geometry.subpixel`): the
        mean over the box along interfaces, the mean of the inverse across them.
        """
        permittivity, conductivity, first, second = self._effective(
            grid, permittivity_conductivity_and_cross_terms, on="edges", names=ELECTRIC, subsamples=subsamples
        )
        return EdgeMaterials(
            relative_permittivity=permittivity,
            conductivity=conductivity,
            metal=self.metal_edges(grid),
            cross=(first, second),
        )

    def face_materials(self, grid: Grid, *, subsamples: int = 4) -> FaceMaterials:
        """Returns permeability and magnetic conductivity [ohm/m] of each face.

        The flux through a face is continuous: the dual of the permittivity of edges, on the boxes around faces.
        """
        permeability, conductivity = self._effective(
            grid, permeability_and_conductivity, on="faces", names=MAGNETIC, subsamples=subsamples
        )
        return FaceMaterials(relative_permeability=permeability, magnetic_conductivity=conductivity)

    def edge_response(self, grid: Grid, material: str, *, subsamples: int = 4) -> Components:
        """Returns, for each electric edge, the weight with which a material's poles (or conductivity) enter there."""
        (found,) = self._effective(grid, response_of(material), on="edges", names=(), subsamples=subsamples)
        return found

    def dispersive(self) -> list[Material]:
        """Returns the materials with poles that occur in the scene."""
        used = {material.name: material for part in self._solids() if (material := self.material(part)).poles}
        background = find_material(self.background, self.materials)
        return list((used | ({background.name: background} if background.poles else {})).values())

    def _effective(
        self,
        grid: Grid,
        combine: Callable[[Boxes], tuple[Tensor, ...]],
        *,
        on: str,
        names: tuple[str, ...],
        subsamples: int,
    ) -> list[Components]:
        background = _values(find_material(self.background, self.materials))
        solids = [(part, self.material(part)) for part in self._solids()]
        if names and all(
            material.is_metal or all(_same(_values(material)[name], background[name]) for name in names)
            for _, material in solids
        ):
            # One material everywhere: no volume needs to be found, and a few cells tell all.
            few = Grid(**{name: grid.nodes(axis)[:3] for axis, name in enumerate(AXES)})
            found = effective_materials([], background, few, combine, on=on, subsamples=subsamples)
            return [_spread(components, grid, on=on) for components in found]
        fillings = [
            Filling(shape=_shape(part), values=None if material.is_metal else _values(material))
            for part, material in solids
        ]
        return effective_materials(fillings, background, grid, combine, on=on, subsamples=subsamples)


def _spread(components: Components, grid: Grid, *, on: str) -> Components:
    """The first value of each component on all edges or faces of a grid."""
    x, y, z = (
        part[0, 0, 0].expand([grid.shape[axis] + ((axis != component) == (on == "edges")) for axis in range(3)])
        for component, part in enumerate(components)
    )
    return (x, y, z)


def _shape(part: Part | Body) -> Part | Solid:
    return part.solid if isinstance(part, Body) else part


def _double(number: Real, grid: Grid) -> Float[Tensor, ""]:
    return torch.as_tensor(number, dtype=torch.float64, device=grid.x.device)


def _same(first: Number, second: Number) -> bool:
    """Whether two numbers stay the same; two tensors may meet by chance, and their gradients differ."""
    held = [along(number, axis) for number in (first, second) for axis in range(3)]
    return not any(isinstance(number, Tensor) for number in held) and held[:3] == held[3:]


def _values(material: Material) -> dict[str, Any]:
    return {"name": material.name} | {name: getattr(material, name) for name in (*ELECTRIC, *MAGNETIC)}


def edge_average(cells: Float[Tensor, "nx ny nz"], grid: Grid) -> Components:
    """Returns, for each electric component, the mean of the cells around its edges, weighted by their areas.

    For values given cell by cell (a density, say): Ampere's law integrated over the dual face with a tangential
    electric field that is continuous [Taflove2005, ch. 3]. Solids know their interfaces: see `Scene.edge_materials`.
    """
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
