"""A training of several processes that are killed at the worst moments, and started again by torchrun.

Started by torchrun with the folder to write in: see distributed/test_faults.py. Each fault happens once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from torch import Tensor
from training_tasks import Network, Regression, RegressionCase, trainer

from mindsci.errors import StorageError, UserError
from mindsci.runs import Run, execute
from mindsci.train import Group, Task, checkpoint, process_group
from mindsci.train.metrics import MetricsTable

TABLES: dict[str, Any] = {
    "task": "test/regression",
    "boost": "O0",
    "trainer": {"steps": 40, "validate_every": 5, "log_every": 5, "checkpoint_every": 10, "ema_decay": 0.9},
}


class Faults:
    """Faults that happen once each, in the order in which the training meets them."""

    def __init__(self, folder: Path, run_folder: Path) -> None:
        self.folder, self.checkpoints = folder, run_folder / "checkpoints"
        self.rank = int(os.environ["RANK"])

    def once(self, name: str) -> bool:
        mark = self.folder / f"happened_{name}"
        if mark.exists():
            return False
        mark.touch()
        return True

    def at_step(self, step: int) -> None:
        if self.rank == 1 and step == 13 and self.once("killed_within_a_step"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.rank == 0 and step == 33 and self.once("newest_corrupted"):
            newest = self.checkpoints / "step_000000030"
            while not newest.exists():  # it is written beside the steps
                time.sleep(0.01)
            shard = min(newest.glob("*.safetensors"))
            shard.write_bytes(shard.read_bytes()[:-20])
            os.kill(os.getpid(), signal.SIGKILL)

    def at_seal(self, path: Path) -> None:
        """Between the files of a checkpoint and its name."""
        if path.name == "step_000000020" and self.once("killed_within_a_checkpoint"):
            os.kill(os.getpid(), signal.SIGKILL)


class Faulty(Regression):
    """Counts its steps, from where the training resumes."""

    faults: Faults | None = None

    def __init__(self, first: int) -> None:
        super().__init__()
        self.model = Network(width=6)
        self.step = first

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        if self.faults is not None and self.model.training:
            self.faults.at_step(self.step)
            self.step += 1
        return super().loss(batch)


class FaultyCase(RegressionCase):
    """The task of the tests, which knows where it starts."""

    def build(self, run: Run) -> Task:
        kept = sorted((run.folder / "checkpoints").glob("step_*"))
        return Faulty(int(kept[-1].name[5:]) if kept else 0)


def run_with_faults(folder: Path) -> None:
    Faulty.faults = Faults(folder, folder / "faulty")
    seal = checkpoint._seal

    def sealing(unfinished: Path, path: Path, facts: dict[str, Any]) -> None:
        assert Faulty.faults is not None
        Faulty.faults.at_seal(path)
        seal(unfinished, path, facts)

    checkpoint._seal = sealing
    try:
        execute(FaultyCase.model_validate(TABLES), folder / "faulty", quiet=True)
    finally:
        checkpoint._seal, Faulty.faults = seal, None


class DiskFull(Regression):
    """The disk is full for the second checkpoint of the last process alone."""

    def __init__(self, folder: Path, group: Group) -> None:
        super().__init__()
        self.folder, self.group, self.calls = folder, group, 0

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        self.calls += self.model.training
        if self.model.training and self.calls == 15 and self.group.rank == self.group.world - 1:
            unfinished = self.folder / "checkpoints" / ".writing-step_000000020"
            unfinished.mkdir(exist_ok=True)
            place = self.group.rank + 1
            # What is written to /dev/full meets the error of a full disk.
            (unfinished / f"shard-{place:05d}-model-00001-of-00001.safetensors").symlink_to("/dev/full")
        return super().loss(batch)


class RaisesOnOneRank(Regression):
    """A defect of one process alone."""

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        if int(os.environ["RANK"]) == 1:
            raise ZeroDivisionError("the charge of this item is zero")
        return super().loss(batch)


def main() -> None:
    folder = Path(sys.argv[1])
    MetricsTable.plot = lambda *_: None  # type: ignore[method-assign]
    run_with_faults(folder)
    found: dict[str, Any] = {}
    attempt = folder / os.environ["TORCHELASTIC_RESTART_COUNT"]
    rank = int(os.environ["RANK"])
    try:
        with process_group() as group:
            execute(FaultyCase.model_validate(TABLES), attempt / "whole", quiet=True)
            full = trainer(attempt / "full", DiskFull(attempt / "full", group), steps=30)
            try:
                full.fit()
            except StorageError as error:
                found["full"] = str(error)
            found["kept"] = [path.name for path in full.checkpoints.paths()]
            trainer(attempt / "raising", RaisesOnOneRank()).fit()
    except (UserError, ZeroDivisionError) as error:
        found["raising"] = f"{type(error).__name__}: {error}"
    found["attempt"] = attempt.name
    (folder / f"found_{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
