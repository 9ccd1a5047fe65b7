"""A model spread over processes as a layout says, by PyTorch's own parts."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from torch import Tensor, nn, optim
from torch.distributed._composable.replicate import replicate
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

from mindsci.distributed.table import Layout
from mindsci.errors import InputError
from mindsci.nn import Experts, Transformer


def check(layout: Layout) -> None:
    """Raises InputError for what `spread` cannot do: the planner knows more layouts than can be run today."""
    refused = {
        "pipeline": layout.pipeline > 1,
        "shard": layout.shard == "gradients",
        "offload": layout.offload != "none",
        "expert": layout.expert not in (1, layout.data),
        "precision": layout.precision != "float32",
    }
    for key, wrong in refused.items():
        if wrong:
            raise InputError(
                f"parallel.{key} = {getattr(layout, key)!r} can be planned, but not run yet; use data, tensor, "
                'expert = 1 or data, shard = "none", "optimizer" or "parameters", and recompute'
            )
    if layout.tensor > 1 and (layout.expert > 1 or layout.shard == "optimizer"):
        raise InputError(
            f'parallel.tensor = {layout.tensor} does not go with expert > 1 or shard = "optimizer" yet: matrices in '
            "parts are of another kind than whole ones; use one of the two"
        )
    if layout.ranks != dist.get_world_size():
        raise InputError(
            f"the layout is for {layout.ranks} processes, and {dist.get_world_size()} run; start it with "
            f"torchrun --nproc-per-node {layout.ranks}"
        )


def spread(model: nn.Module, layout: Layout, device: str = "cpu") -> nn.Module:
    """Returns the model as a process of the layout runs it; its experts already are those of this process.

    Gradients of what is not an expert's are averaged over the processes that take different data. With shard =
    "parameters" each block is gathered while it works, for losses of first order alone: forces in a loss need the
    whole model in one group. With tensor > 1 (neighbouring ranks) attention heads and hidden features of the blocks of
    a `mindsci.nn.Transformer` are divided; ranks of one such group take the same data. With shard = "optimizer" make
    the optimizer by `sharded_optimizer`.
    """
    check(layout)
    own = {id(parameter) for parameter in _experts(model)} if layout.expert > 1 else set()
    mesh = init_device_mesh(device, (layout.data, layout.tensor), mesh_dim_names=("data", "tensor"))
    if layout.tensor > 1:
        _divide(model, mesh["tensor"])
    if layout.recompute == "full":
        blocks = set(getattr(model, "blocks", ()))
        apply_activation_checkpointing(model, check_fn=lambda module: module in blocks)
    if layout.shard == "parameters":
        ignored = {parameter for parameter in model.parameters() if id(parameter) in own}
        options: dict[str, Any] = {"mesh": mesh["data"], "ignored_params": ignored}
        for block in getattr(model, "blocks", ()):
            fully_shard(block, **options)
        fully_shard(model, **options)
        return model
    if layout.data == 1:
        return model
    names = [name for name, parameter in model.named_parameters() if id(parameter) in own]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)
    if layout.tensor > 1:
        # DDP knows no divided matrices; its composable form takes them.
        replicate(model, device_mesh=mesh["data"])
        return model
    return DistributedDataParallel(model)


def sharded_optimizer(model: nn.Module, kind: type[optim.Optimizer], **options: Any) -> optim.Optimizer:
    """Returns an optimizer whose states are divided over the processes, whole parameters each, for shard = "optimizer".

    After a step every process has all weights. First and second order are exact: gradients are those of DDP.
    """
    from torch.distributed.optim import ZeroRedundancyOptimizer  # compiles a dozen functional optimizers

    return ZeroRedundancyOptimizer(model.parameters(), optimizer_class=kind, **options)


def _divide(model: nn.Module, mesh: DeviceMesh) -> None:
    """Divides the matrices of the blocks: the first of each pair by its outputs, the second by its inputs."""
    if not isinstance(model, Transformer):
        raise InputError(f"parallel.tensor divides a mindsci.nn.Transformer, not a {type(model).__name__}; use data")
    heads, hidden = (int(model.config[name] or 0) for name in ("heads", "hidden"))
    parts = mesh.size()
    if heads % parts or hidden % parts:
        raise InputError(f"parallel.tensor = {parts} divides neither heads = {heads} nor hidden = {hidden} evenly")
    if model.config["experts"]:
        raise InputError("parallel.tensor inside of experts cannot run yet; use expert")
    ends = {
        "embedding": RowwiseParallel(input_layouts=Replicate()),
        "head": ColwiseParallel(output_layouts=Replicate()),
    }
    parallelize_module(model, mesh, ends)
    for block in model.blocks:
        parallelize_module(
            block,
            mesh,
            {
                "attention.inward": ColwiseParallel(),
                "attention.outward": RowwiseParallel(),
                "feed_forward.up": ColwiseParallel(),
                "feed_forward.down": RowwiseParallel(),
            },
        )


def _experts(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for part in model.modules() if isinstance(part, Experts) for parameter in part.parameters()]


def local_bytes(tensors: list[Tensor]) -> int:
    """Returns the bytes that this process holds of tensors, shards counted as shards."""
    local = [tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors]
    return sum(tensor.numel() * tensor.element_size() for tensor in local)
