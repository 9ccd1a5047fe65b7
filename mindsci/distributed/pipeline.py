"""A decoder whose layers are spread over processes, and micro-batches that pass through them one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.nn.functional import cross_entropy

from mindsci.distributed.host import local
from mindsci.distributed.table import Layout
from mindsci.errors import InputError
from mindsci.nn import Transformer

BUCKET = 1 << 24
"""Bytes of gradients that are averaged in one message."""


def next_token(logits: Float[Tensor, "batch length vocabulary"], target: Int[Tensor, "batch length"]) -> Tensor:
    """Returns the mean cross entropy [nats]."""
    return cross_entropy(logits.flatten(0, 1).float(), target.flatten())


class Stage(nn.Module):
    """A run of a decoder's blocks, with its embedding before the first and its head behind the last.

    Weights have the names that they have in the whole decoder.
    """

    def __init__(self, model: Transformer, first: int, last: int) -> None:
        super().__init__()
        self.embedding = model.embedding if first == 0 else None
        self.blocks = nn.ModuleDict({str(index): model.blocks[index] for index in range(first, last)})
        self.norm = model.norm if last == len(model.blocks) else None
        self.head = model.head if last == len(model.blocks) else None

    def forward(self, x: Tensor) -> Tensor:
        if self.embedding is not None:
            x = self.embedding(x)
        for block in self.blocks.values():
            x, _ = block(x)
        return x if self.norm is None or self.head is None else self.head(self.norm(x))


class Pipeline(nn.Module):
    """The stages of this process, and the schedule by which all processes run theirs.

    `step` stands for forward and backward pass of a whole batch: a stage has neither the batch nor the loss of it.
    First order alone: a loss with forces would have to go back through all stages before it is known.
    """

    schedules: ClassVar[dict[str, tuple[str, int]]] = {
        "gpipe": ("ScheduleGPipe", 1),
        "1f1b": ("Schedule1F1B", 1),
        "interleaved": ("ScheduleInterleaved1F1B", 2),
        "zero_bubble": ("ScheduleInterleavedZeroBubble", 1),
    }
    """torch's name, and the stages of a process"""
    kept_on_host: Any = None
    """of offload = "activations": what blocks keep"""

    def __init__(
        self, model: nn.Module, layout: Layout, mesh: DeviceMesh, device: torch.device, loss: Callable[..., Tensor]
    ) -> None:
        super().__init__()
        from torch.distributed.pipelining import PipelineStage, schedules  # imports torch.fx and numpy

        if not isinstance(model, Transformer):
            raise InputError(f"parallel.pipeline cuts a mindsci.nn.Transformer, not a {type(model).__name__}; use data")
        if model.config["experts"]:
            raise InputError(
                "parallel.pipeline does not carry the balance losses of experts from stage to stage; use expert"
            )
        name, each = self.schedules[layout.schedule]
        n_stages = each * layout.pipeline
        if len(model.blocks) < n_stages:
            raise InputError(
                f'{len(model.blocks)} blocks are too few for {n_stages} stages of schedule = "{layout.schedule}"; '
                "use fewer processes, or more layers"
            )
        self._groups = {axis: mesh.get_group(axis) for axis in ("pipeline", "data")}
        rank = dist.get_rank(self._groups["pipeline"])
        edges = [round(stage * len(model.blocks) / n_stages) for stage in range(n_stages + 1)]
        here = [rank + turn * layout.pipeline for turn in range(each)]
        self.stages = nn.ModuleList(Stage(model, edges[stage], edges[stage + 1]) for stage in here)
        stages: list[Any] = [
            PipelineStage(module, stage, n_stages, device, group=self._groups["pipeline"])
            for module, stage in zip(self.stages, here, strict=True)
        ]
        kind = getattr(schedules, name)
        single = issubclass(kind, schedules.PipelineScheduleSingle)
        self.schedule = kind(stages[0] if single else stages, layout.micro_batches, loss_fn=loss)
        self.begins, self.ends, self.parts = 0 in here, n_stages - 1 in here, layout.micro_batches

    def forward(self, *_: Any) -> Tensor:
        raise InputError("a pipeline has no forward pass by itself; call step(inputs, targets)")

    def step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean loss of the processes' batches; adds their mean gradient to the stages' weights.

        All processes call it, those of one pipeline with the same batch.
        """
        if len(inputs) % self.parts:
            raise InputError(
                f"a batch of {len(inputs)} rows cannot be cut into parallel.micro_batches = {self.parts} equal parts"
            )
        losses: list[Tensor] = []
        arguments = (inputs,) if self.begins else ()
        keywords = {"target": targets, "losses": losses} if self.ends else {}
        self.schedule.step(*arguments, return_outputs=False, **keywords)
        self._average()
        loss = torch.stack(losses).mean().detach() if self.ends else torch.zeros((), device=inputs.device)
        dist.all_reduce(loss, group=self._groups["pipeline"])
        dist.all_reduce(loss, dist.ReduceOp.AVG, group=self._groups["data"])
        return loss

    def _average(self) -> None:
        """Averages gradients over the processes of different data, many in one message.

        Not by DDP: schedules that split the backward pass write gradients themselves, and none of its hooks runs.
        """
        group = self._groups["data"]
        if group.size() == 1:
            return
        gradients = [local(weight.grad) for weight in self.parameters() if weight.grad is not None]
        while gradients:
            bucket: list[Tensor] = []
            size = 0
            while gradients and (not bucket or size + gradients[0].nbytes <= BUCKET):
                size += gradients[0].nbytes
                bucket.append(gradients.pop(0))
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            dist.all_reduce(flat, dist.ReduceOp.AVG, group=group)
            for gradient, mean in zip(bucket, flat.split([one.numel() for one in bucket]), strict=True):
                gradient.copy_(mean.view_as(gradient))
