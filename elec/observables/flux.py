"""Time-averaged power through a closed surface and through a plane, from the running Fourier sums."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.fdtd.probes import Box
from elec.grid import AXES, Grid
from elec.observables.surface import Surface
from mindsci.errors import InputError
from mindsci.tree import Tree


def radiated_power(surface: Surface, spectra: Sequence[Complex[Tensor, "f 3 _ _ _"]]) -> Float[Tensor, "f"]:
    """Returns the power that leaves a surface, Re sum E x H* / 2 [W s^2]; negative where more is absorbed inside.

    E of the inner skin with H of the outer one is what the scheme conserves: between two surfaces with nothing lossy
    between them the figure is the same to rounding. Images in "pec" and "pmc" walls count too, as they do in the gain.
    """
    total: Tensor | float = 0.0
    for pair in surface.pairs(spectra):
        # J . E = (n x H) . E = -(E x H) . n
        total = total - 0.5 * pair.sign * (pair.weight * (pair.electric * pair.magnetic.conj()).real).sum(dim=(1, 2))
    return surface.copies * torch.as_tensor(total)


class Plane(Tree):
    """A rectangle of nodes across an axis, through which power is counted towards the axis' high side.

    low and high name the nodes of its corners along the other two axes, in their order. Edges on the rim count half.
    """

    grid: Grid
    axis: int
    node: int
    low: tuple[int, int]
    high: tuple[int, int]

    def __post_init__(self) -> None:
        if not 1 <= self.node < self.grid.shape[self.axis]:
            raise InputError(
                f"the plane at node {self.node} along {AXES[self.axis]} must lie within 1 .. "
                f"{self.grid.shape[self.axis] - 1}: H is taken on both sides of it"
            )

    @property
    def boxes(self) -> tuple[Box, Box]:
        """The boxes to monitor: E on the plane, H half a cell before and behind it."""
        across = [axis for axis in range(3) if axis != self.axis]
        found = []
        for first, last, field in ((self.node, self.node + 1, "electric"), (self.node - 1, self.node + 1, "magnetic")):
            low, high = [first] * 3, [last] * 3
            for axis, start, stop in zip(across, self.low, self.high, strict=True):
                low[axis], high[axis] = start, stop + 1
            found.append(Box(low=(low[0], low[1], low[2]), high=(high[0], high[1], high[2]), field=field))
        return found[0], found[1]

    def power(self, spectra: Sequence[Complex[Tensor, "f 3 _ _ _"]]) -> Float[Tensor, "f"]:
        """Returns Re integral of (E x H*) / 2 along the axis [W s^2], second order: H is that of the plane itself."""
        electric, both = (part.to(torch.complex128).movedim(self.axis + 2, -1) for part in spectra)
        cells = self.grid.spacing(self.axis)[self.node - 1 : self.node + 1].to(torch.float64)
        share = (cells.flip(0) / cells.sum()).to(both.device)  # the nearer side weighs more
        magnetic = (both * share).sum(dim=-1)
        first, second = (axis for axis in range(3) if axis != self.axis)
        sign = 1.0 if (self.axis + 1) % 3 == first else -1.0
        one = self._sum(electric[:, first, ..., 0] * magnetic[:, second].conj(), first)
        other = self._sum(electric[:, second, ..., 0] * magnetic[:, first].conj(), second)
        return 0.5 * sign * (one - other)

    def _sum(self, product: Complex[Tensor, "f a b"], along: int) -> Float[Tensor, "f"]:
        """Sum of what lies on edges of one direction times the area of each."""
        across = [axis for axis in range(3) if axis != self.axis]
        sizes = []
        for axis, start, stop in zip(across, self.low, self.high, strict=True):
            cells = self.grid.spacing(axis)[start:stop].to(torch.float64)
            zero = cells.new_zeros(1)
            sizes.append(
                torch.cat([cells, zero])
                if axis == along
                else 0.5 * (torch.cat([cells, zero]) + torch.cat([zero, cells]))
            )
        return (product.real * (sizes[0][:, None] * sizes[1]).to(product.device)).sum(dim=(1, 2))
