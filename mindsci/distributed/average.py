"""Gradients of divided matrices averaged over the processes that take different data; DDP knows whole ones alone."""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mindsci.distributed.host import local


class AveragedGradients:
    """Averages each gradient over a group as soon as a backward pass has it; the pass ends when all are averaged.

    Gradients of several passes may add up before a step: what is averaged already is the same in all processes.
    """

    def __init__(self, model: nn.Module, group: dist.ProcessGroup, but: Collection[int] = ()) -> None:
        """but: the `id` of weights whose gradients are complete, experts that each process holds alone."""
        self._group = group
        self._travelling: list[dist.Work] = []
        for weight in model.parameters():
            if id(weight) not in but:
                weight.register_post_accumulate_grad_hook(self._average)

    def _average(self, weight: Tensor) -> None:
        if weight.grad is None:
            return
        if not self._travelling:
            torch.autograd.Variable._execution_engine.queue_callback(self._wait)
        work = dist.all_reduce(local(weight.grad), dist.ReduceOp.AVG, group=self._group, async_op=True)
        assert work is not None
        self._travelling.append(work)

    def _wait(self) -> None:
        for work in self._travelling:
            work.wait()
        self._travelling.clear()
