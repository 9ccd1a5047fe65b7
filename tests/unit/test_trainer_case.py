"""A training from a case file: what the run's folder holds at the end."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_tasks import Regression, RegressionCase

from mindsci import plugins
from mindsci.config import validate
from mindsci.errors import InputError
from mindsci.runs import Interrupted, Run, execute
from mindsci.train import Task


def case(tmp_path: Path, **tables: object) -> RegressionCase:
    trainer = {"steps": 20, "validate_every": 5, "checkpoint_every": 10, "log_every": 5, "monitor": "error"}
    given = {"task": "test/regression", "trainer": trainer} | tables
    made: RegressionCase = validate(RegressionCase, given, folder=tmp_path, source="test")
    return made


def test_a_training_case_exports_what_a_card_needs(tmp_path: Path) -> None:
    execute(case(tmp_path), tmp_path / "run", quiet=True)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["steps"] == 20
    assert results["test error [m]"] > 0
    assert results["best validation error [m]"] > 0

    record = tomllib.loads((tmp_path / "run" / "model.toml").read_text())
    assert record == {
        "builder": "training_tasks:Network",
        "config": {"inputs": 3, "width": 6, "dropout": 0.0},
    }
    model = plugins.load(record["builder"])(**record["config"])
    model.load_state_dict(load_file(tmp_path / "run" / "model.safetensors"))
    task = Regression()
    task.model = model
    batch = task.items["test"]
    assert float(task.loss(batch)[1]["error"].detach()) == pytest.approx(results["test error [m]"], rel=1e-6)


def test_the_seed_of_the_case_decides_the_weights_and_leaves_the_generator_alone(tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        execute(case(tmp_path, seed=seed), tmp_path / name, quiet=True)
    weights = {name: (tmp_path / name / "model.safetensors").read_bytes() for name in "abc"}
    assert weights["a"] == weights["b"] != weights["c"]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_training_run_that_was_interrupted_resumes_to_the_same_files(tmp_path: Path) -> None:
    execute(case(tmp_path), tmp_path / "whole", quiet=True)

    class Interrupting(RegressionCase):
        def build(self, run: Run) -> Task:
            run.stop_requested = True
            return super().build(run)

    cut = Interrupting.model_validate(case(tmp_path).model_dump(mode="json", exclude_none=True))
    with pytest.raises(Interrupted, match="--resume"):
        execute(cut, tmp_path / "cut", quiet=True)
    assert not (tmp_path / "cut" / "results.json").exists()
    execute(case(tmp_path), tmp_path / "cut", quiet=True, resume=True)
    for name in ("model.safetensors", "best.safetensors", "results.json", "metrics.csv"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_run_may_be_resumed_with_other_processes_and_with_nothing_else_changed(tmp_path: Path) -> None:
    execute(case(tmp_path), tmp_path / "run", quiet=True)
    tables = case(tmp_path).model_dump(mode="json", exclude_none=True)
    elsewhere = tables | {"parallel": {"data": 1, "micro_batches": 2}}
    execute(RegressionCase.model_validate(elsewhere), tmp_path / "run", quiet=True, resume=True)
    with pytest.raises(InputError, match="the case differs"):
        execute(RegressionCase.model_validate(tables | {"width": 7}), tmp_path / "run", quiet=True, resume=True)


def test_a_restart_by_torchrun_resumes_what_it_began_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "one")
    execute(case(tmp_path), tmp_path / "run", quiet=True)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    execute(case(tmp_path), tmp_path / "run", quiet=True)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "another")
    with pytest.raises(InputError, match="exists; continue it with --resume"):
        execute(case(tmp_path), tmp_path / "run", quiet=True)


def test_a_model_that_cannot_be_built_again_is_refused_before_the_training(tmp_path: Path) -> None:
    class Forgetful(RegressionCase):
        def build(self, run: Run) -> Task:
            task = super().build(run)
            task.model.config = {"layers": 3}
            return task

    made = Forgetful.model_validate(case(tmp_path).model_dump(mode="json", exclude_none=True))
    with pytest.raises(InputError, match="attribute `config`"):
        execute(made, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run" / "checkpoints").exists()
