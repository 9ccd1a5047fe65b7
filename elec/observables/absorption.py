"""Specific absorption rate (SAR) [W/kg]: at a point, in the whole body; averages over cubes are in `mass_average`.

Rates are those of the spectra given. Divide the spectra by that of the incident wave, or the rate by a port's power in
the same units, for the rate a watt or a watt a square metre: `per_unit` does the division.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.fdtd.media import BOX, Media
from elec.fdtd.probes import Box
from elec.grid import Grid
from mindsci.errors import InputError

# Of the power on the edges, as much may lie where the cells given do not conduct: rounding of the filled fractions.
LOST_ALLOWED = 1e-3


def edge_conductivity(
    media: Media, box: Box, frequencies: Sequence[float] | None = None
) -> Float[Tensor, "f 3 bx by bz"]:
    """Returns what the scheme's edges conduct in a box [S/m], the loss of poles with it; f is 1 without poles.

    A pole's current and field make Re Y |E|^2 / 2, with Y the admittivity of `elec.fdtd.poles` at the frequency [Hz].
    Raises InputError where there are poles and no frequencies, and where faces of the box lose power.
    """
    _no_magnetic_loss(media, box)
    conductivity = box.cut(media.conductivity)[None]
    if media.poles is None:
        return conductivity
    if frequencies is None:
        raise InputError(
            "the media have poles, whose loss depends on frequency; give frequencies = those of the monitors"
        )
    component, *index = media.poles.index()
    inside = torch.ones_like(component, dtype=torch.bool)
    for axis, node in enumerate(index):
        inside = inside & (node >= box.low[axis]) & (node < box.high[axis])
    place = (component[inside], *(node[inside] - box.low[axis] for axis, node in enumerate(index)))
    rate, jump, drive = (values[inside] for values in (media.poles.rate, media.poles.jump, media.poles.drive))
    found = []
    for frequency in frequencies:
        s = 2j * math.pi * frequency
        # A field and a current of which the real part counts: half of the term, half of its conjugate.
        loss = 0.5 * ((s * jump + drive) / (s - rate) + (s * jump.conj() + drive.conj()) / (s - rate.conj())).real
        found.append(conductivity[0].index_put(place, loss.to(conductivity), accumulate=True))
    return torch.stack(found)


def _no_magnetic_loss(media: Media, box: Box) -> None:
    conductivity, poles = media.magnetic_conductivity, media.magnetic_poles
    lossy = conductivity is not None and bool(box.cut(conductivity).any())
    if poles is not None:
        low, high = (torch.tensor(corner, device=poles.edges.device) for corner in (box.low, box.high))
        lossy = lossy or bool(((poles.edges[:, 1:] >= low) & (poles.edges[:, 1:] < high)).all(dim=1).any())
    if lossy:
        raise InputError(
            "the box holds magnetic loss, of which its electric field does not tell; take the power through a Surface "
            "around it"
        )


def edge_power(
    media: Media,
    box: Box,
    electric: Complex[Tensor, "f 3 bx by bz"],
    frequencies: Sequence[float] | None = None,
) -> Float[Tensor, "f 3 bx by bz"]:
    """Returns the power density sigma |E|^2 / 2 [W s^2/m^3] on the edges that begin at the nodes of a box.

    The conductivities are the scheme's own, poles included, so that times the edges' volumes it is the power that the
    run lost. frequencies [Hz] are needed where media have poles.
    """
    conductivity = edge_conductivity(media, box, frequencies)
    if len(conductivity) not in (1, len(electric)):
        raise InputError(f"{len(conductivity)} frequencies for {len(electric)} spectra; give those of the monitors")
    return 0.5 * conductivity * (electric.real**2 + electric.imag**2)


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
    conductivity: Float[Tensor, "*f cx cy cz"],
    *,
    frequencies: Sequence[float] | None = None,
) -> Float[Tensor, "f cx cy cz"]:
    """Returns the power lost in each cell of a box [W s^2]: the edges' sigma |E|^2 / 2, shared out.

    The power of an edge is shared among the cells around it by conductivity [S/m] times volume. Cells at a surface
    hold the mean over their volume (`Scene.cell_materials`; with the loss of poles, for the frequencies [Hz] that are
    needed then, `Scene.cell_conductivity`). So the sum over cells is the sum over edges, and the
    large normal field on edges in air beside a surface counts for nothing. Raises InputError where edges lose power
    and no cell beside them conducts.
    """
    volume = cell_volumes(grid, box).to(conductivity.device)
    if conductivity.shape[-3:] != volume.shape:
        raise InputError(
            f"conductivity {list(conductivity.shape)} must be that of the {list(volume.shape)} cells between the "
            "nodes of the monitor's box"
        )
    shares: Tensor | float = 0.0
    lost, whole = 0.0, 0.0
    for axis, density in enumerate(edge_power(media, box, electric, frequencies).unbind(1)):
        density = density.narrow(axis + 1, 0, density.shape[axis + 1] - 1)
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
    conductivity: Float[Tensor, "*f cx cy cz"],
    density: Float[Tensor, "cx cy cz"],
    *,
    frequencies: Sequence[float] | None = None,
) -> Float[Tensor, "f cx cy cz"]:
    """Returns the power lost in each cell of a box over its mass [W s^2/kg]; zero where there is no tissue (rho = 0).

    conductivity [S/m] and density [kg/m^3] are means over the cells between the box's nodes; frequencies as for
    `cell_power`. Differentiable.
    """
    power = cell_power(grid, media, box, electric, conductivity, frequencies=frequencies)
    if density.shape != power.shape[1:]:
        raise InputError(f"density {list(density.shape)} must be that of the {list(power.shape[1:])} cells of the box")
    tissue = density > 0
    return torch.where(
        tissue, power / torch.where(tissue, density * cell_volumes(grid, box).to(density.device), 1.0), 0.0
    )


def absorbed_power(
    grid: Grid,
    media: Media,
    box: Box,
    electric: Complex[Tensor, "f 3 bx by bz"],
    *,
    mirrors: tuple[int, ...] = (),
    frequencies: Sequence[float] | None = None,
) -> Float[Tensor, "f"]:
    """Returns the power sum sigma |E|^2 / 2 on the edges of a box [W s^2], with the scheme's own conductivities.

    frequencies [Hz] are needed where media have poles: their loss counts too.
    mirrors names axes whose first node lies on a plane of symmetry: edges in it count half, since their other half
    belongs to the image, which is not counted.
    """
    low, high = box.low, box.high
    mirrored = [axis for axis in mirrors if low[axis] == 0]
    volume = BOX.widths(grid).halved(mirrored).volumes(low=low, high=high)
    density = edge_power(media, box, electric, frequencies)
    return (density * volume.to(density.device)).sum(dim=(1, 2, 3, 4))


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
