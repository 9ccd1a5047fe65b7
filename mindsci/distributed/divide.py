"""The matrices of a decoder divided over processes (tensor parallelism)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from mindsci.errors import InputError
from mindsci.nn import MixtureOfExperts, Transformer
from mindsci.nn.experts import ALIGNMENT


def divide(model: nn.Module, mesh: DeviceMesh) -> None:
    """Divides the matrices of the blocks: the first of each pair by its outputs, the second by its inputs.

    Those of experts too, of which each process keeps the ones that it has; routers stay whole.
    """
    if not isinstance(model, Transformer):
        raise InputError(f"parallel.tensor divides a mindsci.nn.Transformer, not a {type(model).__name__}; use data")
    heads, hidden = (int(model.config[name] or 0) for name in ("heads", "hidden"))
    parts = mesh.size()
    if heads % parts or hidden % parts:
        raise InputError(f"parallel.tensor = {parts} divides neither heads = {heads} nor hidden = {hidden} evenly")
    ends = {
        "embedding": RowwiseParallel(input_layouts=Replicate()),
        "head": ColwiseParallel(output_layouts=Replicate()),
    }
    parallelize_module(model, mesh, ends)
    for block in model.blocks:
        pairs = [("attention.inward", "attention.outward")]
        if isinstance(block.feed_forward, MixtureOfExperts):
            _divide_experts(block.feed_forward, mesh)
        else:
            pairs.append(("feed_forward.up", "feed_forward.down"))
        for first, second in pairs:
            parallelize_module(block, mesh, {first: ColwiseParallel(), second: RowwiseParallel()})


def halve(model: Transformer) -> None:
    """Leaves half of each matrix that `divide` divides, in place: what one of two processes computes, without the sums.

    Of hidden features of experts as many as whole rows of ALIGNMENT bytes have, in any precision.
    """

    def first(weight: Tensor, dimension: int, number: int) -> nn.Parameter:
        return nn.Parameter(weight.detach().narrow(dimension, 0, number).clone(memory_format=torch.contiguous_format))

    def halve_pair(one: nn.Linear, other: nn.Linear) -> None:
        one.weight = first(one.weight, 0, one.weight.shape[0] // 2)
        other.weight = first(other.weight, 1, other.weight.shape[1] // 2)

    if int(model.config["heads"] or 0) % 2:
        return
    blocks: list[Any] = list(model.blocks)
    for block in blocks:
        halve_pair(block.attention.inward, block.attention.outward)
        if isinstance(block.feed_forward, MixtureOfExperts):
            experts = block.feed_forward.experts
            number = max(experts.up.shape[2] // 2 // ALIGNMENT, 1) * ALIGNMENT
            experts.up, experts.down = first(experts.up, 2, number), first(experts.down, 1, number)
        else:
            halve_pair(block.feed_forward.up, block.feed_forward.down)


def _divide_experts(mixture: MixtureOfExperts, mesh: DeviceMesh) -> None:
    def part(weight: Tensor, dimension: int) -> nn.Parameter:
        mine = (
            weight.detach()
            .chunk(mesh.size(), dimension)[mesh.get_local_rank()]
            .clone(memory_format=torch.contiguous_format)
        )
        return nn.Parameter(DTensor.from_local(mine, mesh, [Shard(dimension)], run_check=False))

    experts = mixture.experts
    mixture.divide(part(experts.up, 2), part(experts.down, 1), mesh.get_group())
