"""Feed-forward networks side by side, each for a group of rows of one matrix."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mindsci.errors import InputError

GROUPED = (torch.float32, torch.bfloat16, torch.float16)
ALIGNMENT = 16
"""bytes that the rows of grouped products must be a multiple of"""


class Experts(nn.Module):
    """Experts first .. first + count - 1 of `total`: y = gelu(x W_up) W_down, without biases.

    Weights are drawn expert by expert, so that processes that start from one seed and hold different experts hold what
    one process would, without any of them holding all.
    """

    def __init__(self, features: int, hidden: int, total: int, *, first: int = 0, count: int | None = None) -> None:
        super().__init__()
        count = total - first if count is None else count
        if min(features, hidden) < 1 or first < 0 or count < 1 or first + count > total:
            raise InputError(
                f"Experts with features = {features}, hidden = {hidden}, experts {first} to {first + count - 1} of "
                f"{total}: use positive widths and experts that exist"
            )
        self.first = first
        self.up = nn.Parameter(torch.empty(count, features, hidden))
        self.down = nn.Parameter(torch.empty(count, hidden, features))
        with torch.no_grad():
            for expert in range(total):
                own = first <= expert < first + count
                for weight in (self.up, self.down):
                    drawn = weight[expert - first] if own else torch.empty_like(weight[0])
                    drawn.normal_(std=weight.shape[1] ** -0.5)

    def forward(
        self, rows: Float[Tensor, "rows features"], ends: Int[Tensor, " experts"]
    ) -> Float[Tensor, "rows features"]:
        """Returns the answers to rows sorted by expert; those of expert e end before row ends[e]."""
        up, down = (_local(weight).to(rows.dtype) for weight in (self.up, self.down))
        if _fit(rows.dtype, up, down):
            ends = ends.to(torch.int32)
            inner = functional.gelu(functional.grouped_mm(rows, up, offs=ends))
            return functional.grouped_mm(inner, down, offs=ends)
        edges = [0, *ends.tolist()]
        parts = [
            functional.gelu(rows[a:b] @ one) @ other
            for a, b, one, other in zip(edges, edges[1:], up, down, strict=False)
        ]
        return torch.cat(parts)


def _local(weight: Tensor) -> Tensor:
    """This process's part of a divided weight; differentiable."""
    return weight.to_local() if hasattr(weight, "to_local") else weight


def _fit(dtype: torch.dtype, *weights: Tensor) -> bool:
    """Whether torch multiplies groups of rows in one call: it knows no float64, and wants rows of whole 16 bytes."""
    if dtype not in GROUPED or not hasattr(functional, "grouped_mm"):
        return False
    return all(weight.shape[-1] * weight.element_size() % ALIGNMENT == 0 for weight in weights)
