"""How the learning rate moves: each schedule is a table of the case file and a pure function of step and standing."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mindsci.config import Table


class Warmup(Table):
    """Rises linearly to the full rate over the first steps; what every schedule starts with."""

    warmup_steps: int = Field(default=0, ge=0)

    def scale(self, step: int, *, steps: int, reductions: int = 0) -> float:
        """Returns the factor on the learning rate at a step, of `steps` in all and after `reductions` plateaus."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        return self.after_warmup(step, steps=steps, reductions=reductions)

    def after_warmup(self, step: int, *, steps: int, reductions: int) -> float:
        raise NotImplementedError(f"{type(self).__name__} does not say its rate after the warm-up")


class Constant(Warmup):
    """The full rate throughout."""

    name: Literal["constant"] = "constant"

    def after_warmup(self, step: int, *, steps: int, reductions: int) -> float:
        return 1.0


class Cosine(Warmup):
    """Half a cosine from the full rate to `final_fraction` of it at the last step [Loshchilov2017, eq. 5]."""

    name: Literal["cosine"] = "cosine"
    final_fraction: float = Field(default=0.01, ge=0, le=1)

    def after_warmup(self, step: int, *, steps: int, reductions: int) -> float:
        progress = min((step - self.warmup_steps) / max(steps - 1 - self.warmup_steps, 1), 1.0)
        return self.final_fraction + (1 - self.final_fraction) * 0.5 * (1 + math.cos(math.pi * progress))


class Plateau(Warmup):
    """Multiplies the rate by `factor` each time that `patience` validations in a row bring no improvement."""

    name: Literal["plateau"] = "plateau"
    factor: float = Field(default=0.5, gt=0, lt=1)
    patience: int = Field(default=5, ge=1)
    final_fraction: float = Field(default=0.001, ge=0, le=1)

    def after_warmup(self, step: int, *, steps: int, reductions: int) -> float:
        return max(self.factor**reductions, self.final_fraction)


def _named(value: Any) -> Any:
    """`schedule = "cosine"` is short for a table with that name and defaults."""
    return {"name": value} if isinstance(value, str) else value


Schedule = Annotated[Constant | Cosine | Plateau, Field(discriminator="name"), BeforeValidator(_named)]
