"""A task's loss as the processes of a layout compute it together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from mindsci.distributed import Layout, spread
from mindsci.distributed.pipeline import Pipeline
from mindsci.errors import InputError
from mindsci.train.communication import set_hooks
from mindsci.train.config import Communication, TrainerConfig
from mindsci.train.task import Task


class LossModule(nn.Module):
    """The loss as a module, so that DDP sees forces that are taken by autograd.grad as a part of its forward.

    That makes its averaged gradients exact to second order.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.model = task.model
        self._loss = task.loss

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        return self._loss(batch)


class SpreadLoss(ABC):
    """The loss whose gradients are the mean over the processes that take different data."""

    stages: dist.ProcessGroup | None = None
    """the processes that hold the layers of the model one after another"""

    def __init__(self, config: TrainerConfig, device: torch.device) -> None:
        self._precision, self._kind = config.precision, device.type

    @abstractmethod
    def differentiate(self, batch: Any, weight: float, *, last: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        """Adds `weight` times the gradient to the weights'; returns the loss and the metrics of this process's part.

        Args:
            last: of the parts whose gradients add up before a step; others may keep theirs at home.
        """

    @abstractmethod
    def evaluate(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns them without gradients of parameters; every process must call it as often as the others."""

    def settle(self) -> None:
        """Lets go of weights that are gathered, so that changes of the sharded ones are seen."""
        return

    def autocast(self) -> AbstractContextManager[Any]:
        """Computes in bfloat16 while the block runs, where the trainer's precision says so."""
        return torch.autocast(self._kind, torch.bfloat16) if self._precision == "bfloat16" else nullcontext()


def spread_loss(task: Task, layout: Layout, config: TrainerConfig, device: torch.device) -> SpreadLoss:
    """Returns the loss of a task as the processes of a layout compute it together.

    Changes the task's model in place: its parameters may become parts, so make the optimizer after it.
    """
    _refuse(layout, config, task)
    kind = StagedLoss if layout.pipeline > 1 else WholeLoss
    return kind(task, layout, config, device)


class StagedLoss(SpreadLoss):
    """The loss of a model whose layers are those of a pipeline; its last process tells the others what it finds."""

    def __init__(self, task: Task, layout: Layout, config: TrainerConfig, device: torch.device) -> None:
        super().__init__(config, device)
        self._task = task
        found = spread(task.model, layout, device.type, loss=self._judged, second_order=task.second_order)
        assert isinstance(found, Pipeline)
        self._pipeline, self.stages = found, found.group
        self._found: list[dict[str, Tensor]] = []

    def differentiate(self, batch: Any, weight: float, *, last: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        inputs, targets = self._task.inputs_and_targets(batch)
        self._pipeline.differentiate(inputs, targets, weight, average=last)
        return self._told(self._pipeline.parts)

    def evaluate(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        inputs, targets = self._task.inputs_and_targets(batch)
        output = self._pipeline(inputs)
        if output is not None:
            self._judged(output, targets)
        return self._told(1)

    def _judged(self, output: Tensor, targets: Tensor) -> Tensor:
        loss, metrics = self._task.loss_of_output(output, targets)
        self._found.append({"loss": loss.detach()} | metrics)
        return loss

    def _told(self, parts: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The means over equal parts of a batch, of which a schedule tried the first before, without numbers."""
        found, self._found = self._found[-parts:], []
        names = list(found[0]) if found else []
        values = self._pipeline.from_last({name: torch.stack([one[name] for one in found]).mean() for name in names})
        return values.pop("loss"), values


class WholeLoss(SpreadLoss):
    """The loss that a module computes forward and autograd backward: on one process, by DDP, of shards, of parts."""

    def __init__(self, task: Task, layout: Layout, config: TrainerConfig, device: torch.device) -> None:
        super().__init__(config, device)
        self._inside = LossModule(task)
        self._local = config.communication.local_steps > 1
        options: dict[str, Any] = {
            "find_unused_parameters": config.find_unused_parameters,
            "gradient_as_bucket_view": config.communication.views,
            "device_ids": [device.index] if device.type == "cuda" else None,
        }
        self._module = spread(
            task.model, layout, device.type, outer=self._inside, second_order=task.second_order, **options
        )
        self._ddp = self._module if isinstance(self._module, DistributedDataParallel) else None
        if self._ddp is not None:
            set_hooks(self._ddp, config.communication)

    def differentiate(self, batch: Any, weight: float, *, last: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        # Sharded and divided gradients are averaged each time, which adds up to the same.
        alone = self._ddp is not None and (self._local or not last)
        with self._ddp.no_sync() if self._ddp is not None and alone else nullcontext():
            with self.autocast():
                loss, metrics = self._module(batch)
            (loss * weight).backward()
        return loss.detach(), metrics

    def evaluate(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        with self.autocast():
            return self._inside(batch) if self._ddp is not None else self._module(batch)

    def settle(self) -> None:
        for module in self._module.modules():
            if isinstance(module, FSDPModule):
                module.reshard()


def _changed(communication: Communication) -> str:
    changed = communication.model_dump(exclude_defaults=True, exclude={"views"})
    return ", ".join(f"{key} = {value!r}" for key, value in changed.items())


def _refuse(layout: Layout, config: TrainerConfig, task: Task) -> None:
    """Raises InputError for keys that do not go with a layout."""
    away = layout.precision == "bfloat16" or layout.offload in ("optimizer", "parameters")
    parts = layout.shard in ("gradients", "parameters") or layout.tensor > 1
    stages = layout.pipeline > 1
    if stages and not task.offers("loss_of_output"):
        raise InputError(
            f"parallel.pipeline = {layout.pipeline}: {type(task).__name__} has no `loss_of_output`, and a pipeline has "
            "batch and output on different processes; use data or shard"
        )
    communication = config.communication
    reasons = {
        f"communication ({_changed(communication)})": (
            bool(_changed(communication)) and (parts or stages or layout.offload == "parameters"),
            "is of gradients that DDP averages, and those that are sharded, divided or staged travel in their own way; "
            "leave it out",
        ),
        "communication.local_steps": (
            communication.local_steps > 1 and (layout.expert > 1 or layout.shard != "none" or away),
            "averages weights over all processes, some of which here hold others or update them; leave it out",
        ),
        'optimizer.name = "muon"': (
            config.optimizer.name == "muon" and (away or parts),
            'orthogonalises whole matrices in their own precision; use "adamw"',
        ),
        "ema_decay": (
            config.ema_decay is not None and layout.precision == "bfloat16",
            "averages weights of 8 bits, which small steps do not change; leave it out",
        ),
        "optimizer.centralise": (
            config.optimizer.centralise and (away or parts),
            "takes means of whole rows of gradients, which have left or are parts here; leave it out",
        ),
        "selective": (
            config.selective is not None and (parts or stages or layout.offload == "parameters"),
            "looks at single items before the step, with weights that are not gathered; leave it out",
        ),
        "precision": (
            (config.precision != "float32" and away) or (config.precision == "bfloat16" and stages),
            "is that of the layout here: weights in float32 beside or behind those of parallel.precision; leave it out",
        ),
        "compile": (config.compile == "always" and stages, "compiles whole models, not stages; leave it out"),
    }
    for key, (wrong, reason) in reasons.items():
        if wrong:
            raise InputError(f"trainer.{key} beside [parallel] {layout.model_dump(exclude_defaults=True)} {reason}")
