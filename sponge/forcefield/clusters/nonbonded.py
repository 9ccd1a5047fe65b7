"""Energies, forces and virial of a force field by the compiled kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mindsci.kernels.meeting import meet
from mindsci.kernels.threads import runs, together
from sponge.cells import completed_cell, inverse
from sponge.forcefield.clusters import stepping
from sponge.forcefield.clusters.bonded import Terms, bonded_terms
from sponge.forcefield.clusters.bonded_kernels import Frame
from sponge.forcefield.clusters.building import SIZE
from sponge.forcefield.clusters.pair_kernels import pair_kernel
from sponge.forcefield.clusters.search import ClusterList
from sponge.forcefield.clusters.terms import PairTerms, pair_terms
from sponge.forcefield.clusters.waves import Waves
from sponge.forcefield.options import Options
from sponge.forcefield.pairs import long_range_correction, virial_of_the_step
from sponge.system import System
from sponge.topology import Nonbonded, Topology

XX, YY, ZZ, XY, XZ, YZ = range(2, 8)


class CompiledTerms:
    """What of a force field the compiled kernels take, in one precision: pairs, covalent terms, waves of "pme"."""

    def __init__(self, topology: Topology, options: Options, dtype: Any) -> None:
        if topology.nonbonded is None:
            raise ValueError("a force field without nonbonded terms has no pairs to compile")
        self.dtype = dtype
        self.pairs: PairTerms = pair_terms(topology.nonbonded, options, dtype)
        self.bonded: list[Terms] = bonded_terms(topology, options)
        self.waves = Waves(options, topology.nonbonded.charges, dtype) if options.coulomb == "pme" else None
        self.beyond, self.step = _beyond_cutoff(topology.nonbonded, options)
        """energy beyond the cutoff, and what the end of the energy adds to the virial, times volume [eV angstrom^3]"""
        self._cell: Tensor | None = None
        self._matrices: tuple[Any, Any] = (None, None)
        self._parts: list[Any] | None = None
        self._moved_to: tuple[ClusterList, Any] | None = None
        """the list whose images are set, and the cell that they were set for"""

    def evaluate(
        self, system: System, held: ClusterList, *, virial: bool = False, observed: bool = True
    ) -> tuple[float, Float[Tensor, "atoms 3"], Float[Tensor, "1 3 3"] | None]:
        """Returns the energy [eV], forces [eV/angstrom] and, if asked, the virial [eV] of one system.

        observed: whether energy and virial are wanted; without them the energy is no number. The forces have the same
        bits either way. The order of the sums is that of the list and its number of threads, so that bits are repeated.
        """
        positions = system.positions.detach().numpy()
        forces = np.empty(positions.shape, positions.dtype)
        energy, found = self.forces_at(positions, system, held, forces, virial=virial, observed=observed)
        return energy, torch.from_numpy(forces), found

    def forces_at(
        self,
        positions: Any,
        system: System,
        held: ClusterList,
        forces: Any,
        *,
        virial: bool,
        observed: bool,
        then: Callable[[int], None] | None = None,
    ) -> tuple[float, Float[Tensor, "1 3 3"] | None]:
        """Sets the forces at some positions in the system's cell; returns what `evaluate` does beside them.

        then: what each thread does with its number once all forces are there.
        """
        cell, inverse_cell = self._geometry(system)
        x, y, z = held.places[:3]
        if self._moved_to is None or self._moved_to[0] is not held or self._moved_to[1] is not cell:
            held.listed.images[:] = image_vectors(held.reaches, cell)
            self._moved_to = held, cell
        threads, n_places, n_atoms = len(held.bounds) - 1, len(x), len(positions)
        kernel = pair_kernel(self.pairs.shape(observed=observed))
        parts, out = self._room(threads, n_places), np.zeros((threads, 8))
        of_places = [(first * SIZE, last * SIZE) for first, last in runs(n_places // SIZE, threads)]
        of_atoms = runs(n_atoms, threads)
        frame = Frame(held.place_of, x, y, z, cell, inverse_cell)
        waves = self.waves.prepared(system.cell, threads) if self.waves is not None else None

        # Two hand-overs to the threads a call; within one, they meet where one reads what another wrote.
        def before(k: int, counter: Any = np.zeros(1, np.int64)) -> None:  # noqa: B008
            stepping.follow(*of_places[k], positions, cell, held.atoms, held.homes, x, y, z)
            stepping.clear(0, n_places, parts[k])
            meet(counter, threads, 1)
            for terms in self.bonded:
                terms.share(k, threads, frame, parts[k], out[k])
            kernel(*held.bounds[k : k + 2], held.listed, held.places, self.pairs.constants, *parts[k], out[k])
            if waves is not None:
                waves.spread(k, of_places[k], held)
                meet(counter, threads, 2)
                waves.fold(k)

        def after(k: int, counter: Any = np.zeros(1, np.int64)) -> None:  # noqa: B008
            if waves is not None:
                waves.read(k, of_places[k], held, parts[k])
            meet(counter, threads, 1)
            stepping.collect(*of_atoms[k], held.place_of, tuple(parts), forces)
            if then is not None:
                meet(counter, threads, 2)
                then(k)

        together(before, threads)
        energy, of_waves = (0.0, None) if waves is None else waves.transform(virial=virial)
        together(after, threads)
        total = out.sum(0)
        found = virial_matrix(total) if virial else None
        if found is not None and of_waves is not None:
            found = found + of_waves
        volume = abs(float(np.linalg.det(cell))) if self.beyond else math.inf
        correction = self.beyond / volume
        if found is not None:
            found = found + (correction + self.step / volume) * torch.eye(3, dtype=found.dtype)
        if not observed:
            return float("nan"), None
        return float(energy + total[0] + total[1] + correction), found

    def _geometry(self, system: System) -> tuple[Any, Any]:
        """The cell and its inverse, taken anew where the cell is another tensor."""
        if self._cell is not system.cell:
            self._cell = system.cell
            self._matrices = system.cell[0].detach().double().numpy(), _periodic_inverse(system)
        return self._matrices

    def _room(self, threads: int, n_places: int) -> Any:
        """Forces of each thread, in memory that is kept: pages that are new cost more than what is written there."""
        if self._parts is None or len(self._parts) != threads or self._parts[0].size < 3 * n_places:
            self._parts = [np.empty(3 * n_places + 64, self.dtype) for _ in range(threads)]
        return [part[: 3 * n_places].reshape(3, n_places) for part in self._parts]


def _beyond_cutoff(nonbonded: Nonbonded, options: Options) -> tuple[float, float]:
    if not options.long_range_correction:
        return 0.0, 0.0
    counts = torch.bincount(nonbonded.kind, minlength=len(nonbonded.sigma)).double()[None]
    tables = nonbonded.sigma.detach().double(), nonbonded.epsilon.detach().double()
    uniform = counts, torch.ones(1).double(), *tables, options
    return float(long_range_correction(*uniform)), float(virial_of_the_step(*uniform))


def image_vectors(reaches: Any, cell: Any) -> Any:
    """Returns the vectors of the images, in the order of their numbers [angstrom]."""
    axes = np.meshgrid(*(np.arange(-reach, reach + 1) for reach in reaches), indexing="ij")
    return np.stack(axes, -1).reshape(-1, 3) @ cell


def virial_matrix(out: Any) -> Float[Tensor, "1 3 3"]:
    """Returns the virial that a kernel left beside its energies [eV]."""
    return torch.from_numpy(out[[XX, XY, XZ, XY, YY, YZ, XZ, YZ, ZZ]].reshape(1, 3, 3))


def _periodic_inverse(system: System) -> Any:
    """The inverse of the cell, whose columns of open axes are zero: no image is nearer there."""
    flags = system.periodic[0]
    complete = completed_cell(system.cell.detach().double(), system.periodic)[0]
    return torch.where(flags, inverse(complete), 0.0).numpy()
