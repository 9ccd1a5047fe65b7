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

SCRATCH = (7, 8)
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
        """of each thread"""

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
        if self.grids.shape != (threads, self.mesh.points):
            self.grids = np.empty((threads, self.mesh.points), self.dtype)
        return self

    def spread(self, thread: int, of_places: tuple[int, int], held: ClusterList) -> None:
        """Puts the charges at some places on the grid of a thread."""
        geometry = held.atoms, held.places, self.inverse, self.sizes, self.mesh.order
        kernels.spread_charges(*of_places, *geometry, np.zeros(SCRATCH, self.dtype), self.grids[thread])

    def add_grids(self, thread: int) -> None:
        """Adds a thread's share of all grids to the first."""
        if len(self.grids) > 1:
            kernels.add_grids(*runs(self.mesh.points, len(self.grids))[thread], self.grids)

    def transform(self, *, virial: bool) -> tuple[float, Float[Tensor, "1 3 3"] | None]:
        """Turns charges on the grid into half their potential; returns the energy and, if asked, the virial [eV].

        The self energy and that of the background are in both.
        """
        # Scipy's transforms: torch's wait for one another by spinning, which a busy machine makes long.
        workers = len(self.grids) if self.mesh.points >= POINTS_PER_THREAD else 1
        waves = scipy.fft.rfftn(self.grids[0].reshape(self.mesh.size), workers=workers)
        found = None
        if virial:
            energies = pme.wave_energies(torch.from_numpy(waves)[None], self.influence)
            found = -pme.strain_derivative(energies, self.influence, self.mesh)
            # The background's energy goes with 1 / V.
            found = found + self.background * torch.eye(3, dtype=found.dtype)
        rows = waves.view(self.dtype).reshape(len(self.factor), -1)
        energy = kernels.convolve(0, len(rows), rows, self.factor, self.once)
        whole = scipy.fft.irfftn(waves, s=self.mesh.size, norm="forward", workers=workers, overwrite_x=True)
        self.potential = np.ascontiguousarray(whole).reshape(-1)
        return energy + self.self_energy + self.background, found

    def read(self, of_places: tuple[int, int], held: ClusterList, forces: Any) -> None:
        """Adds the forces of the potential at some places."""
        geometry = held.atoms, held.places, self.inverse, self.sizes, self.mesh.order
        kernels.read_forces(*of_places, *geometry, np.zeros(SCRATCH, self.dtype), self.potential, forces)
