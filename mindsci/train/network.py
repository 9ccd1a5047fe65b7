"""What is done to a model before it is trained: compiled, or laid out for convolutions."""

from __future__ import annotations

import torch
from torch import nn

from mindsci.errors import InputError
from mindsci.train.config import TrainerConfig
from mindsci.train.task import Task

CONVOLUTIONS = nn.Conv2d | nn.ConvTranspose2d


def prepare(model: nn.Module, task: Task, config: TrainerConfig, device: torch.device) -> None:
    """Compiles the model and lays out its weights as the configuration says, in place.

    Raises InputError for what the task cannot do.
    """
    if config.compile == "always" or (config.compile == "auto" and device.type != "cpu"):
        if task.second_order:
            raise InputError(
                f"trainer.compile: the loss of {type(task).__name__} holds derivatives of the model, which torch does "
                "not compile; leave it out"
            )
        model.compile(dynamic=False)
    for key, wanted, method in (
        ("resolution_warmup", config.resolution_warmup, "coarsened"),
        ("selective", config.selective, "item_losses"),
    ):
        if wanted is not None and not task.offers(method):
            raise InputError(f"trainer.{key}: {type(task).__name__} has no `{method}`; leave it out")
    if config.channels_last:
        for module in model.modules():
            if isinstance(module, CONVOLUTIONS):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
