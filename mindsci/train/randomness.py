"""Random numbers of a training: a function of the seed, the step and the process, so that nothing has to be kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy
import torch


@contextmanager
def own_randomness(device: torch.device) -> Iterator[None]:
    """Gives torch's global generators back as they were once the block ends. Touches no GPU that is not in use."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def seed_step(device: torch.device, seed: int, step: int, rank: int) -> None:
    """Seeds torch's global generators (dropout and noise draw from them) for one step of one process."""
    state = numpy.random.SeedSequence([seed, step, rank]).generate_state(1, numpy.uint64)[0]
    number = int(state >> numpy.uint64(1))
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(number)
