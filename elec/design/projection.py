"""From a filtered density, smooth between 0 and 1, towards a pattern of solid and void."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci.errors import InputError

# Reach of the smoothing in cells: a little more than half a cell, so that an interface always lies within some cell's.
REACH = 0.55
FLAT = 1e-12


def project(density: Float[Tensor, "*n"], beta: float, eta: float = 0.5) -> Float[Tensor, "*n"]:
    """Returns the smoothed step at the threshold eta of steepness beta [Wang2011, eq. 9].

    0 and 1 stay what they are; beta towards zero leaves the density alone, beta = inf is the step itself.
    """
    if not (beta >= 0.0 and 0.0 < eta < 1.0):
        raise InputError(f"beta = {beta:g} and eta = {eta:g}: beta must not be negative, eta lies between 0 and 1")
    if beta == 0.0:
        return density
    if math.isinf(beta):
        return (density > eta).to(density.dtype) + 0.0 * density
    low = math.tanh(beta * eta)
    return (low + torch.tanh(beta * (density - eta))) / (low + math.tanh(beta * (1.0 - eta)))


def project_smoothly(
    density: Float[Tensor, "nx ny nz"], spacing: Sequence[Tensor], beta: float, eta: float = 0.5
) -> Float[Tensor, "nx ny nz"]:
    """Returns the projection averaged over each cell across the interface [Hammond2025]; spacing in [m].

    Even with beta = inf it is differentiable in the filtered density: a cell through which the contour at eta passes
    takes the fraction of it that lies beyond, so a border moves by less than a cell when the density changes a little.
    """
    slopes, size = [], 0.0
    for axis, cells in enumerate(spacing):
        if density.shape[axis] > 1:
            centers = cells.to(density).cumsum(0) - 0.5 * cells.to(density)
            slopes.append(torch.gradient(density, spacing=(centers,), dim=axis)[0])
            size = max(size, float(cells.max()))
    if not slopes:
        return project(density, beta, eta)
    reach = REACH * size
    squared = sum((slope**2 for slope in slopes), torch.zeros_like(density))
    steep = squared > FLAT / size**2
    slope = torch.where(steep, squared, torch.ones_like(squared)).sqrt()
    depth = (eta - density) / (slope * reach)
    near = steep & (depth.detach().abs() < 1.0)
    inside = torch.where(near, depth, torch.zeros_like(depth))
    # Fraction of the neighbourhood beyond the contour: a quintic that meets 1 and 0 with two derivatives.
    beyond = 0.5 - 15.0 / 16.0 * inside + 5.0 / 8.0 * inside**3 - 3.0 / 16.0 * inside**5
    low, high = density - reach * slope * beyond, density + reach * slope * (1.0 - beyond)
    mixed = (1.0 - beyond) * project(low, beta, eta) + beyond * project(high, beta, eta)
    return torch.where(near, mixed, project(density, beta, eta))


def gray_level(density: Float[Tensor, "*n"]) -> Float[Tensor, ""]:
    """Returns the mean of 4 rho (1 - rho): 0 for a pattern of solid and void, 1 where all is half [Sigmund2007]."""
    return (4.0 * density * (1.0 - density)).mean()
