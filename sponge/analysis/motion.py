"""Mean square displacements over windows of time, and the diffusion coefficient."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci import tree, units
from mindsci.errors import InputError
from mindsci.tree import Tree
from sponge.analysis.frames import Trajectory, check_continuous, unwrapped

SQUARE_CM_PER_SECOND = 0.1
"""1 angstrom^2/fs [cm^2/s]"""
CUBE = 2.837297
"""of a cubic lattice of images [Yeh2004, eq. 12]"""
FIT = (0.1, 0.5)
"""lags that are fitted, as shares of the length of a block: after the ballistic start, while windows are many"""


class Displacement(Tree):
    """Mean square displacement of all atoms and of each element, and what diffuses."""

    time: Float[Tensor, " lags"]
    """[fs]"""
    groups: tuple[str, ...]
    """"all", and the elements"""
    squared: Float[Tensor, "groups lags"]
    """[angstrom^2]"""
    diffusion: Float[Tensor, " groups"]
    """[angstrom^2/fs]; 0.1 cm^2/s is one"""
    error: Float[Tensor, " groups"]
    """standard error of the diffusion coefficient, from blocks of the trajectory [angstrom^2/fs]"""
    fit: tuple[float, float]
    """lags that were fitted [fs]"""


def mean_square_displacement(
    trajectory: Trajectory,
    *,
    unwrap: bool = False,
    remove_drift: bool = True,
    fit: tuple[float, float] | None = None,
    blocks: int = 5,
) -> Displacement:
    """Returns <|r(t0 + t) - r(t0)|^2> over all times t0, and D = slope / 6 [angstrom^2/fs].

    Args:
        unwrap: follow atoms through the borders of the cell; for files of programs that wrap positions.
        remove_drift: relative to the centre of mass.
        fit: lags of the straight line [fs]; a tenth to a half of the length of a block unless given.
        blocks: parts of the trajectory, each fitted alone, whose deviation gives the error.

    By Fourier transforms [Kneller1995]. Raises InputError for positions that seem wrapped, times that are not evenly
    spaced, and fewer frames than the fit needs.
    """
    interval = trajectory.interval()
    if unwrap:
        trajectory = unwrapped(trajectory)
    else:
        check_continuous(trajectory)
    paths = trajectory.positions.double()
    if remove_drift:
        masses = trajectory.masses.to(paths)
        paths = paths - (masses[:, None] * paths).sum(1, keepdim=True) / masses.sum()
    length = len(paths) // blocks
    window = fit or (FIT[0] * length * interval, FIT[1] * length * interval)
    lags = interval * torch.arange(len(paths), dtype=torch.float64, device=paths.device)
    inside = (lags >= window[0]) & (lags <= window[1])
    if blocks < 2 or int(inside.sum()) < 2 or window[1] > interval * (length - 1):
        raise InputError(
            f"{len(paths)} frames {interval:g} fs apart in {blocks} blocks cannot be fitted from {window[0]:g} to "
            f"{window[1]:g} fs; use 2 blocks or more, and a fit within a block of {interval * max(length - 1, 0):g} fs"
        )
    whole = _by_group(squared_displacements(paths), trajectory)
    parts = [squared_displacements(paths[k * length : (k + 1) * length]) for k in range(blocks)]
    slopes = torch.stack([_slope(lags, inside, _by_group(part, trajectory)) for part in parts])
    return Displacement(
        time=lags,
        groups=("all", *_symbols(trajectory)),
        squared=whole,
        diffusion=_slope(lags, inside, whole) / 6.0,
        error=slopes.std(0) / math.sqrt(blocks) / 6.0,
        fit=window,
    )


def finite_size_correction(*, temperature: float, viscosity: float, length: float) -> float:
    """Returns what a periodic cube takes from a diffusion coefficient, 2.837297 k_B T / (6 pi eta L) [Yeh2004].

    temperature [K], viscosity eta of the liquid [eV fs/angstrom^3], length L of the edge [angstrom]; the result
    [angstrom^2/fs] is to be added. Raises InputError for what is not positive.
    """
    if not (temperature > 0 and viscosity > 0 and length > 0):
        raise InputError(
            f"temperature = {temperature} K, viscosity = {viscosity} eV fs/angstrom^3, length = {length} angstrom; use "
            "positive ones"
        )
    return CUBE * units.BOLTZMANN_EV * temperature / (6.0 * math.pi * viscosity * length)


def squared_displacements(paths: Float[Tensor, "frames atoms 3"]) -> Float[Tensor, "frames atoms"]:
    """Returns the mean over t0 of |r(t0 + t) - r(t0)|^2 at every lag t [angstrom^2], of each atom [Kneller1995]."""
    count = len(paths)
    # About the mean: a large offset would cancel between the two terms.
    centred = (paths - paths.mean(0)).double()
    square = (centred**2).sum(-1)
    total = 2.0 * square.sum(0)
    edge = torch.cat([square.new_zeros(1, square.shape[1]), square])
    far = torch.cat([square.new_zeros(1, square.shape[1]), square.flip(0)])
    ends = total - (edge[:count].cumsum(0) + far[:count].cumsum(0))
    windows = torch.arange(count, 0, -1, device=paths.device)[:, None]
    return (ends / windows - 2.0 * correlate(centred).sum(-1)).clamp(min=0.0)


def correlate(values: Float[Tensor, "frames *rest"]) -> Float[Tensor, "frames *rest"]:
    """Returns the mean over t0 of x(t0) x(t0 + t) at every lag t."""
    count = len(values)
    spectrum = torch.fft.rfft(values, n=2 * count, dim=0)
    sums = torch.fft.irfft(spectrum.abs() ** 2, n=2 * count, dim=0)[:count]
    windows = torch.arange(count, 0, -1, device=values.device).reshape(-1, *[1] * (values.ndim - 1))
    return sums / windows


def _symbols(trajectory: Trajectory) -> list[str]:
    from ase.data import chemical_symbols

    return [chemical_symbols[number] for number in sorted(set(trajectory.atomic_numbers.tolist()))]


def _by_group(of_atoms: Tensor, trajectory: Trajectory) -> Tensor:
    kinds = trajectory.atomic_numbers
    return torch.stack(
        [of_atoms.mean(1), *(of_atoms[:, kinds == kind].mean(1) for kind in sorted(set(kinds.tolist())))]
    )


def _slope(lags: Tensor, inside: Tensor, squared: Tensor) -> Tensor:
    """Slope of a straight line through the lags inside, of each group."""
    kept = inside[: squared.shape[1]]
    x, y = lags[: squared.shape[1]][kept], squared[:, kept]
    x = x - x.mean()
    return (y * x).sum(-1) / (x**2).sum()


def with_velocities(trajectory: Trajectory) -> Trajectory:
    """Returns the trajectory, in float64. Raises InputError where it has no velocities."""
    if trajectory.velocities is None:
        raise InputError("the trajectory has no velocities; write them (H5MD velocity, or momenta in extended XYZ)")
    return tree.replace(trajectory, velocities=trajectory.velocities.double())
