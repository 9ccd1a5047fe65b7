"""Minimum lengths: constraints that a search can follow, and the measure of a finished pattern."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from mindsci.errors import InputError
from mindsci.tree import Tree


def erosion_threshold(length: float, radius: float) -> float:
    """Returns the threshold above which the conic filter of a radius keeps solid parts as wide as a length.

    A strip of the width `length` [m] just reaches it; 1 less it is the threshold for gaps [Qian2013].
    """
    ratio = length / radius
    if not 0.0 < ratio <= 2.0:
        raise InputError(
            f"a minimum length of {length:g} m with a filter radius of {radius:g} m: the length must be positive and "
            "at most twice the radius"
        )
    return 0.5 + 0.25 * ratio**2 if ratio <= 1.0 else ratio - 0.25 * ratio**2


def length_constraints(
    filtered: Float[Tensor, "nx ny nz"],
    projected: Float[Tensor, "nx ny nz"],
    spacing: Sequence[Tensor],
    *,
    length: float,
    radius: float,
    decay: float = 64.0,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Returns how far solid, and void, fall short of a minimum length [m]: zero where they keep it [Zhou2015].

    In the middle of a part, where the filtered density has no slope, it must exceed `erosion_threshold`; a slope of
    1 / radius counts as a border: exp(-decay) there. In a gap it must lie below 1 less the threshold.
    """
    threshold = erosion_threshold(length, radius)
    squared = torch.zeros_like(filtered)
    for axis, cells in enumerate(spacing):
        if filtered.shape[axis] > 1:
            centers = cells.to(filtered).cumsum(0) - 0.5 * cells.to(filtered)
            squared = squared + torch.gradient(filtered, spacing=(centers,), dim=axis)[0] ** 2
    middle = torch.exp(-decay * radius**2 * squared)
    solid = projected * middle * (threshold - filtered).clamp(min=0.0) ** 2
    void = (1.0 - projected) * middle * (filtered - (1.0 - threshold)).clamp(min=0.0) ** 2
    return solid.mean(), void.mean()


class Lengths(Tree):
    """The least width of the solid parts and of the gaps of a pattern [m]; inf where there is none of a kind."""

    solid: float
    void: float

    @property
    def smallest(self) -> float:
        return min(self.solid, self.void)


def minimum_lengths(pattern: Bool[Tensor, "n m"], cell: float) -> Lengths:
    """Returns the widths of the narrowest solid part and the narrowest gap of a plane pattern of square cells [m].

    A width is the diameter of the largest disc with which the pattern can be painted: opened by it, the pattern loses
    no more than cells at its own border, which the corners of cells cost: a width that
    changes along a part is known to a cell. Beyond its frame the pattern continues as it is there.
    """
    solid = pattern.detach().cpu().numpy().astype(bool)
    if solid.ndim != 2:
        raise InputError(f"a pattern of shape {list(pattern.shape)}; give one plane of it")
    return Lengths(solid=_narrowest(solid) * cell, void=_narrowest(~solid) * cell)


def _narrowest(solid: ndarray) -> float:
    """Diameter in cells up to which every disc paints the pattern."""
    if not solid.any() or solid.all():
        return math.inf
    for diameter in range(2, max(solid.shape) + 1):
        if not _paintable(solid, diameter):
            return float(diameter - 1)
    return math.inf


def _paintable(solid: ndarray, diameter: int) -> bool:
    """Whether discs of a diameter that lie in the pattern cover it but for its border."""
    from scipy import ndimage

    frame = (slice(diameter, -diameter),) * 2
    padded = np.pad(solid, diameter, mode="edge")
    opened = _opened(padded, diameter)
    square = np.ones((3, 3), bool)
    border = ~ndimage.binary_erosion(padded, square, border_value=1)
    # A part no wider than two cells is all border: it must not be lost as a whole.
    near = ndimage.binary_dilation(opened, square)
    return not bool((padded & ~(opened | (border & near)))[frame].any())


def _opened(solid: ndarray, diameter: int) -> ndarray:
    """The cells whose centres some disc covers that covers no centre of a gap.

    On a lattice of half cells centres of cells are the odd places; discs of an odd diameter have their centres there
    too, those of an even one at the corners of cells.
    """
    from scipy import ndimage

    free = np.ones([2 * count + 1 for count in solid.shape], bool)
    free[1::2, 1::2] = solid
    distance = ndimage.distance_transform_edt(free) if not solid.all() else np.full(free.shape, np.inf)
    away = np.ones_like(free)
    first = diameter % 2
    away[first::2, first::2] = distance[first::2, first::2] <= diameter
    if away.all():
        return np.zeros_like(solid)
    return (ndimage.distance_transform_edt(away) <= diameter)[1::2, 1::2]
