"""The sum over waves of smooth particle mesh Ewald, shared by threads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.fft
import torch
from jaxtyping import Float
from torch import Tensor

from mindsci.kernels.threads import runs
from sponge.forcefield import pme
from sponge.forcefield.clusters import mesh_kernels as kernels
from sponge.forcefield.clusters.search import ClusterList
from sponge.forcefield.options import Options

POINTS_PER_THREAD = 40_000
"""of a grid, below which a second thread costs more than it gives"""


class Waves:
    """Grids and factors, kept from call to call as long as the cell is the same."""

    def __init__(self, options: Options, charges: Float[Tensor, " atoms"], dtype: Any) -> None:
        self.options, self.dtype = options, dtype
        scaled = charges.detach().double() * math.sqrt(options.coulomb_constant)
        self.self_energy = -options.alpha / math.sqrt(math.pi) * float((scaled**2).sum())
        self.net = float(scaled.sum())
        self._cell: Tensor | None = None
        self.grids = np.empty((0, 0), dtype)
        """wide ones, of each thread"""

    def prepared(self, cell: Float[Tensor, "1 3 3"], threads: int) -> Waves:
        """Returns itself with grids for so many threads, and factors of this cell."""
        if self._cell is cell and len(self.grids) == threads:
            return self
        if self._cell is None or not torch.equal(self._cell, cell):
            double = cell.detach().double()
            self.mesh = pme.mesh_of(double, self.options)
            self.influence = pme.influence_of(double, self.mesh)
            factor = pme.even_factor(self.influence)[0]
            self.factor = factor.reshape(-1, factor.shape[-1]).numpy().astype(self.dtype)
            self.once = self.influence.once.numpy().astype(self.dtype)
            self.inverse = np.linalg.inv(double[0].numpy())
            self.sizes = np.array(self.mesh.size)
            self.background = (
                -math.pi * self.net**2 / (2.0 * self.options.alpha**2 * float(torch.linalg.det(double).abs()))
            )
        self._cell = cell
        points = math.prod(kernels.wide(self.sizes, self.mesh.order))
        if self.grids.shape != (threads, points):
            self.grids, self.scratch = np.empty((threads, points), self.dtype), np.zeros((threads, kernels.SCRATCH))
            self.scratch, self.points = self.scratch.astype(self.dtype), np.empty((threads, kernels.LANES), np.int64)
            self.potential, self.charges = np.empty(points, self.dtype), np.empty(self.mesh.points, self.dtype)
        return self

    def spread(self, thread: int, of_places: tuple[int, int], held: ClusterList) -> None:
        """Puts the charges at some places, whole clusters, on the grid of a thread."""
        kernels.spread_kernel(self.mesh.order)(*of_places, *self._geometry(thread, held), self.grids[thread])

    def fold(self, thread: int) -> None:
        """Sets a thread's share of the charges to the sum of all grids."""
        planes = runs(self.mesh.size[0], len(self.grids))[thread]
        kernels.fold(*planes, self.grids, self.sizes, self.mesh.order, self.charges)

    def transform(self, *, virial: bool) -> tuple[float, Float[Tensor, "1 3 3"] | None]:
        """Turns charges on the grid into half their potential; returns the energy and, if asked, the virial [eV].

        The self energy and that of the background are in both.
        """
        # Scipy's transforms: torch's wait for one another by spinning, which a busy machine makes long.
        workers = len(self.grids) if self.mesh.points >= POINTS_PER_THREAD else 1
        waves = scipy.fft.rfftn(self.charges.reshape(self.mesh.size), workers=workers)
        found = None
        if virial:
            energies = pme.wave_energies(torch.from_numpy(waves)[None], self.influence)
            found = -pme.strain_derivative(energies, self.influence, self.mesh)
            # The background's energy goes with 1 / V.
            found = found + self.background * torch.eye(3, dtype=found.dtype)
        rows = waves.view(self.dtype).reshape(len(self.factor), -1)
        energy = kernels.convolve(0, len(rows), rows, self.factor, self.once)
        whole = scipy.fft.irfftn(waves, s=self.mesh.size, norm="forward", workers=workers, overwrite_x=True)
        kernels.widen(np.ascontiguousarray(whole).reshape(-1), self.sizes, self.mesh.order, self.potential)
        return energy + self.self_energy + self.background, found

    def read(self, thread: int, of_places: tuple[int, int], held: ClusterList, forces: Any) -> None:
        """Adds the forces of the potential at some places."""
        geometry = self._geometry(thread, held)
        kernels.read_kernel(self.mesh.order)(*of_places, *geometry, self.potential, forces)

    def _geometry(self, thread: int, held: ClusterList) -> tuple[Any, ...]:
        return held.atoms, held.places, self.inverse, self.sizes, self.scratch[thread], self.points[thread]
