"""One search for every design: Adam through the shared trainer, or L-BFGS-B, with a record that survives a stop."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from elec.design.record import Record
from mindsci import tree
from mindsci.errors import InputError, UnknownNameError
from mindsci.runs import Interrupted
from mindsci.train import Batches, OptimizerConfig, Task, Trainer, TrainerConfig, Workspace
from mindsci.train.schedule import Constant, Schedule
from mindsci.train.workspace import Quiet
from mindsci.tree import Tree

METHODS = ("adam", "l-bfgs-b")
Objective = Callable[[Any], Float[Tensor, ""]]
Bounds = tuple[float | None, float | None]
Reason = Literal["evaluations", "converged", "interrupted"]

# Steps between two checkpoints of the trainer: a killed search repeats at most these.
CHECKPOINT_EVERY = 5


class Found(Tree):
    """What a search found: the parameters of the least value seen, and how it went."""

    parameters: Any
    value: float
    values: tuple[float, ...]
    """of every evaluation, in order"""
    reason: Reason

    @property
    def evaluations(self) -> int:
        """Evaluations of the objective with its gradient."""
        return len(self.values)


def minimize(
    objective: Objective,
    parameters: Any,
    *,
    method: str = "l-bfgs-b",
    evaluations: int = 100,
    bounds: Bounds = (None, None),
    learning_rate: float = 0.05,
    schedule: Schedule | None = None,
    memory: int = 20,
    tolerance: float = 0.0,
    run: Workspace | None = None,
) -> Found:
    """Returns the parameters with the least objective among at most `evaluations`, each a value with its gradient.

    Arguments: objective, a tree of tensors -> one number; parameters, the tree to start from; bounds, the least and
    the largest value of every number; learning_rate and schedule, of Adam [Kingma2015]; memory, the pairs that
    L-BFGS-B keeps [Byrd1995]; tolerance, of its projected gradient. run: the folder, the progress bar and the request
    to stop of a `mindsci.runs.Run`, or `Quiet(folder, resuming=True)` to go on.

    A search that was stopped or killed goes on to the same bits: each L-BFGS-B evaluation is kept and is answered from
    the record, Adam has the trainer's checkpoints. Ctrl-C returns what was found so far. Raises Interrupted where
    the run was asked to stop, InputError for a value that is not finite at the start.
    """
    if method not in METHODS:
        raise UnknownNameError.of("method", method, METHODS)
    if evaluations < 1:
        raise InputError(f"evaluations = {evaluations}; a search needs at least 1")
    low, high = bounds
    if low is not None and high is not None and low > high:
        raise InputError(f"bounds {bounds} are in the wrong order; give the least value first")
    start = tree.map(lambda leaf: leaf.detach().clone(), parameters)
    if not tree.leaves(start):
        raise InputError("the search has no parameters; give a tree with at least one tensor")
    if run is not None:
        return _search(objective, start, method, evaluations, bounds, (learning_rate, schedule, memory, tolerance), run)
    with tempfile.TemporaryDirectory() as folder:
        quiet = Quiet(folder)
        return _search(
            objective, start, method, evaluations, bounds, (learning_rate, schedule, memory, tolerance), quiet
        )


def _search(
    objective: Objective,
    start: Any,
    method: str,
    evaluations: int,
    bounds: Bounds,
    options: tuple[float, Schedule | None, int, float],
    run: Workspace,
) -> Found:
    learning_rate, schedule, memory, tolerance = options
    record = Record(Path(run.folder), start, resuming=run.resuming)
    try:
        if method == "adam":
            _adam(objective, start, evaluations, bounds, learning_rate, schedule or Constant(), record, run)
            reason: Reason = "evaluations"
        else:
            reason = _lbfgs(objective, start, evaluations, bounds, memory, tolerance, record, run)
    except KeyboardInterrupt:
        run.log(f"interrupted after {len(record.values)} evaluations; the best so far is kept")
        reason = "interrupted"
    if record.best is None:
        raise InputError("the search was interrupted before its first evaluation; there is nothing to return")
    return Found(parameters=record.best, value=record.best_value, values=tuple(record.values), reason=reason)


class _Leaves(nn.Module):
    """The parameters of a design as a model."""

    def __init__(self, start: Any) -> None:
        super().__init__()
        self.leaves = nn.ParameterList([nn.Parameter(leaf.clone()) for leaf in tree.leaves(start)])


class DesignTask(Task):
    """A design as a problem of the shared trainer: one batch with nothing in it."""

    splits = ("train",)

    def __init__(self, objective: Objective, start: Any, bounds: Bounds, record: Record) -> None:
        self.objective, self.start, self.bounds, self.record = objective, start, bounds, record
        self.model = _Leaves(start)

    def batches(self, split: str) -> Batches:
        return Batches(torch.zeros(1, 1), 1)

    def loss(self, batch: Any) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Returns the objective at the parameters, moved back into their bounds first."""
        leaves = list(self.model.leaves)  # type: ignore[arg-type]
        if self.bounds != (None, None):
            with torch.no_grad():
                for leaf in leaves:
                    leaf.clamp_(*self.bounds)
        value = self.objective(tree.with_leaves(self.start, leaves))
        self.record.add(float(value.detach()), [leaf.detach() for leaf in leaves])
        return value, {}


def _adam(
    objective: Objective,
    start: Any,
    evaluations: int,
    bounds: Bounds,
    learning_rate: float,
    schedule: Schedule,
    record: Record,
    run: Workspace,
) -> None:
    double = any(leaf.dtype == torch.float64 for leaf in tree.leaves(start))
    config = TrainerConfig(
        steps=evaluations,
        optimizer=OptimizerConfig(name="adam", learning_rate=learning_rate),
        schedule=schedule,
        validate_every=0,
        checkpoint_every=CHECKPOINT_EVERY,
        log_every=1,
        precision="float64" if double else "float32",
    )
    trainer = Trainer(config, DesignTask(objective, start, bounds, record), run)
    if run.resuming:
        kept = trainer.checkpoints.newest()
        record.keep(kept.facts["step"] if kept is not None else 0)
    trainer.fit()


class _Enough(Exception):
    """As many evaluations as were asked for."""


def _lbfgs(
    objective: Objective,
    start: Any,
    evaluations: int,
    bounds: Bounds,
    memory: int,
    tolerance: float,
    record: Record,
    run: Workspace,
) -> Reason:
    from scipy import optimize

    done = 0
    with run.progress(evaluations, "design", unit="evaluations") as bar:

        def evaluate(flat: Float[ndarray, "n"]) -> tuple[float, Float[ndarray, "n"]]:
            nonlocal done
            if done == evaluations:
                raise _Enough
            kept = record.answer(done, flat)
            if kept is None:
                if run.stop_requested:
                    run.stop()
                    raise Interrupted("the search was asked to stop; its evaluations are kept in the run's folder")
                kept = _value_and_gradient(objective, start, flat)
                if done == 0 and not math.isfinite(kept[0]):
                    raise InputError("the objective is not finite at the start; check the starting parameters")
                record.add(kept[0], tree.leaves(_unflattened(start, flat)), flat=flat, gradient=kept[1])
            done += 1
            bar.advance(1, value=kept[0], best=record.best_value)
            return kept

        flat = np.concatenate([leaf.to(torch.float64).cpu().numpy().ravel() for leaf in tree.leaves(start)])
        options = {"maxcor": memory, "maxfun": 2**30, "maxiter": 2**30, "ftol": 0.0, "gtol": tolerance}
        try:
            optimize.minimize(evaluate, flat, jac=True, method="L-BFGS-B", bounds=[bounds] * len(flat), options=options)
        except _Enough:
            return "evaluations"
    return "converged"


def _unflattened(start: Any, flat: ndarray) -> Any:
    pieces, begin = [], 0
    for leaf in tree.leaves(start):
        piece = torch.as_tensor(flat[begin : begin + leaf.numel()].copy()).reshape(leaf.shape)
        pieces.append(piece.to(device=leaf.device, dtype=leaf.dtype))
        begin += leaf.numel()
    return tree.with_leaves(start, pieces)


def _value_and_gradient(objective: Objective, start: Any, flat: ndarray) -> tuple[float, ndarray]:
    parameters = tree.map(lambda leaf: leaf.requires_grad_(), _unflattened(start, flat))
    with torch.enable_grad():
        value = objective(parameters)
        if not value.requires_grad:
            raise InputError("the objective does not depend on its parameters; build it from the tensors it is given")
        gradients = torch.autograd.grad(value, tree.leaves(parameters), allow_unused=True)
    parts = [
        (torch.zeros_like(leaf) if part is None else part).to(torch.float64).cpu().numpy().ravel()
        for part, leaf in zip(gradients, tree.leaves(parameters), strict=True)
    ]
    return float(value.detach()), np.concatenate(parts)
