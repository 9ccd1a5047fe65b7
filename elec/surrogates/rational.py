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
from typing import Any

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from elec.surrogates.surrogate import NetworkSurrogate, layers
from mindsci.kernels import choose_engine

# Where zeros and poles start, as shares of the highest frequency: evenly over it and a tenth beyond, close together.
REACH, ZERO_WIDTH, POLE_WIDTH = 1.1, 0.04, 0.05
# What a network's answer of one moves: places, widths of zeros, logarithms of those of poles.
PLACES, WIDTHS, LOGARITHMS = 0.1, 0.05, 0.5
# Added to each factor: a root on the axis is a dip of finite depth.
SMALLEST = 1e-12
# 10 log10 of a power is this times its natural logarithm.
DECIBELS = 10.0 / math.log(10.0)


class RationalReflection(NetworkSurrogate):
    """Zeros and poles from a dense network each.

    Args:
        pairs: of zeros, and of poles.
        width, hidden: of the networks.
    """

    engine: str = "auto"
    """reference is torch's tape; numba, on a CPU, compiled passes over roots and frequencies"""

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
        engine, _ = choose_engine(
            self.engine,
            device=found.device,
            available={"reference": lambda: None, "numba": lambda: _not_compiled(found, frequency)},
        )
        powers = log_powers if engine == "reference" else compiled_log_powers
        zeros = powers(zero, zero_width.square(), frequency)
        return level + DECIBELS * (zeros - powers(pole, pole_width.square(), frequency))

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


def log_powers(
    place: Float[Tensor, "designs roots"],
    square: Float[Tensor, "designs roots"],
    frequency: Float[Tensor, " frequencies"],
) -> Float[Tensor, "designs frequencies"]:
    """Returns the sum over roots of ln(((f - a)^2 + b^2) ((f + a)^2 + b^2)), from a and b^2."""
    place, square = place[..., None], square[..., None]
    factors = ((frequency - place).square() + square) * ((frequency + place).square() + square)
    return (factors + SMALLEST).log().sum(-2)


def compiled_log_powers(place: Tensor, square: Tensor, frequency: Tensor) -> Tensor:
    """Returns the same on a CPU from compiled passes; a second derivative takes the plain way."""
    return _LogPowers.apply(place, square, frequency)


def _not_compiled(found: Tensor, frequency: Tensor) -> str | None:
    if found.device.type != "cpu":
        return f"its loops run on a CPU, not on {found.device}"
    if found.dtype != frequency.dtype or found.dtype not in (torch.float32, torch.float64):
        return f"designs in {found.dtype} and frequencies in {frequency.dtype} are not both float32 or float64"
    return "frequencies that a gradient is asked for" if frequency.requires_grad else None


class _LogPowers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, place: Tensor, square: Tensor, frequency: Tensor) -> Tensor:
        from elec.surrogates.root_kernels import AT_ONCE, multiply

        ctx.save_for_backward(place, square, frequency)
        designs, roots = place.shape
        products = torch.empty(designs, -(-roots // AT_ONCE), len(frequency), dtype=torch.float64)
        multiply(*_arrays(place, square, frequency), products.numpy())
        return products.log_().sum(1).to(place.dtype)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        place, square, frequency = ctx.saved_tensors
        if torch.is_grad_enabled():  # asked to differentiate again
            roots = [value if value.requires_grad else value.detach().requires_grad_() for value in (place, square)]
            return (*torch.autograd.grad(log_powers(*roots, frequency), roots, slope, create_graph=True), None)
        from elec.surrogates.root_kernels import send_back

        found = [torch.empty(place.shape, dtype=place.dtype) for _ in range(2)]
        send_back(*_arrays(place, square, frequency, slope), *(one.numpy() for one in found))
        return (*found, None)


def _arrays(*values: Tensor) -> list[NDArray[Any]]:
    return [value.detach().contiguous().numpy() for value in values]
