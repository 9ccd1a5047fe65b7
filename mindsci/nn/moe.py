"""A mixture of experts: a layer of which each token uses a few parts, on one process or spread over many."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.distributed._functional_collectives import all_to_all_single_autograd, wait_tensor

from mindsci.errors import InputError
from mindsci.nn.experts import Experts
from mindsci.nn.router import Router, counted
from mindsci.tree import Tree


class RoutingReport(Tree):
    """How the tokens of a call were spread, over all processes of the layer's group."""

    balance_loss: Float[Tensor, ""]
    z_loss: Float[Tensor, ""]
    load: Float[Tensor, " experts"]
    """share of all choices that each expert got"""
    dropped: Float[Tensor, ""]
    """share of all choices that found their expert full"""


class Dispatch(NamedTuple):
    """The choices that are kept, sorted by expert."""

    tokens: Int[Tensor, " kept"]
    choices: Int[Tensor, " kept"]
    counts: Int[Tensor, " experts"]


class MixtureOfExperts(nn.Module):
    """y = sum over the chosen experts of weight * expert(x); `forward` returns (y, report).

    A loss should add, say, 1e-2 * report.balance_loss + 1e-3 * report.z_loss [Fedus2022; Zoph2022].

    Args:
        features, hidden: width of the tokens and inside an expert.
        experts, choices: how many there are, and how many a token is sent to.
        capacity_factor: an expert takes at most capacity_factor * tokens * choices / experts choices of one process's
            tokens, first choices before second, in the order of the tokens; what is dropped adds nothing
            [Lepikhin2021]. None: no limit, nothing is dropped.
        group: processes that share the experts, each with as many of them and with tokens of its own; tokens travel to
            their experts and back by all-to-all. None: this process has them all.

    Of a loss that is the mean over the processes, `experts.parameters()` receive the whole gradient, from the tokens of
    all processes: it must not be averaged again, while that of the router must.
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        *,
        experts: int,
        choices: int = 2,
        capacity_factor: float | None = None,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__()
        if capacity_factor is not None and not capacity_factor > 0:
            raise InputError(f"capacity_factor = {capacity_factor}: use a positive number, or None for no limit")
        self.group, self.world = group, 1 if group is None else group.size()
        if experts % self.world:
            raise InputError(
                f"{experts} experts cannot be shared equally by {self.world} processes; use a multiple of {self.world}"
            )
        self.n_experts, self.capacity_factor = experts, capacity_factor
        self.router = Router(features, experts, choices=choices)
        own = experts // self.world
        first = 0 if group is None else group.rank() * own
        self.experts = Experts(features, hidden, experts, first=first, count=own)
        self.parts: dist.ProcessGroup | None = None
        self._average()

    def _average(self) -> None:
        if self.world > 1:
            for parameter in self.experts.parameters():
                parameter.register_hook(lambda gradient: gradient / self.world)

    def divide(self, up: nn.Parameter, down: nn.Parameter, group: dist.ProcessGroup) -> None:
        """Takes part of the hidden features of each expert: the columns of `up`, the rows of `down`, as DTensors.

        The processes of `group` have the other parts, the same experts and the same tokens; what they answer is summed.
        """
        self.experts.up, self.experts.down, self.parts = up, down, group
        self._average()

    def forward(self, x: Float[Tensor, "*batch features"]) -> tuple[Float[Tensor, "*batch features"], RoutingReport]:
        tokens = x.reshape(-1, x.shape[-1])
        routing = self.router(tokens)
        sent = self._dispatch(routing.experts)
        rows, weights = self._shared(tokens), self._shared(routing.weights)
        answers = self._answers(rows.index_select(0, sent.tokens), sent.counts)
        weights = weights[sent.tokens, sent.choices].to(answers.dtype)
        y = torch.zeros_like(tokens).index_add(0, sent.tokens, answers * weights[:, None])
        if self.parts is not None:
            y = _Summed.apply(y, self.parts)
        shares = self._mean(routing.shares())
        kept = sent.counts.sum().float() / max(routing.experts.numel(), 1)
        report = RoutingReport(
            balance_loss=routing.balance_loss(shares),
            z_loss=routing.z_loss,
            load=shares,
            dropped=1.0 - self._mean(kept),
        )
        return y.reshape(x.shape), report

    def _shared(self, value: Tensor) -> Tensor:
        """A value that all parts of divided experts use: its gradient is the sum of what they find."""
        return value if self.parts is None else _Shared.apply(value, self.parts)

    def _dispatch(self, experts: Int[Tensor, "tokens choices"]) -> Dispatch:
        n_tokens = len(experts)
        wanted = experts.mT.flatten()  # all first choices before all second ones: these find room first
        order = torch.argsort(wanted, stable=True)
        counts = counted(wanted, self.n_experts)
        # Tensors without numbers, in a plan, do not say how many are dropped: none.
        if self.capacity_factor is not None and not isinstance(experts, FakeTensor):
            capacity = math.ceil(self.capacity_factor * experts.numel() / self.n_experts)
            begins = counts.cumsum(0) - counts
            rank = torch.arange(len(order), device=order.device) - begins[wanted[order]]
            order, counts = order[rank < capacity], counts.clamp(max=capacity)
        return Dispatch(order % max(n_tokens, 1), order // max(n_tokens, 1), counts)

    def _answers(self, rows: Float[Tensor, "rows features"], counts: Int[Tensor, " experts"]) -> Tensor:
        """Returns the experts' answers to rows sorted by expert, wherever these experts are."""
        if self.world == 1:
            return self.experts(rows, counts.cumsum(0))
        coming = torch.empty_like(counts)
        dist.all_to_all_single(coming, counts, group=self.group)
        there = counts.reshape(self.world, -1).sum(1).tolist()
        here = coming.reshape(self.world, -1).sum(1).tolist()
        received = self._exchange(rows, there, here)
        # They come sorted by process, then by expert; experts want theirs together.
        of_expert = torch.arange(self.n_experts // self.world, device=rows.device).repeat(self.world)
        order = torch.argsort(of_expert.repeat_interleave(coming), stable=True)
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=order.device)
        ends = coming.reshape(self.world, -1).sum(0).cumsum(0)
        answers = self.experts(received.index_select(0, order), ends)
        return self._exchange(answers.index_select(0, back), here, there)

    def _exchange(self, rows: Tensor, there: list[int], here: list[int]) -> Tensor:
        """Sends `there` rows to each process and returns those that come; differentiable."""
        assert self.group is not None
        return wait_tensor(all_to_all_single_autograd(rows, here, there, self.group))

    def _mean(self, values: Tensor) -> Tensor:
        values = values.detach().clone()
        if self.world > 1:
            dist.all_reduce(values, group=self.group)
            values /= self.world
        return values


class _Shared(torch.autograd.Function):
    """The same value in each process of a group; gradients are summed."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _summed(gradients[0], ctx.group), None


class _Summed(torch.autograd.Function):
    """The sum over a group, in each of its processes, which all go on with it: each has the whole gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, group: dist.ProcessGroup) -> Tensor:
        return _summed(value, group)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _summed(value: Tensor, group: dist.ProcessGroup) -> Tensor:
    found = value.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(found, group=group)
    return found
