"""Runs of ports: until all of them are quiet, and what is left of their ringing where the steps end before that."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from elec.fields import Fields
from elec.observables.decay import pieces
from elec.observables.ringing import FreeRinging
from mindsci.errors import InputError

logger = logging.getLogger(__name__)

QUIET = -400.0
"""[dB] of ports without any signal."""
EVERY = 200
"""Steps between two looks at the records."""
SETTLED = 0.25
"""Part of the record behind the pulse that is not fitted: waves still travel through the structure."""
LONGEST = 100
"""A continuation goes on to this multiple of the record at most: what does not decay by then never will."""


def rows_of(ports: Sequence[Any], records: Float[Tensor, "rows samples"]) -> list[Tensor]:
    """Returns the rows of the records that belong to each placed port."""
    return list(records.split([port.probes.weights.shape[0] for port in ports]))


def pulse_duration(ports: Sequence[Any]) -> float:
    """Returns the time [s] after which no port's waveform drives any more."""
    return max(float(port.port.waveform.duration) for port in ports)


def level(ports: Sequence[Any], records: Float[Tensor, "rows samples"], done: int, dt: float) -> float:
    """Returns how far what the ports record of late, for as long as a pulse, lies below its peak [dB].

    At the loudest kind of port: lumped ports record volts, mode ports sums over their profiles, and each kind is held
    against its own peak.
    """
    window = max(1, round(pulse_duration(ports) / dt))
    kinds: dict[str, tuple[float, float]] = {}
    for port, rows in zip(ports, rows_of(ports, records), strict=True):
        seen = rows[:, :done].detach().abs()
        late, peak = (float(part.max()) if part.numel() else 0.0 for part in (seen[:, -window:], seen))
        before = kinds.get(type(port).__name__, (0.0, 0.0))
        kinds[type(port).__name__] = (max(late, before[0]), max(peak, before[1]))
    return max(20.0 * math.log10(late / peak) if late > 0 else QUIET for late, peak in kinds.values())


def march(
    step: Any, ports: Sequence[Any], fields: Fields, *, dt: float, n_steps: int, decay: float, done: int = 0
) -> Iterator[tuple[Fields, int]]:
    """Yields the fields and the steps done, piece by piece, until the ports are `decay` [dB] below their peak.

    Raises InputError where the fields grow without bound.
    """
    duration = pulse_duration(ports)

    def quiet(now: Fields, first: int, last: int) -> bool:
        _check_finite(now.records[:, :last])
        # Twice the pulse: its whole window must be past, or its silent beginning would count as quiet.
        return last * dt > 2.0 * duration and level(ports, now.records, last, dt) < -abs(decay)

    yield from pieces(step, fields, dt=dt, n_steps=n_steps, quiet=quiet, every=EVERY, done=done)


def rung_out(
    ports: Sequence[Any],
    records: Float[Tensor, "rows samples"],
    dt: float,
    *,
    frequency_max: float,
    decay: float,
) -> tuple[Float[Tensor, "rows longer"], float]:
    """Returns the records continued by their free oscillations to `decay` [dB], and how well these foretell.

    The second figure compares the last third of what is known with what the oscillations of the rest say of it, the
    largest difference over the peak of the record: a bound on what the continuation adds at each sample.

    Raises InputError for a record that ends with the pulse.
    """
    begin = math.ceil(pulse_duration(ports) / dt)
    length = records.shape[1]
    start = begin + round(SETTLED * (length - begin))
    if length - start < 2 * (begin // 4 + 1):
        raise InputError(
            f"the record of {length} steps ends with the pulse, {begin} steps long: nothing rings freely yet; raise "
            "n_steps, or do not ask for a continuation"
        )
    target = 10.0 ** (-abs(decay) / 20.0)
    fit = FreeRinging.of(records, dt, start=start, frequency_max=frequency_max)
    known = start + 2 * (length - start) // 3
    foretold = FreeRinging.of(records[:, :known], dt, start=start, frequency_max=frequency_max).signal(known, length)
    peak = records.detach().to(torch.float64).abs().amax(dim=1).clamp(min=1e-300)
    error = float(((foretold - records[:, known:]).detach().abs().amax(dim=1) / peak).max())
    n_samples = min(fit.samples_to(target * peak), LONGEST * length)
    logger.info("records of %d steps continued to %d; foretold to %.2g of their peak", length, n_samples, error)
    return torch.cat([records, fit.signal(length, max(length, n_samples)).to(records)], dim=1), error


def _check_finite(records: Tensor) -> None:
    if not bool(records.isfinite().all()):
        step = int(records.isfinite().all(0).logical_not().nonzero()[0])
        raise InputError(f"the fields grew without bound at step {step}; use a smaller time.courant")
