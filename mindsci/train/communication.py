"""How processes bring gradients together: hooks of DDP, and weights averaged every few steps."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn, optim
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.nn.parallel import DistributedDataParallel

from mindsci.train.config import Communication


def set_hooks(loss: nn.Module, config: Communication) -> None:
    """Gives the processes' loss its way of bringing gradients together; one process alone has none."""
    if not isinstance(loss, DistributedDataParallel):
        return
    if config.combine == "adasum":
        precision = torch.bfloat16 if config.gradients == "bfloat16" else None
        loss.register_comm_hook(precision, lambda state, bucket: _combined(state, bucket))
    elif config.gradients == "bfloat16":
        # DDP refuses torch's hook by its name where NCCL is not there; gloo reduces bfloat16 as well.
        loss.register_comm_hook(None, lambda state, bucket: bf16_compress_hook(state, bucket))


@torch.no_grad()
def bring_together(weights: Iterable[Tensor], optimizer: optim.Optimizer) -> None:
    """Gives all processes the mean of weights and of what the optimizer keeps of them.

    With the moments every process then has the same state, which one checkpoint holds.
    """
    moments = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    for tensor in (*weights, *(moment for moment in moments if moment.ndim)):
        dist.all_reduce(tensor.data)
        tensor.data /= dist.get_world_size()


def adasum(first: Tensor, second: Tensor) -> Tensor:
    """Returns the sum of two gradients without what they share [Maleki2021, eq. 3]: theirs where they are orthogonal,
    their mean where they are equal."""
    product = torch.dot(first, second)
    squares = [torch.dot(one, one) for one in (first, second)]
    shares = [torch.where(square > 0, product / (2.0 * square), 0.0) for square in squares]
    return (1.0 - shares[0]) * first + (1.0 - shares[1]) * second


def _combined(precision: torch.dtype | None, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """Every process gets all gradients of the bucket, and combines neighbours, then pairs of pairs, alike."""
    mine = bucket.buffer()
    sent = mine if precision is None else mine.to(precision)
    parts = [torch.empty_like(sent) for _ in range(dist.get_world_size())]
    gathered = dist.all_gather(parts, sent, async_op=True).get_future()

    def combine(done: torch.futures.Future[Any]) -> Tensor:
        done.value()
        left = [part.to(torch.float64) for part in parts]
        while len(left) > 1:
            pairs = [adasum(*left[place : place + 2]) for place in range(0, len(left) - 1, 2)]
            left = pairs + left[2 * len(pairs) :]
        mine.copy_(left[0])
        return mine

    return gathered.then(combine)
