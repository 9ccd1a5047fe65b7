"""What frames tell of matter in bulk: its density, and how it answers an electric field."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci import units
from mindsci.errors import InputError
from mindsci.tree import Tree
from sponge.analysis.frames import Trajectory, check_continuous

GRAM_PER_CM3 = units.DALTON_KG * 1e27
"""1 Da/angstrom^3 [g/cm^3]"""
NEUTRAL = 1e-3
"""[e]"""


class Mean(Tree):
    """A mean over frames, and the standard error of it from blocks of frames."""

    value: float
    error: float
    series: Float[Tensor, " frames"]


def volumes(trajectory: Trajectory) -> Float[Tensor, " frames"]:
    """Returns the volume of each frame [angstrom^3]. Raises InputError without a cell along all three axes."""
    if not all(trajectory.periodic):
        raise InputError("the trajectory is not periodic along all three axes, so it has no volume; give it a cell")
    return torch.linalg.det(trajectory.cell.double()).abs()


def density(trajectory: Trajectory, *, blocks: int = 5) -> Mean:
    """Returns the density [g/cm^3]."""
    series = float(trajectory.masses.double().sum()) * GRAM_PER_CM3 / volumes(trajectory)
    return Mean(value=float(series.mean()), error=block_error(series, blocks), series=series)


def block_error(series: Float[Tensor, " frames"], blocks: int) -> float:
    """Returns the standard error of a mean from the means of so many parts. Raises InputError for too few frames."""
    length = len(series) // blocks
    if blocks < 2 or length < 1:
        raise InputError(f"{len(series)} frames in {blocks} blocks; use 2 blocks or more, of a frame or more each")
    parts = series[: length * blocks].reshape(blocks, length).double().mean(1)
    return float(parts.std() / math.sqrt(blocks))


class Dielectric(Tree):
    """The static dielectric constant, and its value from the frames up to each."""

    value: float
    error: float
    running: Float[Tensor, " frames"]
    """how it settles"""


def dipoles(trajectory: Trajectory) -> Float[Tensor, "frames 3"]:
    """Returns the dipole moment of each frame [e angstrom].

    Of continuous positions, whose molecules are whole. Raises InputError without charges, where they do not sum to
    zero, and for positions that seem wrapped.
    """
    charges = trajectory.charges
    if charges is None:
        raise InputError("the trajectory has no charges; take the trajectory.h5 of a run with a force field")
    total = float(charges.double().sum())
    if abs(total) > NEUTRAL:
        raise InputError(f"the charges sum to {total:.3g} e, and the dipole moment of what is charged has no meaning")
    check_continuous(trajectory)
    return torch.einsum("fad,a->fd", trajectory.positions.double(), charges.double())


def dielectric_constant(trajectory: Trajectory, *, temperature: float, blocks: int = 5) -> Dielectric:
    """Returns 1 + 4 pi k_e (<M^2> - <M>^2) / (3 V k_B T), for Ewald sums with a conductor around [Neumann1983].

    temperature [K]. Raises InputError as `dipoles` does, and for a temperature that is not positive.
    """
    if not temperature > 0:
        raise InputError(f"temperature = {temperature} K; use a positive one")
    moments, volume = dipoles(trajectory), float(volumes(trajectory).mean())
    factor = 4.0 * math.pi * units.COULOMB_EV_ANGSTROM / (3.0 * volume * units.BOLTZMANN_EV * temperature)
    count = torch.arange(1, len(moments) + 1, dtype=torch.float64)[:, None]
    mean, square = moments.cumsum(0) / count, (moments**2).cumsum(0) / count
    running = 1.0 + factor * (square - mean**2).sum(-1)
    centred = ((moments - moments.mean(0)) ** 2).sum(-1)
    return Dielectric(value=float(running[-1]), error=factor * block_error(centred, blocks), running=running)
