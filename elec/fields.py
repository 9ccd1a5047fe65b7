"""The state of an FDTD run: everything that changes from step to step, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float, Inexact, Int
from torch import Tensor

from mindsci.tree import Tree


class Fields(Tree):
    """Electromagnetic fields on a Yee grid [Yee1966], with what absorbing layers, probes and monitors remember.

    At time t the electric field belongs to t and the magnetic field to t - dt/2. Every component has the shape of the
    nodes, so that one index serves all of them: Ex[i, j, k] lies at (x[i] + x[i+1])/2, y[j], z[k], and entries with no
    edge or face behind them stay zero.

    memory holds, for each axis, the recursive sums of the absorbing layers in the cells of those layers only, low side
    then high side along that axis: two for Ampere's law, then two for Faraday's. polarization holds the currents of
    the media's poles, real then imaginary part, and magnetization those of its magnetic poles. records holds one
    sample a step of each probe. spectra holds running Fourier sums, cosine then minus sine.

    Bloch-periodic walls make the fields complex.
    """

    electric: Inexact[Tensor, "3 nodes_x nodes_y nodes_z"]
    """[V/m]"""
    magnetic: Inexact[Tensor, "3 nodes_x nodes_y nodes_z"]
    """[A/m]"""
    memory: tuple[Tensor, ...]
    polarization: Inexact[Tensor, "2 terms"]
    """[A/m^2]"""
    magnetization: Inexact[Tensor, "2 magnetic_terms"]
    """[V/m^2]"""
    records: Inexact[Tensor, "probes samples"]
    spectra: Inexact[Tensor, "2 frequencies points"]

    @property
    def nodes(self) -> tuple[int, int, int]:
        """Nodes along x, y and z."""
        _, x, y, z = self.electric.shape
        return (x, y, z)


class Widths(NamedTuple):
    """Lengths of the cells, and distances between their centres, along each axis [m], both one a node.

    What belongs to an edge is as long as its cell and, across, as wide as the distances between centres; with a face it
    is the other way round. `Walls.widths` has those of a grid.
    """

    cells: tuple[Tensor, ...]
    duals: tuple[Tensor, ...]

    def along(self, component: int, axis: int, *, magnetic: bool = False) -> Float[Tensor, "nodes"]:
        """Returns the extent along an axis [m] of what belongs to each edge, or face, of a component."""
        return (self.cells if (component == axis) != magnetic else self.duals)[axis]

    def volumes(
        self, *, magnetic: bool = False, low: Sequence[int] = (0, 0, 0), high: Sequence[int | None] = (None,) * 3
    ) -> Float[Tensor, "3 x y z"]:
        """Returns the volume [m^3] of each edge, or face, of the nodes low .. high - 1."""
        found = []
        for component in range(3):
            x, y, z = (
                self.along(component, axis, magnetic=magnetic)[low[axis] : high[axis]].to(torch.float64)
                for axis in range(3)
            )
            found.append(x[:, None, None] * y[:, None] * z)
        return torch.stack(found)

    def volume(self, places: Int[Tensor, "places 4"]) -> Float[Tensor, "places"]:
        """Returns the volume [m^3] of edges (component 0 to 2) or faces (3 to 5), rows of (component, i, j, k)."""
        found = torch.ones(len(places), dtype=torch.float64)
        for axis in range(3):
            along = (places[:, 0] % 3 == axis) == (places[:, 0] < 3)
            index = places[:, 1 + axis]
            found = found * torch.where(along, self.cells[axis][index], self.duals[axis][index])
        return found

    def weigh(
        self, values: Float[Tensor, "3 x y z"], low: Sequence[int], *, magnetic: bool
    ) -> Float[Tensor, "3 x y z"]:
        """Returns values in a box that begins at node `low`, times the volumes."""
        high = [first + size for first, size in zip(low, values.shape[1:], strict=True)]
        return values * self.volumes(magnetic=magnetic, low=low, high=high).to(values)

    def halved(self, axes: Sequence[int]) -> Widths:
        """Returns widths of which the first dual cell along these axes is cut in half: a mirror lies on the node."""
        duals = list(self.duals)
        for axis in axes:
            duals[axis] = torch.cat([0.5 * duals[axis][:1], duals[axis][1:]])
        return self._replace(duals=tuple(duals))


def zero_fields(
    nodes: Sequence[int],
    *,
    layers: Sequence[Sequence[int]] = ((0, 0), (0, 0), (0, 0)),
    n_terms: int = 0,
    n_magnetic_terms: int = 0,
    n_probes: int = 0,
    n_samples: int = 0,
    n_frequencies: int = 0,
    n_points: int = 0,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Fields:
    """Returns fields at rest. `layers` counts absorbing cells, low and high side of each axis."""
    options = {"dtype": dtype, "device": device}
    memory = []
    for axis in range(3):
        shape = list(nodes)
        shape[axis] = sum(layers[axis])
        memory.append(torch.zeros(4, *shape, **options))
    return Fields(
        electric=torch.zeros(3, *nodes, **options),
        magnetic=torch.zeros(3, *nodes, **options),
        memory=tuple(memory),
        polarization=torch.zeros(2, n_terms, **options),
        magnetization=torch.zeros(2, n_magnetic_terms, **options),
        records=torch.zeros(n_probes, n_samples, **options),
        spectra=torch.zeros(2, n_frequencies, n_points, **options),
    )


def cell_average(edges: Complex[Tensor, "3 x y z"]) -> Complex[Tensor, "3 cx cy cz"]:
    """Returns a field of edges at the cell centres: the mean of the four edges around a cell, for each component."""
    parts = []
    for component in range(3):
        values = edges[component]
        for axis in range(3):
            size = values.shape[axis]
            low = values.narrow(axis, 0, size - 1)
            values = low if axis == component else 0.5 * (low + values.narrow(axis, 1, size - 1))
        parts.append(values)
    return torch.stack(parts)
