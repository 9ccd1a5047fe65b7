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

    `step` stands for forward and backward pass of a whole batch: a stage has neither the batch nor the loss of it. The
    model keeps what is here under its names, and nothing in the place of the rest.
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
        from torch.distributed.pipelining import schedules  # imports torch.fx and numpy

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
        rank = dist.get_rank(self.group)
        edges = [round(stage * len(model.blocks) / n_stages) for stage in range(n_stages + 1)]
        self._here = [rank + turn * layout.pipeline for turn in range(each)]
        self.stages = nn.ModuleList(Stage(model, edges[stage], edges[stage + 1]) for stage in self._here)
        _leave_out(model, {index for stage in self._here for index in range(edges[stage], edges[stage + 1])})
        self._features, self._device, self._n_stages = int(model.config["features"] or 0), device, n_stages
        self._kind, self._loss, self._weight = getattr(schedules, name), loss, 1.0
        self._schedules: dict[torch.Size, Any] = {}
        self._names: list[str] | None = None
        self.begins, self.ends, self.parts = 0 in self._here, n_stages - 1 in self._here, layout.micro_batches

    @property
    def group(self) -> dist.ProcessGroup:
        """The processes of the pipeline that this one belongs to."""
        return self._groups["pipeline"]

    def _schedule(self, shape: torch.Size) -> Any:
        """Returns the schedule for batches of a shape, to which torch's stages fix the size of their messages."""
        from torch.distributed.pipelining import PipelineStage, schedules

        if shape not in self._schedules:
            stages: list[Any] = [
                PipelineStage(module, stage, self._n_stages, self._device, group=self.group)
                for module, stage in zip(self.stages, self._here, strict=True)
            ]
            single = issubclass(self._kind, schedules.PipelineScheduleSingle)
            # Gradients of several batches may add up: their share is in the loss, not taken of what is there.
            self._schedules[shape] = self._kind(
                stages[0] if single else stages, self.parts, loss_fn=self._weighted, scale_grads=False
            )
        return self._schedules[shape]

    def _weighted(self, output: Tensor, target: Tensor) -> Tensor:
        return self._loss(output, target) * (self._weight / self.parts)

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor | None:
        """Returns the output of a whole batch on the last process, None on the others; without gradients.

        All processes call it.
        """
        rank, size, x = dist.get_rank(self.group), self.group.size(), inputs
        for stage in range(self._n_stages):
            before, here = (stage - 1) % size, stage % size
            if stage and rank == before:
                dist.send(x.contiguous(), group=self.group, group_dst=here)
            if rank == here:
                if stage:
                    kind = next(self.parameters()).dtype
                    x = torch.empty(*inputs.shape, self._features, dtype=kind, device=inputs.device)
                    dist.recv(x, group=self.group, group_src=before)
                x = self.stages[stage // size](x)
        return x if self.ends else None

    def step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean loss of the processes' batches; adds their mean gradient to the stages' weights.

        All processes call it, those of one pipeline with the same batch.
        """
        loss = self.differentiate(inputs, targets)
        dist.all_reduce(loss, group=self.group)
        dist.all_reduce(loss, dist.ReduceOp.AVG, group=self._groups["data"])
        return loss

    def differentiate(self, inputs: Tensor, targets: Tensor, weight: float = 1.0, *, average: bool = True) -> Tensor:
        """Adds `weight` times the gradient of the mean loss of a batch to the stages' weights.

        All processes call it. Returns the loss times the weight on the last process, 0 on the others.

        Args:
            average: over the processes of different data what has added up; the last of several batches must.
        """
        if len(inputs) % self.parts:
            raise InputError(
                f"a batch of {len(inputs)} rows cannot be cut into parallel.micro_batches = {self.parts} equal parts"
            )
        losses: list[Tensor] = []
        self._weight = weight
        arguments = (inputs,) if self.begins else ()
        keywords = {"target": targets, "losses": losses} if self.ends else {}
        self._schedule(inputs.shape).step(*arguments, return_outputs=False, **keywords)
        if average:
            self._average()
        return torch.stack(losses).sum().detach() if self.ends else torch.zeros((), device=inputs.device)

    def from_last(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the numbers that the last process gives, under the same names each time; all processes call it."""
        last = self.group.size() - 1
        if self._names is None:
            names = [list(values)]
            dist.broadcast_object_list(names, group=self.group, group_src=last, device=torch.device("cpu"))
            self._names = names[0]
        numbers = torch.zeros(len(self._names), dtype=torch.float64, device=self._device)
        if self.ends:
            numbers = torch.stack([values[name].detach().to(numbers) for name in self._names])
        dist.broadcast(numbers, group=self.group, group_src=last)
        return dict(zip(self._names, numbers, strict=True))

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


def _leave_out(model: Transformer, blocks: set[int]) -> None:
    """Takes out of a decoder all layers but some, and the ends that are not beside these."""
    last = len(model.blocks) - 1
    for index in range(last + 1):
        if index not in blocks:
            model.blocks[index] = nn.Identity()
    ends = ([] if 0 in blocks else ["embedding"]) + ([] if last in blocks else ["norm", "head"])
    for name in ends:
        setattr(model, name, nn.Identity())
