"""Filters that give a density a length: each cell becomes the mean of its neighbourhood, a ball of a radius in metres.

The weights of every cell sum to one, so a constant stays what it is. Outside the box the density continues with the
value at its border, so the border is no edge of a pattern. [Bruns2001], [Bourdin2001].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mindsci.errors import InputError

Kernel = Literal["conic", "gaussian"]

# Standard deviation of the Gaussian as a fraction of the radius: its second moment in the plane, 2 s^2, is then that of
# a cone, 3 r^2 / 10.
WIDTH_OF_CONE = math.sqrt(0.15)
# Standard deviations after which the Gaussian ends.
REACH = 4.0
EVEN = 1e-6


def filter_density(
    density: Float[Tensor, "nx ny nz"],
    spacing: Sequence[Tensor],
    radius: float,
    *,
    kernel: Kernel = "conic",
) -> Float[Tensor, "nx ny nz"]:
    """Returns the density averaged over a neighbourhood of each cell.

    Arguments: spacing, the sizes of the cells along each axis [m]; radius [m], where the conic weight 1 - r / radius
    ends; the Gaussian of the same name is as wide in the mean square. An axis with one cell is not averaged over, as
    the density is uniform along it. A radius below the cell changes nothing. The conic kernel needs even cells.
    """
    if not radius >= 0.0:
        raise InputError(f"a filter radius of {radius:g} m must not be negative; use a few cells, or 0 for none")
    if tuple(density.shape) != tuple(len(size) for size in spacing):
        raise InputError(
            f"a density of shape {list(density.shape)} for {[len(size) for size in spacing]} cells; give one a cell"
        )
    if kernel == "gaussian":
        for axis, size in enumerate(spacing):
            if density.shape[axis] > 1 and radius > 0.0:
                weights = _gaussian(size.to(density), WIDTH_OF_CONE * radius)
                density = torch.movedim(torch.movedim(density, axis, -1) @ weights.T, -1, axis)
        return density
    if kernel != "conic":
        raise InputError(f"kernel '{kernel}' is not known; use 'conic' or 'gaussian'")
    return _conic(density, [_even_size(size) for size in spacing], radius)


def _even_size(sizes: Tensor) -> float:
    size = float(sizes[0])
    if bool(((sizes / size - 1.0).abs() > EVEN).any()):
        raise InputError("the conic filter needs cells of one size along each axis; use kernel = 'gaussian'")
    return size


def _conic(density: Tensor, sizes: Sequence[float], radius: float) -> Tensor:
    reach = [
        min(math.ceil(radius / size) - 1, 10 * count) if count > 1 else 0
        for size, count in zip(sizes, density.shape, strict=True)
    ]
    reach = [max(count, 0) for count in reach]
    if not any(reach):
        return density
    offsets = torch.meshgrid(
        *(size * torch.arange(-n, n + 1, dtype=torch.float64) for size, n in zip(sizes, reach, strict=True)),
        indexing="ij",
    )
    weights = (1.0 - torch.stack(offsets).norm(dim=0) / radius).clamp(min=0.0)
    weights = (weights / weights.sum()).to(density)
    pads = [count for n in reversed(reach) for count in (n, n)]
    continued = functional.pad(density[None, None], pads, mode="replicate")
    return functional.conv3d(continued, weights[None, None])[0, 0]


def _gaussian(sizes: Float[Tensor, "cells"], width: float) -> Float[Tensor, "cells cells"]:
    """Row i: the share of each cell in the mean around the centre of cell i, what lies outside given to the border."""
    ends = torch.cat([torch.zeros_like(sizes[:1]), sizes.cumsum(0)])
    centers = 0.5 * (ends[1:] + ends[:-1])
    ends = torch.cat([torch.full_like(ends[:1], -math.inf), ends[1:-1], torch.full_like(ends[:1], math.inf)])
    limit = REACH / math.sqrt(2.0)
    below = torch.erf(((ends[None, :] - centers[:, None]) / (math.sqrt(2.0) * width)).clamp(-limit, limit))
    return below.diff(dim=1) / (below[:, -1:] - below[:, :1])
