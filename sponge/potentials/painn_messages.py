"""The messages of PaiNN between the atoms of each pair, in plain torch and with compiled derivatives."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable


def messages(
    phi: Float[Tensor, "atoms 3 features"],
    v: Float[Tensor, "atoms_or_none 3 features"],
    filters: Float[Tensor, "pairs 3 features"],
    units: Float[Tensor, "pairs 3"],
    i: Int[Tensor, " pairs"],
    j: Int[Tensor, " pairs"],
) -> tuple[Float[Tensor, "atoms features"], Float[Tensor, "atoms 3 features"]]:
    """Returns what each atom receives, of scalars and of vectors [Schutt2021, eq. 7 and 8].

    Each pair counts in both directions; its filters serve both, its unit vector from i to j turns round for j. Entries
    of phi and filters: scalars, vectors, directions. v has no rows where there are no vectors yet.
    """
    scalars = torch.zeros_like(phi[:, 0])
    vectors = torch.zeros_like(phi)
    for a, b, towards in ((i, j, units), (j, i, -units)):
        sent = phi.index_select(0, b) * filters
        scalars = scalars.index_add(0, a, sent[:, 0])
        moved = sent[:, 2, None] * towards[:, :, None]
        if v.shape[0] > 0:
            moved = moved + sent[:, 1, None] * v.index_select(0, b)
        vectors = vectors.index_add(0, a, moved)
    return scalars, vectors


def compiled_messages(
    phi: Tensor, v: Tensor, filters: Tensor, units: Tensor, i: Tensor, j: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns the same on a CPU from compiled passes; differentiable twice."""
    return _Messages.apply(phi, v, filters, units, i, j)


class _Messages(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        from sponge.potentials.painn_kernels import forward

        ctx.save_for_backward(*inputs)
        phi = inputs[0]
        scalars, vectors = phi.new_zeros(len(phi), phi.shape[2]), phi.new_zeros(phi.shape)
        forward(*_arrays(inputs), scalars.numpy(), vectors.numpy())
        return scalars, vectors

    @staticmethod
    def backward(ctx: Any, of_scalars: Tensor, of_vectors: Tensor) -> tuple[Tensor | None, ...]:
        *values, i, j = ctx.saved_tensors
        return (*_MessagesBack.apply(*values, of_scalars, of_vectors, i, j), None, None)


class _MessagesBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> tuple[Tensor, ...]:
        from sponge.potentials.painn_kernels import backward

        ctx.save_for_backward(*inputs)
        found = tuple(torch.zeros_like(one, memory_format=torch.contiguous_format) for one in inputs[:4])
        backward(*_arrays(inputs), *(one.numpy() for one in found))
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *along: Tensor) -> tuple[Tensor | None, ...]:
        from sponge.potentials.painn_kernels import second

        *given, i, j = ctx.saved_tensors
        found = tuple(torch.zeros_like(one, memory_format=torch.contiguous_format) for one in given)
        second(_arrays(given), _arrays(along), *_arrays((i, j)), tuple(one.numpy() for one in found))
        return (*found, None, None)


def _arrays(tensors: Any) -> tuple[Any, ...]:
    return tuple(one.detach().contiguous().numpy() for one in tensors)
