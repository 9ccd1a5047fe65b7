"""How the gradient of a time loop is taken: an argument of `rollout`, not a property of the solver.

An adjoint runs a segment of the loop, `(state, observations)` from step `start` to step `stop`, and
arranges for its derivative. All give the derivative of the discrete scheme, equal to rounding; they
differ in what they keep between the forward and the backward pass.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree

logger = logging.getLogger(__name__)


class Loop(Tree):
    """The loop that an adjoint differentiates: n steps of `step`, observing every `every` steps."""

    step: Any
    observe: Callable[[Any], Any] | None
    every: int
    start: int
    dt: float

    def advance(self, state: Any, first: int, last: int) -> tuple[Any, list[Any]]:
        """Returns the state after steps first..last-1 (counted from the loop's start) and what was observed."""
        observations = []
        for index in range(first, last):
            state = self.step(state, (self.start + index) * self.dt, self.dt)
            if self.observes(index):
                observations.append(self.seen(state))
        return state, observations

    def seen(self, state: Any) -> Any:
        """Returns what is observed, as tensors of its own: a view would keep the whole state alive."""
        return tree.map(Tensor.clone, self.observe(state))  # type: ignore[misc]

    def observes(self, index: int) -> bool:
        return self.observe is not None and (index + 1) % self.every == 0

    def recorded(self, state: Any) -> Any:
        """Returns what undoing the next step cannot find again of a state, None where it finds all."""
        return self.step.recorded(state) if hasattr(self.step, "recorded") else None

    def undo(self, state: Any, index: int, record: Any) -> Any:
        """Returns the state before step `index`, from the state after it and what was recorded of it."""
        if record is None:
            return self.step(state, (self.start + index + 1) * self.dt, -self.dt)
        return self.step.undo(state, record, (self.start + index) * self.dt, self.dt)


class Direct(Tree):
    """Keeps the tape of every step: fastest backward, memory proportional to the number of steps."""

    def run(self, loop: Loop, state: Any, n_steps: int) -> tuple[Any, list[Any]]:
        return loop.advance(state, 0, n_steps)


class Checkpoint(Tree):
    """Keeps the state at about sqrt(n) steps and computes the steps between once more on the way back.

    `segments` is the number of kept states; None takes the square root, which minimises kept states plus
    the tape of one segment. Any flow is allowed: noise must come from counters (mindsci.random).
    """

    segments: int | None = None

    def run(self, loop: Loop, state: Any, n_steps: int) -> tuple[Any, list[Any]]:
        if self.segments is not None and self.segments < 1:
            raise InputError(f"Checkpoint(segments={self.segments}): keep at least 1 state, or None for sqrt(n)")
        segments = self.segments or max(1, math.isqrt(n_steps))
        bounds = [n_steps * k // segments for k in range(segments + 1)]
        observations: list[Any] = []
        for first, last in itertools.pairwise(bounds):
            # Noise comes from counters, so there is no generator state to save and restore.
            state, seen = checkpoint(loop.advance, state, first, last, use_reentrant=False, preserve_rng_state=False)
            observations += seen
        return state, observations


class Fused(Tree):
    """The step's own derivative: as its fused forward path, compiled, with what it keeps chosen by the step.

    A step offers it by `fused_cannot(state) -> reason | None` and `differentiable_advance(state, t, dt, n_steps,
    region=, every=, undo=) -> state`. Raises InputError where it has none, or where it does not serve.

    region: where in the state's arrays the step's parameters matter, in the step's own terms; None is everywhere. What
    the run keeps grows with it. every: keep only each so many steps of that, for signals that are smooth on that scale.
    """

    region: Any = None
    every: int = 1

    def run(self, loop: Loop, state: Any, n_steps: int) -> tuple[Any, list[Any]]:
        reason = fused_cannot(loop, state)
        if reason is not None:
            raise InputError(f"adjoint Fused does not serve: {reason}; use Checkpoint()")
        t = loop.start * loop.dt
        advance = loop.step.differentiable_advance
        return advance(state, t, loop.dt, n_steps, region=self.region, every=self.every, undo=False), []


def fused_cannot(loop: Loop, state: Any) -> str | None:
    """Returns why Fused does not serve a loop, None where it does."""
    if not hasattr(loop.step, "differentiable_advance"):
        return f"{type(loop.step).__name__} has no derivative of its own"
    if loop.observe is not None:
        return "it gives no gradients of what is observed on the way"
    return loop.step.fused_cannot(state)


class Reversible(Tree):
    """Keeps the last state only and runs the scheme backwards: memory independent of the number of steps.

    A step with irreversible flows must say what of a state undoing cannot find again, by `recorded(state) -> record`,
    which is kept for every step, and `undo(state, record, t, dt) -> state`. Raises InputError where it does not, naming
    the flows. Rounding grows as the scheme is undone:
    use float64, or segments short against the Lyapunov time of a chaotic system. First derivatives only.

    A step with a derivative of its own (`Fused`) undoes its compiled steps; region and every are as there.
    """

    region: Any = None
    every: int = 1

    def run(self, loop: Loop, state: Any, n_steps: int) -> tuple[Any, list[Any]]:
        reason = fused_cannot(loop, state)
        if reason is None:
            t, advance = loop.start * loop.dt, loop.step.differentiable_advance
            return advance(state, t, loop.dt, n_steps, region=self.region, every=self.every, undo=True), []
        if self.region is not None or self.every != 1:
            raise InputError(f"adjoint Reversible takes region and every for compiled steps only: {reason}")
        logger.info("adjoint Reversible undoes the plain flows, for %s", reason)
        if not loop.step.reversible and not hasattr(loop.step, "recorded"):
            names = getattr(loop.step, "irreversible", [type(loop.step).__name__])
            raise InputError(
                f"adjoint Reversible cannot undo {', '.join(names)}; use Checkpoint(), or leave the flow out"
            )
        return _run_reversible(loop, state, n_steps)


def _run_reversible(loop: Loop, state: Any, n_steps: int) -> tuple[Any, list[Any]]:
    """Passes every tensor that can carry a gradient through the autograd function, and rebuilds the trees."""
    parameters = tree.parameters((loop.step, loop.observe))
    layout = _Layout(state, loop, parameters, n_steps)
    outputs = _Reverse.apply(layout, *tree.leaves(state), *parameters)
    n_leaves = len(tree.leaves(state))
    observed = list(outputs[n_leaves:])
    observations = []
    for template in layout.templates:
        size = len(tree.leaves(template))
        observations.append(tree.with_leaves(template, observed[:size]))
        observed = observed[size:]
    return tree.with_leaves(state, list(outputs[:n_leaves])), observations


class _Layout:
    """What the autograd function needs and autograd does not see: the loop and the shapes of the trees."""

    def __init__(self, state: Any, loop: Loop, parameters: list[Tensor], n_steps: int) -> None:
        self.state = tree.map(_placeholder, state)
        self.loop = loop
        self.parameters = parameters
        self.n_steps = n_steps
        self.templates: list[Any] = []
        self.records: list[Any] = []


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layout: _Layout, *tensors: Tensor) -> tuple[Tensor, ...]:
        n_leaves = len(tensors) - len(layout.parameters)
        state = tree.with_leaves(layout.state, list(tensors[:n_leaves]))
        last, observations = state, []
        for index in range(layout.n_steps):
            layout.records.append(layout.loop.recorded(last))
            last, seen = layout.loop.advance(last, index, index + 1)
            observations += seen
        layout.templates = [tree.map(_placeholder, seen) for seen in observations]
        # An output must be a new tensor: a leaf that no flow touches would otherwise be returned as it came.
        leaves = [leaf.clone() for leaf in tree.leaves(last)]
        ctx.layout = layout
        ctx.save_for_backward(*leaves)
        outputs = (*leaves, *tree.leaves(observations))
        ctx.mark_non_differentiable(*(out for out in outputs if not _differentiable(out)))
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        layout: _Layout = ctx.layout
        after = tree.with_leaves(layout.state, list(ctx.saved_tensors))
        n_leaves = len(ctx.saved_tensors)
        state_gradients: list[Tensor | None] = list(gradients[:n_leaves])
        observed: list[Tensor | None] = list(gradients[n_leaves:])
        sums: list[Tensor | None] = [None] * len(layout.parameters)
        templates = iter(reversed(layout.templates))
        for index in reversed(range(layout.n_steps)):
            seen = []
            if layout.loop.observes(index):
                first = len(observed) - len(tree.leaves(next(templates)))
                observed, seen = observed[:first], observed[first:]
            with torch.no_grad():
                before = tree.detach(layout.loop.undo(after, index, layout.records[index]))
            state_gradients, sums = _step_gradient(layout, before, index, state_gradients, seen, sums)
            after = before
        return (None, *state_gradients, *sums)


def _placeholder(leaf: Tensor) -> Tensor:
    """A tensor of the same shape and type in the memory of one number: a tree may check the shapes of its leaves."""
    return leaf.detach().new_empty(()).expand(leaf.shape)


def _differentiable(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _step_gradient(
    layout: _Layout,
    before: Any,
    index: int,
    state_gradients: list[Tensor | None],
    observed: list[Tensor | None],
    sums: list[Tensor | None],
) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """Carries the gradient across one step: vector-Jacobian product of the step taken once more."""
    with torch.enable_grad():
        before = tree.map(lambda leaf: leaf.requires_grad_() if _differentiable(leaf) else leaf, before)
        after, observations = layout.loop.advance(before, index, index + 1)
    outputs, weights = [], []
    for output, weight in zip(tree.leaves((after, observations)), [*state_gradients, *observed], strict=True):
        if weight is not None and output.requires_grad:
            outputs.append(output)
            weights.append(weight)
    inputs = [leaf for leaf in tree.leaves(before) if leaf.requires_grad]
    if not outputs:
        return [None] * len(tree.leaves(before)), sums
    found = list(torch.autograd.grad(outputs, [*inputs, *layout.parameters], weights, allow_unused=True))
    from_parameters = found[len(inputs) :]
    remaining = iter(found[: len(inputs)])
    carried = [next(remaining) if leaf.requires_grad else None for leaf in tree.leaves(before)]
    totals: list[Tensor | None] = [
        new if total is None else total if new is None else total + new
        for total, new in zip(sums, from_parameters, strict=True)
    ]
    return carried, totals
