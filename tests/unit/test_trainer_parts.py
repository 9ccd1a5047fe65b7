"""The parts of the trainer, each by itself: batches, schedules, means, the table, the optimizer, the config."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pydantic
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mindsci.errors import InputError
from mindsci.train import Batches, Constant, Cosine, Group, OptimizerConfig, Plateau, TrainerConfig
from mindsci.train.metrics import Means, MetricsTable
from mindsci.train.optimizer import build_optimizer


def numbers(n: int) -> dict[str, torch.Tensor]:
    return {"i": torch.arange(n)}


def test_an_epoch_holds_each_item_once_and_the_next_another_order() -> None:
    batches = Batches(numbers(10), 4, shuffle_seed=1)
    epochs = [torch.cat([batches.at(epoch * 3 + i)["i"] for i in range(len(batches))]).tolist() for epoch in range(3)]
    assert len(batches) == 3
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_a_batch_depends_on_its_step_alone() -> None:
    forwards = Batches(numbers(10), 4, shuffle_seed=1)
    backwards = Batches(numbers(10), 4, shuffle_seed=1)
    expected = [forwards.at(step)["i"].tolist() for step in range(9)]
    found = [backwards.at(step)["i"].tolist() for step in reversed(range(9))]
    assert found[::-1] == expected
    assert Batches(numbers(10), 4, shuffle_seed=2).at(0)["i"].tolist() != expected[0]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 30), st.integers(1, 9), st.integers(1, 5), st.integers(0, 20))
def test_the_shards_of_a_batch_are_the_batch(n: int, size: int, world: int, step: int) -> None:
    batches = Batches(numbers(n), size, shuffle_seed=0)
    shards = [batches.shard(rank, world) for rank in range(world)]
    held = [shard.at(step)["i"].tolist() for shard in shards if shard.weight(step)]
    assert [item for part in held for item in part] == batches.at(step)["i"].tolist()
    assert sum(shard.weight(step) for shard in shards) == batches.weight(step) == shards[0].whole_weight(step)
    assert all(len(shard.at(step)["i"]) >= 1 for shard in shards)


def test_a_shard_of_a_shard_is_a_shard() -> None:
    batches = Batches(numbers(24), 12)
    assert batches.shard(1, 2).shard(2, 3).at(1)["i"].tolist() == batches.shard(5, 6).at(1)["i"].tolist()


def test_collate_gets_all_indices_of_a_batch_at_once() -> None:
    def collate(items: list[str], indices: torch.Tensor) -> str:
        return "".join(items[index] for index in indices)

    assert Batches(list("abcdefg"), 3, collate, drop_last=True).at(1) == "def"


def test_weights_of_items_weigh_their_batch() -> None:
    batches = Batches(numbers(5), 3, weights=torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0]))
    assert [batches.weight(step) for step in range(3)] == [7.0, 24.0, 7.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"items": numbers(0), "batch_size": 4}, "0 items"),
        ({"items": numbers(3), "batch_size": 0}, "batches of 0"),
        ({"items": numbers(3), "batch_size": 4, "drop_last": True}, "drop_last"),
        ({"items": {"a": torch.zeros(3), "b": torch.zeros(4)}, "batch_size": 2}, r"\[3, 4\] rows"),
        ({"items": numbers(3), "batch_size": 2, "weights": torch.ones(2)}, r"expected \[3\]"),
    ],
)
def test_batches_that_cannot_be_made_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Batches(**arguments)


def test_the_warmup_rises_in_equal_parts_and_ends_below_the_full_rate() -> None:
    schedule = Constant(warmup_steps=3)
    assert [schedule.scale(step, steps=10) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_the_cosine_starts_full_passes_its_middle_and_ends_on_the_final_fraction() -> None:
    schedule = Cosine(final_fraction=0.2, warmup_steps=10)
    assert schedule.scale(10, steps=111) == 1.0
    assert schedule.scale(60, steps=111) == pytest.approx(0.6, rel=1e-15)
    assert schedule.scale(35, steps=111) == pytest.approx(0.2 + 0.4 * (1 + math.sqrt(0.5)), rel=1e-15)
    assert schedule.scale(110, steps=111) == pytest.approx(0.2, rel=1e-15)
    assert schedule.scale(500, steps=111) == pytest.approx(0.2, rel=1e-15)


def test_a_plateau_has_a_floor() -> None:
    schedule = Plateau(factor=0.1, final_fraction=0.005)
    assert [schedule.scale(9, steps=10, reductions=n) for n in range(4)] == pytest.approx([1, 0.1, 0.01, 0.005])


def test_a_schedule_may_be_given_by_its_name_alone() -> None:
    assert TrainerConfig.model_validate({"steps": 5, "schedule": "cosine"}).schedule == Cosine()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": {"name": "cosine", "patience": 3}}, "patience"),
        ({"schedule": {"name": "linear"}}, "plateau"),
        ({"schedule": {"name": "constant", "warmup_steps": 10}}, "leaves no step of the 10"),
        ({"patience": 3, "validate_every": 0}, "validate_every"),
        ({"schedule": "plateau", "validate_every": 0}, "validate_every"),
        ({"wall_time": 40}, "has no unit"),
        ({"wall_time": "40 m"}, "min"),
        ({"ema_decay": 1.0}, "less than 1"),
        ({"epochs": 3}, "epochs"),
    ],
)
def test_settings_that_contradict_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((pydantic.ValidationError, InputError), match=message):
        TrainerConfig.model_validate({"steps": 10} | settings)


def test_a_config_survives_its_own_dump() -> None:
    config = TrainerConfig.model_validate({"steps": 10, "wall_time": "0.5 hours", "schedule": {"name": "plateau"}})
    assert config.wall_time == 30.0
    assert TrainerConfig.model_validate(config.model_dump(mode="json", exclude_none=True)) == config


def test_weight_decay_spares_biases() -> None:
    model = nn.Linear(2, 2)
    optimizer = build_optimizer(model, OptimizerConfig(weight_decay=0.1))
    decay = {group["weight_decay"]: [p.shape for p in group["params"]] for group in optimizer.param_groups}
    assert decay == {0.1: [(2, 2)], 0.0: [(2,)]}


def test_every_implementation_of_the_optimizer_takes_the_same_step() -> None:
    found = []
    for implementation in ("fused", "foreach", "loop", "auto"):
        torch.manual_seed(0)
        model = nn.Linear(3, 3, dtype=torch.float64)
        optimizer = build_optimizer(model, OptimizerConfig(weight_decay=0.1, implementation=implementation))
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(3, dtype=torch.float64)).square().sum().backward()
            optimizer.step()
        found.append(model.weight.detach().clone())
    for weight in found[1:]:
        torch.testing.assert_close(weight, found[0], rtol=1e-13, atol=0)


def test_complex_weights_are_optimized_too() -> None:
    parameter = nn.Parameter(torch.tensor([1 + 1j, 2 - 1j]))
    model = nn.ParameterList([parameter])
    optimizer = build_optimizer(model, OptimizerConfig(learning_rate=0.1))
    for _ in range(200):
        optimizer.zero_grad()
        parameter.abs().square().sum().backward()
        optimizer.step()
    assert float(parameter.detach().abs().max()) < 0.05


def test_means_are_weighted_and_survive_a_checkpoint() -> None:
    means = Means()
    means.add(torch.tensor(1.0), {"error": torch.tensor(10.0)}, 3.0)
    means.add(torch.tensor(math.nan), {"error": torch.tensor(math.nan)}, 0.0)
    means = Means.from_state(means.state_dict(Group()), Group(), torch.device("cpu"))
    means.add(torch.tensor(5.0), {"error": torch.tensor(20.0)}, 1.0)
    assert means.averages(Group()) == {"loss": 2.0, "error": 12.5}


def test_the_table_cuts_rows_after_a_checkpoint_and_a_row_half_written(tmp_path: Path) -> None:
    table = MetricsTable(tmp_path / "metrics.csv")
    table.start(0)
    for step in (10, 20, 30):
        table.add({"step": step, "split": "train", "learning_rate": 0.1, "loss": 1 / step})
    table.add({"step": 30, "split": "validation", "learning_rate": 0.1, "loss": 0.5, "error": 0.25})
    with table.path.open("a") as lines:
        lines.write("4")
    again = MetricsTable(table.path)
    again.start(20)
    assert [row["step"] for row in again.rows] == [10, 20]
    assert again.rows[1]["loss"] == 1 / 20
    assert table.path.read_text().splitlines() == [
        "step,split,learning_rate,loss", "10,train,0.1,0.1", "20,train,0.1,0.05"
    ]  # fmt: skip
