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


def cell_field_squared(electric: Complex[Tensor, "f 3 bx by bz"]) -> Float[Tensor, "f cx cy cz"]:
    """Returns |E|^2 at the middle of each cell of a box, every component the mean of its four edges [Iec2017]."""
    total: Tensor | float = 0.0
    for component in range(3):
        part = electric[:, component]
        for axis in range(3):
            size = part.shape[axis + 1]
            before = part.narrow(axis + 1, 0, size - 1)
            part = before if axis == component else 0.5 * (before + part.narrow(axis + 1, 1, size - 1))
        total = total + part.real**2 + part.imag**2
    return torch.as_tensor(total)


def point_rate(
    electric: Complex[Tensor, "f 3 bx by bz"],
    conductivity: Float[Tensor, "cx cy cz"],
    density: Float[Tensor, "cx cy cz"],
) -> Float[Tensor, "f cx cy cz"]:
    """Returns sigma |E|^2 / (2 rho) in each cell of a box [W s^2/kg]; zero where there is no tissue (rho = 0).

    conductivity [S/m] and density [kg/m^3] are those of the cells between the box's nodes. Differentiable.
    """
    squared = cell_field_squared(electric)
    if conductivity.shape != squared.shape[1:] or density.shape != squared.shape[1:]:
        raise InputError(
            f"conductivity {list(conductivity.shape)} and density {list(density.shape)} must be those of the "
            f"{list(squared.shape[1:])} cells between the nodes of the monitor's box"
        )
    tissue = density > 0
    return torch.where(tissue, 0.5 * conductivity * squared / torch.where(tissue, density, 1.0), 0.0)


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
