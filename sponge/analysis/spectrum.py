"""Velocity autocorrelation, and the spectrum of vibrations that is its Fourier transform."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci.errors import InputError
from mindsci.tree import Tree
from mindsci.units import SPEED_OF_LIGHT
from sponge.analysis.frames import Trajectory
from sponge.analysis.motion import correlate, with_velocities

PER_CENTIMETRE = 1e15 / (100.0 * SPEED_OF_LIGHT)
"""1/fs as a wavenumber [1/cm]"""
FINER = 4
"""points of a spectrum for each that the data hold: interpolation by zeros, so that peaks can be seen"""


class Correlation(Tree):
    """Sum over atoms of m <v(0) . v(t)>, over its value at zero."""

    time: Float[Tensor, " lags"]
    """[fs]"""
    groups: tuple[str, ...]
    """"all", and the elements"""
    values: Float[Tensor, "groups lags"]
    """the elements' shares add up to all"""


class Spectrum(Tree):
    """Density of vibrational states: kinetic energy by wavenumber."""

    wavenumber: Float[Tensor, " points"]
    """[1/cm]"""
    groups: tuple[str, ...]
    density: Float[Tensor, "groups points"]
    """[cm]; the integral of "all" over the wavenumbers is 1"""
    resolution: float
    """full width of a sharp line at half its height [1/cm]"""


def velocity_autocorrelation(
    trajectory: Trajectory, *, longest: float | None = None, mass_weighted: bool = True
) -> Correlation:
    """Returns the normalised velocity autocorrelation up to a lag [fs]; half the trajectory unless given.

    Raises InputError where there are no velocities, where times are not evenly spaced, and for a lag that is too long.
    """
    trajectory = with_velocities(trajectory)
    interval = trajectory.interval()
    count = trajectory.n_frames // 2 if longest is None else int(longest / interval * (1 + 1e-9)) + 1
    if not 2 <= count <= trajectory.n_frames:
        raise InputError(
            f"a correlation up to {longest} fs needs 2 to {trajectory.n_frames} of the frames, {interval:g} fs apart"
        )
    weights = trajectory.masses.double() if mass_weighted else torch.ones(trajectory.n_atoms, dtype=torch.float64)
    of_atoms = correlate(trajectory.velocities).sum(-1)[:count] * weights  # type: ignore[arg-type]
    kinds = trajectory.atomic_numbers
    numbers = sorted(set(kinds.tolist()))
    groups = torch.stack([of_atoms.sum(1), *(of_atoms[:, kinds == kind].sum(1) for kind in numbers)])
    if not bool(groups[0, 0] > 0):
        raise InputError("no atom moves in these frames; there is nothing to correlate")
    from ase.data import chemical_symbols

    return Correlation(
        time=interval * torch.arange(count, dtype=torch.float64),
        groups=("all", *(chemical_symbols[number] for number in numbers)),
        values=groups / groups[0, 0],
    )


def vibrational_spectrum(trajectory: Trajectory, *, longest: float | None = None) -> Spectrum:
    """Returns the power spectrum of the mass-weighted velocities [1/cm].

    The autocorrelation up to `longest` [fs] is faded out by a Hann window: a sharp line gets a width of 1 / longest
    at half its height, and no side lobes above 3 %. Raises InputError as `velocity_autocorrelation`.
    """
    found = velocity_autocorrelation(trajectory, longest=longest)
    count = len(found.time)
    interval = float(found.time[1])
    window = torch.cos(0.5 * torch.pi * torch.arange(count, dtype=torch.float64) / count) ** 2
    faded = found.values * window
    # Even in time: the cosine transform of what is at positive and at negative lags.
    size = 2 * FINER * count
    even = torch.cat([faded, faded.new_zeros(len(faded), size - 2 * count + 1), faded[:, 1:].flip(1)], 1)
    density = torch.fft.rfft(even, dim=1).real
    wavenumber = PER_CENTIMETRE * torch.fft.rfftfreq(size, d=interval, dtype=torch.float64)
    spacing = float(wavenumber[1])
    return Spectrum(
        wavenumber=wavenumber,
        groups=found.groups,
        density=density / torch.trapezoid(density[0], dx=spacing),
        resolution=PER_CENTIMETRE / (count * interval),
    )


def peaks(spectrum: Spectrum, *, above: float = 0.05, group: int = 0) -> Float[Tensor, " peaks"]:
    """Returns where a spectrum is highest [1/cm]: maxima above a share of the largest, by parabolas through them."""
    y = spectrum.density[group]
    inner = y[1:-1]
    top = ((inner > y[:-2]) & (inner >= y[2:]) & (inner > above * y.max())).nonzero().flatten() + 1
    low, middle, high = y[top - 1], y[top], y[top + 1]
    offset = 0.5 * (low - high) / (low - 2.0 * middle + high)
    return (top + offset) * spectrum.wavenumber[1]
