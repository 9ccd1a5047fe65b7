"""The size of a gradient whose parts lie on several processes, on devices or on hosts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn, optim

from mindsci.distributed import MasterOptimizer
from mindsci.distributed.host import local
from mindsci.distributed.master import laid_out
from mindsci.train.state import State

NARROW = (torch.bfloat16, torch.float16)


def clip(
    weights: Sequence[nn.Parameter], optimizer: optim.Optimizer, state: State, largest: float | None
) -> Tensor | None:
    """Returns the norm of the whole gradient, after which it is at most `largest`; every process must call it.

    None where there is no gradient, or where it has left for the host and is not to be clipped: it would have to be
    waited for.
    """
    masters = optimizer if isinstance(optimizer, MasterOptimizer) and optimizer.leaves else None
    if masters is not None and largest is None:
        return None
    left = [weight for weight in weights if weight.grad is not None]
    if masters is not None:
        found = list(masters.gradients())
    else:
        found = [(weight, laid_out(weight)) for weight in left]
    norm = total_norm([(gradient, state.copies(weight)) for weight, gradient in found], state.divides(weights))
    if largest is not None and norm is not None:
        factor = (largest / (norm + 1e-6)).clamp(max=1.0)
        if masters is not None:
            masters.scale(factor)
        elif left:
            torch._foreach_mul_([local(weight.grad) for weight in left], factor)  # type: ignore[arg-type]
    return norm


def total_norm(parts: Sequence[tuple[Tensor, int]], divided: bool) -> Tensor | None:
    """Returns the norm of a gradient of which each process gives its parts, each with how many processes hold it.

    Args:
        divided: whether any process holds what another does not; all processes then get the same.
    """
    if not divided:
        return nn.utils.get_total_norm([gradient for gradient, _ in parts]) if parts else None
    square = torch.zeros((), dtype=torch.float64)
    for copies in sorted({copies for _, copies in parts}):
        alike = _square([gradient for gradient, number in parts if number == copies]) / copies
        square = square.to(alike.device) + alike
    # Masters on the host beside a GPU: their group carries gloo as well.
    dist.all_reduce(square)
    return square.sqrt()


def _square(gradients: Iterable[Tensor]) -> Tensor:
    """Returns the sum of squares, summed in float32 at least."""
    norms: list[Tensor] = []
    for narrow in (True, False):
        alike = [gradient for gradient in gradients if (gradient.dtype in NARROW) == narrow]
        if alike:
            norms += torch._foreach_norm(alike, 2.0, torch.float32 if narrow else None)
    widest = max((norm.dtype for norm in norms), key=lambda dtype: dtype.itemsize)
    return torch.stack([norm.to(widest) for norm in norms]).square().sum()
