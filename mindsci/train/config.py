"""The `[trainer]` table of a case file."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from mindsci.config import Quantity, Table
from mindsci.train.schedule import Constant, Plateau, Schedule


class OptimizerConfig(Table):
    """Adam [Kingma2015], AdamW [Loshchilov2019] or Muon; parameters with fewer than two axes are not decayed.

    "muon" orthogonalises the steps of matrices, and leaves the rest to AdamW: see `mindsci.train.muon`.
    """

    name: Literal["adamw", "adam", "muon"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = Field(default=1e-8, gt=0)
    implementation: Literal["auto", "fused", "foreach", "loop"] = "auto"
    """How torch takes the step; "auto" is "fused" (the fastest on CPU and GPU) unless a parameter is complex."""
    centralise: bool = False
    """Whether the mean of each row is taken from the gradients of matrices [Yong2020]."""


class Warming(Table):
    """A share that rises linearly from `start` to 1 over the first `share` of the steps."""

    start: float = Field(default=0.25, gt=0, lt=1)
    share: float = Field(default=0.3, gt=0, le=1)

    def at(self, step: int, steps: int) -> float:
        """Returns the share at a step."""
        return min(1.0, self.start + (1.0 - self.start) * step / max(self.share * steps, 1.0))


class Selective(Table):
    """Selective backpropagation [Jiang2019]: only the items with the largest losses are differentiated.

    In the steps between `begin` and `end` of the training, each counted as a share; outside, all items are.
    """

    keep: float = Field(default=0.5, gt=0, lt=1)
    """the share of a batch's items that is differentiated"""
    begin: float = Field(default=0.3, ge=0, lt=1)
    end: float = Field(default=0.9, gt=0, le=1)

    def at(self, step: int, steps: int) -> bool:
        """Returns whether items are chosen at a step."""
        return self.begin * steps <= step < self.end * steps


class Communication(Table):
    """How processes bring their gradients together."""

    gradients: Literal["float32", "bfloat16"] = "float32"
    """The precision in which gradients travel."""
    combine: Literal["mean", "adasum"] = "mean"
    """"adasum" adds what is orthogonal between two gradients, and averages what is parallel [Maleki2021]."""
    local_steps: int = Field(default=1, ge=1)
    """Local SGD [Stich2019]: steps that each process takes alone before the weights are averaged."""
    views: bool = False
    """Whether gradients lie in the buckets that travel, without a copy."""


class TrainerConfig(Table):
    """How the steps are taken; what is learnt, and the batch size, belong to the task."""

    steps: int = Field(ge=1)
    schedule_scale: float = Field(default=1.0, gt=0, le=1)
    """The share of `steps` that a case takes, its schedule shortened with it."""
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
    prefetch: Literal["auto", "always", "never"] = "auto"
    """Whether a thread makes the next batch while a step runs; "auto": on a GPU, for on a CPU it takes a core."""
    compile: Literal["auto", "always", "never"] = "never"
    """Whether torch compiles the model, for losses of first order alone; "auto": on a GPU, for on a CPU compiling takes
    longer than it saves in minutes of training."""
    channels_last: bool = False
    """Whether weights and images of convolutions keep their channels together."""
    batch_warmup: Warming | None = None
    """The share of each batch that is used."""
    resolution_warmup: Warming | None = None
    """The share of points, frequencies or bytes of each item that is used, where the task can make items coarser."""
    selective: Selective | None = None
    communication: Communication = Communication()

    @model_validator(mode="after")
    def _has_what_it_refers_to(self) -> Self:
        needs = {"patience": self.patience is not None, "schedule 'plateau'": isinstance(self.schedule, Plateau)}
        for key, used in needs.items():
            if used and not self.validate_every:
                raise ValueError(f"{key} counts validations, and validate_every = 0 makes none; set it to 1 or more")
        together = self.communication.local_steps
        for key in ("validate_every", "checkpoint_every"):
            if getattr(self, key) % together:
                raise ValueError(
                    f"{key} = {getattr(self, key)} is no multiple of communication.local_steps = {together}: the "
                    "processes differ between averages; make it one"
                )
        if self.schedule.warmup_steps >= self.steps:
            raise ValueError(
                f"schedule.warmup_steps = {self.schedule.warmup_steps} leaves no step of the {self.steps}; use fewer"
            )
        return self

    def scaled(self) -> TrainerConfig:
        """Returns the configuration of the steps that are taken."""
        if self.schedule_scale == 1.0:
            return self
        steps = max(round(self.schedule_scale * self.steps), self.schedule.warmup_steps + 1)
        return self.model_copy(update={"steps": steps, "schedule_scale": 1.0})
