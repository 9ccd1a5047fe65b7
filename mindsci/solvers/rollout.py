"""The one time loop of the project: every simulation, of fields or of particles, goes through `rollout`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

from mindsci import tree
from mindsci.errors import InputError
from mindsci.solvers.adjoint import Checkpoint, Direct, Fused, Loop, Reversible, fused_cannot

logger = logging.getLogger(__name__)


def rollout(
    step: Any,
    state: Any,
    *,
    n_steps: int,
    dt: float,
    start: int = 0,
    adjoint: Direct | Checkpoint | Reversible | Fused | None = None,
    observe: Callable[[Any], Any] | None = None,
    every: int = 1,
) -> tuple[Any, Any]:
    """Returns the state after n_steps of `step`, and what was observed on the way.

    Args:
        step: a flow, `(state, t, dt) -> state`. If it also has `advance(state, t, dt, n_steps)`, that fused
            path is taken wherever no gradient is asked for.
        start: number of steps taken before; step i runs at t = (start + i) dt, so that a run that was
            cut in pieces sees the same times, to the bit, as one that was not.
        adjoint: how a gradient is taken; unless given, Fused() where the step offers it and it serves, else
            Checkpoint(). Without a gradient it has no effect.
        observe: `state -> tree of tensors`, called after every `every`-th step; the results are stacked
            on a new first axis. None observes nothing and returns None.

    Raises InputError for a negative number of steps or an `every` below 1.
    """
    if n_steps < 0 or every < 1:
        raise InputError(f"n_steps = {n_steps} and every = {every}; use n_steps >= 0 and every >= 1")
    loop = Loop(step=step, observe=observe, every=every, start=start, dt=dt)
    differentiate = torch.is_grad_enabled() and bool(
        tree.parameters((step, observe)) or any(leaf.requires_grad for leaf in tree.leaves(state))
    )
    if differentiate:
        state, observations = (adjoint or _automatic(loop, state)).run(loop, state, n_steps)
    elif hasattr(step, "advance"):
        state, observations = _run_fused(loop, state, n_steps)
    else:
        with torch.no_grad():
            state, observations = Direct().run(loop, state, n_steps)
    return state, _stack(observations) if observe is not None else None


def _automatic(loop: Loop, state: Any) -> Checkpoint | Fused:
    """The step's own derivative where it serves; else one line of the log says why not."""
    if not hasattr(loop.step, "differentiable_advance"):
        return Checkpoint()
    reason = fused_cannot(loop, state)
    if reason is None:
        return Fused()
    logger.info("adjoint Checkpoint: the fused one does not serve, for %s", reason)
    return Checkpoint()


def _run_fused(loop: Loop, state: Any, n_steps: int) -> tuple[Any, list[Any]]:
    """Runs the compiled steps from one observation to the next."""
    observations = []
    done = 0
    while done < n_steps:
        chunk = min(loop.every - done % loop.every, n_steps - done) if loop.observe else n_steps
        state = loop.step.advance(state, (loop.start + done) * loop.dt, loop.dt, chunk)
        done += chunk
        if loop.observes(done - 1):
            observations.append(loop.seen(state))
    return state, observations


def _stack(observations: list[Any]) -> Any:
    if not observations:
        return None
    first, *others = observations
    return tree.map(lambda *leaves: torch.stack(leaves), first, *others)
