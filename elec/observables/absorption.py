"""Specific absorption rate (SAR) [W/kg]: at a point, in the whole body; averages over cubes are in `mass_average`.

Rates are those of the spectra given. Divide the spectra by that of the incident wave, or the rate by a port's power in
the same units, for the rate a watt or a watt a square metre: `per_unit` does the division.
"""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.fdtd.media import Media
from elec.fdtd.probes import Box
from elec.grid import Grid
from mindsci.errors import InputError

# Of the power on the edges, as much may lie where the cells given do not conduct: rounding of the filled fractions.
LOST_ALLOWED = 1e-3


def edge_power(media: Media, box: Box, electric: Complex[Tensor, "f 3 bx by bz"]) -> list[Tensor]:
    """Returns the power density sigma |E|^2 / 2 [W s^2/m^3] on the edges of the cells of a box, for each component.

    The conductivities are the scheme's own, so that times the edges' volumes it is the power that the run lost.
    """
    conductivity = box.cut(media.conductivity)
    density = 0.5 * conductivity * (electric.real**2 + electric.imag**2)
    return [density[:, axis].narrow(axis + 1, 0, density.shape[axis + 2] - 1) for axis in range(3)]


def cell_volumes(grid: Grid, box: Box) -> Float[Tensor, "cx cy cz"]:
    """Returns the volumes of the cells between the nodes of a box [m^3]."""
    x, y, z = (grid.spacing(axis)[box.low[axis] : box.high[axis] - 1].to(torch.float64) for axis in range(3))
    return x[:, None, None] * y[:, None] * z


def _around_edges(cells: Float[Tensor, "*n cx cy cz"], axis: int) -> Tensor:
    """Sums over the four cells around each edge along an axis."""
    for other in range(3):
        if other != axis:
            dim = cells.ndim - 3 + other
            none = torch.zeros_like(cells.narrow(dim, 0, 1))
            cells = torch.cat([none, cells], dim) + torch.cat([cells, none], dim)
    return cells


def _around_cells(edges: Float[Tensor, "*n ex ey ez"], axis: int) -> Tensor:
    """Sums over the four edges along an axis of each cell."""
    for other in range(3):
        if other != axis:
            dim = edges.ndim - 3 + other
            size = edges.shape[dim] - 1
            edges = edges.narrow(dim, 0, size) + edges.narrow(dim, 1, size)
    return edges


def cell_power(
    grid: Grid,
    media: Media,
    box: Box,
    electric: Complex[Tensor, "f 3 bx by bz"],
    conductivity: Float[Tensor, "cx cy cz"],
) -> Float[Tensor, "f cx cy cz"]:
    """Returns the power lost in each cell of a box [W s^2]: the edges' sigma |E|^2 / 2, shared out.

    The power of an edge is shared among the cells around it by conductivity [S/m] times volume. Cells at a surface
    hold the mean over their volume (`Scene.cell_materials`). So the sum over cells is the sum over edges, and the
    large normal field on edges in air beside a surface counts for nothing. Raises InputError where edges lose power
    and no cell beside them conducts.
    """
    volume = cell_volumes(grid, box).to(conductivity.device)
    if conductivity.shape != volume.shape:
        raise InputError(
            f"conductivity {list(conductivity.shape)} must be that of the {list(volume.shape)} cells between the "
            "nodes of the monitor's box"
        )
    shares: Tensor | float = 0.0
    lost, whole = 0.0, 0.0
    for axis, density in enumerate(edge_power(media, box, electric)):
        power = 0.25 * density * _around_edges(volume, axis)
        weight = _around_edges(conductivity * volume, axis)
        held = weight > 0
        whole += float(power.detach().sum())
        lost += float(torch.where(held, 0.0, power.detach()).sum())
        shares = shares + _around_cells(torch.where(held, power / torch.where(held, weight, 1.0), 0.0), axis)
    if lost > LOST_ALLOWED * whole:
        raise InputError(
            f"{100.0 * lost / whole:.2g} % of the power is on edges beside which no cell conducts, at most "
            f"{100.0 * LOST_ALLOWED:g} % may be; give the mean conductivity of each cell (Scene.cell_materials)"
        )
    return conductivity * volume * shares


def point_rate(
    grid: Grid,
    media: Media,
    box: Box,
    electric: Complex[Tensor, "f 3 bx by bz"],
    conductivity: Float[Tensor, "cx cy cz"],
    density: Float[Tensor, "cx cy cz"],
) -> Float[Tensor, "f cx cy cz"]:
    """Returns the power lost in each cell of a box over its mass [W s^2/kg]; zero where there is no tissue (rho = 0).

    conductivity [S/m] and density [kg/m^3] are means over the cells between the box's nodes. Differentiable.
    """
    power = cell_power(grid, media, box, electric, conductivity)
    if density.shape != power.shape[1:]:
        raise InputError(f"density {list(density.shape)} must be that of the {list(power.shape[1:])} cells of the box")
    tissue = density > 0
    return torch.where(
        tissue, power / torch.where(tissue, density * cell_volumes(grid, box).to(density.device), 1.0), 0.0
    )


def absorbed_power(
    grid: Grid, media: Media, box: Box, electric: Complex[Tensor, "f 3 bx by bz"], *, mirrors: tuple[int, ...] = ()
) -> Float[Tensor, "f"]:
    """Returns the power sum sigma |E|^2 / 2 on the edges of a box [W s^2], with the scheme's own conductivities.

    mirrors names axes whose first node lies on a plane of symmetry: edges in it count half, since their other half
    belongs to the image, which is not counted.
    """
    total: Tensor | float = 0.0
    for component in range(3):
        volume = torch.ones((), dtype=torch.float64)
        for axis in range(3):
            cells = grid.spacing(axis).to(torch.float64)
            sizes = torch.cat([cells, cells[-1:]]) if axis == component else grid.dual_spacing(axis).to(torch.float64)
            sizes = sizes[box.low[axis] : box.high[axis]].clone()
            if axis in mirrors and axis != component and box.low[axis] == 0:
                sizes[0] = 0.5 * sizes[0]
            volume = volume * sizes.reshape([-1 if other == axis else 1 for other in range(3)])
        conductivity = box.cut(media.conductivity)[component]
        squared = electric[:, component].real ** 2 + electric[:, component].imag ** 2
        total = total + 0.5 * (conductivity * volume.to(conductivity.device) * squared).sum(dim=(1, 2, 3))
    return torch.as_tensor(total)


def whole_body_rate(
    power: Float[Tensor, "f"], density: Float[Tensor, "cx cy cz"], volume: Tensor
) -> Float[Tensor, "f"]:
    """Returns the absorbed power over the mass of the cells, of densities [kg/m^3] and volumes [m^3]."""
    return power / (density * volume).sum()


def per_unit(rate: Float[Tensor, "f *cells"], reference: Float[Tensor, "f"]) -> Float[Tensor, "f *cells"]:
    """Returns the rate for one unit of a reference: incident power density (W/m^2) or a port's power (W)."""
    return rate / reference.reshape(-1, *[1] * (rate.ndim - 1))


def unfolded(values: Float[Tensor, "*f cx cy cz"], mirrors: tuple[int, ...]) -> Float[Tensor, "*f dx dy dz"]:
    """Returns cell values with their images beyond the low side of some axes, for averages across a symmetry plane."""
    for axis in mirrors:
        dim = values.ndim - 3 + axis
        values = torch.cat([values.flip(dim), values], dim=dim)
    return values
