"""A model spread over processes as a layout says, by PyTorch's own parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn, optim
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from mindsci.distributed.again import recompute
from mindsci.distributed.average import AveragedGradients
from mindsci.distributed.divide import divide
from mindsci.distributed.host import group_of_one, local, shards_to_host
from mindsci.distributed.kept import KeptOnHost
from mindsci.distributed.master import MasterOptimizer
from mindsci.distributed.pipeline import Pipeline, next_token
from mindsci.distributed.refusal import check
from mindsci.distributed.table import Layout
from mindsci.errors import InputError
from mindsci.nn import Experts, Transformer


def spread(
    model: nn.Module,
    layout: Layout,
    device: str = "cpu",
    *,
    outer: nn.Module | None = None,
    second_order: bool = False,
    loss: Callable[..., Tensor] = next_token,
    **options: Any,
) -> nn.Module:
    """Returns the model as a process of the layout runs it; its experts already are those of this process.

    Make the optimizer by `optimizer_for`, after this. Gradients of what is not an expert's are averaged over the
    processes that take different data. With shard = "gradients" or "parameters" each block is gathered while it works,
    for losses of first order alone: forces in a loss need the whole model in one group. With tensor > 1 (neighbouring
    ranks) attention heads and hidden features of the blocks of a `mindsci.nn.Transformer` are divided; ranks of one
    such group take the same data. With precision = "bfloat16" the weights are rounded to it, but for those that
    offload = "parameters" keeps on the host. With pipeline > 1 it is a `Pipeline`, whose `step` takes the place of
    forward and backward pass.

    Args:
        outer: a module around the model, such as its loss, that is called in the model's place and returned as such.
        second_order: whether the loss holds derivatives of the model: its parameters are then sharded in one group.
        loss: what the last stage of a pipeline computes of output and target, a mean over rows.
        options: of DDP.
    """
    check(layout, second_order)
    if layout.pipeline > 1 and outer is not None:
        raise InputError("parallel.pipeline cuts a model, and no loss around it; spread the model and call its step")
    whole = model if outer is None else outer
    blocks = list(getattr(model, "blocks", ()))
    if not blocks and (layout.recompute != "none" or layout.offload == "activations"):
        raise InputError(f"a {type(model).__name__} has no list `blocks` to recompute or to offload; leave that out")
    if layout.precision == "bfloat16" and layout.offload != "parameters":
        model.to(torch.bfloat16)
    if layout.tensor > 1:
        divide(model, mesh_of(layout, device)["tensor"])
    own = {id(parameter) for parameter in _experts(model)} if layout.expert > 1 else set()
    if layout.recompute != "none":
        recompute(model, blocks, layout.recompute)
        blocks = list(getattr(model, "blocks", ()))
    if layout.offload == "activations":
        # Before blocks are sharded: their weights are then gathered when these hooks look at them.
        model.kept_on_host = KeptOnHost(blocks, torch.device(device))  # type: ignore[assignment]
    if layout.pipeline > 1:
        stages = Pipeline(model, layout, mesh_of(layout, device), torch.device(device), loss)
        stages.kept_on_host = getattr(model, "kept_on_host", None)
        return stages
    if layout.shard in ("gradients", "parameters") or layout.offload == "parameters":
        ignored = {parameter for parameter in model.parameters() if id(parameter) in own}
        parts = [] if second_order else _groups(model)
        _shard(whole, parts, layout, {"mesh": mesh_of(layout, device)["data"], "ignored_params": ignored})
        return whole
    if layout.data == 1:
        return whole
    names = [name for name, parameter in whole.named_parameters() if id(parameter) in own]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(whole, names)
    if layout.tensor > 1:
        AveragedGradients(whole, mesh_of(layout, device).get_group("data"), but=own)
        return whole
    # As views: gradients lie in the buckets that travel, and not there and beside them.
    return DistributedDataParallel(whole, **{"gradient_as_bucket_view": True} | options)


def mesh_of(layout: Layout, device: str) -> DeviceMesh:
    """Returns the processes as a table: stages, different data, parts of matrices along its three axes."""
    group_of_one(device)
    shape = (layout.pipeline, layout.data, layout.tensor)
    return init_device_mesh(device, shape, mesh_dim_names=("pipeline", "data", "tensor"))


def expert_group(layout: Layout, device: str = "cpu") -> dist.ProcessGroup | None:
    """Returns the processes that share the experts of a model, which is made with them; None where each has all."""
    if layout.expert == 1:
        return None
    check(layout)
    return mesh_of(layout, device).get_group("data")


def _groups(model: nn.Module) -> list[nn.Module]:
    """What is gathered one after another: blocks, embedding and head."""
    ends = [model.embedding, model.head] if isinstance(model, Transformer) else []
    return [*getattr(model, "blocks", ()), *ends]


def _shard(model: nn.Module, parts: list[nn.Module], layout: Layout, options: dict[str, Any]) -> None:
    """Shards a model in groups: some of its parts, and the rest."""
    if layout.precision == "bfloat16":
        # Weights in bfloat16 already, or float32 on the host that are rounded when they come.
        streamed = torch.bfloat16 if layout.offload == "parameters" else None
        options["mp_policy"] = MixedPrecisionPolicy(param_dtype=streamed, reduce_dtype=torch.float32)
    if layout.offload == "parameters":
        on_gpu = options["mesh"].device_type == "cuda"
        options["offload_policy"] = CPUOffloadPolicy(pin_memory=on_gpu)
    # Weights that stay gathered between the two ways, their gradients scattered: shard = "gradients".
    options["reshard_after_forward"] = layout.shard != "gradients"
    for part in parts:
        fully_shard(part, **options)
    fully_shard(model, **options)
    if layout.offload == "parameters" and options["mesh"].device_type == "cpu":
        shards_to_host(model)


def optimizer_for(
    model: nn.Module,
    layout: Layout,
    kind: type[optim.Optimizer] = optim.AdamW,
    device: str = "cpu",
    groups: list[dict[str, Any]] | None = None,
    **options: Any,
) -> optim.Optimizer:
    """Returns the optimizer of a model that `spread` returned, over groups of its parameters or all of them.

    With precision = "bfloat16", offload = "optimizer" or "parameters", or with divided matrices or stages whose states
    are sharded, it is a `MasterOptimizer` of Adam's kind; with shard = "optimizer" alone torch's
    ZeroRedundancyOptimizer.
    """
    dealt = layout.shard == "optimizer" and layout.data > 1
    host = layout.offload in ("optimizer", "parameters")
    # ZeroRedundancyOptimizer sends every parameter to all: what is a process's own it would overwrite.
    own = layout.tensor * layout.pipeline * layout.expert > 1
    if layout.precision == "float32" and not host and not (dealt and own):
        if dealt:
            return sharded_optimizer(model, kind, groups, **options)
        # Divided and whole matrices in one group: not in one kernel.
        alike = {type(local(parameter)) is type(parameter) for parameter in model.parameters()}
        if len(alike) > 1:
            options |= {"foreach": False, "fused": False}
        return kind(groups or model.parameters(), **options)
    group = None
    if dealt:
        group = mesh_of(layout, device).get_group("data")
    travelling = {id(parameter) for parameter in _experts(model)} if layout.expert > 1 else set()
    # DDP averages gradients behind autograd's back, at the end of the backward pass; shards come averaged. A pipeline
    # scales them when it has ended.
    averaged = layout.pipeline > 1 or (layout.data > 1 and layout.shard in ("none", "optimizer"))
    for implementation in ("fused", "foreach"):  # its own
        options.pop(implementation, None)
    return MasterOptimizer(
        groups or [{"params": list(model.parameters())}],
        kind,
        device=device,
        host=host,
        early=not averaged,
        dealt=group,
        shared=lambda parameter: id(parameter) not in travelling,
        **options,
    )


def sharded_optimizer(
    model: nn.Module, kind: type[optim.Optimizer], groups: list[dict[str, Any]] | None = None, **options: Any
) -> optim.Optimizer:
    """Returns an optimizer whose states are divided over the processes, whole parameters each, for shard = "optimizer".

    After a step every process has all weights. First and second order are exact: gradients are those of DDP.
    """
    from torch.distributed.optim import ZeroRedundancyOptimizer  # compiles a dozen functional optimizers

    return ZeroRedundancyOptimizer(groups or model.parameters(), optimizer_class=kind, **options)


def _experts(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for part in model.modules() if isinstance(part, Experts) for parameter in part.parameters()]


def local_bytes(tensors: list[Tensor]) -> int:
    """Returns the bytes that this process holds of tensors, shards counted as shards."""
    return sum(local(tensor).nbytes for tensor in tensors)
