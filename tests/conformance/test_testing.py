"""The conformance checks themselves: what keeps the contract passes, and each breach is named."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from training_tasks import Network, Regression, Springs

from mindsci import tree
from mindsci.errors import InputError
from mindsci.solvers.splitting import Splitting
from mindsci.testing import ConformanceError, check_card, check_flow, check_module, check_task
from mindsci.train import Batches
from mindsci.tree import Tree


class State(Tree):
    x: Tensor
    p: Tensor


class Drift(Tree):
    reversible = True

    def __call__(self, state: State, t: float, dt: float) -> State:
        return tree.replace(state, x=state.x + dt * state.p)


class Kick(Tree):
    reversible = True

    def __call__(self, state: State, t: float, dt: float) -> State:
        return tree.replace(state, p=state.p - dt * state.x.sin())


class Mutating(Drift):
    def __call__(self, state: State, t: float, dt: float) -> State:
        state.x.add_(dt)
        return state


class Damped(Drift):
    def __call__(self, state: State, t: float, dt: float) -> State:
        return tree.replace(state, p=state.p * (1 - abs(dt)))


class Narrowing(Drift):
    def __call__(self, state: State, t: float, dt: float) -> State:
        return tree.replace(state, x=state.x.float())


class Random(Drift):
    def __call__(self, state: State, t: float, dt: float) -> State:
        return tree.replace(state, p=state.p + torch.randn_like(state.p))


class Cut(Drift):
    def __call__(self, state: State, t: float, dt: float) -> State:
        return tree.replace(state, x=state.x + dt * state.p.detach() ** 3)


class Settings(Drift):
    def __call__(self, state: State, t: float, dt: float) -> State:
        torch.set_default_dtype(torch.float64)
        return super().__call__(state, t, dt)


@pytest.fixture
def state() -> State:
    generator = torch.Generator().manual_seed(0)
    x, p = (torch.randn(4, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    return State(x=x, p=p)


@pytest.mark.parametrize("flow", [Drift(), Kick(), Splitting(flows={"B": Kick(), "A": Drift()}, order="BAB")])
def test_flows_that_keep_the_contract_pass(flow: Any, state: State) -> None:
    check_flow(flow, state, 0.1)


@pytest.mark.parametrize(
    ("flow", "message"),
    [
        (Mutating(), "changed the state"),
        (Damped(), "-dt does not undo it: 'p' is off"),
        (Narrowing(), "x: torch.float64.*became torch.float32"),
        (Random(), "two results for one state"),
        (Cut(), "derivative along a random direction"),
        (Settings(), "default dtype"),
    ],
)
def test_flows_that_break_the_contract_are_told_how(flow: Any, message: str, state: State) -> None:
    default = torch.get_default_dtype()
    with pytest.raises(ConformanceError, match=message):
        check_flow(flow, state, 0.1)
    torch.set_default_dtype(default)


def test_a_flow_is_checked_in_float64(state: State) -> None:
    with pytest.raises(InputError, match=r"x is torch.float32.*tree.to"):
        check_flow(Drift(), tree.to(state, dtype=torch.float32), 0.1)


@pytest.mark.parametrize("kind", [Regression, Springs])
def test_tasks_that_keep_the_contract_pass(kind: type[Regression]) -> None:
    check_task(kind())


class Vector(Regression):
    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        return (self.model(batch["x"])[:, 0] - batch["y"]).square(), {}


class Blind(Springs):
    """The last bias has no force, so a loss on forces alone never teaches it."""

    units = {}

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        x = batch["x"].detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.model(x).sum(), x, create_graph=self.model.training)
        return (slope - batch["x"].cos()).square().mean(), {}


def noisy(items: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    return {name: values[rows] + torch.rand(()) for name, values in items.items()}


class Shifting(Regression):
    def batches(self, split: str) -> Batches:
        return Batches(self.items[split], 8, noisy)


class Unbuildable(Regression):
    def __init__(self) -> None:
        super().__init__()
        self.model.config = {"width": 5}


class Strangers(Regression):
    units = {"eror": "m"}


class NeedsTraining(Springs):
    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        loss, metrics = super().loss(batch)
        torch.autograd.grad(loss, list(self.model.parameters()), retain_graph=True)
        return loss, metrics


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Vector, "must return a scalar"),
        (Blind, r"does not depend on 3\.bias"),
        (Shifting, r"batches.at\(0\) differs"),
        (Unbuildable, "does not build the model again"),
        (Strangers, "eror"),
        (NeedsTraining, "fails in eval mode"),
    ],
)
def test_tasks_that_break_the_contract_are_told_how(kind: type[Regression], message: str) -> None:
    with pytest.raises(ConformanceError, match=message):
        check_task(kind())


class Forgetful(nn.Module):
    """Holds a tensor that its weights do not name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.register_buffer("hidden", torch.ones(3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.hidden += 1
        return self.layer(x) * self.hidden


def test_a_model_that_survives_storage_passes() -> None:
    check_module(Network(), torch.ones(2, 3))


def test_a_model_that_hides_state_from_its_weights_is_told_so() -> None:
    with pytest.raises(ConformanceError, match="another output after its weights were stored"):
        check_module(Forgetful(), torch.ones(2, 3))


def card(folder: Path, *, checksum: str | None = None, reader: str = "training_tasks:read_nothing") -> Path:
    folder = folder / "datasets" / "tiny"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("A tiny data set.\n")
    (folder / "tiny.csv").write_text("1\n")
    checksum = checksum or hashlib.sha256(b"1\n").hexdigest()
    (folder / "card.toml").write_text(
        f"""
name = "tiny"
title = "A tiny data set"
licence = "CC0-1.0"
source = "written for this test"
citation = "none"
reader = "{reader}"
units = {{ x = "m" }}
shapes = {{ x = "samples" }}
splits = {{ train = {{ files = ["tiny.csv"], samples = 1 }} }}
files = [{{ name = "tiny.csv", sha256 = "{checksum}", bytes = 2 }}]
"""
    )
    return folder


def test_a_card_that_keeps_the_contract_passes(tmp_path: Path, declare: Callable[..., None]) -> None:
    declare(readers={"tiny": "training_tasks:read_nothing"})
    check_card(card(tmp_path))


def test_a_card_whose_file_or_code_is_wrong_is_told_so(tmp_path: Path, declare: Callable[..., None]) -> None:
    declare(readers={"tiny": "training_tasks:read_nothing", "gone": "training_tasks:raed_nothing"})
    with pytest.raises(ConformanceError, match=r"tiny.csv"):
        check_card(card(tmp_path / "a", checksum="0" * 64))
    with pytest.raises(ConformanceError, match="no attribute 'raed_nothing'"):
        check_card(card(tmp_path / "b", reader="training_tasks:raed_nothing"))
    missing = card(tmp_path / "c")
    (missing / "tiny.csv").unlink()
    with pytest.raises(ConformanceError, match="no url or mirror"):
        check_card(missing)
