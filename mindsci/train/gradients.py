"""The size of a gradient whose parts lie on several processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from mindsci.distributed.host import local


def total_norm(gradients: Sequence[Tensor], own: Sequence[Tensor] = ()) -> Tensor:
    """Returns the norm of the whole gradient; every process gets the same.

    Args:
        gradients: of parameters that all processes share, whole or as DTensors.
        own: of parameters that this process alone holds, such as its experts; every process must give some, or none.
    """
    if not own and not any(isinstance(gradient, DTensor) for gradient in gradients):
        return nn.utils.get_total_norm(list(gradients))
    parts = [nn.utils.get_total_norm(list(alike)) for alike in _alike(gradients)]
    squares = [(norm.full_tensor() if isinstance(norm, DTensor) else norm).square() for norm in parts]
    if own:
        ours = nn.utils.get_total_norm(list(own)).square()
        dist.all_reduce(ours)
        squares.append(ours)
    return torch.stack(squares).sum().sqrt()


def shrink(gradients: Iterable[Tensor], norm: Tensor, largest: float) -> None:
    """Scales gradients down in place so that their common norm is at most `largest`."""
    factor = (largest / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_([local(gradient) for gradient in gradients], factor)


def _alike(gradients: Iterable[Tensor]) -> list[list[Tensor]]:
    """Whole gradients, and those of each mesh."""
    found: dict[object, list[Tensor]] = {}
    for gradient in gradients:
        found.setdefault(gradient.device_mesh if isinstance(gradient, DTensor) else None, []).append(gradient)
    return list(found.values())
