"""The `[trainer]` table of a case file."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from mindsci.config import Quantity, Table
from mindsci.train.schedule import Constant, Plateau, Schedule


class OptimizerConfig(Table):
    """Adam [Kingma2015] or AdamW [Loshchilov2019]; parameters with fewer than two axes are not decayed."""

    name: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = Field(default=1e-8, gt=0)
    implementation: Literal["auto", "fused", "foreach", "loop"] = "auto"
    """How torch takes the step; "auto" is "fused" (the fastest on CPU and GPU) unless a parameter is complex."""


class TrainerConfig(Table):
    """How the steps are taken; what is learnt, and the batch size, belong to the task."""

    steps: int = Field(ge=1)
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: Schedule = Constant()
    clip_norm: float | None = Field(default=None, gt=0)
    """The largest norm of the gradient; larger ones are scaled down to it."""
    accumulate: int = Field(default=1, ge=1)
    """The number of parts that each batch is computed in: less memory, the same step."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """The decay a step of the running average of the weights that is validated and kept; none by default."""
    validate_every: int = Field(default=500, ge=0)
    """Steps between validations, besides one at the end; 0 for a task without a validation split."""
    checkpoint_every: int = Field(default=1000, ge=1)
    log_every: int = Field(default=50, ge=1)
    monitor: str = "loss"
    """The validation metric that decides which weights are best."""
    goal: Literal["minimum", "maximum"] = "minimum"
    patience: int | None = Field(default=None, ge=1)
    """Validations without improvement after which training stops."""
    precision: Literal["float32", "float64", "bfloat16"] = "float32"
    """"bfloat16" keeps the weights in float32 and computes under autocast."""
    wall_time: Quantity("min") | None = None
    """Time after which this call stops cleanly [min]; `--resume` continues where it stopped."""
    find_unused_parameters: bool = False
    """Set where some parameters get no gradient in some steps, under more than one process."""

    @model_validator(mode="after")
    def _has_what_it_refers_to(self) -> Self:
        needs = {"patience": self.patience is not None, "schedule 'plateau'": isinstance(self.schedule, Plateau)}
        for key, used in needs.items():
            if used and not self.validate_every:
                raise ValueError(f"{key} counts validations, and validate_every = 0 makes none; set it to 1 or more")
        if self.schedule.warmup_steps >= self.steps:
            raise ValueError(
                f"schedule.warmup_steps = {self.schedule.warmup_steps} leaves no step of the {self.steps}; use fewer"
            )
        return self
