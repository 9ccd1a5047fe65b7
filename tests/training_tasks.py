"""Small tasks that the tests of the trainer share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mindsci.distributed import Layout, expert_group
from mindsci.nn import Transformer
from mindsci.runs import Run
from mindsci.train import Batches, Task, Trainer, TrainerConfig, TrainingCase
from mindsci.train.language import LanguageTask, TextTable
from mindsci.train.workspace import Quiet


class Network(nn.Sequential):
    """A smooth network with dropout if asked for; `config` builds it again."""

    def __init__(self, inputs: int = 3, width: int = 8, dropout: float = 0.0) -> None:
        self_config = {"inputs": inputs, "width": width, "dropout": dropout}
        super().__init__(nn.Linear(inputs, width), nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, 1))
        self.config = self_config


class Regression(Task):
    """Fits y = sum of sin(x); 37 items for training, 13 for validation, 11 for testing: no batch divides them."""

    units = {"error": "m"}
    sizes = {"train": 37, "validation": 13, "test": 11}

    def __init__(self, *, batch_size: int = 8, dropout: float = 0.0, dtype: torch.dtype = torch.float32) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model = Network(dropout=dropout).to(dtype)
        generator = torch.Generator().manual_seed(1)
        self.batch_size = batch_size
        self.items = {
            split: {"x": torch.randn(size, 3, generator=generator, dtype=torch.float64).to(dtype)}
            for split, size in self.sizes.items()
        }
        for items in self.items.values():
            items["y"] = items["x"].sin().sum(1)

    def batches(self, split: str) -> Batches:
        return Batches(self.items[split], self.batch_size, shuffle_seed=5 if split == "train" else None)

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        error = self.model(batch["x"])[:, 0] - batch["y"]
        return error.square().mean(), {"error": error.abs().mean()}


class RegressionCase(TrainingCase):
    """What a plugin writes: the keys of its own, and how the task is built."""

    width: int = 6

    def build(self, run: Run) -> Task:
        task = Regression()
        task.model = Network(width=self.width)  # drawn from the case's seed
        return task


class Springs(Regression):
    """Learns an energy from its forces too: the loss holds a gradient, its gradient is of second order."""

    units = {"energy": "eV", "force": "eV/angstrom"}
    second_order = True

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        x = batch["x"].detach().requires_grad_()
        energy = self.model(x)[:, 0]
        (slope,) = torch.autograd.grad(energy.sum(), x, create_graph=self.model.training)
        energy_error, force_error = energy - batch["y"], slope - batch["x"].cos()
        loss = energy_error.square().mean() + 10 * force_error.square().sum(1).mean()
        return loss, {"energy": energy_error.abs().mean(), "force": force_error.abs().mean()}


def sentences(layout: dict[str, Any] | None = None) -> LanguageTask:
    """A small decoder, a mixture of experts where a layout spreads some, on random bytes."""
    layout = layout or {}
    generator = torch.Generator().manual_seed(2)
    text = torch.randint(0, 256, (1200,), generator=generator, dtype=torch.uint8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Transformer(
            vocabulary=256, features=16, heads=2, layers=2, experts=4 if "expert" in layout else 0,
            group=expert_group(Layout(**layout)),
        )  # fmt: skip
    return LanguageTask(model, text, TextTable(length=16, batch_size=8), shuffle_seed=1)


def read_nothing(*_: Any) -> None:
    """The reader of a card."""


def trainer(
    folder: Path,
    task: Task | None = None,
    *,
    resuming: bool = False,
    run: Any = None,
    layout: dict[str, Any] | None = None,
    **settings: Any,
) -> Trainer:
    """Returns a trainer with settings that keep a test short."""
    defaults: dict[str, Any] = {
        "steps": 20,
        "validate_every": 5,
        "checkpoint_every": 10,
        "log_every": 5,
        "optimizer": {"learning_rate": 1e-2},
    }
    workspace = run or Quiet(folder, resuming=resuming)
    config = TrainerConfig.model_validate(defaults | settings)
    spread = None if layout is None else Layout(**layout)
    return Trainer(config, task or Regression(), workspace, seed=3, layout=spread)
