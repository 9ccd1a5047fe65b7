"""How many threads a small system is worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sponge.system import System

WORTH_SHARING = 64
"""atoms on a CPU from which a second thread pays; below, a step is hundreds of operations of some microseconds"""


@contextmanager
def suited_threads(system: System) -> Iterator[None]:
    """Runs the block in one thread if the system is small, and gives the threads back.

    Threads that wait for one another at every small operation gain nothing on an idle machine, and on a busy one
    they lose: ethanol ran at 14 steps/s in two threads and at 150 in one, beside two other programs.
    """
    before = torch.get_num_threads()
    small = system.n_atoms < WORTH_SHARING and system.positions.device.type == "cpu"
    torch.set_num_threads(1 if small else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
