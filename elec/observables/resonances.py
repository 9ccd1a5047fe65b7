"""Resonances and their quality from time records: decaying oscillations by the matrix pencil [Hua1990], with errors.

A record is shifted to its band's middle, filtered and thinned out, so that a few hundred samples carry the whole of it;
the filter changes the amplitude of an oscillation by a known factor and neither its frequency nor its decay. Then
x[n] = sum a z^n makes the shifted halves of a Hankel matrix share z as their generalised eigenvalues.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from mindsci.errors import InputError
from mindsci.tree import Tree

# Samples that the pencil sees at most: its matrices are half as large and their decomposition takes a second at 600.
MOST_SAMPLES = 1200
# Half-length of the filter in thinned-out samples, and the shape of its window: 1e-6 outside 1.2 times the band.
REACH, KAISER = 20, 14.0
# Kept samples a second over the width of the band: room for the filter's edges.
OVERSAMPLING = 1.5


class Resonances(Tree):
    """Decaying oscillations x(t) = 2 Re sum a exp(s t), the strongest first."""

    frequency: Float[Tensor, "n"]
    """[Hz]"""
    decay: Float[Tensor, "n"]
    """of the amplitude [1/s]"""
    amplitude: Complex[Tensor, "n"]
    """at the time of the first sample given, in the unit of the record"""
    frequency_error: Float[Tensor, "n"]
    """one standard deviation, from what the fit leaves of the record [Hz]"""
    decay_error: Float[Tensor, "n"]
    """[1/s]"""

    @property
    def quality(self) -> Float[Tensor, "n"]:
        """Q = omega / (2 decay)."""
        return math.pi * self.frequency / self.decay

    @property
    def quality_error(self) -> Float[Tensor, "n"]:
        """One standard deviation of Q."""
        relative = (self.frequency_error / self.frequency) ** 2 + (self.decay_error / self.decay) ** 2
        return self.quality.abs() * relative.sqrt()

    def signal(self, t: Float[Tensor, "times"]) -> Float[Tensor, "times"]:
        """Returns the sum of the oscillations at times [s] after the first sample."""
        rate = torch.complex(-self.decay, 2.0 * math.pi * self.frequency)
        return 2.0 * (self.amplitude[:, None] * torch.exp(rate[:, None] * t)).real.sum(dim=0)


def resonances(
    record: Float[Tensor, "samples"],
    dt: float,
    band: tuple[float, float],
    *,
    n_most: int = 40,
    floor: float = 1e-9,
) -> Resonances:
    """Returns the oscillations of a real record within a band [Hz]; what drives it must be over.

    Singular values below `floor` of the largest, or below the noise that the record itself shows, are noise; n_most
    bounds how many oscillations are sought. Raises InputError for a record too short for its band.
    """
    if not 0.0 <= band[0] < band[1] <= 0.5 / dt:
        raise InputError(
            f"the band {band[0]:g} to {band[1]:g} Hz must lie within 0 and {0.5 / dt:g} Hz, half the sampling"
        )
    rate, amplitude, errors = oscillations(record, dt, band, n_most=n_most, floor=floor)
    frequency = rate.imag / (2.0 * math.pi)
    kept = (frequency >= band[0]) & (frequency <= band[1]) & (frequency > 0)
    order = torch.argsort(amplitude.abs() * kept, descending=True)[: int(kept.sum())]
    return Resonances(
        frequency=frequency[order],
        decay=-rate.real[order],
        amplitude=amplitude[order],
        frequency_error=errors[order] / (2.0 * math.pi),
        decay_error=errors[order],
    )


def oscillations(
    record: Float[Tensor, "samples"], dt: float, band: tuple[float, float], *, n_most: int = 40, floor: float = 1e-9
) -> tuple[Complex[Tensor, "n"], Complex[Tensor, "n"], Float[Tensor, "n"]]:
    """Returns s, a and the errors of s in x(t) = sum a exp(s t), of all that lies in a band [Hz] and at its edges.

    The band may reach below zero, where a real record has the conjugates of what it has above.
    """
    x = record.detach().to(torch.float64)
    thinned, thinning, first, taps = _thinned(x, dt, band)
    if len(thinned) < 8:
        raise InputError(
            f"{len(x)} samples of {dt:g} s leave {len(thinned)} in a band of {band[1] - band[0]:g} Hz; record longer "
            "or widen it"
        )
    thinned = thinned[:MOST_SAMPLES]
    step = thinning * dt
    rate = torch.log(_pencil(thinned, n_most, floor)) / step
    n = torch.arange(len(thinned), dtype=torch.float64)
    basis = torch.exp(rate * step * n[:, None])
    weight = torch.linalg.lstsq(basis, thinned[:, None]).solution[:, 0]
    errors = _errors(basis, weight, step * n, thinned)
    m = torch.arange(len(taps), dtype=torch.float64)
    response = (taps * torch.exp(-rate[:, None] * dt * m)).sum(dim=1)
    # The first kept sample is that at which the filter first lies within the record.
    amplitude = weight / response * torch.exp(-rate * dt * first)
    return rate + 1j * math.pi * (band[0] + band[1]), amplitude, errors


def _thinned(x: Tensor, dt: float, band: tuple[float, float]) -> tuple[Tensor, int, int, Tensor]:
    """The record around its band's middle, thinned out; the thinning, the place of its first sample, the filter."""
    low, high = band
    width = high - low
    thinning = max(1, int(1.0 / (OVERSAMPLING * width * dt)))
    # A short record keeps more samples than it needs rather than lose itself in the filter.
    thinning = max(1, min(thinning, len(x) // (4 * REACH)))
    n = torch.arange(len(x), dtype=torch.float64)
    mixed = x * torch.exp(-2j * math.pi * 0.5 * (low + high) * dt * n)
    length = 2 * REACH * thinning + 1
    place = torch.arange(length, dtype=torch.float64) - REACH * thinning
    cut = 1.2 * width * dt  # both sides of zero: the pass band in cycles a sample
    taps = cut * torch.sinc(cut * place) * torch.kaiser_window(length, periodic=False, beta=KAISER, dtype=torch.float64)
    if 1.2 * width * dt >= 1.0:
        return mixed, 1, 0, torch.ones(1, dtype=torch.float64)
    filtered = torch.nn.functional.conv1d(
        torch.view_as_real(mixed).T[:, None], taps.flip(0)[None, None].contiguous(), stride=thinning
    )[:, 0]
    return torch.complex(filtered[0], filtered[1]), thinning, length - 1, taps


def _pencil(x: Complex[Tensor, "samples"], n_most: int, floor: float) -> Complex[Tensor, "n"]:
    """Returns the ratios z of the exponentials in a signal."""
    pencil = len(x) // 2
    hankel = x.unfold(0, pencil + 1, 1)
    _, values, right = torch.linalg.svd(hankel, full_matrices=False)
    # Noise fills the spectrum evenly: half of the values lie below its level if there is any.
    noise = float(values[len(values) // 2 :].median()) * 4.0
    count = int((values > max(floor * float(values[0]), noise)).sum())
    count = max(1, min(count, n_most, pencil - 1))
    basis = right[:count].T
    z = torch.linalg.eigvals(torch.linalg.lstsq(basis[:-1], basis[1:]).solution)
    return z


def _errors(basis: Tensor, weight: Tensor, t: Tensor, x: Tensor) -> Float[Tensor, "n"]:
    """Standard deviation of the real and of the imaginary part of each rate [1/s], linearised about the fit."""
    left = x - basis @ weight
    slopes = torch.cat([basis, basis * t[:, None] * weight], dim=1)
    scale = slopes.abs().pow(2).sum(dim=0).sqrt().clamp(min=1e-300)
    freedom = max(1, len(x) - slopes.shape[1])
    variance = left.abs().pow(2).sum() / freedom
    inverse = torch.linalg.pinv(slopes / scale)
    spread = (inverse.abs().pow(2).sum(dim=1) * variance).sqrt() / scale
    return spread[len(weight) :] / math.sqrt(2.0)
