"""The trainer's loop: what it computes, when it stops, and that it resumes to the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from training_tasks import Network, Regression, Springs, trainer

from mindsci.errors import InputError, UnknownNameError
from mindsci.runs import Interrupted
from mindsci.train import Batches, DivergedError, Task, Trainer, TrainerConfig
from mindsci.train.metrics import MetricsTable
from mindsci.train.workspace import Quiet

FULL = {"ema_decay": 0.9, "clip_norm": 0.5, "schedule": {"name": "cosine", "warmup_steps": 3}, "accumulate": 2}


@pytest.fixture(autouse=True)
def no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than these trainings do."""
    if "picture" not in request.node.name:
        monkeypatch.setattr(MetricsTable, "plot", lambda *_: None)


class StopsAt(Quiet):
    """Asks for a stop once the loop has looked a number of times."""

    def __init__(self, folder: Path, looks: int) -> None:
        self.remaining = looks
        super().__init__(folder)

    @property
    def stop_requested(self) -> bool:
        self.remaining -= 1
        return self.remaining < 0

    @stop_requested.setter
    def stop_requested(self, value: bool) -> None:
        assert not value


def everything(made: Trainer) -> dict[str, Tensor]:
    """Every number that a further step depends on."""
    found = {f"model.{name}": value for name, value in made.model.state_dict().items()}
    for index, state in made.optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    if made.average is not None:
        found |= {f"average.{index}": value for index, value in enumerate(made.average.values)}
    assert made.best_weights is not None
    return found | {f"best.{name}": value for name, value in made.best_weights.items()}


def assert_same_bits(one: Trainer, other: Trainer) -> None:
    first, second = everything(one), everything(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert one.standing == other.standing
    for name in ("metrics.csv", "best.safetensors"):
        assert (one.run.folder / name).read_bytes() == (other.run.folder / name).read_bytes()


@pytest.mark.parametrize("looks", [1, 7, 10, 13])
def test_a_training_that_was_stopped_anywhere_resumes_to_the_same_bits(tmp_path: Path, looks: int) -> None:
    whole = trainer(tmp_path / "whole", Regression(dropout=0.3), **FULL)
    whole.fit()

    with pytest.raises(Interrupted):
        trainer(tmp_path / "cut", Regression(dropout=0.3), run=StopsAt(tmp_path / "cut", looks), **FULL).fit()
    resumed = trainer(tmp_path / "cut", Regression(dropout=0.3), resuming=True, **FULL)
    assert resumed.fit().step == 20
    assert_same_bits(whole, resumed)


def test_a_training_killed_between_write_and_rename_resumes_from_the_checkpoint_before(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from training_tasks import trainer; import mindsci.files\n"
        "real = os.replace\n"
        "def replace(source, target):\n"
        "    if 'step_000000020' in str(target): os._exit(9)\n"
        "    real(source, target)\n"
        "os.replace = replace\n"
        "trainer(Path(sys.argv[1]), steps=30).fit()\n"
    )
    tests = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": f"{tests}:{tests.parent}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "killed")], env=environment, timeout=120)
    assert done.returncode == 9
    folder = tmp_path / "killed" / "checkpoints"
    assert len(list(folder.glob(".writing-*"))) == 1

    resumed = trainer(tmp_path / "killed", resuming=True, steps=30)
    resumed.fit()
    assert sorted(path.name for path in folder.iterdir()) == ["step_000000020", "step_000000030"]
    whole = trainer(tmp_path / "whole", steps=30)
    whole.fit()
    assert_same_bits(whole, resumed)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path) -> None:
    trainer(tmp_path / "a").fit()
    newest = tmp_path / "a" / "checkpoints" / "step_000000020" / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:1000])
    said: list[str] = []
    run = Quiet(tmp_path / "a", resuming=True)
    run.log = said.append  # type: ignore[method-assign]
    resumed = trainer(tmp_path / "a", run=run)
    assert resumed.fit().step == 20
    assert any("is damaged" in line for line in said)
    whole = trainer(tmp_path / "whole")
    whole.fit()
    assert_same_bits(whole, resumed)


def test_a_training_that_is_complete_takes_no_step_when_resumed(tmp_path: Path) -> None:
    first = trainer(tmp_path)
    first.fit()
    again = trainer(tmp_path, resuming=True)
    assert again.fit().step == 20
    assert_same_bits(first, again)


def test_a_folder_that_holds_another_training_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path).fit()
    with pytest.raises(InputError, match="holds another training"):
        trainer(tmp_path).fit()


def test_another_model_is_refused_on_resume(tmp_path: Path) -> None:
    trainer(tmp_path).fit()
    task = Regression()
    task.model = Network(width=5)
    with pytest.raises(InputError, match="another model"):
        trainer(tmp_path, task, resuming=True).fit()


@pytest.mark.parametrize("kind", [Regression, Springs])
def test_a_batch_computed_in_parts_gives_the_step_of_the_whole_batch(tmp_path: Path, kind: type[Regression]) -> None:
    """37 items in batches of 8 end on one of 5, which 3 parts do not divide; 4 parts of it hold 1 or 2 items."""
    made = []
    for accumulate in (1, 3, 4, 7):
        task = kind(dtype=torch.float64)
        trainer(tmp_path / str(accumulate), task, precision="float64", accumulate=accumulate).fit()
        made.append(torch.cat([p.detach().flatten() for p in task.model.parameters()]))
    for parts in made[1:]:
        torch.testing.assert_close(parts, made[0], rtol=0, atol=1e-13)


def test_micro_batches_of_a_layout_are_parts_of_each_batch(tmp_path: Path) -> None:
    made = trainer(tmp_path, layout={"micro_batches": 4}, accumulate=2)
    assert len(made._parts) == 8


def test_validation_averages_are_exact_over_uneven_batches(tmp_path: Path) -> None:
    task = Springs(dtype=torch.float64, batch_size=4)
    made = trainer(tmp_path, task, precision="float64")
    by_batch = made.evaluate("validation")
    task.batch_size = 13
    whole = trainer(tmp_path, task, precision="float64").evaluate("validation")
    assert by_batch == pytest.approx(whole, rel=1e-14)


def test_evaluation_leaves_the_weights_and_their_gradients_as_they_are(tmp_path: Path) -> None:
    made = trainer(tmp_path, Springs(), ema_decay=0.9)
    made.fit()
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    for weights in ("best", "average", "current"):
        made.evaluate("test", weights)
    assert all(torch.equal(before[name], value) for name, value in made.model.state_dict().items())
    assert all(parameter.requires_grad for parameter in made.model.parameters())
    assert made.model.training


def test_the_best_weights_are_those_of_the_best_validation(tmp_path: Path) -> None:
    """A rate far too high makes the last weights worse than the best."""
    made = trainer(tmp_path, steps=60, optimizer={"learning_rate": 0.5}, monitor="error")
    outcome = made.fit()
    assert outcome.best_step < 60
    assert made.evaluate("validation")["error"] == outcome.best
    assert made.evaluate("validation", "current")["error"] > outcome.best


def test_the_average_follows_its_recurrence(tmp_path: Path) -> None:
    """a_0 = w_0; a_n = d_n a_(n-1) + (1 - d_n) w_n with d_n = min(decay, n / (9 + n)), n = 1, 2, ..."""
    task = Regression(dtype=torch.float64)
    made = trainer(tmp_path, task, precision="float64", ema_decay=0.3, steps=1)
    assert made.average is not None
    expected = [parameter.detach().clone() for parameter in task.model.parameters()]
    for n in range(1, 9):
        made._step(n - 1)
        decay = min(0.3, n / (9 + n))
        weights = [parameter.detach() for parameter in task.model.parameters()]
        expected = [decay * a + (1 - decay) * w for a, w in zip(expected, weights, strict=True)]
    for found, wanted in zip(made.average.values, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-14, atol=1e-15)


def test_the_gradient_is_scaled_down_to_the_clip_norm(tmp_path: Path) -> None:
    made = trainer(tmp_path, clip_norm=1e-3)
    made._step(0)
    norm = torch.cat([p.grad.flatten() for p in made.model.parameters() if p.grad is not None]).norm()
    assert float(norm) == pytest.approx(1e-3, rel=1e-3)


def test_each_step_uses_the_rate_of_its_schedule(tmp_path: Path) -> None:
    made = trainer(tmp_path, log_every=1, schedule={"name": "cosine", "warmup_steps": 4, "final_fraction": 0.1})
    made.fit()
    rates = [row["learning_rate"] for row in made.table.rows if row["split"] == "train"]
    expected = [made.config.schedule.scale(step, steps=20) * 1e-2 for step in range(20)]
    assert rates == expected
    assert rates[-1] == pytest.approx(1e-3)


class Poisoned(Regression):
    """Goes bad at one batch: the loss, or its gradient alone."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__()
        self.what, self.step, self.calls = what, step, -1

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        loss, metrics = super().loss(batch)
        self.calls += self.model.training
        if self.calls == self.step and self.model.training:
            if self.what == "loss":
                return loss * float("nan"), metrics
            # sqrt(0) is fine; its derivative is not.
            weight = self.model[0].weight
            return loss + (weight - weight.detach()).abs().sum().sqrt(), metrics
        return loss, metrics


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_loss_or_gradient_that_is_not_finite_stops_the_training(tmp_path: Path, what: str) -> None:
    made = trainer(tmp_path, Poisoned(what, 12))
    with pytest.raises(DivergedError, match=rf"{what}.*step 12.*step_000000010.*learning_rate"):
        made.fit()
    kept = load_file(tmp_path / "checkpoints" / "step_000000010" / "state.safetensors")
    assert all(bool(value.isfinite().all()) for value in kept.values())


def test_training_stops_cleanly_at_its_wall_time_and_resumes_to_the_same_bits(tmp_path: Path) -> None:
    outcome = trainer(tmp_path / "cut", wall_time="1e-9 min").fit()
    assert (outcome.step, outcome.reason) == (1, "wall_time")
    resumed = trainer(tmp_path / "cut", resuming=True)
    assert resumed.fit().reason == "steps"
    whole = trainer(tmp_path / "whole")
    whole.fit()
    assert_same_bits(whole, resumed)


class Stuck(Regression):
    """The validation never improves."""

    def summarise(self, averages: dict[str, float]) -> dict[str, float]:
        return averages | {"stuck": 1.0}


def test_training_stops_after_validations_without_improvement(tmp_path: Path) -> None:
    outcome = trainer(tmp_path, Stuck(), steps=1000, monitor="stuck", patience=3).fit()
    assert (outcome.step, outcome.reason, outcome.best_step) == (20, "patience", 5)


def test_a_plateau_reduces_the_rate(tmp_path: Path) -> None:
    """The first validation, at step 5, is the best; every second one after it reduces the rate by 4."""
    schedule = {"name": "plateau", "patience": 2, "factor": 0.25, "final_fraction": 0.01}
    made = trainer(tmp_path, Stuck(), steps=60, monitor="stuck", schedule=schedule)
    made.fit()
    rates = {row["step"]: row["learning_rate"] for row in made.table.rows if row["split"] == "train"}
    assert [rates[step] / 1e-2 for step in (15, 20, 25, 30, 40, 60)] == [1, 0.25, 0.25, 0.0625, 0.015625, 0.01]


def test_a_misspelt_monitor_is_found_before_the_first_step(tmp_path: Path) -> None:
    made = trainer(tmp_path, monitor="eror")
    with pytest.raises(UnknownNameError, match="did you mean 'error'"):
        made.fit()
    assert made.standing.step == 0


def test_a_training_leaves_the_global_generator_and_settings_alone(tmp_path: Path) -> None:
    before = torch.random.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads()
    trainer(tmp_path, Regression(dropout=0.5)).fit()
    after = torch.random.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_training_on_a_cpu_does_not_start_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = Regression()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a CPU run asked for CUDA")

    for name in ("_lazy_init", "_lazy_call", "manual_seed", "manual_seed_all", "get_rng_state", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, refuse)
    trainer(tmp_path, task).fit()


class Offset(Regression):
    """A float64 buffer and float64 labels beside float32 weights, as a potential's reference energies."""

    def __init__(self) -> None:
        super().__init__()
        self.model.register_buffer("offset", torch.tensor(1234.000000001, dtype=torch.float64))
        for items in self.items.values():
            items["y"] = items["y"].double()

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch["y"].dtype == torch.float64
        return super().loss(batch)


def test_buffers_and_batches_keep_their_dtype_beside_float32_weights(tmp_path: Path) -> None:
    task = Offset()
    trainer(tmp_path, task).fit()
    assert task.model.offset.dtype == torch.float64
    assert float(task.model.offset) == 1234.000000001
    assert task.model[0].weight.dtype == torch.float32


def test_precision_says_the_dtype_of_the_weights(tmp_path: Path) -> None:
    for precision, dtype in (("float32", torch.float32), ("float64", torch.float64), ("bfloat16", torch.float32)):
        task = Regression(dtype=torch.float32)
        made = trainer(tmp_path / precision, task, precision=precision, steps=3)
        made.fit()
        assert {parameter.dtype for parameter in made.model.parameters()} == {dtype}


class Design(Task):
    """A task with a train split alone: finds the x with the smallest f(x) = (x - 3)^2."""

    splits = ("train",)

    def __init__(self) -> None:
        self.model = nn.ParameterDict({"x": nn.Parameter(torch.zeros(2))})

    def batches(self, split: str) -> Batches:
        return Batches({"target": torch.full((1, 2), 3.0)}, 1)

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        return (self.model["x"] - batch["target"][0]).square().sum(), {}


def test_a_task_with_a_train_split_alone_needs_no_validation(tmp_path: Path) -> None:
    task = Design()
    config = TrainerConfig(steps=300, validate_every=0, optimizer={"learning_rate": 0.1})
    outcome = Trainer(config, task, Quiet(tmp_path)).fit()
    assert outcome.best is None
    assert task.model["x"].tolist() == pytest.approx([3, 3], abs=1e-3)
    with pytest.raises(InputError, match="no split 'validation'"):
        Trainer(TrainerConfig(steps=3), task, Quiet(tmp_path / "b")).fit()


def test_the_learning_curves_are_a_picture(tmp_path: Path) -> None:
    trainer(tmp_path).fit()
    assert (tmp_path / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
