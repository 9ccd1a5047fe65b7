"""Time signals of sources: trees that map times [s] to values, in float64."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci.errors import InputError
from mindsci.tree import Tree

# x exp((1 - x^2) / 2) falls to 0.1 at x = 2.762: the frequency of the spectrum's maximum is the highest one over this.
EDGE_OF_BAND = 2.762


class GaussianDerivative(Tree):
    """Derivative of a Gaussian, peak value 1: no DC part, spectrum 20 dB below its peak at `frequency_max` [Hz].

    Its spectrum is proportional to f exp(-(f / f_peak)^2 / 2). Without a DC part no charge stays behind on metal.
    """

    frequency_max: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.frequency_max) and self.frequency_max > 0):
            raise InputError(f"frequency_max = {self.frequency_max:g} Hz must be positive")

    @property
    def width(self) -> float:
        """Standard deviation [s] of the Gaussian."""
        return EDGE_OF_BAND / (2.0 * math.pi * self.frequency_max)

    @property
    def delay(self) -> float:
        """Time of the zero crossing [s]; the signal starts at 2e-7 of its peak, below the rounding of float32."""
        return 6.0 * self.width

    @property
    def duration(self) -> float:
        """Time [s] after which the signal is below 2e-7 of its peak."""
        return 2.0 * self.delay

    def __call__(self, t: Float[Tensor, "times"]) -> Float[Tensor, "times"]:
        u = (t - self.delay) / self.width
        return -u * torch.exp(0.5 - 0.5 * u**2)


class ModulatedGaussian(Tree):
    """Sine under a Gaussian envelope, peak near 1: `frequency` [Hz], `bandwidth` [Hz] at which it is 20 dB down."""

    frequency: float
    bandwidth: float

    @property
    def width(self) -> float:
        """Standard deviation [s] of the envelope: exp(-(bandwidth/2)^2 / (2 s^2)) = 0.1 for its spectrum's s."""
        return math.sqrt(2.0 * math.log(10.0)) / (math.pi * self.bandwidth)

    @property
    def delay(self) -> float:
        """Time of the envelope's peak [s]."""
        return 5.5 * self.width

    @property
    def duration(self) -> float:
        return 2.0 * self.delay

    def __call__(self, t: Float[Tensor, "times"]) -> Float[Tensor, "times"]:
        later = t - self.delay
        return torch.sin(2.0 * math.pi * self.frequency * later) * torch.exp(-0.5 * (later / self.width) ** 2)
