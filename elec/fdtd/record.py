"""A record of smooth series, thinned in time to a stated error.

Fields are sampled far above the frequencies that the sources hold: the Courant limit asks for it. A chunk of L steps of
a series without frequencies above W (cycles a step) has some 2 W L degrees of freedom, and the discrete prolate
spheroidal sequences of L and W [Slepian1978] span them best: what is left out falls faster than exponentially beyond
2 W L of them. Each chunk keeps as many as it takes to bring the error, which is measured at every step and place, under
the bound; where that saves little the chunk is kept as it is. The bound therefore holds whatever the series.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from elec.fdtd.sources import Source

CHUNK = 128
"""Steps. Twice as many would save a seventh of the memory of the record and take twice that of a chunk."""
BLOCK = 1 << 14
"""Series thinned at a time."""
NOTHING = 1e-3
"""Share of the bound under which a value is taken as zero."""
MORE = 4
"""Sequences that are added while the error is above the bound."""


def error_bound(dtype: torch.dtype) -> float:
    """Returns the largest error of a record over its largest value: some roundings of the fields themselves."""
    return max(16.0 * torch.finfo(dtype).eps, 1e-13)


class _Chunk(NamedTuple):
    """Coefficients (sequences, series) of `steps` steps; without sequences, the values."""

    steps: int
    thinned: bool
    values: Tensor


class Record:
    """Series (steps, places), added chunk by chunk."""

    def __init__(self, band: float, bound: float) -> None:
        """band: the highest frequency expected [cycles a step]; bound: largest error over the largest value so far."""
        self.band, self.bound = band, bound
        self.largest, self.error = 0.0, 0.0
        self.chunks: list[_Chunk] = []
        self.rank = 0

    @property
    def nbytes(self) -> int:
        return sum(chunk.values.nbytes for chunk in self.chunks)

    def add(self, values: Tensor, noise: float = 0.0) -> None:
        """Takes the next steps of all series; noise: an error that they hold as it is, allowed as well."""
        steps, places = values.shape
        self.largest = max(self.largest, _largest(values))
        allowed = self.bound * self.largest + noise
        first = max(self.rank, math.ceil(2.0 * self.band * steps) + 2 * MORE)
        if first > 0.75 * steps or not values.numel():
            self.chunks.append(_Chunk(steps, False, values.clone()))
            return
        parts, worst = [], 0.0
        for block in values.split(BLOCK, dim=1):
            coefficients, error = self._thinned(block, first, allowed)
            if error > allowed:
                self.chunks.append(_Chunk(steps, False, values.clone()))
                return
            parts.append(coefficients)
            worst = max(worst, error)
        self.rank = max(len(part) for part in parts)
        found = values.new_zeros(self.rank, places)
        for start, part in zip(itertools.count(0, BLOCK), parts, strict=False):
            found[: len(part), start : start + part.shape[1]] = part
        self.chunks.append(_Chunk(steps, True, found))
        self.error = max(self.error, worst)

    def _thinned(self, block: Tensor, rank: int, allowed: float) -> tuple[Tensor, float]:
        """Returns coefficients and the largest error."""
        steps = len(block)
        sequences = slepian(steps, self.band).to(block)
        # Fields before a wave arrives are numbers below the normal ones, with which processors are slow.
        nothing = max(NOTHING * allowed, 1e3 * torch.finfo(block.dtype).tiny)
        parts, rest, start = [], torch.nn.functional.hardshrink(block, nothing), 0
        while True:
            some = sequences[:, start:rank]
            parts.append(some.T @ rest)
            rest = torch.addmm(rest, some, parts[-1], alpha=-1.0)
            error = _largest(rest) + nothing
            start, rank = rank, rank + MORE
            if error <= allowed or rank > 0.75 * steps:
                return torch.cat(parts), error

    def rows(self, begin: int, end: int) -> Tensor:
        """Returns the series at steps begin .. end - 1, counted from the record's first."""
        found, first = [], 0
        for chunk in self.chunks:
            low, high = max(begin, first), min(end, first + chunk.steps)
            if low < high:
                inside = slice(low - first, high - first)
                if chunk.thinned:
                    sequences = slepian(chunk.steps, self.band).to(chunk.values)
                    found.append(sequences[inside, : len(chunk.values)] @ chunk.values)
                else:
                    found.append(chunk.values[inside])
            first += chunk.steps
        return torch.cat(found)


def _largest(values: Tensor) -> float:
    if not values.numel():
        return 0.0
    low, high = values.aminmax()
    return max(-float(low), float(high))


@functools.lru_cache(maxsize=8)
def slepian(steps: int, band: float) -> Tensor:
    """Returns all sequences, orthonormal columns, that of the least energy outside the band first [Slepian1978]."""
    n = torch.arange(steps, dtype=torch.float64)
    diagonal = ((steps - 1 - 2 * n) / 2) ** 2 * math.cos(2 * math.pi * band)
    beside = n[1:] * (steps - n[1:]) / 2
    matrix = torch.diag(diagonal) + torch.diag(beside, 1) + torch.diag(beside, -1)
    _, vectors = torch.linalg.eigh(matrix)
    return vectors.flip(1)


def highest_frequency(sources: Sequence[Source], first: int, n_steps: int, dt: float, share: float) -> float:
    """Returns the frequency [cycles a step] above which the sources' spectra stay under a share of their largest value.

    What follows the run does nothing to it, so that the signals are let go on for as long again and fade to zero.
    """
    x = torch.arange(1, n_steps + 1, dtype=torch.float64) / (n_steps + 1)
    fade = 1.0 / (1.0 + torch.exp(1.0 / (1.0 - x) - 1.0 / x))
    window = torch.cat([torch.ones(n_steps, dtype=torch.float64), fade])
    steps = torch.arange(first, first + 2 * n_steps)
    largest = torch.zeros(n_steps + 1, dtype=torch.float64)
    for source in sources:
        signals = source.signal(steps, dt).detach().cpu().to(torch.float64)
        amplitude = torch.zeros(signals.shape[1], dtype=torch.float64)
        amplitude.index_add_(0, source.column().cpu(), source.amplitude.detach().cpu().to(torch.float64).abs())
        for some, scale in zip(signals.split(256, dim=1), amplitude.split(256), strict=True):
            spectrum = torch.fft.rfft(some * window[:, None], dim=0).abs() * scale
            largest = torch.maximum(largest, spectrum.amax(1) / max(float(spectrum.max()), 1e-300))
    above = (largest > share).nonzero()
    return float(above.max() + 1) / (2 * n_steps) if len(above) else 0.5 / n_steps
