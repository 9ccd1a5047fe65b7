"""Routers and mixtures of experts on one process; tests/distributed/test_processes.py shares them between two."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import gelu

from mindsci.errors import InputError
from mindsci.nn import Experts, MixtureOfExperts, Router


def layer(**keywords: object) -> MixtureOfExperts:
    torch.manual_seed(0)
    return MixtureOfExperts(8, 16, **({"experts": 4, "choices": 2} | keywords))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("choices", [1, 2, 4])
def test_a_mixture_is_the_weighted_sum_of_all_experts_with_weight_zero_for_those_not_chosen(
    choices: int, dtype: torch.dtype
) -> None:
    mixture = layer(choices=choices).to(dtype)
    x = torch.randn(3, 7, 8, dtype=dtype)
    y, report = mixture(x)
    tokens = x.reshape(-1, 8)
    probabilities = torch.softmax(tokens @ mixture.router.linear.weight.mT, dim=-1)
    chosen = torch.zeros_like(probabilities).scatter(1, probabilities.topk(choices).indices, 1.0)
    weights = probabilities * chosen
    weights = weights / weights.sum(-1, keepdim=True) if choices > 1 else weights
    every = torch.einsum(
        "teh,ehf->tef", gelu(torch.einsum("tf,efh->teh", tokens, mixture.experts.up)), mixture.experts.down
    )
    expected = (weights[..., None] * every).sum(1).reshape(x.shape)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5 if dtype == torch.float32 else 1e-12)
    assert float(report.dropped) == 0 and float(report.load.sum()) == pytest.approx(1.0)


def test_gradients_of_a_mixture_agree_with_finite_differences_to_second_order() -> None:
    mixture = layer().double()
    x = torch.randn(5, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: mixture(x)[0], (x,))
    assert torch.autograd.gradgradcheck(lambda x: mixture(x)[0], (x,))


def test_a_full_expert_drops_second_choices_before_first_and_late_tokens_before_early() -> None:
    mixture = layer(capacity_factor=0.5)  # 8 tokens: 2 places at each of 4 experts
    with torch.no_grad():
        mixture.router.linear.weight.zero_()
        mixture.router.linear.weight[0, 0], mixture.router.linear.weight[1, 0] = 2.0, 1.0
    x = torch.zeros(8, 8)
    x[:, 0] = 1.0
    x[4:, 0] = 1.5
    y, report = mixture(x)
    answered = y.abs().sum(1) > 0
    assert answered.tolist() == [True, True] + [False] * 6
    assert report.load.tolist() == [0.5, 0.5, 0.0, 0.0]
    assert float(report.dropped) == pytest.approx(1 - 4 / 16)


def test_the_balance_loss_is_one_for_an_even_router_and_grows_to_the_number_of_experts() -> None:
    router = Router(8, 4, choices=1)
    router.requires_grad_(False)
    router.linear.weight.zero_()
    routing = router(torch.randn(100, 8))
    even = torch.full((4,), 0.25)
    assert float(routing.balance_loss(even)) == pytest.approx(1.0)
    assert float(routing.z_loss) == pytest.approx(torch.log(torch.tensor(4.0)).item() ** 2, rel=1e-6)
    router.linear.weight[2, 0] = 50.0
    one_sided = router(torch.ones(100, 8))
    assert float(one_sided.balance_loss(one_sided.shares())) == pytest.approx(4.0)


def test_training_with_the_balance_loss_evens_out_the_load() -> None:
    mixture = layer(choices=1)
    with torch.no_grad():
        mixture.router.linear.weight[0] += 0.8
    x = torch.randn(256, 8, generator=torch.Generator().manual_seed(1)) + 0.5
    optimizer = torch.optim.Adam(mixture.parameters(), lr=1e-2)
    loads = []
    for _ in range(100):
        _, report = mixture(x)
        loads.append(float(report.load.max()))
        optimizer.zero_grad()
        report.balance_loss.backward()
        optimizer.step()
    assert loads[0] > 0.6 and loads[-1] < 0.35


def test_processes_that_hold_some_experts_hold_those_of_a_process_that_holds_all() -> None:
    torch.manual_seed(5)
    whole = Experts(4, 6, 5)
    torch.manual_seed(5)
    part = Experts(4, 6, 5, first=2, count=2)
    assert torch.equal(part.up, whole.up[2:4]) and torch.equal(part.down, whole.down[2:4])


def test_no_tokens_give_no_answers_and_no_nan() -> None:
    y, report = layer()(torch.zeros(0, 8))
    assert y.shape == (0, 8)
    assert float(report.dropped) >= 0


def test_more_choices_than_experts_and_a_capacity_of_zero_are_refused() -> None:
    with pytest.raises(InputError, match="choices = 5"):
        layer(choices=5)
    with pytest.raises(InputError, match="capacity_factor = 0"):
        layer(capacity_factor=0.0)
