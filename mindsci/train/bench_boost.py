"""`mindsci bench boost`: the time that each level takes to the validation loss of O0, and what each key brings."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import torch

from mindsci import plugins
from mindsci.report import Report, Row
from mindsci.train.boost import Acceleration, Level
from mindsci.train.case import TrainingCase
from mindsci.train.randomness import own_randomness, seed_step
from mindsci.train.task import Task
from mindsci.train.trainer import Trainer
from mindsci.train.workspace import Quiet
from mindsci.tree import Tree

LEVELS: tuple[Level, ...] = ("O0", "O1", "O2", "O3")
# How many times faster than O0 each level is to be.
GATES = {"O1": 1.3, "O2": 1.8, "O3": 2.5}
# The loss at the end, over that of O0 at the end: beyond the noise of seeds, this is the bound.
BOUNDS = {"O1": 1.02, "O2": 1.0, "O3": 1.1}
CPU = torch.device("cpu")


class Curve(Tree):
    """Validation losses of one training."""

    seconds: list[float]
    """of processor time in the steps up to each validation; the validations are not counted"""
    losses: list[float]

    @property
    def final(self) -> float:
        """The best loss."""
        return min(self.losses)

    def time_to(self, target: float) -> float | None:
        """Returns the time at which the loss first was at most the target, None where it never was."""
        return next((t for t, loss in zip(self.seconds, self.losses, strict=True) if loss <= target), None)


def boost(trainings: str = "", seeds: int = 3, ablate: bool = False) -> Report:
    """Time to equal validation loss of O0 to O3, and of a plain loop beside them; processor time, in float32.

    The target is the loss that O0 reaches with every seed, the worst at which it ends. trainings: names of `mindsci
    plugins`, all of them unless given. With ablate, instead, each key of O2 and O3 alone on top of O1.
    """
    names = [name.strip() for name in trainings.split(",") if name.strip()] or plugins.names("trainings")
    rows: list[Row] = []
    for name in names:
        tables = plugins.get("trainings", name)()
        rows += (ablations if ablate else levels)(plugins.full_name("trainings", name), tables, seeds)
    return Report(name="boost", rows=rows)


def levels(name: str, tables: dict[str, Any], seeds: int) -> Iterator[Row]:
    """Yields the rows of the levels."""
    base = [trained(tables | {"boost": "O0"}, seed) for seed in range(seeds)]
    yield _row(f"{name}: O0", base, base)
    yield _row(f"{name}: a plain loop", [plain_loop(tables, seed) for seed in range(seeds)], base)
    for level in LEVELS[1:]:
        yield _row(f"{name}: {level}", [trained(tables | {"boost": level}, seed) for seed in range(seeds)], base, level)


def ablations(name: str, tables: dict[str, Any], seeds: int) -> Iterator[Row]:
    """Yields a row for each key that the case could have, alone beside O1."""
    tables = tables | {"boost": "O1"}
    base = [trained(tables, seed) for seed in range(seeds)]
    yield _row(f"{name}: O1", base, base)
    case = _case(tables)
    for one in case.accelerations:
        if one.level > 1 and one.illegal(case) is None:
            value = one.on[one.level]
            value = value(case) if callable(value) else value
            found = [trained(_with(tables, one, value), seed) for seed in range(seeds)]
            yield _row(f"{name}: {one.key} = {value if value != {} else 'on'}", found, base)


def _with(tables: dict[str, Any], one: Acceleration, value: Any) -> dict[str, Any]:
    *parents, last = one.key.split(".")
    tables = dict(tables)
    node = tables
    for part in parents:
        node[part] = dict(node.get(part, {}))
        node = node[part]
    node[last] = value
    return tables


def _row(case: str, found: list[Curve], base: list[Curve], level: Level = "O0") -> Row:
    """Speed-up: the mean time of the base to the target over that of what was found."""
    target = max(first.final for first in base)
    reached = [
        (before, after)
        for before, after in (
            (first.time_to(target), one.time_to(target)) for first, one in zip(base, found, strict=True)
        )
        if before is not None and after is not None
    ]
    speedup = sum(before for before, _ in reached) / sum(after for _, after in reached) if reached else None
    worse = statistics.mean(curve.final for curve in found) / statistics.mean(first.final for first in base)
    noise = statistics.stdev([first.final for first in base]) / statistics.mean(first.final for first in base)
    gate = GATES.get(level)
    allowed = BOUNDS.get(level, 1.0) + noise if len(base) > 1 else BOUNDS.get(level, 1.0)
    missed = len(reached) < len(found)
    return Row(
        case=case,
        measured=speedup,
        unit="x",
        gate=None if gate is None else f">= {gate} x, final loss at most {allowed:.3f} of O0's",
        ok=None if gate is None else speedup is not None and not missed and speedup >= gate and worse <= allowed,
        extra={
            "final loss over O0's": worse,
            "spread of O0's between seeds": noise,
            "seconds in all": statistics.mean(curve.seconds[-1] for curve in found),
            "seeds that reached it": f"{len(reached)} of {len(found)}",
        },
    )


def trained(tables: dict[str, Any], seed: int) -> Curve:
    """Returns the curve of a training of the shared trainer."""
    case = _case(tables | {"seed": seed}).resolved()
    task = _task(case)
    with tempfile.TemporaryDirectory() as folder:
        trainer = _Timed(case.trainer.scaled(), task, Quiet(folder), seed=seed)
        trainer.fit()
    return Curve(seconds=trainer.seconds, losses=trainer.losses)


class _Timed(Trainer):
    """A trainer that notes the processor time of its steps at each validation."""

    def fit(self) -> Any:
        self.seconds: list[float] = []
        self.losses: list[float] = []
        self._paused = self._start = 0.0
        return super().fit()

    def _loop(self, bar: Any) -> Any:
        # What the first step compiles, another training on this machine would not compile again.
        with torch.random.fork_rng():
            self._loss.differentiate(self._parts.at(0, 0), 1.0)
        self._start = time.process_time()
        return super()._loop(bar)

    def evaluate(self, split: str, weights: Any = "best") -> dict[str, float]:
        began = time.process_time()
        found = super().evaluate(split, weights)
        self.seconds.append(began - self._start - self._paused)
        self.losses.append(found["loss"])
        self._paused += time.process_time() - began
        return found


def plain_loop(tables: dict[str, Any], seed: int) -> Curve:
    """Returns the curve of the loop that one writes first: Adam, a cosine, the same batches, at the level O0."""
    case = _case(tables | {"seed": seed, "boost": "O0"}).resolved()
    task, config = _task(case), case.trainer
    batches, validation = task.batches("train"), task.batches("validation")
    learnt = [parameter for parameter in task.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=config.optimizer.learning_rate, weight_decay=0.0)
    seconds: list[float] = []
    losses: list[float] = []
    spent = 0.0
    with own_randomness(CPU):
        task.model.train()
        task.loss(batches.at(0))[0].backward()
        for step in range(config.steps):
            began = time.process_time()
            for group in optimizer.param_groups:
                group["lr"] = config.optimizer.learning_rate * config.schedule.scale(step, steps=config.steps)
            optimizer.zero_grad()
            loss, _ = task.loss(batches.at(step))
            loss.backward()
            if config.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(learnt, config.clip_norm)
            optimizer.step()
            spent += time.process_time() - began
            if (step + 1) % config.validate_every == 0 or step + 1 == config.steps:
                task.model.eval()
                found = [float(task.loss(validation.at(k))[0].detach()) for k in range(len(validation))]
                weights = [validation.weight(k) for k in range(len(validation))]
                losses.append(sum(w * f for w, f in zip(weights, found, strict=True)) / sum(weights))
                seconds.append(spent)
                task.model.train()
    return Curve(seconds=seconds, losses=losses)


def _case(tables: dict[str, Any]) -> TrainingCase:
    kind = plugins.get("tasks", tables["task"])
    case: TrainingCase = kind.model_validate(tables)
    return case


def _task(case: TrainingCase) -> Task:
    with tempfile.TemporaryDirectory() as folder, own_randomness(CPU):
        seed_step(CPU, case.seed, 0, 0)
        return case.build(Quiet(folder))  # type: ignore[arg-type]
