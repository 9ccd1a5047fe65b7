"""Memory of the host for what leaves the device: page-locked beside a GPU, a mapping of its own where a CPU computes.

On a CPU "device" and "host" are the same chips. Tensors of the host pool lie there in anonymous shared mappings, which
the kernel counts apart from the process's own pages (RssShmem against RssAnon in /proc/self/status) and does not count
under RLIMIT_DATA: what a ledger says of the two pools can be measured, and a budget for the device alone can be set.
"""

from __future__ import annotations

import math
import mmap
import weakref
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

_mapped: dict[int, int] = {}
"""Address and bytes of the mappings that are in use."""


def host_tensor(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Returns an uninitialised tensor in the host pool beside `device`; its memory goes with the last view of it."""
    if device.type != "cpu":
        return torch.empty(tuple(shape), dtype=dtype, device="cpu", pin_memory=True)
    numel = math.prod(shape)
    if not numel:
        return torch.empty(tuple(shape), dtype=dtype, device="cpu")
    memory = mmap.mmap(-1, numel * dtype.itemsize)
    found = torch.frombuffer(memory, dtype=dtype, count=numel).view(tuple(shape))
    _mapped[found.data_ptr()] = len(memory)
    weakref.finalize(memory, _mapped.pop, found.data_ptr(), None)
    return found


def host_copy(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Returns a copy in the host pool, detached."""
    found = host_tensor(tensor.shape, dtype or tensor.dtype, tensor.device)
    return found.copy_(tensor.detach())


def on_host(tensor: Tensor, device: torch.device) -> bool:
    """Whether a tensor of a model that computes on `device` lies in the host pool."""
    if device.type != "cpu":
        return tensor.device.type == "cpu"
    return local(tensor).untyped_storage().data_ptr() in _mapped


def mapped_bytes() -> int:
    """Returns the bytes in the host pool of a CPU."""
    return sum(_mapped.values())


def local(tensor: Tensor) -> Tensor:
    """Returns this process's part of a tensor, itself where it is whole; the two share memory."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def shards_to_host(model: nn.Module) -> None:
    """Moves the shards of a CPU's `fully_shard` with offloaded parameters to the host pool."""
    from torch.distributed.tensor import DTensor

    def moved(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, DTensor):
            return tensor
        return DTensor.from_local(
            host_copy(tensor.to_local()),
            tensor.device_mesh,
            tensor.placements,
            run_check=False,
            shape=tensor.shape,
            stride=tensor.stride(),
        )

    with torch.no_grad():
        model._apply(moved)  # an FSDPModule's takes up the new shards, and calls those of its children


def group_of_one(device: str = "cpu") -> None:
    """Opens a process group of this process alone where none is open: a mesh of size 1 needs one."""
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
