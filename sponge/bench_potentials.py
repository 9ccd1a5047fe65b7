"""`mindsci bench potentials`: the learned potentials after the same time of training on the same frames."""

from __future__ import annotations

import statistics
import tempfile
import time
from typing import Any

import torch

from mindsci import hub
from mindsci.errors import UnknownNameError
from mindsci.report import Report, Row
from mindsci.train import Trainer, TrainerConfig
from mindsci.train.randomness import own_randomness, seed_step
from mindsci.train.workspace import Quiet
from sponge.data.frames import Splits
from sponge.tasks import PotentialTask
from sponge.training_case import ModelTable, build_model

OPTIONS: dict[str, dict[str, Any]] = {
    "schnet": {"features": 128, "interactions": 3, "gaussians": 32, "cutoff": 5.0},
    "physnet": {"features": 128, "modules": 3, "cutoff": 5.0, "electrostatics": False},
    "molct": {"features": 128, "interactions": 3, "cutoff": 5.0},
    "painn": {"features": 128, "interactions": 3, "cutoff": 5.0},
}
"""sizes of the papers where they train well in minutes; PhysNet has 3 of its 5 modules, and no labels for charges"""
ROUNDS, STEPS_A_ROUND = 4, 6
VALIDATIONS = 20
SHARE_OF_STEPS = 0.95
"""of the time; the rest is for validations and checkpoints"""
CPU = torch.device("cpu")


def potentials(
    minutes: float = 10.0,
    models: str = "schnet,physnet,molct,painn",
    dataset: str = "rmd17_ethanol",
    labels: str = "original",
    seed: int = 0,
) -> Report:
    """Test errors of each potential after `minutes` of training each, one after the other, in float32.

    The minutes are of processor time, of all threads together, so that other programs on the machine take none of it;
    give it one thread, OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1, and a core of its own. All potentials see the same 950
    frames in the same order, in batches of 10, with Adam from 1e-3 along a cosine that ends when the time is over: the
    steps that fit are counted beforehand. Speed counts as much as accuracy here: the table is of this machine.
    """
    names = [name.strip() for name in models.split(",") if name.strip()]
    unknown = [name for name in names if name not in OPTIONS]
    if unknown:
        raise UnknownNameError.of("model", unknown[0], OPTIONS)
    splits: Splits = hub.load_dataset(dataset, labels=labels, validation=50, split_seed=seed)
    times = times_of_steps({name: _task(name, splits, seed) for name in names})
    rows = []
    for name in names:
        steps = max(int(60.0 * minutes * SHARE_OF_STEPS / times[name]), 2)
        rows.append(train(name, _task(name, splits, seed), steps, seed))
    return Report(name="potentials", rows=rows)


def train(name: str, task: PotentialTask, steps: int, seed: int) -> Row:
    """Trains a potential and returns its errors on the test frames."""
    config = TrainerConfig.model_validate(
        {
            "steps": steps,
            "clip_norm": 10.0,
            "ema_decay": 0.999 if steps > 5000 else 0.99,
            "validate_every": max(steps // VALIDATIONS, 1),
            "checkpoint_every": steps,
            "log_every": max(steps // VALIDATIONS, 1),
            "monitor": "force_mae",
            "optimizer": {"name": "adam", "learning_rate": 1e-3},
            "schedule": {"name": "cosine", "warmup_steps": min(100, steps // 10), "final_fraction": 1e-3},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, task, Quiet(folder), seed=seed)
        began = time.process_time()
        trainer.fit()
        seconds = time.process_time() - began
        found = trainer.evaluate("test")
    return Row(
        case=f"{name}, forces",
        measured=found["force_mae_kcal"],
        unit="kcal/mol/angstrom",
        extra={
            "energy [kcal/mol]": found["energy_mae_kcal"],
            "parameters": sum(parameter.numel() for parameter in task.model.parameters()),
            "steps": steps,
            "ms a step": 1e3 * seconds / steps,
            "training [s]": seconds,
        },
    )


def times_of_steps(tasks: dict[str, PotentialTask]) -> dict[str, float]:
    """Returns the seconds of a training step of each task: the median over rounds that take turns."""
    timed: dict[str, list[float]] = {name: [] for name in tasks}
    prepared = {}
    for name, task in tasks.items():
        task.model.train()
        prepared[name] = task.batches("train"), torch.optim.Adam(task.model.parameters(), lr=0.0, fused=True)
    for turn in range(ROUNDS + 1):
        for name, task in tasks.items():
            batches, optimizer = prepared[name]
            for step in range(STEPS_A_ROUND):
                began = time.process_time()
                optimizer.zero_grad()
                task.loss(batches.at(step))[0].backward()
                optimizer.step()
                if turn:  # The first compiles and allocates.
                    timed[name].append(time.process_time() - began)
    return {name: statistics.median(seconds) for name, seconds in timed.items()}


def _task(name: str, splits: Splits, seed: int) -> PotentialTask:
    with own_randomness(CPU):
        seed_step(CPU, seed, 0, 0)
        model = build_model(ModelTable(name=f"sponge/{name}", options=OPTIONS[name]), splits)
    return PotentialTask(model, splits, batch_size=10, energy_weight=0.01, force_weight=1.0, shuffle_seed=seed)
