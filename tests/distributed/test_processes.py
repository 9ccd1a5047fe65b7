"""Two processes under torchrun train as one does, leave the loop together, and share a layer of experts.

One launch serves all tests: starting torch twice takes longer than what it then does. Gradients are averaged in
another order than one process sums them, so weights agree to rounding (1e-12 after 12 steps) and not to the bit.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from distributed_ranks import DOUBLE, FOUR, KINDS, MIXTURES, TRAINED, mixture_tokens, spread_trainer, weights
from launching import torchrun
from safetensors.torch import load_file
from training_tasks import trainer

from mindsci.errors import InputError
from mindsci.nn import MixtureOfExperts, Transformer
from mindsci.train import Group
from mindsci.train.communication import adasum
from mindsci.train.metrics import MetricsTable


@pytest.fixture(scope="module")
def found(made_once: Callable[[str, Callable[[Path], None]], Path]) -> list[dict[str, Any]]:
    """What each of the two processes found."""
    folder = made_once("ranks", lambda folder: torchrun("distributed_ranks.py", str(folder)))
    return json.loads((folder / "found.json").read_text())


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("name", ["regression", "springs"])
def test_two_processes_take_the_steps_of_one(
    found: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, accumulate: int
) -> None:
    monkeypatch.setattr(MetricsTable, "plot", lambda *_: None)
    alone = trainer(tmp_path, KINDS[name](dtype=torch.float64), **DOUBLE)
    alone.fit()
    together = [rank["equality"][f"{name}{accumulate}"] for rank in found]
    assert together[0]["weights"] == together[1]["weights"]
    assert together[0]["weights"] == pytest.approx(weights(alone), rel=0, abs=1e-12)
    assert together[0]["test"] == together[1]["test"] == pytest.approx(alone.evaluate("test"), rel=1e-12)
    for row, expected in zip(together[0]["rows"], alone.table.rows, strict=True):
        assert row.pop("split") == expected.pop("split")
        assert row == pytest.approx(expected, rel=1e-12)
    assert together[1]["rows"] == []


def test_all_processes_stop_when_one_is_asked_to_and_resume_where_they_were(found: list[dict[str, Any]]) -> None:
    assert [rank["leaving"]["stopped at"] for rank in found] == [8, 8]
    for rank in found:
        assert rank["leaving"]["resumed"] == rank["equality"]["springs1"]["weights"]


def test_all_processes_report_a_loss_that_is_infinite_on_one(found: list[dict[str, Any]]) -> None:
    messages = [rank["leaving"]["diverged"] for rank in found]
    assert messages[0] == messages[1]
    assert "the loss is not finite (NaN or infinite) at step 9" in messages[0]


def test_one_process_alone_writes_the_folder_of_a_case(found: list[dict[str, Any]]) -> None:
    files = {"best.safetensors", "case.toml", "checkpoints", "log.txt", "metrics.csv", "model.safetensors"}
    files |= {"model.toml", "provenance.json", "results.json"}
    assert [set(rank["case"]) for rank in found] == [files, files]


def test_all_processes_stop_at_the_wall_time(found: list[dict[str, Any]]) -> None:
    assert [rank["leaving"]["wall_time"] for rank in found] == [1, 1]


def test_a_process_of_several_without_a_group_is_told_to_open_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="process_group"):
        Group.current()


def tensor(values: list[Any]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("name", sorted(MIXTURES))
def test_experts_shared_by_two_processes_answer_and_learn_as_those_of_one(
    found: list[dict[str, Any]], name: str
) -> None:
    torch.manual_seed(3)
    layer = MixtureOfExperts(12, 20, experts=4, **MIXTURES[name]).double()
    halves = [mixture_tokens()[rank::2].requires_grad_() for rank in range(2)]
    # Capacity is that of one process's tokens; the shares in the balance are those of all.
    alone = [layer(half) for half in halves]
    shares = sum(report.load for _, report in alone) / 2
    loss = torch.zeros((), dtype=torch.float64)
    for half, (y, report) in zip(halves, alone, strict=True):
        balance = layer.router(half).balance_loss(shares)
        loss = loss + 0.5 * (y.square().mean() + 0.1 * balance + 0.01 * report.z_loss)
    loss.backward()
    shared = [rank["experts"][name] for rank in found]
    for half, (y, _), one in zip(halves, alone, shared, strict=True):
        torch.testing.assert_close(tensor(one["y"]), y.detach(), rtol=0, atol=1e-12)
        torch.testing.assert_close(tensor(one["tokens"]) / 2, half.grad, rtol=0, atol=1e-12)
        assert one["load"] == pytest.approx(shares.tolist(), abs=1e-7)
        assert one["dropped"] == pytest.approx(sum(float(each.dropped) for _, each in alone) / 2, abs=1e-6)
    for weight, own in (("up", layer.experts.up), ("down", layer.experts.down)):
        together = tensor(shared[0][weight] + shared[1][weight])
        torch.testing.assert_close(together, own.grad, rtol=0, atol=1e-12)
    router = tensor(shared[0]["router"])
    torch.testing.assert_close(router, layer.router.linear.weight.grad, rtol=0, atol=1e-12)
    assert (shared[0]["dropped"] > 0) == (name == "limited")


# Of metrics and of weights: float64 to rounding; float32, eight steps of Adam. Gradients of two processes are averaged
# after they are rounded to bfloat16, and Adam makes full steps of 0.01 along those near zero too: a few hundredths of
# the embedding, whose weights are 0.02, come out otherwise.
CLOSE = {"springs": (1e-11, 1e-12), "sentences": (2e-4, 2e-5), "masters": (2e-2, 0.15)}


def closeness(name: str) -> tuple[float, float]:
    return CLOSE.get(name, CLOSE[TRAINED[name][0]])


def assert_weights_agree(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], name: str) -> None:
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        difference = (found[key].double() - value.double()).norm() / value.double().norm()
        assert difference <= closeness(name)[1], f"{key}: {difference:.2e}"


def agreeing(metrics: dict[str, float], name: str) -> Any:
    # The load of halves that differ in size is their plain mean.
    loose = {"busiest_expert": 0.2}
    return {key: pytest.approx(value, rel=loose.get(key, closeness(name)[0])) for key, value in metrics.items()}


@pytest.mark.parametrize("name", TRAINED)
def test_the_trainer_spreads_a_model_and_takes_the_steps_of_one_process(
    found: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(MetricsTable, "plot", lambda *_: None)
    alone = spread_trainer(tmp_path, name, ranks=1)
    alone.fit()
    together = found[0]["trainings"][name]
    assert together["test"] == agreeing(alone.evaluate("test"), name)
    for row, expected in zip(together["rows"], alone.table.rows, strict=True):
        assert row.pop("split") == expected.pop("split")
        assert row == agreeing(expected, name)
    whole = load_file(Path(found[0]["folder"]) / f"{name}.safetensors")
    assert_weights_agree(whole, alone.state.whole(alone.model.state_dict()), name)


@pytest.mark.parametrize("name", TRAINED)
def test_one_process_goes_on_from_the_checkpoint_of_two(
    found: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(MetricsTable, "plot", lambda *_: None)
    of_two = Path(found[0]["folder"])
    shutil.copytree(of_two / name / "checkpoints" / "step_000000004", tmp_path / "checkpoints" / "step_000000004")
    resumed = spread_trainer(tmp_path, name, ranks=1, resuming=True)
    resumed.fit()
    assert resumed.table.rows[0]["step"] == 6
    whole = resumed.state.whole(resumed.model.state_dict())
    assert_weights_agree(whole, load_file(of_two / f"{name}.safetensors"), name)


def test_a_pipeline_goes_on_from_the_checkpoint_of_shards(found: list[dict[str, Any]]) -> None:
    folder = Path(found[0]["folder"])
    restaged, sharded = (load_file(folder / f"{name}.safetensors") for name in ("restaged", "sharded"))
    assert_weights_agree(restaged, sharded, "sharded")


def test_a_case_of_a_language_model_runs_as_a_pipeline(found: list[dict[str, Any]]) -> None:
    folder = Path(found[0]["folder"]) / "staged case"
    model = Transformer(**tomllib.loads((folder / "model.toml").read_text())["config"])
    model.load_state_dict(load_file(folder / "model.safetensors"))
    assert load_file(folder / "best.safetensors").keys() == model.state_dict().keys()
    results = json.loads((folder / "results.json").read_text())
    assert results["steps"] == 4 and results["test bits_per_byte [bits]"] < 9


@pytest.mark.slow
def test_a_training_goes_from_two_processes_to_one_and_on_to_four(
    found: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MetricsTable, "plot", lambda *_: None)
    of_two = Path(found[0]["folder"])
    for name in FOUR:
        folder = tmp_path / "of_one" / name
        shutil.copytree(of_two / name / "checkpoints" / "step_000000004", folder / "checkpoints" / "step_000000004")
        outcome = spread_trainer(folder, name, ranks=1, resuming=True, wall_time="1e-9 min").fit()
        assert outcome.step == 5
    torchrun("four_ranks.py", str(tmp_path), processes=4)
    for name in FOUR:
        whole = load_file(of_two / f"{name}.safetensors")
        assert_weights_agree(load_file(tmp_path / f"{name}.safetensors"), whole, name)


def test_gradients_that_travel_in_bfloat16_move_the_weights_nearly_alike(found: list[dict[str, Any]]) -> None:
    """A gradient of 8 bits errs by up to 0.4 %; 20 steps of Adam at 0.01 move a weight by 0.2 at most."""
    one, other = (torch.tensor(rank["communications"]["bfloat16"]) for rank in found)
    plain = torch.tensor(found[0]["communications"]["plain"])
    assert torch.equal(one, other)
    assert 0.0 < float((one - plain).abs().max()) < 0.02


def test_adasum_combines_what_each_process_found(found: list[dict[str, Any]]) -> None:
    assert found[0]["communications"]["adasum"] == found[1]["communications"]["adasum"]
    assert max(rank["communications"]["adasum error"] for rank in found) < 1e-12


def test_local_steps_end_with_the_same_weights_on_all_processes(found: list[dict[str, Any]]) -> None:
    one, other = (rank["communications"]["local"] for rank in found)
    assert one == other
    assert one != found[0]["communications"]["plain"]


def test_a_training_of_local_steps_stops_where_all_agree_and_resumes_to_the_same_bits(
    found: list[dict[str, Any]],
) -> None:
    for rank in found:
        assert rank["communications"]["local stopped"][-1] == "step_000000010"
        assert rank["communications"]["local resumed"] == rank["communications"]["local"]


def test_adasum_adds_orthogonal_gradients_and_averages_equal_ones() -> None:
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    assert torch.equal(adasum(first, second), first + second)
    assert torch.equal(adasum(second, second), second)
    assert torch.equal(adasum(first, torch.zeros(2)), first)
