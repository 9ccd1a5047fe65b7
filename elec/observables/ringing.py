"""Records of ports that still ring when a run ends, continued by the oscillations that they are made of."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from elec.observables.resonances import oscillations
from mindsci.errors import InputError
from mindsci.tree import Tree

SILENT = 1e-12
"""A row below this fraction of the loudest one holds nothing but rounding."""
PIECE = 65536
"""Samples that are summed up at once."""


class FreeRinging(Tree):
    """Rows of records behind their pulse as sums of decaying oscillations, Re sum a exp(s t) from sample `start`.

    Oscillations that grow are taken as steady: a passive structure has none.
    """

    rows: tuple[tuple[Tensor, Tensor], ...]
    """s [1/s] and a of each row"""
    dt: float
    start: int

    @classmethod
    def of(
        cls, records: Float[Tensor, "rows samples"], dt: float, *, start: int, frequency_max: float, n_most: int = 40
    ) -> FreeRinging:
        """Returns what the samples from `start` on are made of, up to a frequency [Hz].

        Raises InputError where nothing is left to fit.
        """
        if not 0 <= start < records.shape[1]:
            raise InputError(
                f"start = {start} must lie within the {records.shape[1]} samples of the record, behind its pulse"
            )
        rows = []
        highest = min(frequency_max, 0.5 / dt)
        peak = records.detach().abs().amax()
        for row in records.detach().to(torch.float64):
            # A row that holds rounding only, of a port that hears nothing, has no oscillations.
            if float(row[start:].abs().max()) <= SILENT * float(peak):
                none = torch.zeros(0, dtype=torch.complex128)
                rows.append((none, none))
                continue
            rate, amplitude, _ = oscillations(row[start:], dt, (-highest, highest), n_most=n_most)
            within = rate.imag.abs() <= 2.0 * math.pi * highest
            rows.append((torch.complex(rate.real.clamp(max=0.0), rate.imag)[within], amplitude[within]))
        return cls(rows=tuple(rows), dt=dt, start=start)

    def signal(self, first: int, last: int) -> Float[Tensor, "rows samples"]:
        """Returns samples first .. last - 1."""
        t = self.dt * torch.arange(first - self.start, last - self.start, dtype=torch.float64)
        return torch.stack([_sum_of(rate, amplitude, t) for rate, amplitude in self.rows])

    def samples_to(self, levels: Float[Tensor, "rows"]) -> int:
        """Returns the sample from which each row stays below its level; oscillations that never do are left out."""
        longest = self.start
        for (rate, amplitude), level in zip(self.rows, levels.tolist(), strict=True):
            fading = rate.real < 0
            size = amplitude[fading].abs() * max(1, int(fading.sum())) / max(level, 1e-300)
            times = size.clamp(min=1.0).log() / -rate.real[fading] / self.dt
            longest = max(longest, self.start + math.ceil(float(times.max())) if times.numel() else 0)
        return longest


def _sum_of(rate: Tensor, amplitude: Tensor, t: Tensor) -> Tensor:
    if not rate.numel():
        return torch.zeros_like(t)
    parts = [(amplitude[:, None] * torch.exp(rate[:, None] * piece)).real.sum(dim=0) for piece in t.split(PIECE)]
    return torch.cat(parts) if parts else t


def continued(
    records: Float[Tensor, "rows samples"],
    dt: float,
    n_samples: int,
    *,
    start: int,
    frequency_max: float,
    n_most: int = 40,
) -> Float[Tensor, "rows n"]:
    """Returns the records with samples added up to n_samples, as the free ringing from sample `start` on goes on.

    start lies behind the end of the pulse and of what travels once through the structure; frequency_max [Hz] bounds
    what the pulse excites. Oscillations that grow are taken as steady: a passive structure has none. The more samples
    lie behind `start`, the better: two periods of the beat between neighbouring resonances are the least.

    Raises InputError where nothing is left to fit.
    """
    length = records.shape[1]
    ringing = FreeRinging.of(records, dt, start=start, frequency_max=frequency_max, n_most=n_most)
    if n_samples <= length:
        return records[:, :n_samples]
    return torch.cat([records, ringing.signal(length, n_samples).to(records)], dim=1)
