"""Compiled passes over roots and frequencies against plain torch.

In float64 both compute one sum in another order: 1e-12 of it. In float32 a factor near a root, (f - a)^2 + b^2, carries
the rounding of f - a, some 1e-7 of what is left of it; plain torch has as much: values are held against float64.
"""

from __future__ import annotations

import pytest
import torch

from elec.surrogates import RationalReflection
from elec.surrogates.rational import compiled_log_powers, log_powers
from mindsci.errors import InputError


def roots(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    place = 1.1 * torch.rand(5, count, generator=generator, dtype=torch.float64)
    square = (0.05 * torch.randn(5, count, generator=generator, dtype=torch.float64)).square()
    return place.requires_grad_(), square.requires_grad_(), torch.linspace(0.1, 1.0, 301, dtype=torch.float64)


@pytest.mark.parametrize("count", [1, 16, 17, 40])
def test_values_and_gradients_are_those_of_plain_torch(count: int) -> None:
    place, square, frequency = roots(count)
    found, known = compiled_log_powers(place, square, frequency), log_powers(place, square, frequency)
    torch.testing.assert_close(found, known, rtol=1e-12, atol=1e-12)
    slope = torch.linspace(-1.0, 2.0, known.numel(), dtype=torch.float64).reshape(known.shape)
    for got, wanted in zip(
        torch.autograd.grad(found, (place, square), slope),
        torch.autograd.grad(known, (place, square), slope),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12 * float(wanted.abs().max()))


def test_float32_is_as_near_to_float64_as_plain_torch() -> None:
    place, square, frequency = roots(16)
    exact = log_powers(place, square, frequency).detach()
    single = [value.detach().float() for value in (place, square, frequency)]
    plain = float((log_powers(*single) - exact).abs().max())
    assert float((compiled_log_powers(*single) - exact).abs().max()) < 2.0 * plain
    assert compiled_log_powers(*single).dtype == torch.float32


def test_roots_on_the_axis_give_a_finite_dip() -> None:
    frequency = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    place = torch.full((1, 32), 0.5, dtype=torch.float64)
    found = compiled_log_powers(place, torch.zeros_like(place), frequency)
    torch.testing.assert_close(found, log_powers(place, torch.zeros_like(place), frequency))
    assert bool(found.isfinite().all())


def test_a_second_derivative_is_that_of_differences() -> None:
    place, square, frequency = roots(3)
    square = (square.detach() + 1e-3).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda a, b: compiled_log_powers(a, b, frequency[::60]), (place, square))


def test_the_engines_of_a_model_agree_and_are_chosen_by_name() -> None:
    with torch.random.fork_rng():
        model = RationalReflection(low=[0.0], high=[1.0], frequency_max=1e9, pairs=5, members=2).double()
    designs, frequency = torch.rand(4, 1, dtype=torch.float64), torch.linspace(1e8, 1e9, 50, dtype=torch.float64)
    answers = {}
    for engine in ("reference", "numba"):
        model.engine = engine
        answers[engine] = model(designs, frequency)
    assert answers["numba"].grad_fn is not None
    torch.testing.assert_close(answers["numba"], answers["reference"], rtol=1e-12, atol=1e-10)
    with pytest.raises(InputError, match="frequencies that a gradient is asked for"):
        model(designs, frequency.requires_grad_())
