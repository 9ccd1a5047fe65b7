"""Parts of `mindsci bench scaling` that the core itself has: experts, and trainings whose gradients are averaged."""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.distributed as dist

from mindsci.distributed.scaling import Part
from mindsci.distributed.table import Layout
from mindsci.nn import MixtureOfExperts
from mindsci.train.config import TrainerConfig
from mindsci.train.parallel import Group
from mindsci.train.spreading import spread_loss
from mindsci.train.task import Task

FEATURES, HIDDEN, EXPERTS, CHOICES, TOKENS = 128, 512, 8, 2, 2048
CPU = torch.device("cpu")


def experts() -> Part:
    """A layer of 8 experts for 2048 tokens a process, forward and back; every process has its share of the experts."""
    group = Group.current()
    torch.manual_seed(group.rank)
    world = dist.group.WORLD if group.world > 1 else None
    layer = MixtureOfExperts(FEATURES, HIDDEN, experts=EXPERTS, choices=CHOICES, group=world)
    tokens = torch.randn(TOKENS, FEATURES)
    sent = torch.randn(TOKENS * CHOICES, FEATURES)

    def step() -> None:
        y, report = layer(tokens)
        (y.square().mean() + 0.01 * report.balance_loss).backward()

    def exchange() -> None:
        for _ in range(4):  # there and back again, and the same for the gradients
            dist.all_to_all_single(torch.empty_like(sent), sent)

    return Part(
        step=step, exchange=exchange, pattern="all-to-all", messages=4, bytes=sent.nbytes, work=f"{TOKENS} tokens"
    )


def averaged(task: Task, work: str) -> Part:
    """A training step without the optimizer's: loss, gradients, and their mean over the processes."""
    group = Group.current()
    loss = spread_loss(task, Layout(data=group.world), TrainerConfig(steps=1), CPU)
    batches, number = task.batches("train"), itertools.count(group.rank)
    learnt = [parameter for parameter in task.model.parameters() if parameter.requires_grad]
    reduced = torch.zeros(sum(parameter.numel() for parameter in learnt))

    def step() -> Any:
        loss.differentiate(batches.at(next(number)), 1.0)

    return Part(
        step=step,
        exchange=lambda: dist.all_reduce(reduced),
        pattern="all-reduce",
        messages=1,
        bytes=reduced.nbytes,
        work=work,
    )
