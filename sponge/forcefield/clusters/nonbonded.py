"""Energies, forces and virial of the pairs within the cutoff, by the compiled kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mindsci.kernels.threads import runs, together
from sponge.forcefield.clusters import stepping
from sponge.forcefield.clusters.pair_kernels import pair_kernel
from sponge.forcefield.clusters.search import ClusterList
from sponge.forcefield.clusters.terms import PairTerms
from sponge.system import System

XX, YY, ZZ, XY, XZ, YZ = range(2, 8)


def image_vectors(reaches: Any, cell: Any) -> Any:
    """Returns the vectors of the images, in the order of their numbers [angstrom]."""
    axes = np.meshgrid(*(np.arange(-reach, reach + 1) for reach in reaches), indexing="ij")
    return np.stack(axes, -1).reshape(-1, 3) @ cell


def pair_forces(
    system: System, held: ClusterList, terms: PairTerms, *, virial: bool = False
) -> tuple[float, float, Float[Tensor, "atoms 3"], Float[Tensor, "1 3 3"] | None]:
    """Returns the energies of Lennard-Jones and Coulomb [eV], forces [eV/angstrom] and, if asked, the virial [eV].

    Of one system; the order of the sums is that of the list and its number of threads, so that bits are repeated.
    """
    positions, cell = system.positions.detach().numpy(), system.cell[0].detach().double().numpy()
    x, y, z = held.places[:3]
    held.listed.images[:] = image_vectors(held.reaches, cell)
    threads, n_places, n_atoms = len(held.bounds) - 1, len(x), len(positions)
    kernel = pair_kernel(terms.shape(observed=True))
    parts, out = np.empty((threads, 3, n_places), terms.dtype), np.zeros((threads, 8))
    forces = np.empty((n_atoms, 3), positions.dtype)
    of_places, of_atoms = runs(n_places, threads), runs(n_atoms, threads)
    together(lambda k: stepping.follow(*of_places[k], positions, cell, held.atoms, held.homes, x, y, z), threads)

    def take(k: int) -> None:
        stepping.clear(0, n_places, parts[k])
        kernel(*held.bounds[k : k + 2], held.listed, held.places, terms.constants, *parts[k], out[k])

    together(take, threads)
    together(lambda k: stepping.collect(*of_atoms[k], held.place_of, parts, forces), threads)
    total = out.sum(0)
    found = virial_matrix(total) if virial else None
    return float(total[0]), float(total[1]), torch.from_numpy(forces), found


def virial_matrix(out: Any) -> Float[Tensor, "1 3 3"]:
    """Returns the virial that a kernel left beside its energies [eV]."""
    return torch.from_numpy(out[[XX, XY, XZ, XY, YY, YZ, XZ, YZ, ZZ]].reshape(1, 3, 3))
