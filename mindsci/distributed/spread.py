"""A model spread over processes as a layout says, by PyTorch's own parts."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from mindsci.distributed.table import Layout
from mindsci.errors import InputError
from mindsci.nn import Experts


def check(layout: Layout) -> None:
    """Raises InputError for what `spread` cannot do: the planner knows more layouts than can be run today."""
    refused = {
        "tensor": layout.tensor > 1,
        "pipeline": layout.pipeline > 1,
        "shard": layout.shard in ("optimizer", "gradients"),
        "offload": layout.offload != "none",
        "recompute": layout.recompute != "none",
        "expert": layout.expert not in (1, layout.data),
    }
    for key, wrong in refused.items():
        if wrong:
            raise InputError(
                f"parallel.{key} = {getattr(layout, key)!r} can be planned, but not run yet; use data, "
                'expert = 1 or data, and shard = "none" or "parameters"'
            )
    if layout.ranks != dist.get_world_size():
        raise InputError(
            f"the layout is for {layout.ranks} processes, and {dist.get_world_size()} run; start it with "
            f"torchrun --nproc-per-node {layout.ranks}"
        )


def spread(model: nn.Module, layout: Layout, device: str = "cpu") -> nn.Module:
    """Returns the model as a process of the layout runs it; its experts already are those of this process.

    Gradients of what is not an expert's are averaged over the processes. With shard = "parameters" each block is
    gathered while it works, for losses of first order alone: forces in a loss need the whole model in one group.
    """
    check(layout)
    own = {id(parameter) for parameter in _experts(model)} if layout.expert > 1 else set()
    if layout.shard == "parameters":
        mesh = init_device_mesh(device, (layout.data,))
        ignored = {parameter for parameter in model.parameters() if id(parameter) in own}
        options: dict[str, Any] = {"mesh": mesh, "ignored_params": ignored}
        for block in getattr(model, "blocks", ()):
            fully_shard(block, **options)
        fully_shard(model, **options)
        return model
    names = [name for name, parameter in model.named_parameters() if id(parameter) in own]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)
    return DistributedDataParallel(model)


def _experts(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for part in model.modules() if isinstance(part, Experts) for parameter in part.parameters()]


def local_bytes(tensors: list[Tensor]) -> int:
    """Returns the bytes that this process holds of tensors, shards counted as shards."""
    local = [tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors]
    return sum(tensor.numel() * tensor.element_size() for tensor in local)
