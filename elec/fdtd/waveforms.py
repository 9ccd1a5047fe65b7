"""Time signals of sources: trees that map times [s] to values, in float64."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from elec.numbers import Real, plain_real
from mindsci.errors import InputError
from mindsci.tree import Tree

# x exp((1 - x^2) / 2) falls to 0.1 at x = 2.762: the frequency of the spectrum's maximum is the highest one over this.
EDGE_OF_BAND = 2.762
# exp(-x^2 / 2) falls to 0.1 there.
TENTH = math.sqrt(2.0 * math.log(10.0))


class Pulse(Tree):
    """A shape of u = (t - delay) / width about its middle. Numbers may be tensors: gradients pass through them."""

    LEAD: ClassVar[float]
    """widths before the middle at which the signal starts, of at most 3e-7 of its peak: the rounding of float32"""

    later: Real = 0.0
    """wait before the signal starts [s]"""

    @property
    def width(self) -> Real:
        """Standard deviation [s] of the Gaussian behind the shape."""
        raise NotImplementedError

    @property
    def delay(self) -> Real:
        """Time of the middle [s]."""
        return self.LEAD * self.width + self.later

    @property
    def duration(self) -> float:
        """Time [s] after which the signal is as small again as at its start."""
        return plain_real(self.delay + self.LEAD * self.width)

    def shape(self, u: Float[Tensor, "times"]) -> Float[Tensor, "times"]:
        """Returns the signal at times in units of the width from the middle."""
        raise NotImplementedError

    def __call__(self, t: Float[Tensor, "times"]) -> Float[Tensor, "times"]:
        return self.shape((t - self.delay) / self.width)


class GaussianDerivative(Pulse):
    """Derivative of a Gaussian, peak value 1: no DC part, spectrum 20 dB below its peak at `frequency_max` [Hz].

    Its spectrum is proportional to f exp(-(f / f_peak)^2 / 2). Without a DC part no charge stays behind on metal.
    """

    LEAD = 6.0

    frequency_max: Real

    def __post_init__(self) -> None:
        _positive("frequency_max", self.frequency_max)

    @property
    def width(self) -> Real:
        return EDGE_OF_BAND / (2.0 * math.pi * self.frequency_max)

    def shape(self, u: Float[Tensor, "times"]) -> Float[Tensor, "times"]:
        return -u * torch.exp(0.5 - 0.5 * u**2)


class Gaussian(Pulse):
    """Gaussian of peak value 1: its spectrum at `frequency_max` [Hz] is 20 dB below that at zero.

    It has a DC part: where charge can stay behind on metal, use `GaussianDerivative`.
    """

    LEAD = 5.5

    frequency_max: Real

    def __post_init__(self) -> None:
        _positive("frequency_max", self.frequency_max)

    @classmethod
    def of_width(cls, width: Real, *, delay: Real) -> Gaussian:
        """Returns the Gaussian of a standard deviation [s] about a time [s]."""
        return cls(frequency_max=TENTH / (2.0 * math.pi * width), later=delay - cls.LEAD * width)

    @property
    def width(self) -> Real:
        return TENTH / (2.0 * math.pi * self.frequency_max)

    def shape(self, u: Float[Tensor, "times"]) -> Float[Tensor, "times"]:
        return torch.exp(-0.5 * u**2)


class ModulatedGaussian(Pulse):
    """Sine under a Gaussian envelope, peak near 1: `frequency` [Hz], `bandwidth` [Hz] at which it is 20 dB down."""

    LEAD = 5.5

    frequency: Real
    bandwidth: Real

    def __post_init__(self) -> None:
        _positive("frequency", self.frequency)
        _positive("bandwidth", self.bandwidth)

    @property
    def width(self) -> Real:
        return TENTH / (math.pi * self.bandwidth)

    def shape(self, u: Float[Tensor, "times"]) -> Float[Tensor, "times"]:
        return torch.sin(2.0 * math.pi * self.frequency * self.width * u) * torch.exp(-0.5 * u**2)


class Ricker(Pulse):
    """Second derivative of a Gaussian, peak value 1, spectrum largest at `frequency` [Hz]: (1 - u^2) exp(-u^2 / 2)."""

    LEAD = 6.5

    frequency: Real

    def __post_init__(self) -> None:
        _positive("frequency", self.frequency)

    @property
    def width(self) -> Real:
        # omega^2 exp(-(omega width)^2 / 2) is largest at sqrt(2) / width
        return math.sqrt(2.0) / (2.0 * math.pi * self.frequency)

    def shape(self, u: Float[Tensor, "times"]) -> Float[Tensor, "times"]:
        return (1.0 - u**2) * torch.exp(-0.5 * u**2)


class ContinuousWave(Tree):
    """Sine of `frequency` [Hz] that rises smoothly from rest over `ramp` periods: its third derivative has no jump."""

    frequency: Real
    ramp: Real = 5.0

    def __post_init__(self) -> None:
        _positive("frequency", self.frequency)
        _positive("ramp", self.ramp, "periods")

    @property
    def duration(self) -> float:
        """Time [s] at which the ramp is over; the wave goes on."""
        return plain_real(self.ramp / self.frequency)

    def __call__(self, t: Float[Tensor, "times"]) -> Float[Tensor, "times"]:
        x = (t * self.frequency / self.ramp).clamp(0.0, 1.0)
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


def _positive(name: str, value: Real, unit: str = "Hz") -> None:
    number = plain_real(value)
    if not (math.isfinite(number) and number > 0):
        raise InputError(f"{name} = {number:g} {unit} must be positive")
