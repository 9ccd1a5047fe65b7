"""A case that trains: what a plugin's training task derives from."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from safetensors.torch import save_file

from mindsci.config import Case, to_toml
from mindsci.distributed import Layout
from mindsci.errors import InputError
from mindsci.runs import Run
from mindsci.train.boost import ACCELERATIONS, Acceleration, Level, boosted
from mindsci.train.config import TrainerConfig
from mindsci.train.parallel import process_group
from mindsci.train.randomness import own_randomness, seed_step
from mindsci.train.task import Task
from mindsci.train.trainer import Outcome, Trainer


class TrainingCase(Case):
    """A case file with a `[trainer]` table; a subclass says how its task is built.

    The run's folder gets model.safetensors and model.toml (builder and config), which a pretrained card needs,
    and results.json with the test metrics of the best weights.
    """

    several_processes: ClassVar[bool] = True
    changeable: ClassVar[tuple[str, ...]] = ("parallel", "trainer.communication")
    task_type: ClassVar[type[Task]] = Task  # type: ignore[type-abstract]
    """What `build` returns: what it offers decides what `boost` may turn on."""
    accelerations: ClassVar[tuple[Acceleration, ...]] = ACCELERATIONS
    boost: Level = "O1"
    """How much is done for speed: see `mindsci boost explain`."""
    trainer: TrainerConfig
    parallel: Layout | None = None
    """How the training is spread over the processes that torchrun starts; each takes a part of the data by default."""

    def resolved(self) -> Self:
        """Returns the case with the keys that `boost` sets."""
        return boosted(self)

    def build(self, run: Run) -> Task:
        """Returns the task: data and a fresh model. Torch's generators are seeded from the case's seed."""
        raise NotImplementedError(f"{type(self).__name__} has no build method")

    def draw(self, run: Run) -> None:
        """Draws what the finished training found, in the run's folder; the first process alone is asked to."""

    def card(self) -> dict[str, Any]:
        """Returns what a card of the trained model says beyond weights and figures: see `mindsci.hub.pack`.

        title, citation, domain, check (the command that prints the test metrics again), data and its options.
        """
        raise InputError(f"a training of {type(self).__name__} has no card: its case has no method `card`")

    def run(self, run: Run) -> None:
        """Trains, tests the best weights and exports them."""
        case = self.resolved()
        with process_group(run.device) as group, own_randomness(group.device(run.device)):
            # Every process builds the same model, whatever its rank.
            seed_step(group.device(run.device), self.seed, 0, 0)
            task = case.build(run)
            record = task.describe()
            record.build()  # a model that cannot be built again is found now, not after the training
            trainer = Trainer(case.trainer.scaled(), task, run, seed=self.seed, layout=case.parallel)
            outcome = trainer.fit()
            test = trainer.evaluate("test") if "test" in task.splits else {}
            export(trainer, run, to_toml(record))  # type: ignore[arg-type]
            if group.writes:
                case.draw(run)
                run.results(figures(task, outcome, test, case.trainer.monitor))


def figures(task: Task, outcome: Outcome, test: dict[str, float], monitor: str) -> dict[str, Any]:
    """Returns the results of a training, each metric under its name and unit."""
    named = {f"test {name}{_unit(task, name)}": value for name, value in test.items()}
    return {
        "steps": outcome.step,
        "ended by": outcome.reason,
        f"best validation {monitor}{_unit(task, monitor)}": outcome.best,
        "best step": outcome.best_step,
    } | named


def _unit(task: Task, name: str) -> str:
    return f" [{task.units[name]}]" if name in task.units else ""


def export(trainer: Trainer, run: Run, record: str) -> None:
    """Writes the best weights in full and how their model is built again; every process must call it."""
    with trainer.weights("best") as model:
        trainer.task.finish()
        tensors = trainer.state.whole(model.state_dict())
    if not tensors:
        raise InputError(f"{type(model).__name__} has no weights to export; register them as parameters")
    if not trainer.group.writes:
        return
    with run.writing("model.safetensors") as temporary:
        save_file(tensors, temporary)
    with run.writing("model.toml") as temporary:
        temporary.write_text(record, encoding="utf-8")
