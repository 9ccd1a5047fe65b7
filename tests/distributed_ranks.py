"""What each process of the distributed tests does; the first one writes what they found as JSON.

Started by torchrun with the folder to write in: see distributed/test_trainer.py.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from spread_layouts import decoders, second_order
from torch import Tensor, nn
from training_tasks import Regression, RegressionCase, Springs, sentences, trainer

from mindsci.nn import MixtureOfExperts
from mindsci.runs import Interrupted, execute
from mindsci.train import DivergedError, Group, Trainer, process_group
from mindsci.train.communication import adasum, set_hooks
from mindsci.train.config import Communication
from mindsci.train.language import LanguageCase
from mindsci.train.metrics import MetricsTable
from mindsci.train.workspace import Quiet

DOUBLE: dict[str, Any] = {"precision": "float64", "steps": 12, "ema_decay": 0.9, "clip_norm": 0.5}
KINDS = {"regression": Regression, "springs": Springs}
MIXTURES: dict[str, dict[str, Any]] = {
    "dropless": {"choices": 2},
    "one choice": {"choices": 1},
    "limited": {"choices": 2, "capacity_factor": 0.75},
}


def mixture_tokens() -> Tensor:
    """Tokens of all processes; with an uneven router some experts get many of them."""
    return torch.randn(60, 12, generator=torch.Generator().manual_seed(4), dtype=torch.float64) + 0.3


def weights(made: Trainer) -> list[float]:
    return torch.cat([parameter.detach().flatten() for parameter in made.model.parameters()]).tolist()


class AsksOnOneRank(Quiet):
    """One process alone wishes to stop, at its seventh look."""

    def __init__(self, folder: Path, asks: bool) -> None:
        self.remaining = 7 if asks else 10**9
        super().__init__(folder)

    @property
    def stop_requested(self) -> bool:
        self.remaining -= 1
        return self.remaining < 0

    @stop_requested.setter
    def stop_requested(self, value: bool) -> None:
        assert not value


class InfiniteOnOneRank(Regression):
    """The loss of one process alone becomes infinite at its tenth batch; no gradient shows it to the other."""

    def __init__(self, bad: bool) -> None:
        super().__init__()
        self.bad, self.calls = bad, 0

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        loss, metrics = super().loss(batch)
        self.calls += self.model.training
        return loss + (float("inf") if self.bad and self.calls == 10 else 0.0), metrics


def equality(folder: Path) -> dict[str, Any]:
    """Uneven batches, in 1 or 3 parts a process, of first and second order."""
    found = {}
    for name, kind in KINDS.items():
        for accumulate in (1, 3):
            made = trainer(folder / f"{name}{accumulate}", kind(dtype=torch.float64), accumulate=accumulate, **DOUBLE)
            made.fit()
            found[f"{name}{accumulate}"] = {
                "weights": weights(made),
                "rows": made.table.rows,
                "test": made.evaluate("test"),
            }
    return found


def leaving(folder: Path, group: Group) -> dict[str, Any]:
    """How this process leaves when the last one alone wishes to stop, or alone meets a loss that is infinite."""
    last = group.rank == group.world - 1
    found: dict[str, Any] = {}
    run = AsksOnOneRank(folder / "stopped", last)
    stopped = trainer(folder / "stopped", Springs(dtype=torch.float64), run=run, **DOUBLE)
    try:
        stopped.fit()
    except Interrupted:
        found["stopped at"] = stopped.standing.step
    resumed = trainer(folder / "stopped", Springs(dtype=torch.float64), resuming=True, **DOUBLE)
    resumed.fit()
    found["resumed"] = weights(resumed)
    try:
        trainer(folder / "infinite", InfiniteOnOneRank(last)).fit()
    except DivergedError as error:
        found["diverged"] = str(error)
    found["wall_time"] = trainer(folder / "late", wall_time="1e-9 min").fit().step
    return found


def case(folder: Path) -> list[str]:
    """Runs a whole case; returns what the folder holds once it is done."""
    tables = {"task": "test/regression", "trainer": {"steps": 10, "validate_every": 5, "monitor": "error"}}
    execute(RegressionCase.model_validate(tables), folder / "case", quiet=True)
    text = folder / "text.txt"
    if torch.distributed.get_rank() == 0:
        text.write_bytes(bytes(range(32, 127)) * 8)
    torch.distributed.barrier()
    staged = {
        "task": "mindsci/language_model",
        "data": {"file": str(text), "length": 16, "batch_size": 8},
        "model": {"features": 16, "heads": 2, "layers": 2},
        "trainer": {"steps": 4, "validate_every": 2},
        "parallel": {"pipeline": 2, "micro_batches": 2},
    }
    execute(LanguageCase.model_validate(staged), folder / "staged case", quiet=True)
    torch.distributed.barrier()
    return sorted(path.name for path in (folder / "case").iterdir())


TRAINED: dict[str, tuple[str, dict[str, Any]]] = {
    "springs, sharded": ("springs", {"data": 2, "shard": "parameters"}),
    "springs, optimizer": ("springs", {"data": 2, "shard": "optimizer"}),
    "sharded": ("sentences", {"data": 2, "shard": "parameters"}),
    "gradients": ("sentences", {"data": 2, "shard": "gradients"}),
    "divided": ("sentences", {"tensor": 2}),
    "experts": ("sentences", {"data": 2, "expert": 2}),
    "divided experts": ("sentences", {"tensor": 2, "expert": 1}),
    "stages": ("sentences", {"pipeline": 2, "micro_batches": 2}),
    "stages, masters": (
        "sentences",
        {"pipeline": 2, "micro_batches": 2, "schedule": "zero_bubble", "offload": "optimizer"},
    ),
    "streamed": ("sentences", {"data": 2, "shard": "parameters", "offload": "parameters"}),
    "masters": ("sentences", {"data": 2, "shard": "optimizer", "offload": "optimizer", "precision": "bfloat16"}),
}
"""Tasks that the trainer takes with a layout."""
FOUR = [name for name in TRAINED if name != "divided"]
"""Those that four processes take as well: the decoder has two heads, and two layers."""


def spread_trainer(folder: Path, name: str, ranks: int = 2, **options: Any) -> Trainer:
    """A trainer of one of TRAINED, for as many processes as there are."""
    kind, layout = TRAINED[name]
    counts = ("data", "tensor", "pipeline", "expert")
    alone = () if ranks > 1 else ("shard", "micro_batches")
    many = {key: ranks if key in counts and value > 1 else value for key, value in layout.items()}
    layout = {key: value for key, value in many.items() if key not in alone}
    if ranks == 4 and "pipeline" in layout:
        layout |= {"pipeline": 2, "data": 2}
    if ranks == 4 and "tensor" in layout:
        layout |= {"tensor": 2, "data": 2, "expert": 2}
    average = None if "precision" in layout else 0.9
    settings: dict[str, Any] = {"steps": 8, "validate_every": 4, "checkpoint_every": 4, "log_every": 2}
    settings |= {"clip_norm": 0.5, "ema_decay": average, "accumulate": 2 if name == "streamed" else 1}
    if kind == "springs":
        settings["precision"] = "float64"
        return trainer(folder, Springs(dtype=torch.float64), layout=layout, **settings | options)
    return trainer(folder, sentences(layout), layout=layout, **settings | options)


def spread_trainings(folder: Path, group: Group) -> dict[str, Any]:
    """Trainings with layouts: what they end with, and their checkpoints of step 4 and 8."""
    found = {}
    for name in TRAINED:
        made = spread_trainer(folder / name, name)
        made.fit()
        whole = made.state.whole(made.model.state_dict())
        if group.writes:
            save_file(whole, folder / f"{name}.safetensors")
        found[name] = {"rows": made.table.rows, "test": made.evaluate("test")}
    if group.writes:
        shutil.copytree(folder / "sharded" / "checkpoints", folder / "restaged" / "checkpoints")
        shutil.rmtree(folder / "restaged" / "checkpoints" / "step_000000008")
    torch.distributed.barrier()
    restaged = spread_trainer(folder / "restaged", "stages", resuming=True)
    restaged.fit()
    whole = restaged.state.whole(restaged.model.state_dict())
    if group.writes:
        save_file(whole, folder / "restaged.safetensors")
    return found


COMMUNICATIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bfloat16": {"gradients": "bfloat16"},
    "adasum": {"combine": "adasum"},
    "local": {"local_steps": 5},
}


def communications(folder: Path, group: Group) -> dict[str, Any]:
    """Trainings that bring gradients together in each way, and one gradient that AdaSum combines."""
    found: dict[str, Any] = {}
    for name, table in COMMUNICATIONS.items():
        made = trainer(folder / name, communication=table)
        made.fit()
        found[name] = weights(made)
    # Asked to stop at its seventh step, it goes on to the next average, at which all are alike.
    local = {"local_steps": 5}
    stopped = AsksOnOneRank(folder / "local stopped", group.rank == 0)
    try:
        trainer(folder / "local stopped", run=stopped, communication=local).fit()
    except Interrupted:
        found["local stopped"] = [path.name for path in sorted((folder / "local stopped/checkpoints").iterdir())]
    resumed = trainer(folder / "local stopped", resuming=True, communication=local)
    resumed.fit()
    found["local resumed"] = weights(resumed)
    layer = nn.Linear(5, 3).double()
    rows = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    with torch.no_grad():
        layer.weight.fill_(0.1)
        layer.bias.fill_(0.2)
    alone = [torch.autograd.grad(layer(part).square().mean(), list(layer.parameters())) for part in rows]
    shared = nn.parallel.DistributedDataParallel(layer)
    set_hooks(shared, Communication(combine="adasum"))
    shared(rows[group.rank]).square().mean().backward()
    flat = [torch.cat([value.flatten() for value in one]) for one in alone]
    combined = torch.cat([parameter.grad.flatten() for parameter in layer.parameters()])  # type: ignore[union-attr]
    found["adasum error"] = float((combined - adasum(*flat)).abs().max())
    return found


def experts(folder: Path, group: Group) -> dict[str, Any]:
    """A mixture of experts with half of the experts on each process, and each process's half of the tokens."""
    found: dict[str, Any] = {}
    world = torch.distributed.group.WORLD
    for name, keywords in MIXTURES.items():
        torch.manual_seed(3)
        layer = MixtureOfExperts(12, 20, experts=4, group=world, **keywords).double()
        tokens = mixture_tokens()[group.rank :: group.world].requires_grad_()
        y, report = layer(tokens)
        (y.square().mean() + 0.1 * report.balance_loss + 0.01 * report.z_loss).backward()
        router = layer.router.linear.weight.grad
        torch.distributed.all_reduce(router, torch.distributed.ReduceOp.AVG)
        found[name] = {
            "y": y.tolist(),
            "tokens": tokens.grad.tolist(),
            "router": router.tolist(),
            "up": layer.experts.up.grad.tolist(),
            "down": layer.experts.down.grad.tolist(),
            "load": report.load.tolist(),
            "dropped": float(report.dropped),
        }
    return found


def main() -> None:
    top = Path(sys.argv[1])
    # gloo now and then fails to connect or to close: torchrun then starts all ranks again, in a fresh folder.
    folder = top / os.environ["TORCHELASTIC_RESTART_COUNT"]
    MetricsTable.plot = lambda *_: None  # type: ignore[method-assign]
    with process_group() as group:
        found = {
            "equality": equality(folder),
            "leaving": leaving(folder, group),
            "case": case(folder),
            "communications": communications(folder, group),
            "experts": experts(folder, group),
            "trainings": spread_trainings(folder, group),
            "folder": str(folder),
            "decoders": decoders(),
            "second order": second_order(),
        }
        everyone: list[Any] = [None] * group.world
        torch.distributed.all_gather_object(everyone, found)
    if group.writes:
        (top / "found.json").write_text(json.dumps(everyone))


if __name__ == "__main__":
    main()
