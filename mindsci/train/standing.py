"""How a training stands: plain numbers that a checkpoint keeps, and the rules that change them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from mindsci.train.config import TrainerConfig
from mindsci.train.schedule import Plateau


@dataclass
class Standing:
    """The steps taken, the best validation, and how long ago it was."""

    step: int = 0
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    """Validations since the best."""
    plateau: int = 0
    """Validations since the best or since the last reduction of the rate."""
    reductions: int = 0
    """Times that the plateau schedule reduced the rate."""

    def judge(self, value: float, config: TrainerConfig) -> bool:
        """Returns whether a validation is the best so far, and counts those that were not."""
        sign = 1 if config.goal == "minimum" else -1
        improved = math.isfinite(value) and (self.best is None or sign * value < sign * self.best)
        if improved:
            self.best, self.best_step, self.stale, self.plateau = value, self.step, 0, 0
            return True
        self.stale += 1
        self.plateau += 1
        if isinstance(config.schedule, Plateau) and self.plateau >= config.schedule.patience:
            self.plateau = 0
            self.reductions += 1
        return False

    def ended(self, config: TrainerConfig) -> Literal["steps", "patience"] | None:
        """Returns why the training is complete, or None while it is not."""
        if self.step >= config.steps:
            return "steps"
        if config.patience is not None and self.stale >= config.patience:
            return "patience"
        return None
