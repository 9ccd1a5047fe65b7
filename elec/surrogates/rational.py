"""Reflection as a rational function of frequency whose zeros and poles move with the design.

A linear, time-invariant one-port has a rational reflection, real on the real axis of s = j f, up to what its order
leaves out [Gustavsen1999]:

    |S11(f)|^2 = g^2 prod_k |s - z_k|^2 |s + conj(z_k)|^2 / (|s - p_k|^2 |s + conj(p_k)|^2).

With z_k = b_k + j a_k each factor is ((f - a_k)^2 + b_k^2) ((f + a_k)^2 + b_k^2). The magnitude does not tell the sign
of b_k, but a zero that crosses the axis as the design changes has a b_k that changes its sign smoothly, while the depth
of its dip in decibels has a singular peak there. So the networks give a_k and b_k, and never see the dip itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from elec.surrogates.surrogate import NetworkSurrogate, layers

# Where zeros and poles start, as shares of the highest frequency: evenly over it and a tenth beyond, close together.
REACH, ZERO_WIDTH, POLE_WIDTH = 1.1, 0.04, 0.05
# What a network's answer of one moves: places, widths of zeros, logarithms of those of poles.
PLACES, WIDTHS, LOGARITHMS = 0.1, 0.05, 0.5
# 10 log10 of a power is this times its natural logarithm.
DECIBELS = 10.0 / math.log(10.0)


class RationalReflection(NetworkSurrogate):
    """Zeros and poles from a dense network each.

    Args:
        pairs: of zeros, and of poles.
        width, hidden: of the networks.
    """

    def __init__(
        self,
        *,
        low: Sequence[float],
        high: Sequence[float],
        frequency_max: float,
        pairs: int = 16,
        width: int = 128,
        hidden: int = 3,
        members: int = 3,
    ) -> None:
        super().__init__(
            low=low, high=high, frequency_max=frequency_max, members=members,
            make=lambda inputs: _Roots(inputs, pairs, width, hidden), pairs=pairs, width=width, hidden=hidden,
        )  # fmt: skip
        self.pairs = pairs

    def curve(self, found: Tensor, frequency: Float[Tensor, " frequencies"]) -> Float[Tensor, "designs frequencies"]:
        """Returns 20 log10 |S11| from zeros, poles and the level."""
        zero, zero_width, pole, pole_width, level = _parts(found, self.pairs)
        return level + DECIBELS * (_powers(zero, zero_width, frequency) - _powers(pole, pole_width, frequency))

    def roots(
        self, parameters: Float[Tensor, "designs parameters"]
    ) -> tuple[Float[Tensor, "members designs pairs 2"], Float[Tensor, "members designs pairs 2"]]:
        """Returns (zeros, poles) of each member: their frequency and their half width [Hz], which may be negative."""
        scaled = self.scaled(parameters)
        zeros, poles = [], []
        for network in self.networks:
            zero, zero_width, pole, pole_width, _ = _parts(network(scaled), self.pairs)
            zeros.append(torch.stack([zero, zero_width], -1))
            poles.append(torch.stack([pole, pole_width], -1))
        return self.frequency_max * torch.stack(zeros), self.frequency_max * torch.stack(poles)


class _Roots(nn.Module):
    """Places and widths of zeros and poles, and the level, over the highest frequency."""

    def __init__(self, inputs: int, pairs: int, width: int, hidden: int) -> None:
        super().__init__()
        self.body = layers(inputs, width, hidden, 4 * pairs + 1)
        places = REACH * (torch.arange(pairs) + 0.5) / pairs
        start = [places, torch.full((pairs,), ZERO_WIDTH), places, torch.full((pairs,), math.log(POLE_WIDTH))]
        self.start = nn.Parameter(torch.cat([*start, torch.zeros(1)]))
        sizes = torch.tensor([PLACES, WIDTHS, PLACES, LOGARITHMS]).repeat_interleave(pairs)
        self.register_buffer("sizes", torch.cat([sizes, torch.ones(1)]), persistent=False)
        with torch.no_grad():
            self.body[-1].weight.mul_(0.3)  # type: ignore[operator, union-attr]

    sizes: Tensor

    def forward(self, scaled: Float[Tensor, "designs parameters"]) -> Float[Tensor, "designs roots"]:
        return self.start + self.sizes * self.body(scaled)


def _parts(found: Tensor, pairs: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    zero, zero_width, pole, logarithm, level = found.split([pairs, pairs, pairs, pairs, 1], dim=-1)
    return zero, zero_width, pole, logarithm.exp(), level


def _powers(place: Tensor, width: Tensor, frequency: Tensor) -> Tensor:
    """Sum over roots of ln(((f - a)^2 + b^2) ((f + a)^2 + b^2))."""
    place, square = place[..., None], width.square()[..., None]
    factors = ((frequency - place).square() + square) * ((frequency + place).square() + square)
    return (factors + 1e-12).log().sum(-2)
