"""The sum over neighbours that message passing is made of, closed under differentiation.

y_a = sum over pairs (a, b) of W_ab * x_b, with one filter W for both directions of a pair. Its derivatives are
the same sum (with respect to x) and the symmetric product x_i * g_j + x_j * g_i (with respect to W), whose own
derivatives are the two again. Written as two functions that call each other, gradients of any order keep no
temporary and take one pass each.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


def filter_convolution(
    x: Float[Tensor, "atoms features"],
    filters: Float[Tensor, "pairs features"],
    i: Int[Tensor, " pairs"],
    j: Int[Tensor, " pairs"],
) -> Float[Tensor, "atoms features"]:
    """Returns y_a = sum of W_ab * x_b over the neighbours b of each atom a [Schutt2017]."""
    return _Convolve.apply(x, filters, i, j)


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, filters: Tensor, i: Tensor, j: Tensor) -> Tensor:
        ctx.save_for_backward(x, filters, i, j)
        out = torch.zeros_like(x)
        out.index_add_(0, i, x.index_select(0, j).mul_(filters))
        return out.index_add_(0, j, x.index_select(0, i).mul_(filters))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, filters, i, j = ctx.saved_tensors
        from_x = _Convolve.apply(gradient, filters, i, j) if ctx.needs_input_grad[0] else None
        from_filters = _Product.apply(gradient, x, i, j) if ctx.needs_input_grad[1] else None
        return from_x, from_filters, None, None


class _Product(torch.autograd.Function):
    """a_i * b_j + a_j * b_i of every pair."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, i: Tensor, j: Tensor) -> Tensor:
        ctx.save_for_backward(a, b, i, j)
        out = a.index_select(0, i).mul_(b.index_select(0, j))
        return out.addcmul_(a.index_select(0, j), b.index_select(0, i))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        a, b, i, j = ctx.saved_tensors
        from_a = _Convolve.apply(b, gradient, i, j) if ctx.needs_input_grad[0] else None
        from_b = _Convolve.apply(a, gradient, i, j) if ctx.needs_input_grad[1] else None
        return from_a, from_b, None, None
