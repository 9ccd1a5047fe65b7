"""Plans of trainings: layouts, ledgers, and what the command prints; real shards: tests/distributed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from mindsci.cli import app
from mindsci.distributed import Layout, Machine, Profile, estimates, ledger, profile
from mindsci.distributed.ledger import activations
from mindsci.distributed.planner import step_times
from mindsci.errors import InputError
from mindsci.nn import Transformer

SMALL: dict[str, Any] = {"vocabulary": 256, "features": 64, "heads": 4, "layers": 4, "experts": 8}
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture(scope="module")
def small() -> Profile:
    return profile(Transformer, SMALL, 32)


def test_a_profile_counts_the_parameters_of_the_model_without_making_it(small: Profile) -> None:
    model = Transformer(**SMALL)
    experts = 4 * 8 * 2 * 64 * 256
    assert small.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert (small.experts, small.rest) == (experts, 2 * 256 * 64 + 64)
    assert small.active == small.block + small.rest + experts * 2 / 8
    assert torch.get_default_dtype() == torch.float32


def test_what_a_profile_says_a_token_keeps_is_what_a_real_step_keeps(small: Profile) -> None:
    model = Transformer(**SMALL).bfloat16()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits, _ = model(torch.randint(0, 256, (1, 32)))
    assert logits.requires_grad
    outside = small.kept_rest - 2 * 4.0 * 256  # the cross entropy is not run here
    # Index tables of a few bytes are counted by place in one and by content in the other.
    assert sum(kept.values()) / 32 == pytest.approx(small.kept + outside, rel=0.02)


def test_with_the_optimizer_on_the_host_a_device_holds_four_bytes_for_each_of_its_parameters(small: Profile) -> None:
    layout = Layout(data=8, expert=8, shard="parameters", offload="optimizer", precision="bfloat16")
    found = ledger(small, layout, 8 * 32)
    # Experts alone are of one process; gradients leave as they come, and need room for one block's.
    assert found.weights == pytest.approx(2 * small.parameters / 8)
    assert found.gathered <= 2 * small.parameters and found.gradients == found.optimizer == 0
    assert found.host == pytest.approx(14 * small.parameters / 8)
    plain = ledger(small, Layout(data=8, precision="bfloat16"), 8 * 32)
    assert plain.weights + plain.gradients + plain.optimizer == pytest.approx(16 * small.parameters)


def test_a_pipeline_keeps_as_many_micro_batches_as_it_has_stages_and_idles_between_them(small: Profile) -> None:
    tokens = 64 * 32
    layouts = [Layout(pipeline=4, micro_batches=parts) for parts in (4, 16)]
    four, sixteen = (activations(small, layout, tokens)[0] for layout in layouts)
    assert four == pytest.approx(4 * sixteen)
    for layout in layouts:
        times = step_times(small, layout, Machine(memory=1e9), tokens)
        assert times["idle"] / times["arithmetic"] == pytest.approx(3 / layout.micro_batches)


def test_the_first_layout_is_the_fastest_of_all_that_fit_and_the_rest_say_why_not(small: Profile) -> None:
    machine = Machine(memory=4e6, link=1e9)
    found = estimates(small, 8, machine, tokens=64 * 32)
    fitting = [one for one in found if not one.reason]
    assert fitting and found[0] is fitting[0]
    assert all(one.ledger.device <= machine.memory for one in fitting)
    assert found[0].seconds == min(one.seconds for one in fitting)
    assert all("of 0.0 GiB on the device" in one.reason for one in found if one.reason)
    assert all(one.layout.ranks == 8 and 8 % one.layout.expert == 0 for one in found)
    assert len({one.layout for one in found}) == len(found)


def test_a_batch_that_cannot_be_cut_is_refused(small: Profile) -> None:
    with pytest.raises(InputError, match="make batch_size a multiple of 5"):
        estimates(small, 5, Machine(memory=1e9), tokens=3 * 32)


def test_the_command_prints_a_plan_and_fails_where_none_fits(tmp_path: Path) -> None:
    case = tmp_path / "case.toml"
    case.write_text(
        'task = "mindsci/language_model"\n[data]\nlength = 32\nbatch_size = 16\n'
        "[model]\nfeatures = 32\nlayers = 2\nexperts = 4\n[trainer]\nsteps = 1\n"
    )
    runner = CliRunner()
    found = runner.invoke(app, ["plan", str(case), "--ranks", "4", "--memory", "1 GiB", "--json"])
    plan = json.loads(found.stdout)
    assert found.exit_code == 0 and plan["fits"]
    assert Layout(**plan["layout"]).ranks == 4
    printed = runner.invoke(app, ["plan", str(case), "--ranks", "4", "--memory", "1 GiB"]).stdout
    assert "".join(f"{key} = {json.dumps(value)}\n" for key, value in plan["layout"].items()) in printed
    short = runner.invoke(app, ["plan", str(case), "--ranks", "4", "--memory", "10 kB"])
    assert short.exit_code == 1 and "none fits" in short.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("name", "ranks", "billions"), [("61b", 8, 61.2), ("242b", 32, 242.0)])
def test_mixtures_of_the_sizes_that_mindspore_reports_fit(name: str, ranks: int, billions: float) -> None:
    case = EXAMPLES / f"plan_moe_{name}.toml"
    found = CliRunner().invoke(app, ["plan", str(case), "--ranks", str(ranks), "--memory", "32GiB", "--json"])
    plan = json.loads(found.stdout)
    assert plan["fits"] and plan["parameters"] == pytest.approx(1e9 * billions, rel=2e-3)
    assert plan["ledger"]["device"] < 32 * 2**30
