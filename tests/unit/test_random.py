"""Counter-based noise: a pure function of (seed, counter, element) with the moments of a standard normal."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from mindsci import random

LIKE = torch.empty(1000, 3, dtype=torch.float64)


def test_the_same_counter_gives_the_same_noise_and_another_gives_other_noise() -> None:
    first = random.normal(LIKE, seed=1, counter=5)
    assert torch.equal(first, random.normal(LIKE, seed=1, counter=5))
    assert not torch.equal(first, random.normal(LIKE, seed=1, counter=6))
    assert not torch.equal(first, random.normal(LIKE, seed=2, counter=5))


def test_an_element_sees_the_same_noise_in_any_batch() -> None:
    element = torch.arange(30).reshape(10, 3)
    alone = random.normal(LIKE[:10], seed=7, counter=3, element=element)
    both = random.normal(
        LIKE[:20],
        seed=torch.tensor([7, 8]).repeat_interleave(10)[:, None],
        counter=3,
        element=element.repeat(2, 1),
    )
    assert torch.equal(both[:10], alone)
    assert not torch.equal(both[10:], alone)


def test_moments_are_those_of_a_standard_normal_and_steps_are_uncorrelated() -> None:
    """n = 3e5 values: standard error of the mean 1/sqrt(n), of the variance sqrt(2/n), of the fourth moment
    sqrt(96/n), of a correlation 1/sqrt(n); each is held to five of its own."""
    n = 300_000
    values = torch.cat([random.normal(LIKE, seed=3, counter=step).flatten() for step in range(100)])
    assert values.numel() == n
    assert abs(values.mean()) < 5 / math.sqrt(n)
    assert abs(values.var() - 1) < 5 * math.sqrt(2 / n)
    assert abs((values**4).mean() - 3) < 5 * math.sqrt(96 / n)
    assert abs((values[:-3000] * values[3000:]).mean()) < 5 / math.sqrt(n)
    assert abs((values[:-1] * values[1:]).mean()) < 5 / math.sqrt(n)


def test_uniform_values_fill_the_unit_interval() -> None:
    values = random.uniform(LIKE, seed=3, counter=0).flatten()
    assert values.min() >= 0
    assert values.max() < 1
    # Kolmogorov-Smirnov distance: 1.95 / sqrt(n) is exceeded once in a thousand seeds; the seed is fixed.
    ranks = torch.arange(1, values.numel() + 1) / values.numel()
    assert (values.sort().values - ranks).abs().max() < 1.95 / math.sqrt(values.numel())


@pytest.mark.parametrize("degrees", [0.5, 1.0, 2.0, 5.0, 92.0, 1e5])
def test_chi_squared_values_have_their_distribution(degrees: float) -> None:
    """The largest distance between the distributions of 4000 values passes 1.95 / sqrt(4000) once in a thousand."""
    seeds = random.stream(0, torch.arange(4000))
    found = random.chi_squared(torch.full((4000,), degrees, dtype=torch.float64), seed=seeds, counter=3)
    assert stats.kstest(found.numpy(), stats.chi2(degrees).cdf).statistic < 1.95 / 4000**0.5


def test_chi_squared_of_nothing_is_zero() -> None:
    assert random.chi_squared(torch.zeros(2), seed=torch.arange(2), counter=0).tolist() == [0.0, 0.0]


def test_streams_of_neighbouring_seeds_share_nothing() -> None:
    numbers = torch.arange(100)
    seeds = torch.cat([random.stream(seed, numbers) for seed in range(100)])
    assert len(seeds.unique()) == 100 * 100
