"""The switch for speed: what each level sets, what a case keeps for itself, and that O1 changes rounding alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor
from training_tasks import Regression, RegressionCase, Springs, trainer

from mindsci.errors import InputError
from mindsci.train import Task
from mindsci.train.boost import boosted, decide, explain
from mindsci.train.metrics import MetricsTable
from mindsci.train.muon import Muon, centralise, orthogonalised

TABLES: dict[str, Any] = {"task": "test/regression", "trainer": {"steps": 400}}


class Itemised(Regression):
    """A regression that offers what the strategies ask for: losses of items, and coarser ones."""

    def item_losses(self, batch: Any) -> Float[Tensor, " items"]:
        return (self.model(batch["x"])[:, 0] - batch["y"]).square()

    def coarsened(self, batch: Any, share: float) -> Any:
        return batch | {"x": batch["x"] * (torch.arange(3) < round(3 * share))}


class ItemisedCase(RegressionCase):
    task_type = Itemised


class SpringsCase(RegressionCase):
    task_type = Springs


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MetricsTable, "plot", lambda *_: None)


def case(level: str, kind: type[RegressionCase] = RegressionCase, **trained: Any) -> RegressionCase:
    return kind.model_validate(TABLES | {"boost": level, "trainer": TABLES["trainer"] | trained})


def test_each_level_keeps_what_the_one_before_turned_on() -> None:
    on = [{one.acceleration.key for one in decide(case(f"O{level}", ItemisedCase)) if one.on} for level in range(4)]
    assert on[0] == set()
    assert on[0] < on[1] < on[2] <= on[3]
    assert {"trainer.optimizer.name", "trainer.resolution_warmup"} <= on[2]


def test_a_level_sets_keys_and_setting_them_again_changes_nothing() -> None:
    plain, fast = case("O0"), case("O3")
    assert boosted(plain).trainer.optimizer.implementation == "loop"
    once = boosted(fast)
    assert once.trainer.optimizer.name == "muon"
    assert once.trainer.batch_warmup is None  # by hand alone
    assert once.trainer.scaled().steps == 200
    assert boosted(case("O3", ItemisedCase)).trainer.scaled().steps == 280
    assert boosted(once) == once


def test_what_a_case_says_itself_stays() -> None:
    found = boosted(case("O3", optimizer={"name": "adam"}, schedule_scale=1.0))
    assert found.trainer.optimizer.name == "adam"
    assert found.trainer.scaled().steps == 400
    assert boosted(case("O3", batch_warmup={"start": 0.5})).trainer.batch_warmup.start == 0.5


def test_the_explanation_says_why_a_key_is_off() -> None:
    text = explain(case("O3", SpringsCase, ema_decay=0.9))
    assert "the loss holds derivatives of the model" in text
    assert "the case sets it itself" in text
    assert "the task has no losses of single items" in text
    assert "one process has nobody to talk to" in text
    assert "by hand: no gain on SchNet" in text


def test_o1_changes_numbers_by_rounding_alone(tmp_path: Path) -> None:
    """The fused step and the loop round differently: 1e-12 after 20 steps in double precision."""
    weights = []
    for level in ("O0", "O1"):
        made = trainer(
            tmp_path / level, Regression(dtype=torch.float64), precision="float64",
            optimizer={"implementation": boosted(case(level)).trainer.optimizer.implementation},
        )  # fmt: skip
        made.fit()
        weights.append(torch.cat([parameter.detach().flatten() for parameter in made.model.parameters()]))
    assert torch.allclose(weights[0], weights[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_batches_that_a_thread_makes_are_the_same_to_the_bit(tmp_path: Path, accumulate: int) -> None:
    found = []
    for prefetch in ("never", "always"):
        made = trainer(tmp_path / prefetch, prefetch=prefetch, accumulate=accumulate)
        made.fit()
        found.append(made.model.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


class Noted(Itemised):
    """Notes the sizes of its training batches."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes_seen: list[int] = []

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        if self.model.training:
            self.sizes_seen.append(len(batch["x"]))
        return super().loss(batch)


def test_a_batch_warmup_uses_a_growing_share_of_each_batch(tmp_path: Path) -> None:
    task = Noted()
    trainer(tmp_path, task, batch_warmup={"start": 0.25, "share": 0.5}).fit()
    # 37 items in batches of 8: the fifth of each epoch holds 5. The share is 0.25 + 0.75 step / 10.
    whole = [5 if step % 5 == 4 else 8 for step in range(20)]
    assert task.sizes_seen == [round(min(1.0, 0.25 + 0.075 * step) * size) for step, size in enumerate(whole)]


def test_selective_backpropagation_keeps_the_items_of_largest_loss(tmp_path: Path) -> None:
    task = Noted()
    made = trainer(tmp_path, task, selective={"keep": 0.5, "begin": 0.5, "end": 1.0})
    batch = task.batches("train").at(0)
    losses = task.item_losses(batch).detach()
    assert torch.equal(made._parts.chosen(9, batch)["x"], batch["x"])
    kept = task.item_losses(made._parts.chosen(10, batch)).detach()
    assert torch.allclose(kept.sort().values, losses.sort().values[4:])
    made.fit()
    assert task.sizes_seen[10:] == [2 if step % 5 == 4 else 4 for step in range(10, 20)]


def test_a_resolution_warmup_asks_the_task_for_coarser_items(tmp_path: Path) -> None:
    made = trainer(tmp_path, Itemised(), resolution_warmup={"start": 0.34, "share": 1.0})
    first, last = made._parts.at(0, 0)["x"], made._parts.at(19, 0)["x"]
    assert bool((first[:, 1:] == 0).all())
    assert bool((last != 0).all())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"selective": {}}, r"trainer.selective: Regression has no `item_losses`"),
        ({"resolution_warmup": {}}, r"trainer.resolution_warmup: Regression has no `coarsened`"),
    ],
)
def test_what_a_task_does_not_offer_is_refused(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        trainer(tmp_path, **settings)


def test_compiling_a_loss_of_second_order_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds derivatives of the model"):
        trainer(tmp_path, Springs(), compile="always")


def test_local_steps_must_divide_the_steps_between_validations(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"validate_every = 5 is no multiple of communication.local_steps = 4"):
        trainer(tmp_path, communication={"local_steps": 4})


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 8, 20), (2, 20, 8), (1, 6, 6)):
        given = torch.randn(shape, generator=generator, dtype=torch.float64)
        left, _, right = torch.linalg.svd(given, full_matrices=False)
        found = orthogonalised(given)
        sizes = torch.linalg.svdvals(found)
        assert 0.6 < float(sizes.min()) < float(sizes.max()) < 1.3
        # The singular vectors stay: U^T X V is diagonal.
        inner = left.mT @ found @ right.mT
        assert torch.allclose(inner, torch.diag_embed(inner.diagonal(dim1=-2, dim2=-1)), atol=1e-10)


def test_muon_takes_adamw_for_what_is_no_matrix() -> None:
    """One step of each on a bias alone is the same; a matrix moves by the size that goes with the rate."""
    generator = torch.Generator().manual_seed(0)
    bias, matrix = (torch.randn(shape, generator=generator) for shape in ((5,), (8, 4)))
    gradients = [torch.randn(tensor.shape, generator=generator) for tensor in (bias, matrix)]
    moved = []
    for kind in (torch.optim.AdamW, Muon):
        own = [tensor.clone().requires_grad_() for tensor in (bias, matrix)]
        for tensor, gradient in zip(own, gradients, strict=True):
            tensor.grad = gradient.clone()
        groups = [{"params": own, "weight_decay": 0.0}]
        kind(groups, lr=0.1).step()  # type: ignore[operator]
        moved.append([tensor.detach() for tensor in own])
    assert torch.allclose(moved[0][0], moved[1][0], rtol=1e-6)
    step = (moved[1][1] - matrix) / 0.1
    assert torch.allclose(step, -0.2 * 8**0.5 * orthogonalised(gradients[1][None])[0], atol=1e-5)


def test_muon_resumes_to_the_same_bits(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"optimizer": {"name": "muon", "learning_rate": 1e-2, "centralise": True}}
    whole = trainer(tmp_path / "whole", **settings)
    whole.fit()
    trainer(tmp_path / "half", steps=10, **settings).fit()
    rest = trainer(tmp_path / "half", resuming=True, **settings)
    rest.fit()
    state = whole.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in rest.model.state_dict().items())


def test_centralised_gradients_have_rows_without_a_mean() -> None:
    weight, bias = torch.zeros(4, 6), torch.zeros(4)
    for tensor in (weight, bias):
        tensor.grad = torch.rand(tensor.shape, generator=torch.Generator().manual_seed(1))
    before = bias.grad.clone()  # type: ignore[union-attr]
    centralise([weight, bias])
    assert torch.allclose(weight.grad.mean(1), torch.zeros(4), atol=1e-7)  # type: ignore[union-attr]
    assert torch.equal(bias.grad, before)  # type: ignore[arg-type]


def test_a_task_offers_only_what_it_has() -> None:
    assert Itemised.offers("item_losses")
    assert not Regression.offers("item_losses")
    assert not Task.offers("coarsened")
