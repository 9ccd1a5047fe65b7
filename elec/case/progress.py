"""How fast a run goes, and how often it is saved."""

from __future__ import annotations

import time

SAVE_EVERY = 30.0
"""Seconds between two restart files."""


class Clock:
    """Million cells a second, the first chunk left out: it compiles the kernel."""

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self.steps = 0
        self.began: float | None = None

    def rate(self, steps: int) -> float | None:
        """Counts steps that have just been taken; None until there is something to go by."""
        if self.began is None:
            self.began = time.monotonic() if steps else None
            return None
        self.steps += steps
        return 1e-6 * self.cells * self.steps / max(time.monotonic() - self.began, 1e-9) if self.steps else None
