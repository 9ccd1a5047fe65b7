"""Absorbing layers: convolutional perfectly matched layers with a complex frequency-shifted stretch [Roden2000].

In a layer a derivative along its normal is divided by s = kappa + sigma / (alpha + i omega epsilon0). In the time
domain that is the derivative over kappa plus a recursive sum psi <- b psi + c (derivative) [Roden2000]. Only psi
needs memory, and only in the layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from elec.grid import AXES, Grid
from mindsci.errors import InputError
from mindsci.tree import Tree
from mindsci.units import VACUUM_IMPEDANCE, VACUUM_PERMITTIVITY

CORNER_DEPTH = 1.0 / 12.0
"""k d, at which layers of depth d stop absorbing: the wave there is 75 depths long, 750 cells for ten of them.

A layer divides by kappa + sigma / (alpha + i omega epsilon0). Below omega = alpha / epsilon0 that is real, and a wave
is stretched, not absorbed; with alpha / epsilon0 = k c there, alpha = k d / (eta0 d). So the corner has to lie below
every wave that the domain can tell from a static field, some ten times its own size, whatever the size of the cells. It
should not be zero: evanescent and static fields would meet a stretch without bound at its face [Roden2000].
"""


class Stretch(Tree):
    """Stretch of one axis at one set of places, the nodes or the cell centres; the last centre is padding."""

    conductivity: Float[Tensor, "nodes"]
    """sigma [S/m]"""
    scale: Float[Tensor, "nodes"]
    """kappa"""
    shift: Float[Tensor, "nodes"]
    """alpha [S/m]"""

    def recursion(self, dt: float) -> tuple[Float[Tensor, "nodes"], Float[Tensor, "nodes"]]:
        """Returns (b, c) of psi <- b psi + c (derivative) for a time step [s], [Roden2000]."""
        rate = self.conductivity / self.scale + self.shift
        b = torch.exp(-rate * dt / VACUUM_PERMITTIVITY)
        strength = self.conductivity / (self.conductivity * self.scale + self.scale**2 * self.shift)
        # Outside the layers sigma = alpha = 0 and the quotient is 0/0: nothing is remembered there.
        return b, torch.where(self.conductivity > 0, strength * (b - 1.0), torch.zeros_like(b))


class Absorber(Tree):
    """Layers on the six sides of a grid; `layers` counts cells, low and high side of each axis."""

    layers: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    nodes: tuple[Stretch, Stretch, Stretch]
    centers: tuple[Stretch, Stretch, Stretch]

    def slabs(self, values: Tensor, axis: int, dim: int) -> Tensor:
        """Returns the part of a tensor that lies in the layers of an axis: low side, then high side."""
        low, high = self.layers[axis]
        size = values.shape[dim]
        return torch.cat([values.narrow(dim, 0, low), values.narrow(dim, size - 1 - high, high)], dim=dim)

    def add(self, values: Tensor, slabs: Tensor, axis: int, dim: int) -> Tensor:
        """Returns values with the slabs of an axis added in its layers."""
        low, high = self.layers[axis]
        size = values.shape[dim]
        pieces = [
            values.narrow(dim, 0, low) + slabs.narrow(dim, 0, low),
            values.narrow(dim, low, size - 1 - high - low),
            values.narrow(dim, size - 1 - high, high) + slabs.narrow(dim, low, high),
            values.narrow(dim, size - 1, 1),
        ]
        return torch.cat(pieces, dim=dim)


def absorbing_layers(
    grid: Grid,
    layers: int | Sequence[Sequence[int]] | None = None,
    *,
    order: float = 3.0,
    strength: float = 1.0,
    scale: float = 5.0,
    shift: float | None = None,
) -> Absorber | None:
    """Returns absorbing layers in the outer cells of a grid, or None where no side has any.

    Arguments: layers, cells on every side, or (low, high) for each axis; grid.absorber_cells unless given. order, of
    the polynomial grading. strength, in units of the conductivity 0.8 (order + 1) / (eta0 cell) [Roden2000].
    scale, the largest kappa. shift, alpha at the inner face [S/m], falling to zero at the outer wall; waves below
    alpha / (2 pi epsilon0) are not absorbed. Unless given it is 1 / (12 eta0 depth), from the depth of each side's
    layers: 0.049 S/m for 4.5 mm, whose corner lies at 0.9 GHz.

    Raises InputError where the layers of an axis leave no cell between them.
    """
    counts = grid.layers if layers is None else layers
    sides = [(counts, counts)] * 3 if isinstance(counts, int) else [(int(low), int(high)) for low, high in counts]
    for axis, (low, high) in enumerate(sides):
        cells = grid.shape[axis]
        if min(low, high) < 0 or low + high >= cells:
            raise InputError(
                f"absorbing layers of {low} and {high} cells along {AXES[axis]} leave nothing of its {cells} cells; "
                "use fewer layers or a larger margin"
            )
    if not any(low or high for low, high in sides):
        return None
    stretches = [_axis_stretch(grid, axis, sides[axis], order, strength, scale, shift) for axis in range(3)]
    (x, y, z), (u, v, w) = zip(*stretches, strict=True)
    return Absorber(layers=(sides[0], sides[1], sides[2]), nodes=(x, y, z), centers=(u, v, w))


def _axis_stretch(
    grid: Grid, axis: int, sides: tuple[int, int], order: float, strength: float, scale: float, shift: float | None
) -> tuple[Stretch, Stretch]:
    """Stretch at the nodes and at the cell centres of one axis."""
    nodes = grid.nodes(axis).to(torch.float64)
    centers = torch.cat([0.5 * (nodes[1:] + nodes[:-1]), nodes[-1:]])
    low, high = sides
    last = nodes.numel() - 1
    return (
        _stretch(nodes, nodes, (low, last - high), order, strength, scale, shift),
        _stretch(centers, nodes, (low, last - high), order, strength, scale, shift),
    )


def _stretch(
    places: Tensor,
    nodes: Tensor,
    inner: tuple[int, int],
    order: float,
    strength: float,
    scale: float,
    shift: float | None,
) -> Stretch:
    first, last = inner
    low_depth, high_depth = float(nodes[first] - nodes[0]), float(nodes[-1] - nodes[last])
    low_cell, high_cell = low_depth / max(first, 1), high_depth / max(nodes.numel() - 1 - last, 1)
    sigma, kappa, alpha = torch.zeros_like(places), torch.ones_like(places), torch.zeros_like(places)
    for edge, depth, cell, outward in (
        (nodes[first], low_depth, low_cell, -1),
        (nodes[last], high_depth, high_cell, 1),
    ):
        if depth == 0.0:
            continue
        into = (outward * (places - edge) / depth).clamp(0.0, 1.0)
        inside = outward * (places - edge) > 0
        grade = into**order
        largest = strength * 0.8 * (order + 1) / (VACUUM_IMPEDANCE * cell)
        sigma = torch.where(inside, largest * grade, sigma)
        kappa = torch.where(inside, 1.0 + (scale - 1.0) * grade, kappa)
        face = CORNER_DEPTH / (VACUUM_IMPEDANCE * depth) if shift is None else shift
        alpha = torch.where(inside, face * (1.0 - into), alpha)
    return Stretch(conductivity=sigma, scale=kappa, shift=alpha)
