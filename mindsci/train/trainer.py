"""The trainer: step-based, resumable to the same bits, with no physics in it.

What a step does depends on its number alone: its batch, its random numbers and its learning rate. A checkpoint
therefore holds weights, moments and a few counters, and no state of an iterator or a generator.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mindsci import tree
from mindsci.distributed import Layout, MasterOptimizer
from mindsci.errors import InputError, UnknownNameError
from mindsci.files import writing
from mindsci.train.average import Average
from mindsci.train.batches import Batches
from mindsci.train.checkpoint import Checkpoints
from mindsci.train.communication import bring_together
from mindsci.train.config import TrainerConfig
from mindsci.train.gradients import clip
from mindsci.train.metrics import Means, MetricsTable
from mindsci.train.muon import centralise
from mindsci.train.network import prepare
from mindsci.train.optimizer import build_optimizer
from mindsci.train.parallel import Group, Signals, Watch
from mindsci.train.parts import Parts
from mindsci.train.randomness import own_randomness, seed_step
from mindsci.train.spreading import SpreadLoss, spread_loss
from mindsci.train.standing import Standing
from mindsci.train.state import State
from mindsci.train.task import Task
from mindsci.train.workspace import Workspace
from mindsci.tree import Tree

PICTURE_EVERY = 20.0
"""Seconds between two drawings of the learning curves: drawing takes a good part of a second."""

Reason = Literal["steps", "patience", "wall_time"]
Weights = Literal["best", "average", "current"]


class DivergedError(InputError):
    """The loss or its gradient is no longer finite; the last checkpoint is from before."""


class Outcome(Tree):
    """How a call of `fit` ended."""

    step: int
    reason: Reason
    best: float | None
    """The best validation of the monitored metric."""
    best_step: int


class Trainer:
    """Trains the model of a task in a workspace: checkpoints/, metrics.csv, learning_curves.png, best.safetensors.

    The model is moved to the workspace's device and its parameters to the configured precision; buffers and batches
    follow to the device, but change their dtype for "float64" alone: reference energies of thousands of eV may stay
    in float64 beside float32 weights. Under torchrun, open `process_group` first:
    each process takes its part of each batch, and of the model what the layout says.
    """

    def __init__(
        self, config: TrainerConfig, task: Task, run: Workspace, *, seed: int = 0, layout: Layout | None = None
    ) -> None:
        self.layout = layout or Layout(data=Group.current().world)
        if self.layout.pipeline == 1:  # a pipeline cuts batches itself
            config = config.model_copy(update={"accumulate": config.accumulate * self.layout.micro_batches})
        self.config, self.task, self.run, self.seed = config, task, run, seed
        self.group = Group.current(same_data=self.layout.tensor, stages=self.layout.pipeline)
        self.device = self.group.device(run.device)
        self.dtype = torch.float64 if config.precision == "float64" else torch.float32
        self.model = _in_precision(task.model.to(self.device), self.dtype)
        prepare(self.model, task, config, self.device)
        self._n_parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self._loss = spread_loss(task, self.layout, config, self.device)
        self._learnt = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = build_optimizer(self.model, config.optimizer, self.layout, self.device)
        self.average = Average(self.model, config.ema_decay) if config.ema_decay is not None else None
        self.state = State(self.model, self.optimizer, self.average, self._loss.stages)
        self.standing = Standing()
        self.best_weights: dict[str, Tensor] | None = None
        self.window = Means()
        self.checkpoints = Checkpoints(run.folder / "checkpoints", run.log, self.group)
        self.table = MetricsTable(run.folder / "metrics.csv")
        self._splits: dict[str, Batches] = {}
        self._parts = Parts(self.task, config, self._batches("train"), self.group, self.device, self._move)
        self._watch = Watch(self.group, self.device)
        self._shown: dict[str, Any] = {}
        self._drawn = 0.0

    def fit(self) -> Outcome:
        """Takes the steps that remain and returns how it ended; the model then holds its current weights.

        Raises DivergedError where loss or gradient is not finite, and what `run.stop()` raises where a stop was
        asked for: the checkpoint is then written.
        """
        with own_randomness(self.device):
            self._begin()
            with (
                closing(self._parts),
                self.run.progress(self.config.steps, "training", unit="steps", done=self.standing.step) as bar,
            ):
                try:
                    reason = self._loop(bar)
                except BaseException:
                    with suppress(Exception):  # the error that led here is the one to show
                        self.checkpoints.finish()
                    raise
            self.checkpoints.finish()
        outcome = Outcome(
            step=self.standing.step, reason=reason, best=self.standing.best, best_step=self.standing.best_step
        )
        self.run.log(self._ending(outcome))
        return outcome

    def evaluate(self, split: str, weights: Weights = "best") -> dict[str, float]:
        """Returns the loss and metrics over a split: exact weighted means, then the task's summary."""
        batches = self._batches(split).shard(self.group.part, self.group.parts)
        means = Means()
        with self.weights(weights), _evaluating(self.model, self._loss), own_randomness(self.device):
            for step in range(len(batches)):
                seed_step(self.device, self.seed, step, self.group.part)
                loss, metrics = self._loss.evaluate(self._move(batches.at(step)))
                means.add(loss, metrics, batches.weight(step))
        return self.task.summarise(means.averages(self.group))

    @contextmanager
    def weights(self, which: Weights) -> Iterator[nn.Module]:
        """Gives the model its best, averaged or current weights while the block runs.

        Without a validation so far the best are the averaged ones; without an average, the current ones.
        """
        if which == "best" and self.best_weights is not None:
            present = _copy(self.model)
            self.model.load_state_dict(self.best_weights)
            try:
                yield self.model
            finally:
                self.model.load_state_dict(present)
        elif which != "current" and self.average is not None:
            with self.average.in_place():
                yield self.model
        else:
            yield self.model

    def _batches(self, split: str) -> Batches:
        """The task's batches of a split, made once: a task may read them from disk."""
        if split not in self.task.splits:
            raise InputError(f"{type(self.task).__name__} has no split '{split}', only {', '.join(self.task.splits)}")
        if split not in self._splits:
            self._splits[split] = self.task.batches(split)
        return self._splits[split]

    def _begin(self) -> None:
        if self.group.from_first(self.run.resuming):  # one started again may find what the first has just written
            self._restore()
        elif self.checkpoints.paths():
            raise InputError(f"{self.checkpoints.folder} holds another training; resume it or choose another folder")
        elif self.group.writes:
            self.checkpoints.clean()
        if self.config.validate_every and not self.standing.step:
            self._rehearse()
        if self.group.writes:
            self.run.folder.mkdir(parents=True, exist_ok=True)
            self.table.start(self.standing.step)
        self.run.log(
            f"training {self._n_parameters} parameters in {self.config.precision} on {self.device}, "
            f"{self.group.world} process(es){_spread(self.layout)}, "
            f"{self._parts.n_items} items in batches of {self._parts.batch_size}: "
            f"steps {self.standing.step} to {self.config.steps}"
        )

    def _rehearse(self) -> None:
        """Looks for the monitored metric in one validation batch: a wrong name is found now, not hours later."""
        batches = self._batches("validation")
        with _evaluating(self.model, self._loss):
            seed_step(self.device, self.seed, 0, self.group.part)
            loss, metrics = self._loss.evaluate(self._move(batches.at(0)))
        means = Means()
        means.add(loss, metrics, batches.weight(0))
        self._monitored(self.task.summarise(means.averages(Group())))

    def _monitored(self, metrics: dict[str, float]) -> float:
        if self.config.monitor not in metrics:
            raise UnknownNameError.of("metric for trainer.monitor", self.config.monitor, metrics)
        return metrics[self.config.monitor]

    def _loop(self, bar: Any) -> Reason:
        config, began = self.config, time.monotonic()
        self.model.train()
        self._drawn = began
        while (reason := self.standing.ended(config)) is None:
            self._step(self.standing.step)
            self.standing.step += 1
            step, last = self.standing.step, self.standing.step == config.steps
            log, validate, save = (
                last or bool(every and step % every == 0)
                for every in (config.log_every, config.validate_every, config.checkpoint_every)
            )
            signals = self._look(began) if log or validate or save or step % self._watch.every == 0 else None
            if log:
                self._log()
            if validate and config.validate_every:
                self._validate()
            bar.advance(1, **self._shown)
            if save or last:
                self._look_at_masters(step - 1)
            # Between averages the processes differ, and no checkpoint could hold them.
            over = signals is not None and (signals.stop or signals.out_of_time) and self._agrees(step)
            if save or over or self.standing.ended(config):
                self._save()
            if over:
                self._draw()
                self.checkpoints.finish()
                if signals is not None and signals.stop:
                    self.run.stop()
                return self.standing.ended(config) or "wall_time"
        self._draw()
        return reason

    def _step(self, step: int) -> None:
        """One step of the optimizer on one batch, computed in parts."""
        seed_step(self.device, self.seed, step, self.group.part)
        self.optimizer.zero_grad(set_to_none=True)
        whole = self._parts.whole_weight(step)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for index in range(len(self._parts)):
            batch, weight = self._parts.at(step, index), self._parts.weight(step, index)
            with self._loss.autocast():
                batch = self._parts.chosen(step, batch)
            # The processes' gradients are averaged with equal weight, hence the factor `parts`.
            share, last = weight * self.group.parts / whole, index == len(self._parts) - 1
            loss, metrics = self._loss.differentiate(batch, share, last=last)
            self.window.add(loss, metrics, weight)
            total += loss
        if self.config.optimizer.centralise:
            centralise(self._learnt)
        norm = clip(self._learnt, self.optimizer, self.state, self.config.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(step)
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        if self.config.communication.local_steps > 1 and self.group.world > 1 and self._agrees(step + 1):
            averaged = self.average.values if self.average is not None else []
            bring_together([*self._learnt, *averaged], self.optimizer)
        self._watch.note(step, total, torch.zeros_like(total) if norm is None else norm.to(total.device))

    def _agrees(self, step: int) -> bool:
        """Whether all processes hold the same weights after so many steps."""
        return step % self.config.communication.local_steps == 0 or step == self.config.steps

    def _learning_rate(self, step: int) -> float:
        scale = self.config.schedule.scale(step, steps=self.config.steps, reductions=self.standing.reductions)
        return self.config.optimizer.learning_rate * scale

    def _look(self, began: float) -> Signals:
        limit = self.config.wall_time
        out_of_time = limit is not None and time.monotonic() - began >= 60 * limit
        signals = self._watch.look(stop=self.run.stop_requested, out_of_time=out_of_time)
        if signals.bad_loss is not None or signals.bad_gradient is not None:
            raise self._diverged(signals)
        return signals

    def _look_at_masters(self, step: int) -> None:
        """Gradients that left for the host were not looked at: a checkpoint must not keep what they did."""
        optimizer = self.optimizer
        if isinstance(optimizer, MasterOptimizer) and optimizer.leaves and self.config.clip_norm is None:
            finite = all(bool(master.isfinite().all()) for master in optimizer.masters.values())
            zero = torch.zeros(())
            self._watch.note(step, zero, zero if finite else zero / zero)
            signals = self._watch.look(stop=False, out_of_time=False)
            if signals.bad_gradient is not None:
                raise self._diverged(signals)

    def _diverged(self, signals: Signals) -> DivergedError:
        what = "loss" if signals.bad_loss is not None else "gradient of the loss"
        step = signals.bad_loss if signals.bad_loss is not None else signals.bad_gradient
        self.checkpoints.finish()
        kept = self.checkpoints.paths()
        where = f"the last good checkpoint is {kept[-1]}" if kept else "there is no checkpoint yet"
        rate = self._learning_rate(step or 0)
        return DivergedError(
            f"the {what} is not finite (NaN or infinite) at step {step}, learning rate {rate:.3g}; {where}. "
            "Check the data for NaN, lower trainer.optimizer.learning_rate, raise trainer.schedule.warmup_steps, set "
            "trainer.clip_norm, or train with trainer.precision = 'float64'"
        )

    def _log(self) -> None:
        averages = self.task.summarise(self.window.averages(self.group))
        self.window = Means()
        self._write("train", averages)
        self._shown["loss"] = averages["loss"]

    def _validate(self) -> None:
        metrics = self.evaluate("validation", "average")
        value = self._monitored(metrics)
        if self.standing.judge(value, self.config):
            with self.weights("average"):
                self.best_weights = _copy(self.model, device="cpu")
            self._write_best()
        self._write("validation", metrics)
        self._shown |= {f"validation_{self.config.monitor}": value, "best": self.standing.best}
        self.run.log(f"step {self.standing.step}: validation {_shown(metrics)}, best at {self.standing.best_step}")
        if time.monotonic() - self._drawn > PICTURE_EVERY:
            self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        if self.group.writes and self.table.rows:
            self.table.plot(self.run.folder / "learning_curves.png")

    def _write(self, split: str, metrics: dict[str, float]) -> None:
        if self.group.writes:
            rate = self._learning_rate(self.standing.step - 1)
            self.table.add({"step": self.standing.step, "split": split, "learning_rate": rate} | metrics)

    def _write_best(self) -> None:
        if self.best_weights is None:
            return
        whole = self.state.whole(self.best_weights)
        if self.group.writes:
            with writing(self.run.folder / "best.safetensors") as temporary:
                save_file(whole, temporary, metadata={"step": str(self.standing.best_step)})

    def _save(self) -> None:
        window = self.window.state_dict(self.group)  # a sum over the processes: each of them must come here
        self.window = Means.from_state(window, self.group, self.device)
        facts = {
            "config": self.config.model_dump(mode="json"),
            "seed": self.seed,
            "processes": self.group.world,
            "standing": dataclasses.asdict(self.standing),
            "average": self.average.updates if self.average is not None else None,
            "window": window,
        }
        self.checkpoints.save(self.standing.step, self.state.tensors(self.best_weights), facts)

    def _restore(self) -> None:
        """Takes up the newest checkpoint, of however many processes."""
        stored = self.checkpoints.newest()
        if stored is None:
            self.run.log(f"{self.checkpoints.folder} holds no checkpoint yet; training starts at step 0")
            return
        facts = stored.facts
        names = facts["config"]["optimizer"]["name"], self.config.optimizer.name
        if (facts["average"] is None) != (self.average is None) or facts["seed"] != self.seed or names[0] != names[1]:
            raise InputError(
                "the checkpoint was written with another optimizer, ema_decay or seed; resume with the same case"
            )
        self.best_weights = self.state.restore(stored, self.group)
        if self.average is not None:
            self.average.updates = facts["average"]
        self.standing = Standing(**facts["standing"])
        self.window = Means.from_state(facts["window"], self.group, self.device)
        self._write_best()

    def _ending(self, outcome: Outcome) -> str:
        text = {
            "steps": f"all {outcome.step} steps are done",
            "patience": f"no improvement in {self.standing.stale} validations: stopped at step {outcome.step}",
            "wall_time": f"wall_time is over at step {outcome.step} of {self.config.steps}, with the learning rate at "
            f"{self._learning_rate(outcome.step - 1):.3g}; --resume continues",
        }[outcome.reason]
        best = f"; best {self.config.monitor} {outcome.best:.6g} at step {outcome.best_step}" if outcome.best else ""
        return text + best

    def _move(self, batch: Any) -> Any:
        return tree.to(batch, device=self.device, dtype=self.dtype if self.dtype == torch.float64 else None)


def _in_precision(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    if dtype == torch.float64:
        return model.to(dtype)
    for parameter in model.parameters():
        if parameter.is_floating_point() or parameter.is_complex():
            parameter.data = parameter.data.to(torch.complex64 if parameter.is_complex() else dtype)
    return model


@contextmanager
def _evaluating(model: nn.Module, loss: SpreadLoss) -> Iterator[None]:
    """Eval mode, and no graph for the parameters; forces may still be taken with respect to the inputs."""
    training = model.training
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    for parameter in learnt:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        model.train(training)
        loss.settle()
        for parameter in learnt:
            parameter.requires_grad_(True)


def _spread(layout: Layout) -> str:
    """How, unless over the data alone."""
    changed = layout.model_dump(exclude_defaults=True)
    if not changed.keys() - {"data"}:
        return ""
    return f" ({', '.join(f'{key} = {value!r}' for key, value in changed.items())})"


def _copy(model: nn.Module, device: torch.device | str | None = None) -> dict[str, Tensor]:
    """The weights, each in memory of its own: neither a later step nor a tied weight shows through."""
    return {
        name: value.detach().to(device=device, copy=True).contiguous() for name, value in model.state_dict().items()
    }


def _shown(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
