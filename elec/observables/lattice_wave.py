"""Plane waves that solve the Yee scheme exactly, on graded grids too: products of three staggered functions.

With the wave vector kappa = (Omega / c) r, Omega = 2 sin(omega dt / 2) / dt, the pairs (u, s) of each axis obey

    u[i+1] - u[i] = j kappa d[i] s[i+1/2],    s[i+1/2] - s[i-1/2] = j kappa d'[i] u[i]

with the cells d and the distances d' between their centres. Then E_x = p_x s(x) u(y) u(z), H_x = h_x u(x) s(y) s(z),
and so on with the amplitudes p and h = k x p / eta of an ordinary plane wave, obey both curl equations. On even cells
u = exp(j k x) with the scheme's own wave number; on graded ones what the grading reflects is contained.

A reaction of such a wave with the field on a closed surface is the same on every surface around the same sources,
since the scheme is reciprocal: a far field taken so does not depend on where the box lies.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.grid import Grid
from elec.observables.surface import Wall
from mindsci.errors import InputError

Staggered = tuple[Complex[Tensor, "*_ _"], Complex[Tensor, "*_ _"]]

# Cells that differ by less than this are even: the coordinates of a grid carry rounding errors of that size.
EVEN = 1e-9


def scheme_rate(frequency: float, dt: float) -> float:
    """Returns Omega = 2 sin(omega dt / 2) / dt [rad/s]. Raises InputError beyond half a sample a period."""
    if not 0.0 < frequency * dt < 0.5:
        raise InputError(f"f = {frequency:g} Hz at dt = {dt:g} s: use 0 < f < {0.5 / dt:g} Hz, half the sampling rate")
    return 2.0 * math.sin(math.pi * frequency * dt) / dt


def staggered_wave(
    grid: Grid, axis: int, kappa: Float[Tensor, "*many"], origin: float, wall: tuple[Wall, int] | None = None
) -> Staggered:
    """Returns u at the nodes and s at the cells of an axis, of phase zero at `origin` [m].

    With a wall the image in it is added, so that the wave obeys the condition there.

    Raises InputError for cells too coarse to carry the wave.
    """
    nodes = grid.nodes(axis).to(kappa)
    start = int((nodes - origin).abs().argmin()) if wall is None else wall[1]
    if float(kappa.abs().max() * grid.spacing(axis).max()) >= 2.0:
        raise InputError("a cell of the grid is longer than a third of the wavelength; the wave cannot pass it")
    even = bool((grid.spacing(axis) - grid.spacing(axis)[0]).abs().max() < EVEN * grid.spacing(axis)[0])
    u, s = (_even if even else _graded)(grid, axis, kappa, start)
    if wall is not None:
        sign = 1.0 if wall[0] == "pmc" else -1.0
        u, s = u + sign * u.conj(), s - sign * s.conj()
    cell = grid.spacing(axis)[min(start, grid.shape[axis] - 1)].to(kappa)
    phase = torch.exp(1j * _wave_number(kappa, cell) * (nodes[start] - origin))[..., None]
    return phase * u, phase * s


def _wave_number(kappa: Tensor, cell: Tensor) -> Tensor:
    return 2.0 / cell * torch.asin(0.5 * kappa * cell)


def _even(grid: Grid, axis: int, kappa: Tensor, start: int) -> Staggered:
    nodes = grid.nodes(axis).to(kappa)
    k = _wave_number(kappa, grid.spacing(axis).to(kappa).mean())[..., None]
    return torch.exp(1j * k * (nodes - nodes[start])), torch.exp(1j * k * (grid.centers(axis).to(kappa) - nodes[start]))


def _graded(grid: Grid, axis: int, kappa: Tensor, start: int) -> Staggered:
    """Marches from the start to both ends; there the wave is that of even cells."""
    cells, duals = grid.spacing(axis).to(kappa), grid.dual_spacing(axis).to(kappa)
    count = len(cells)
    first = cells[min(start, count - 1)]
    half = torch.exp(0.5j * _wave_number(kappa, first) * first)
    one = torch.ones_like(half)
    # The second equation at the start itself gives s before it from s behind it, or the other way round at the end.
    behind = half if start < count else half.conj() + 1j * kappa * duals[start]
    before = behind - 1j * kappa * duals[start]
    u_up, s_up, u_down, s_down = [one], [], [], []
    value, slope = one, behind
    for i in range(start, count):
        s_up.append(slope)
        value = value + 1j * kappa * cells[i] * slope
        u_up.append(value)
        slope = slope + 1j * kappa * duals[i + 1] * value
    value, slope = one, before
    for i in range(start - 1, -1, -1):
        s_down.append(slope)
        value = value - 1j * kappa * cells[i] * slope
        u_down.append(value)
        slope = slope - 1j * kappa * duals[i] * value
    return torch.stack([*reversed(u_down), *u_up], dim=-1), torch.stack([*reversed(s_down), *s_up], dim=-1)
