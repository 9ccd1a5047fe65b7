"""The matrices of a decoder divided over processes (tensor parallelism)."""

from __future__ import annotations

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from mindsci.errors import InputError
from mindsci.nn import Transformer


def divide(model: nn.Module, mesh: DeviceMesh) -> None:
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
