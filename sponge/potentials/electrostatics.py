"""Coulomb energy of partial charges, shielded where two atoms are close."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci import units
from sponge.potentials.radial import smooth_cutoff


def coulomb_energy(
    distances: Float[Tensor, " pairs"],
    products: Float[Tensor, " pairs"],
    *,
    shielded_within: float,
    cutoff: float | None = None,
) -> Float[Tensor, " pairs"]:
    """Returns k q_i q_j chi(r) of each pair [eV].

    chi(r) = f(2 r) / sqrt(r^2 + 1) + (1 - f(2 r)) / r, f the smooth cutoff at `shielded_within` [Unke2019]: bounded
    where atoms meet, 1/r from half of it on. With a cutoff each of the two is shifted in energy and force to end
    there: u(r) = 1/r + r / cutoff^2 - 2 / cutoff.

    Args:
        distances: [angstrom].
        products: of the charges of each pair [e^2].
        shielded_within: [angstrom].
        cutoff: [angstrom]; None: the interaction does not end.
    """
    shielded = torch.sqrt(distances * distances + 1.0)
    if cutoff is None:
        near, far = 1.0 / shielded, 1.0 / distances
    else:
        near, far = (1.0 / r + r / cutoff**2 - 2.0 / cutoff for r in (shielded, distances))
    switch = smooth_cutoff(2.0 * distances, shielded_within)
    shape = switch * near + (1.0 - switch) * far
    if cutoff is not None:
        shape = torch.where(distances < cutoff, shape, 0.0)
    return units.COULOMB_EV_ANGSTROM * products * shape
