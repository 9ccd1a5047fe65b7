"""Two plain surrogates, for comparison: a network that gives the curve as numbers, and one that gives a series."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from elec.surrogates.surrogate import NetworkSurrogate, layers
from mindsci.errors import InputError


class DenseReflection(NetworkSurrogate):
    """A dense network gives the curve at equally spaced frequencies from 0 to the highest one, and nowhere else.

    Args:
        frequencies: their number.
    """

    def __init__(
        self,
        *,
        low: Sequence[float],
        high: Sequence[float],
        frequency_max: float,
        frequencies: int = 1001,
        width: int = 256,
        hidden: int = 4,
        members: int = 3,
    ) -> None:
        super().__init__(
            low=low, high=high, frequency_max=frequency_max, members=members,
            make=lambda inputs: layers(inputs, width, hidden, frequencies),
            frequencies=frequencies, width=width, hidden=hidden,
        )  # fmt: skip
        self.frequencies = frequencies

    def curve(self, found: Tensor, frequency: Float[Tensor, " frequencies"]) -> Float[Tensor, "designs frequencies"]:
        """Returns the numbers at the frequencies asked for, which must be among its own."""
        place = frequency * (self.frequencies - 1)
        index = place.round()
        if not bool(((place - index).abs() < 1e-2).all()):
            raise InputError(
                f"a dense surrogate knows {self.frequencies} equally spaced frequencies alone; use one of those, or a "
                "rational surrogate"
            )
        return 10.0 * found[:, index.long()]


class SeriesReflection(NetworkSurrogate):
    """A dense network gives the curve as a series of cosines and sines of half periods over the band.

    Args:
        waves: number of cosines, and of sines.
    """

    def __init__(
        self,
        *,
        low: Sequence[float],
        high: Sequence[float],
        frequency_max: float,
        waves: int = 100,
        width: int = 256,
        hidden: int = 4,
        members: int = 3,
    ) -> None:
        super().__init__(
            low=low, high=high, frequency_max=frequency_max, members=members,
            make=lambda inputs: layers(inputs, width, hidden, 2 * waves + 1),
            waves=waves, width=width, hidden=hidden,
        )  # fmt: skip
        self.waves = waves

    def curve(self, found: Tensor, frequency: Float[Tensor, " frequencies"]) -> Float[Tensor, "designs frequencies"]:
        """Returns the sum of the waves."""
        turns = math.pi * torch.arange(1, self.waves + 1, device=frequency.device) * frequency[:, None]
        basis = torch.cat([torch.ones_like(frequency)[:, None], turns.cos(), turns.sin()], dim=1)
        return 10.0 * found @ basis.T
