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


class Gaussian(Tree):
    """Gaussian of peak value 1: its spectrum at `frequency_max` [Hz] is 20 dB below that at zero.

    It has a DC part: where charge can stay behind on metal, use `GaussianDerivative`.
    """

    frequency_max: float

    def __post_init__(self) -> None:
        _positive("frequency_max", self.frequency_max)

    @property
    def width(self) -> float:
        """Standard deviation [s]: exp(-(2 pi f width)^2 / 2) = 0.1 at frequency_max."""
        return math.sqrt(2.0 * math.log(10.0)) / (2.0 * math.pi * self.frequency_max)

    @property
    def delay(self) -> float:
        """Time of the peak [s]."""
        return 5.5 * self.width

    @property
    def duration(self) -> float:
        return 2.0 * self.delay

    def __call__(self, t: Float[Tensor, "times"]) -> Float[Tensor, "times"]:
        return torch.exp(-0.5 * ((t - self.delay) / self.width) ** 2)


class Ricker(Tree):
    """Second derivative of a Gaussian, peak value 1, spectrum largest at `frequency` [Hz]: (1 - u^2) exp(-u^2 / 2)."""

    frequency: float

    def __post_init__(self) -> None:
        _positive("frequency", self.frequency)

    @property
    def width(self) -> float:
        """Standard deviation [s] of the Gaussian: omega^2 exp(-(omega width)^2 / 2) is largest at sqrt(2) / width."""
        return math.sqrt(2.0) / (2.0 * math.pi * self.frequency)

    @property
    def delay(self) -> float:
        """Time of the peak [s]."""
        return 6.5 * self.width

    @property
    def duration(self) -> float:
        return 2.0 * self.delay

    def __call__(self, t: Float[Tensor, "times"]) -> Float[Tensor, "times"]:
        u = (t - self.delay) / self.width
        return (1.0 - u**2) * torch.exp(-0.5 * u**2)


class ContinuousWave(Tree):
    """Sine of `frequency` [Hz] that rises smoothly from rest over `ramp` periods: its third derivative has no jump."""

    frequency: float
    ramp: float = 5.0

    def __post_init__(self) -> None:
        _positive("frequency", self.frequency)
        _positive("ramp", self.ramp, "periods")

    @property
    def duration(self) -> float:
        """Time [s] at which the ramp is over; the wave goes on."""
        return self.ramp / self.frequency

    def __call__(self, t: Float[Tensor, "times"]) -> Float[Tensor, "times"]:
        x = (t / self.duration).clamp(0.0, 1.0)
        rise = x**4 * (35.0 - 84.0 * x + 70.0 * x**2 - 20.0 * x**3)
        return rise * torch.sin(2.0 * math.pi * self.frequency * t)


class Samples(Tree):
    """Any signal: values at times `start`, `start` + `dt`, ... [s], straight lines between, zero outside."""

    values: Float[Tensor, "samples"]
    dt: float
    start: float = 0.0

    def __post_init__(self) -> None:
        _positive("dt", self.dt, "s")

    @property
    def duration(self) -> float:
        return self.start + self.dt * (len(self.values) - 1)

    def __call__(self, t: Float[Tensor, "times"]) -> Float[Tensor, "times"]:
        place = (t - self.start) / self.dt
        nearest = place.round()
        place = torch.where((place - nearest).abs() < 1e-6, nearest, place)
        below = place.floor()
        share = place - below
        last = len(self.values) - 1
        index = below.to(torch.int64)

        def at(position: Tensor) -> Tensor:
            inside = (position >= 0) & (position <= last)
            return torch.where(inside, self.values[position.clamp(0, last)], 0.0)

        return (1.0 - share) * at(index) + share * at(index + 1)


def _positive(name: str, value: float, unit: str = "Hz") -> None:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} = {value:g} {unit} must be positive")
