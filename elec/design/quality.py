"""How alike two maps are: peak signal-to-noise ratio and structural similarity."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

WINDOW, SIGMA = 11, 1.5


def peak_signal_to_noise(found: Float[Tensor, "n m"], true: Float[Tensor, "n m"], value_range: float) -> float:
    """Returns 10 log10(range^2 / mean squared error) [dB]."""
    error = (found.double() - true.double()).square().mean()
    return float(10.0 * torch.log10(value_range**2 / error))


def global_similarity(found: Float[Tensor, "n m"], true: Float[Tensor, "n m"], value_range: float) -> float:
    """Returns MindElec's structural similarity: one window over all, constants 0.01 and 0.03 times the range.

    [Wang2004] squares the constants; `structural_similarity` does.
    """
    x, y = found.double(), true.double()
    both = ((x - x.mean()) * (y - y.mean())).mean()
    return float(_similarity(x.mean(), y.mean(), x.var(correction=0), y.var(correction=0), both, value_range, power=1))


def structural_similarity(found: Float[Tensor, "n m"], true: Float[Tensor, "n m"], value_range: float) -> float:
    """Returns the mean structural similarity over Gaussian windows of 11 cells, sigma 1.5 [Wang2004]."""
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    line = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    window = torch.outer(line, line) / line.sum() ** 2

    def mean(values: Tensor) -> Tensor:
        return functional.conv2d(values[None, None], window[None, None])[0, 0]

    x, y = found.double(), true.double()
    first, second = mean(x), mean(y)
    spread = [mean(x * x) - first**2, mean(y * y) - second**2, mean(x * y) - first * second]
    return float(_similarity(first, second, *spread, value_range, power=2).mean())


def _similarity(
    first: Tensor, second: Tensor, one: Tensor, other: Tensor, both: Tensor, value_range: float, *, power: int
) -> Tensor:
    small, large = (0.01 * value_range) ** power, (0.03 * value_range) ** power
    luminance = (2.0 * first * second + small) / (first**2 + second**2 + small)
    return luminance * (2.0 * both + large) / (one + other + large)
