"""Energies of torsion maps (CMAP): tables over two dihedral angles, by bicubic splines [eV]."""

from __future__ import annotations

import functools
import math

import numpy
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from sponge.forcefield.bonded import dihedrals
from sponge.system import System
from sponge.topology import TorsionMaps


def torsion_maps(system: System, terms: TorsionMaps) -> Float[Tensor, " terms"]:
    """Returns the energy of each term, by the periodic bicubic spline through its grid [MacKerell2004].

    Between the nodes: Hermite's cubic polynomials of the values and first derivatives of the spline at the four
    corners, which are linear in the grid.
    """
    sizes = [len(grid) for grid in terms.grids]
    nodes = torch.cat([_node_derivatives(grid).reshape(-1, 4) for grid in terms.grids]).to(system.positions.dtype)
    starts = numpy.cumsum([0, *(size * size for size in sizes[:-1])])
    device = terms.table.device
    size = torch.tensor(sizes, device=device)[terms.table]
    start = torch.from_numpy(starts).to(device)[terms.table]
    indices, weights = [], []
    for atoms in (terms.atoms[:, :4], terms.atoms[:, 4:]):
        place = dihedrals(system, atoms) * size / (2.0 * math.pi)
        low = place.detach().floor()
        indices.append((low.to(torch.int64) % size, (low.to(torch.int64) + 1) % size))
        weights.append(_hermite(place - low))
    energy = torch.zeros_like(weights[0][0][0])
    for first in (0, 1):
        for second in (0, 1):
            node = nodes.index_select(0, start + indices[0][first] * size + indices[1][second])
            (value_1, slope_1), (value_2, slope_2) = weights[0][first], weights[1][second]
            products = (value_1 * value_2, slope_1 * value_2, value_1 * slope_2, slope_1 * slope_2)
            energy = energy + (node * torch.stack(products, dim=1)).sum(1)
    return energy


def _hermite(x: Float[Tensor, " terms"]) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Weights of value and slope at both ends of a unit interval."""
    y = 1.0 - x
    return (y * y * (1.0 + 2.0 * x), x * y * y), (x * x * (1.0 + 2.0 * y), -x * x * y)


def _node_derivatives(grid: Float[Tensor, "size size"]) -> Float[Tensor, "size size 4"]:
    """Value, its derivatives along the first and second axis, and the mixed one, a grid step being 1."""
    slope = torch.from_numpy(spline_slopes(len(grid))).to(grid)
    first, second = slope @ grid, grid @ slope.mT
    return torch.stack([grid, first, second, slope @ second], dim=-1)


@functools.lru_cache(maxsize=8)
def spline_slopes(size: int) -> NDArray[numpy.float64]:
    """Returns the matrix from values at equal steps of 1 around a circle to slopes of their cubic spline there.

    Continuous curvature asks for s[i-1] + 4 s[i] + s[i+1] = 3 (f[i+1] - f[i-1]) [deBoor1978].
    """
    after = numpy.roll(numpy.eye(size), 1, axis=1)
    return numpy.linalg.solve(4.0 * numpy.eye(size) + after + after.T, 3.0 * (after - after.T))
