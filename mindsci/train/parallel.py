"""Several processes on one batch: the group that torchrun starts, and what its members must decide together."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from mindsci.errors import InputError
from mindsci.runs import process_count
from mindsci.train.failure import failures_told
from mindsci.train.meeting import met
from mindsci.tree import Tree


class Group(Tree):
    """The processes that train together; one alone unless torchrun started more."""

    rank: int = 0
    world: int = 1
    part: int = 0
    """The part of each batch that this process takes, of `parts`."""
    parts: int = 1

    @classmethod
    def current(cls, same_data: int = 1, stages: int = 1) -> Group:
        """Returns the group that this process belongs to.

        same_data: neighbouring processes that take the same part of each batch, each with a part of the model.
        stages: runs of processes, one after another, each with all parts of the batch and some layers of the model.

        Raises InputError where torchrun started several processes and none of them opened the group.
        """
        if dist.is_available() and dist.is_initialized():
            rank, world = dist.get_rank(), dist.get_world_size()
            parts = max(world // (same_data * stages), 1)  # a layout for more processes is refused later on
            return cls(rank=rank, world=world, part=rank // same_data % parts, parts=parts)
        if process_count() > 1:
            raise InputError(
                f"torchrun started {process_count()} processes, but the process group is not open; "
                "put the training inside `with mindsci.train.process_group(device):`"
            )
        return cls()

    @property
    def writes(self) -> bool:
        """Whether this process writes the files of the run."""
        return self.rank == 0

    def device(self, device: torch.device) -> torch.device:
        """Returns this process's own device: the GPU of its place on the machine."""
        if device == torch.device("cuda"):  # no index: not equal to cuda:0
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return device

    def sum(self, values: Tensor) -> Tensor:
        """Returns the sum over the processes, on the host."""
        return self._reduce(values, dist.ReduceOp.SUM)

    def minimum(self, values: Tensor) -> Tensor:
        """Returns the smallest value over the processes, on the host."""
        return self._reduce(values, dist.ReduceOp.MIN)

    def from_first(self, value: Any) -> Any:
        """Returns the object that the first process holds."""
        if self.world == 1:
            return value
        holder = [value]
        dist.broadcast_object_list(holder, src=0, device=torch.device("cpu"))
        return holder[0]

    def _reduce(self, values: Tensor, operation: Any) -> Tensor:
        values = values.detach().cpu().clone()
        if self.world > 1:
            dist.all_reduce(values, operation)
        return values


@contextmanager
def process_group(device: torch.device | str = "cpu") -> Iterator[Group]:
    """Opens the process group that torchrun's environment describes, and closes it; alone it does nothing.

    A GPU's group also carries gloo, so that what lives in host memory can be reduced. Where another process fails,
    raises PeerError with that one's message.
    """
    if process_count() <= 1 or dist.is_initialized():
        yield Group.current()
        return
    device = Group().device(torch.device(device))
    on_gpu = device.type == "cuda"
    with _ended_by_a_signal():
        store, rank, world = next(rendezvous("env://"))
        store = met(store, rank, world)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            store=store,
            rank=rank,
            world_size=world,
            device_id=device if on_gpu else None,
        )
        _side.append(dist.new_group(backend="gloo"))
    try:
        with failures_told(store, rank, world):
            yield Group.current()
            # A process that closes its connections while another still uses them brings that one down.
            dist.barrier()
    finally:
        _side.clear()
        dist.destroy_process_group()


_side: list[dist.ProcessGroup] = []
"""The second group of the processes, while the first is open."""


def side_group() -> dist.ProcessGroup:
    """Returns a group of all processes for another thread than the one that trains.

    Two threads on one gloo group take each other's messages. Every process must ask for it.
    """
    if not _side:
        return dist.new_group(backend="gloo")
    return _side[0]


@contextmanager
def _ended_by_a_signal() -> Iterator[None]:
    """Lets SIGTERM end this process at once while it waits for others to connect: nothing is computed yet.

    A handler of Python's would only run once the waiting is over, half an hour later.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    present = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, present)


class Signals(Tree):
    """What the processes found since the last look, agreed among all of them."""

    bad_loss: int | None
    """The first step whose loss was not finite."""
    bad_gradient: int | None
    stop: bool
    out_of_time: bool


class Watch:
    """Notes what is not finite on the device, and shares it with the wish to stop when it is looked at.

    Looking waits for the device, so on a GPU it is done every few steps only.
    """

    def __init__(self, group: Group, device: torch.device) -> None:
        self.group = group
        self.every = 1 if device.type == "cpu" else 10
        self._first_bad = torch.full((2,), math.inf, dtype=torch.float64, device=device)

    def note(self, step: int, loss: Tensor, gradient_norm: Tensor) -> None:
        """Remembers the step if one of the two is not finite."""
        finite = torch.stack([loss.detach(), gradient_norm.detach().to(loss.dtype)]).isfinite()
        self._first_bad = torch.minimum(self._first_bad, torch.where(finite, math.inf, float(step)))

    def look(self, *, stop: bool, out_of_time: bool) -> Signals:
        """Returns what any process has noted or wishes; every process gets the same answer."""
        wishes = torch.tensor([0.0 if stop else math.inf, 0.0 if out_of_time else math.inf], dtype=torch.float64)
        found = self.group.minimum(torch.cat([self._first_bad.cpu(), wishes])).tolist()
        steps = [int(step) if math.isfinite(step) else None for step in found[:2]]
        return Signals(bad_loss=steps[0], bad_gradient=steps[1], stop=found[2] == 0, out_of_time=found[3] == 0)
