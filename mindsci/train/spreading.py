"""A task's loss as the processes of a layout compute it together."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from mindsci.distributed import Layout, spread
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


class SpreadLoss:
    """The loss whose gradients are the mean over the processes that take different data.

    Making it changes the task's model in place: its parameters may become parts, so make the optimizer after it.
    """

    def __init__(self, task: Task, layout: Layout, config: TrainerConfig, device: torch.device) -> None:
        self._inside = LossModule(task)
        _refuse(layout, config, task)
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
        elif layout.ranks > 1 and _changed(config.communication):
            raise InputError(
                f"trainer.communication {_changed(config.communication)}: gradients that are sharded or divided travel "
                'in their own way; leave it out, or use parallel.shard = "none" or "optimizer" without tensor'
            )

    def __call__(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss and the metrics of this process's part, to be differentiated."""
        return self._module(batch)

    def evaluate(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns them without gradients of parameters; every process must call it as often as the others."""
        return self._inside(batch) if self._ddp is not None else self._module(batch)

    def alone(self, wanted: bool) -> AbstractContextManager[Any]:
        """Keeps gradients at home while the block runs, where that is possible and wanted.

        Sharded and divided gradients are averaged each time, which adds up to the same.
        """
        return self._ddp.no_sync() if wanted and self._ddp is not None else nullcontext()

    def settle(self) -> None:
        """Lets go of weights that are gathered, so that changes of the sharded ones are seen."""
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
    reasons = {
        'optimizer.name = "muon"': (
            config.optimizer.name == "muon" and (away or parts),
            'orthogonalises whole matrices in their own precision; use "adamw"',
        ),
        "ema_decay": (
            config.ema_decay is not None and layout.precision == "bfloat16",
            "averages weights of 8 bits, which small steps do not change; leave it out",
        ),
        "clip_norm": (
            config.clip_norm is not None and layout.offload in ("optimizer", "parameters"),
            "needs all gradients at once, and they leave for the host one by one; leave it out",
        ),
        "accumulate": (
            config.accumulate > 1 and layout.offload == "parameters",
            "adds gradients that have left; use smaller batches",
        ),
        "selective": (
            config.selective is not None and (parts or layout.offload == "parameters"),
            "looks at single items before the step, with weights that are not gathered; leave it out",
        ),
        "precision": (
            config.precision != "float32" and away,
            "is that of the layout here: weights in float32 beside or behind those of parallel.precision; leave it out",
        ),
    }
    for key, (wrong, reason) in reasons.items():
        if wrong:
            raise InputError(f"trainer.{key} beside [parallel] {layout.model_dump(exclude_defaults=True)} {reason}")
