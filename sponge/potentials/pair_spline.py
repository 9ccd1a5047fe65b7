"""A pair potential of any shape: a cubic spline over the distance, above a steep repulsion."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mindsci.errors import InputError
from sponge.neighbors import Neighbors, displacements
from sponge.potentials.potential import Potential
from sponge.system import System


class PairSpline(Potential):
    """Cubic B-splines of equal width between `first` and the cutoff, where energy, slope and curvature are zero.

    Below `first` it goes on in a straight line, and the repulsion epsilon (sigma / r)^12, shifted to zero with its
    slope at the cutoff, keeps atoms apart where no data reach [Thaler2021].

    Args:
        first, cutoff: [angstrom].
        pieces: of the spline, with a coefficient each [eV].
        epsilon, sigma: of the repulsion [eV, angstrom]; epsilon = 0 leaves it out.
        trainable: whether the coefficients ask for a gradient.
    """

    half = True

    def __init__(
        self,
        *,
        first: float = 2.5,
        cutoff: float = 8.5,
        pieces: int = 30,
        epsilon: float = 0.0,
        sigma: float = 3.0,
        trainable: bool = False,
    ) -> None:
        super().__init__()
        if not (0 < first < cutoff and pieces >= 2 and epsilon >= 0 and sigma > 0):
            raise InputError(
                f"first = {first}, cutoff = {cutoff}, pieces = {pieces}, epsilon = {epsilon}, sigma = {sigma}; use "
                "0 < first < cutoff, 2 pieces or more, and a repulsion that is not negative"
            )
        self.first, self.cutoff, self.pieces = float(first), float(cutoff), pieces
        self.epsilon, self.sigma = float(epsilon), float(sigma)
        self.coefficients = nn.Parameter(torch.zeros(pieces, dtype=torch.float64), requires_grad=trainable)

    @property
    def spacing(self) -> float:
        """Width of a piece [angstrom]."""
        return (self.cutoff - self.first) / self.pieces

    def pair_energy(self, r: Float[Tensor, " pairs"]) -> Float[Tensor, " pairs"]:
        """Returns the energy of a pair [eV] at distances [angstrom]."""
        r = r.clamp(max=self.cutoff)
        inside = r.clamp(min=self.first)
        coefficients = torch.cat([self.coefficients, self.coefficients.new_zeros(3)]).to(r.dtype)
        scaled = (inside - self.first) / self.spacing
        place = torch.floor(scaled.detach()).to(torch.int64).clamp(max=self.pieces - 1)
        t = scaled - place
        # The four splines that are not zero on a piece [deBoor1978].
        shares = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
        energy = sum(share * coefficients.index_select(0, place + k) for k, share in enumerate(shares)) / 6.0
        slope = (coefficients[2] - coefficients[0]) / (2.0 * self.spacing)
        energy = energy + slope * (r - inside)
        if self.epsilon == 0:
            return energy
        end = self.epsilon * (self.sigma / self.cutoff) ** 12
        return energy + self.epsilon * (self.sigma / r) ** 12 - end + 12.0 * end / self.cutoff * (r - self.cutoff)

    def forward(self, system: System, neighbors: Neighbors) -> Float[Tensor, " systems"]:
        energy = self.pair_energy(torch.linalg.vector_norm(displacements(system, neighbors), dim=-1))
        owner = system.system.index_select(0, neighbors.centre)
        return energy.new_zeros(system.n_systems, dtype=torch.float64).index_add(0, owner, energy.double())

    @torch.no_grad()
    def fit(self, r: Float[Tensor, " points"], energy: Float[Tensor, " points"]) -> PairSpline:
        """Sets the coefficients to the least squares fit of energies [eV] at distances [angstrom]; returns itself."""
        self.coefficients.zero_()
        rest = energy.double() - self.pair_energy(r.double())
        columns = []
        for k in range(self.pieces):
            probe = torch.zeros_like(self.coefficients)
            probe[k] = 1.0
            self.coefficients.copy_(probe)
            columns.append(self.pair_energy(r.double()) - (energy.double() - rest))
        matrix = torch.stack(columns, 1)
        # Where there are no points a coefficient is held near zero.
        normal = matrix.T @ matrix + 1e-8 * torch.eye(self.pieces, dtype=torch.float64)
        self.coefficients.copy_(torch.linalg.solve(normal, matrix.T @ rest))
        return self
