"""What blocks keep for the way back, on the host instead of the device."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.distributed._functional_collectives import AsyncCollectiveTensor
from torch.distributed.tensor import DTensor

from mindsci.distributed.host import host_tensor, local

SMALLEST = 4096
"""Bytes below which a tensor stays: a copy costs more than its room."""


class _Away:
    """A tensor on the host, when it has come there, and in which run of its block it was made."""

    def __init__(self, copy: Tensor, device: torch.device, sent: Any, run: int) -> None:
        self.copy, self.device, self.sent = copy, device, sent
        self.run = run
        self.coming: tuple[Tensor, Any] | None = None

    def fetch(self, stream: Any) -> tuple[Tensor, Any]:
        """Starts the way back, unless it has started."""
        if self.coming is None:
            stream.wait_event(self.sent)
            with torch.cuda.stream(stream):
                found = torch.empty_like(self.copy, device=self.device)
                found.copy_(self.copy, non_blocking=True)
                self.coming = found, stream.record_event()
        return self.coming


class KeptOnHost:
    """Moves what the blocks of a model keep for the way back to the host as they run.

    Weights stay, as do tensors of a few KiB. A tensor that several operations of a block keep travels once. Beside a
    GPU copies run on a stream of their own; on the way back the tensors of the block before the one at work are
    already under way.

    Attributes:
        bytes: now on the host, and `peak`, the most so far.
    """

    def __init__(self, blocks: Iterable[nn.Module], device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.bytes = self.peak = 0
        self._of_block: list[weakref.WeakSet[_Away]] = []
        self._runs: list[int] = []
        self._running: Any = None
        self._seen: dict[Any, tuple[Tensor, _Away]] = {}
        self._weights: set[int] = set()
        for index, block in enumerate(blocks):
            self._of_block.append(weakref.WeakSet())
            self._runs.append(0)
            block.register_forward_pre_hook(self._enter(index))
            block.register_forward_hook(self._leave, always_call=True)

    def _enter(self, index: int) -> Any:
        def enter(block: nn.Module, inputs: Any) -> None:
            self._weights = {local(weight).untyped_storage().data_ptr() for weight in block.parameters()}
            self._runs[index] += 1
            self._running = saved_tensors_hooks(lambda tensor: self._pack(index, tensor), self._unpack)
            self._running.__enter__()

        return enter

    def _leave(self, *_: Any) -> None:
        running, self._running = self._running, None
        self._seen.clear()
        if running is not None:
            running.__exit__(None, None, None)

    def _pack(self, index: int, tensor: Tensor) -> Any:
        plain = _plain(tensor)
        if plain.nbytes < SMALLEST or plain.untyped_storage().data_ptr() in self._weights:
            return tensor
        key = view_key(plain)
        if key not in self._seen:
            # The source is held while its block runs: no other tensor can take its address meanwhile.
            self._seen[key] = plain, self._sent(index, plain)
            self._of_block[index].add(self._seen[key][1])
        whole = None
        if isinstance(tensor, DTensor):
            whole = tensor.device_mesh, tensor.placements, tensor.shape, tensor.stride()
        return index, self._seen[key][1], plain.shape, whole

    def _sent(self, index: int, tensor: Tensor) -> _Away:
        copy, sent = host_tensor(tensor.shape, tensor.dtype, tensor.device), None
        if self._stream is None:
            copy.copy_(tensor.detach())
        else:
            self._stream.wait_stream(torch.cuda.current_stream(tensor.device))
            with torch.cuda.stream(self._stream):
                copy.copy_(tensor.detach(), non_blocking=True)
                sent = self._stream.record_event()
            tensor.record_stream(self._stream)
        away = _Away(copy, tensor.device, sent, self._runs[index])
        self._count(tensor.nbytes)
        weakref.finalize(away, self._count, -tensor.nbytes)
        return away

    def _count(self, more: int) -> None:
        self.bytes += more
        self.peak = max(self.peak, self.bytes)

    def _unpack(self, packed: Any) -> Tensor:
        if isinstance(packed, Tensor):
            return packed
        index, away, shape, whole = packed
        found = self._back(index, away).view(shape)
        if whole is None:
            return found
        mesh, placements, size, stride = whole
        return DTensor.from_local(found, mesh, placements, run_check=False, shape=size, stride=stride)

    def _back(self, index: int, away: _Away) -> Tensor:
        if self._stream is None:
            return away.copy.clone()
        found, event = away.fetch(self._stream)
        away.coming = None
        for early in self._of_block[index - 1] if index else ():
            if early.run == away.run:  # of the same micro-batch
                early.fetch(self._stream)
        current = torch.cuda.current_stream(away.device)
        current.wait_event(event)
        found.record_stream(current)
        return found


def _plain(tensor: Tensor) -> Tensor:
    """Returns what lies in this process's memory of a tensor."""
    if isinstance(tensor, DTensor):
        tensor = tensor._local_tensor
    return tensor.wait() if isinstance(tensor, AsyncCollectiveTensor) else tensor


def view_key(tensor: Tensor) -> tuple[Any, ...]:
    """Returns what tensors of the same numbers have in common, whatever their shapes where these lie in a row."""
    where = tensor.untyped_storage()._cdata, tensor.storage_offset(), tensor.dtype, tensor._version
    return (*where, tensor.numel()) if tensor.is_contiguous() else (*where, tensor.shape, tensor.stride())
