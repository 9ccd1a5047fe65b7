"""MolCT, the Molecular Configuration Transformer: each atom attends to its neighbours and to itself [Zhang2020].

What stands here follows the abstract and what its authors' program Cybertron does; the text of the paper itself was not
at hand, so that no equation numbers are cited. Choices of our own are marked below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mindsci.errors import InputError
from sponge.neighbors import Neighbors, displacements
from sponge.potentials.atomwise import AtomwisePotential
from sponge.potentials.attention import EgoAttention, Residual, Slots, slots
from sponge.potentials.radial import smooth_cutoff
from sponge.system import System

CLOSEST, LOG_WIDTH = 0.4, 0.3
"""first centre [angstrom], and width in ln(distance), of the Gaussians: Cybertron's"""
EGO_DISTANCE = 0.5
"""the distance [angstrom] that an atom is given to itself: Cybertron's"""
HALTING_BIAS = 3.0
"""an atom halts after the first cycle with probability 0.95, until it has learnt better: Cybertron's"""


class MolCT(AtomwisePotential):
    """MolCT [Zhang2020]: energy of a system = sum over its atoms of scale * readout(x) + reference[element] [eV].

    A distance becomes a positional embedding g_ab, a residual filter of log-normal Gaussians, shared by all layers; an
    atom meets itself at EGO_DISTANCE (ego-attention). In each layer, with z_ab = LayerNorm(x_b * g_ab + t),
    queries W_q z_aa, keys W_k z_ab and values W_v z_ab attend in several heads, and x_a grows by the projected sum.

    Of our own choosing: the weight of b in the attention of a is proportional to f(r_ab) exp(score), f the smooth
    cutoff, before it is normalised, so that energies and forces are continuous where a neighbour crosses the cutoff
    (Cybertron multiplies by f after the softmax, whose denominator still jumps); and adaptive computation halts
    softly, see `halting_weights`.

    Args:
        elements: atomic numbers or symbols that the potential is trained on.
        features, interactions, heads, basis: width of the features, number of layers, heads of each, Gaussians.
        cutoff: no interaction beyond it [angstrom].
        shared: whether all layers have the same weights.
        feed_forward: whether a residual layer follows each attention.
        cycles: how often each layer may be repeated, as often as each atom needs (adaptive computation time); 1: off.
    """

    half = True
    trims = True
    exportable = False  # the length of its rows of neighbours is a value, not a size
    centers: Tensor
    times: Tensor

    def __init__(
        self,
        *,
        elements: Sequence[int | str],
        features: int = 128,
        interactions: int = 3,
        heads: int = 8,
        basis: int = 64,
        cutoff: float = 10.0,
        shared: bool = False,
        feed_forward: bool = False,
        cycles: int = 1,
    ) -> None:
        super().__init__(elements)
        if not cutoff > CLOSEST or basis < 2 or interactions < 1 or cycles < 1 or heads < 1 or features % (2 * heads):
            raise InputError(
                f"MolCT with cutoff = {cutoff} angstrom, basis = {basis}, features = {features}, heads = {heads}, "
                f"interactions = {interactions}, cycles = {cycles}: use a cutoff above {CLOSEST}, 2 Gaussians, "
                "1 interaction, 1 cycle, 1 head or more, and features that 2 heads divide"
            )
        self.config = {
            "elements": list(elements),
            "features": features,
            "interactions": interactions,
            "heads": heads,
            "basis": basis,
            "cutoff": cutoff,
            "shared": shared,
            "feed_forward": feed_forward,
            "cycles": cycles,
        }
        self.cutoff, self.n_interactions, self.cycles = float(cutoff), interactions, cycles
        self.terms = ("ponder",) if cycles > 1 else ()
        self.embedding = nn.Embedding(len(self.elements), features)
        self.filter = nn.Sequential(nn.Linear(basis, features), Residual(features))
        self.layers = nn.ModuleList(
            EgoAttention(features, heads, feed_forward) for _ in range(1 if shared else interactions)
        )
        self.halting = nn.ModuleList(nn.Linear(3 * features, 1) for _ in self.layers if cycles > 1)
        self.readout = nn.Sequential(nn.Linear(features, features // 2), nn.SiLU(), nn.Linear(features // 2, 1))
        self.register_buffer("centers", torch.linspace(math.log(CLOSEST), math.log(cutoff), basis), persistent=False)
        self.register_buffer("times", time_signal(cycles, features), persistent=False)
        self.reset()

    def reset(self) -> None:
        """Draws new weights: Xavier uniform for the dense layers, zero biases; atoms are likely to halt at once."""
        super().reset()
        for layer in self.halting:
            nn.init.constant_(layer.bias, HALTING_BIAS)

    def atomic_energies(self, system: System, neighbors: Neighbors) -> Float[Tensor, " atoms"]:
        """Returns what each atom adds to the energy, before scale and reference."""
        return self.readout(self._attend(system, neighbors)[0])[:, 0]

    def energy_and_terms(
        self, system: System, neighbors: Neighbors
    ) -> tuple[Float[Tensor, " systems"], dict[str, Float[Tensor, ""]]]:
        """Returns energies and, where there are several cycles, "ponder", the mean over systems of `ponder_cost`."""
        x, cycles = self._attend(system, neighbors)
        energy = self.sum_of_atoms(system, self.readout(x)[:, 0])
        return energy, {name: _ponder_cost(system, cycles).mean() for name in self.terms}

    def ponder_cost(self, system: System, neighbors: Neighbors) -> Float[Tensor, " systems"]:
        """Returns the expected number of cycles, the mean over atoms and layers, for a loss that keeps it small.

        1 where cycles = 1 [Graves2016].
        """
        return _ponder_cost(system, self._attend(system, neighbors)[1])

    def _attend(
        self, system: System, neighbors: Neighbors
    ) -> tuple[Float[Tensor, "atoms features"], Float[Tensor, " atoms"]]:
        """Features of the atoms after all layers, and the cycles that each has taken, the mean over layers."""
        where = slots(neighbors)
        distances = torch.linalg.vector_norm(displacements(system, neighbors), dim=-1)
        distances = torch.cat((distances, distances.new_full((1,), EGO_DISTANCE)))
        embedded = where.pick(self.filter(self.expand(distances)))
        envelope = where.pick(smooth_cutoff(distances, self.cutoff)) * where.filled
        # An atom sees itself in full, wherever the cutoff is.
        envelope = torch.cat((torch.ones_like(envelope[:, :1]), envelope[:, 1:]), dim=1)
        start = self.embedding(self.kinds(system))
        x, taken = start, torch.zeros_like(start[:, 0])
        for number in range(self.n_interactions):
            layer = self.layers[number % len(self.layers)]
            if self.cycles == 1:
                x, cycles = layer(x, embedded, envelope, where), torch.ones_like(taken)
            else:
                halting = self.halting[number % len(self.halting)]
                x, cycles = self._ponder(layer, halting, x, start, embedded, envelope, where)
            taken = taken + cycles / self.n_interactions
        return x, taken

    def _ponder(
        self,
        layer: EgoAttention,
        halting: nn.Linear,
        x: Tensor,
        start: Tensor,
        embedded: Tensor,
        envelope: Tensor,
        where: Slots,
    ) -> tuple[Tensor, Tensor]:
        """Repeats a layer; returns the mean of its results over where each atom halts, and the cycles taken."""
        probabilities, results = [], []
        for time in self.times:
            known = torch.cat((x, start, time.expand_as(x)), dim=1)
            probabilities.append(torch.sigmoid(halting(known))[:, 0])
            x = layer(x, embedded, envelope, where, time)
            results.append(x)
        weights = halting_weights(torch.stack(probabilities))
        count = torch.arange(1, self.cycles + 1, dtype=x.dtype, device=x.device)
        return torch.einsum("ca,caf->af", weights, torch.stack(results)), count @ weights

    def expand(self, distances: Float[Tensor, " pairs"]) -> Float[Tensor, "pairs basis"]:
        """Returns 2 exp(-(ln d - mu_k)^2 / (2 LOG_WIDTH^2)) - 1, the mu_k evenly from ln CLOSEST to ln cutoff."""
        return 2.0 * torch.exp(-0.5 * ((distances.log()[:, None] - self.centers) / LOG_WIDTH) ** 2) - 1.0


def _ponder_cost(system: System, cycles: Float[Tensor, " atoms"]) -> Float[Tensor, " systems"]:
    return system.sum_over_atoms(cycles) / system.atom_counts


def halting_weights(probabilities: Float[Tensor, "cycles atoms"]) -> Float[Tensor, "cycles atoms"]:
    """Returns with which probability each atom halts after each cycle: p_n prod_{k<n} (1 - p_k); it halts at the last.

    Adaptive computation time ends where the sum of the p passes a threshold [Graves2016], where energies would jump;
    these weights [Banino2021] change smoothly with the positions, at the price of running every cycle.
    """
    going_on = torch.cumprod(1.0 - probabilities[:-1], dim=0)
    reached = torch.cat((torch.ones_like(probabilities[:1]), going_on))
    halting = torch.cat((probabilities[:-1], torch.ones_like(probabilities[:1])))
    return reached * halting


def time_signal(cycles: int, features: int) -> Float[Tensor, "cycles features"]:
    """Returns what tells a layer which cycle it is in: sines, then cosines, of periods 2 pi to 2 pi 10^4 [Vaswani2017].

    features: an even number.
    """
    frequencies = torch.logspace(0.0, -4.0, features // 2)
    phases = torch.arange(cycles)[:, None] * frequencies
    return torch.cat((phases.sin(), phases.cos()), dim=1)
