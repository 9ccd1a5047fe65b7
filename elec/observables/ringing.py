"""Records of ports that still ring when a run ends, continued by the oscillations that they are made of."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from elec.observables.resonances import oscillations
from mindsci.errors import InputError


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
    if not 0 <= start < length:
        raise InputError(f"start = {start} must lie within the {length} samples of the record, behind its pulse")
    if n_samples <= length:
        return records[:, :n_samples]
    t = dt * torch.arange(length - start, n_samples - start, dtype=torch.float64)
    rows = []
    for row in records.detach().to(torch.float64):
        if not bool((row[start:] != 0).any()):
            rows.append(torch.zeros_like(t))
            continue
        rate, amplitude, _ = oscillations(row[start:], dt, (-frequency_max, frequency_max), n_most=n_most)
        within = rate.imag.abs() <= 2.0 * math.pi * frequency_max
        steady = torch.complex(rate.real.clamp(max=0.0), rate.imag)[within]
        rows.append((amplitude[within, None] * torch.exp(steady[:, None] * t)).real.sum(dim=0))
    return torch.cat([records, torch.stack(rows).to(records)], dim=1)
