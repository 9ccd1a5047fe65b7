"""The Lennard-Jones potential between all atoms, of one kind."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mindsci.errors import InputError
from sponge.neighbors import Neighbors, displacements
from sponge.potentials.potential import Potential
from sponge.system import System


class LennardJones(Potential):
    """4 epsilon ((sigma/r)^12 - (sigma/r)^6), with energy and force shifted to zero at the cutoff [Toxvaerd2011].

    Args:
        epsilon: depth of the minimum [eV]; argon, 120 k_B, unless given [Rahman1964].
        sigma: distance of zero energy [angstrom].
        cutoff: [angstrom].
        trainable: whether epsilon and sigma ask for a gradient.
    """

    half = True

    def __init__(
        self, *, epsilon: float = 0.010341, sigma: float = 3.4, cutoff: float = 8.5, trainable: bool = False
    ) -> None:
        super().__init__()
        if not (epsilon > 0 and sigma > 0 and cutoff > sigma):
            raise InputError(
                f"epsilon = {epsilon}, sigma = {sigma}, cutoff = {cutoff}; use positive ones, cutoff > sigma"
            )
        self.cutoff = float(cutoff)
        self.epsilon = nn.Parameter(torch.tensor(epsilon, dtype=torch.float64), requires_grad=trainable)
        self.sigma = nn.Parameter(torch.tensor(sigma, dtype=torch.float64), requires_grad=trainable)

    def forward(self, system: System, neighbors: Neighbors) -> Float[Tensor, " systems"]:
        dtype = system.positions.dtype
        epsilon, sigma = self.epsilon.to(dtype), self.sigma.to(dtype)
        r = torch.linalg.vector_norm(displacements(system, neighbors), dim=-1)
        # Beyond the cutoff the distance is held there, where energy and force are zero.
        r = r.clamp(max=self.cutoff)
        x6, y6 = (sigma / r) ** 6, (sigma / self.cutoff) ** 6
        slope = -24.0 / self.cutoff * (2.0 * y6**2 - y6)
        energy = epsilon * (4.0 * (x6**2 - x6) - 4.0 * (y6**2 - y6) - (r - self.cutoff) * slope)
        owner = system.system.index_select(0, neighbors.centre)
        return energy.new_zeros(system.n_systems, dtype=torch.float64).index_add(0, owner, energy.double())
