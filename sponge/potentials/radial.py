"""Functions of a distance that potentials share."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def smooth_cutoff(distances: Float[Tensor, " *pairs"], cutoff: float) -> Float[Tensor, " *pairs"]:
    """Returns 1 - 6 x^5 + 15 x^4 - 10 x^3, x = d / cutoff, inside the cutoff and 0 beyond [Unke2019]: C2 there."""
    x = (distances / cutoff).clamp(max=1.0)
    return 1.0 + x**3 * (x * (15.0 - 6.0 * x) - 10.0)


def smooth_cutoff_slope(distances: Float[Tensor, " *pairs"], cutoff: float) -> Float[Tensor, " *pairs"]:
    """Returns its derivative, -30 x^2 (1 - x)^2 / cutoff [1/angstrom]."""
    x = (distances / cutoff).clamp(max=1.0)
    return -30.0 / cutoff * (x * (1.0 - x)) ** 2


def cosine_cutoff(distances: Float[Tensor, " pairs"], cutoff: float) -> Float[Tensor, " pairs"]:
    """Returns (1 + cos(pi d / cutoff)) / 2 inside the cutoff and 0 beyond [Behler2007]: C1 at the cutoff."""
    inside = 0.5 * (1.0 + torch.cos(distances * (math.pi / cutoff)))
    return torch.where(distances < cutoff, inside, 0.0)


def cosine_cutoff_slope(distances: Float[Tensor, " pairs"], cutoff: float) -> Float[Tensor, " pairs"]:
    """Returns its derivative, -pi / (2 cutoff) sin(pi d / cutoff) [1/angstrom]."""
    angle = math.pi / cutoff
    return torch.where(distances < cutoff, -0.5 * angle * torch.sin(distances * angle), 0.0)
