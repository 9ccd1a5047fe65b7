"""A Gaussian process on the principal components of curves: fitted in seconds, and enough where curves are smooth."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from elec.surrogates.curves import Curves
from elec.surrogates.surrogate import Prediction, Surrogate
from mindsci.errors import InputError

KEPT = 1e-7
"""the share of the curves' variance that components may leave out"""
LENGTHS, NOISE = (0.1, 40.0), (1e-9, 1.0)
"""in half ranges of a parameter; in the variance of a component"""
STARTS = (0.4, 1.2, 4.0)
"""lengths that a search starts from"""


class GaussianProcessReflection(Surrogate):
    """Curves as their mean plus components, each coefficient a Gaussian process with a Matern 5/2 kernel
    [Rasmussen2006, eq. 4.17], with one length for each parameter of the design and a white noise for all.

    It knows the frequencies that it was fitted at, and no others. Everything is in float64.

    Args:
        designs, components, frequencies: their numbers, for weights that are loaded; `fit` makes a process of curves.
    """

    frequency: Tensor
    inputs: Tensor
    mean: Tensor
    parts: Tensor
    lengths: Tensor
    noise: Tensor
    factor: Tensor
    """Cholesky factor of the kernel of the inputs"""
    weights: Tensor
    variance: Tensor

    def __init__(
        self, *, low: Sequence[float], high: Sequence[float], designs: int, components: int, frequencies: int
    ) -> None:
        super().__init__(low, high)
        self.config: dict[str, Any] = {
            "low": list(low), "high": list(high), "designs": designs, "components": components,
            "frequencies": frequencies,
        }  # fmt: skip
        shapes = {
            "frequency": (frequencies,), "inputs": (designs, len(low)), "mean": (frequencies,),
            "parts": (components, frequencies), "lengths": (len(low),), "noise": (), "factor": (designs, designs),
            "weights": (designs, components), "variance": (components,),
        }  # fmt: skip
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    @classmethod
    def fit(cls, curves: Curves, *, low: Sequence[float], high: Sequence[float]) -> GaussianProcessReflection:
        """Returns the process whose lengths and noise make the curves most likely [Rasmussen2006, eq. 5.8]."""
        values = curves.reflection.double()
        mean = values.mean(0)
        left, sizes, right = torch.linalg.svd(values - mean, full_matrices=False)
        kept = int((sizes.square().cumsum(0) / sizes.square().sum() < 1.0 - KEPT).sum()) + 1
        coefficients = left[:, :kept] * sizes[:kept]
        made = cls(
            low=low, high=high, designs=len(curves), components=kept, frequencies=len(curves.frequency)
        )  # fmt: skip
        inputs = made.scaled(curves.parameters.double())
        logarithms = _most_likely(inputs, coefficients)
        factor, variance, weights = _solved(inputs, coefficients, logarithms)
        found = {
            "frequency": curves.frequency, "inputs": inputs, "mean": mean, "parts": right[:kept],
            "lengths": logarithms[:-1].exp(), "noise": logarithms[-1].exp(), "factor": factor, "weights": weights,
            "variance": variance,
        }  # fmt: skip
        for name, value in found.items():
            getattr(made, name).copy_(value)
        return made.eval()

    def distribution(
        self, parameters: Float[Tensor, "designs parameters"], frequency: Float[Tensor, " frequencies"]
    ) -> Prediction:
        """Returns mean and standard deviation of the process [dB]."""
        if frequency.shape != self.frequency.shape or not torch.allclose(frequency.double(), self.frequency):
            raise InputError(
                f"a Gaussian process knows the {len(self.frequency)} frequencies that it was fitted at alone; "
                "use those (`model.frequency`), or a rational surrogate"
            )
        across = _matern(self.scaled(parameters.double()), self.inputs, self.lengths)
        mean = self.mean + (across @ self.weights) @ self.parts
        inner = torch.linalg.solve_triangular(self.factor, across.T, upper=False)
        left = (1.0 + self.noise - inner.square().sum(0)).clamp(min=0.0)
        spread = left[:, None] * (self.variance @ self.parts.square())
        return Prediction(mean=mean.to(parameters.dtype), deviation=spread.sqrt().to(parameters.dtype))


def _most_likely(inputs: Tensor, coefficients: Tensor) -> Tensor:
    """Logarithms of lengths and noise: the best of searches from all combinations of a few lengths."""

    def objective(values: numpy.ndarray) -> tuple[float, numpy.ndarray]:
        logarithms = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        factor, variance, _ = _solved(inputs, coefficients, logarithms)
        # -2 log of the likelihood with the variance of each component at its own best.
        value = len(inputs) * variance.log().sum() + 2 * coefficients.shape[1] * factor.diagonal().log().sum()
        value.backward()
        return float(value.detach()), logarithms.grad.numpy()  # type: ignore[union-attr]

    bounds = [tuple(math.log(end) for end in ends) for ends in [LENGTHS] * inputs.shape[1] + [NOISE]]
    searches = [
        minimize(objective, [*(math.log(length) for length in start), math.log(1e-5)], jac=True, method="L-BFGS-B",
                 bounds=bounds)
        for start in itertools.product(STARTS, repeat=inputs.shape[1])
    ]  # fmt: skip
    return torch.as_tensor(min(searches, key=lambda search: search.fun).x)


def _solved(inputs: Tensor, coefficients: Tensor, logarithms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cholesky factor, the variance of each component, and the kernel's inverse times the coefficients."""
    lengths = logarithms.exp()
    kernel = _matern(inputs, inputs, lengths[:-1])
    kernel = kernel + (lengths[-1] + 1e-10) * torch.eye(len(inputs), dtype=inputs.dtype)
    factor = torch.linalg.cholesky(kernel)
    weights = torch.cholesky_solve(coefficients, factor)
    variance = (coefficients * weights).mean(0)
    return factor, variance, weights


def _matern(first: Tensor, second: Tensor, lengths: Tensor) -> Tensor:
    """Matern 5/2 of unit variance."""
    square = ((first[:, None] - second[None]) / lengths).square().sum(-1)
    distance = (5.0 * square + 1e-24).sqrt()
    return (1.0 + distance + distance.square() / 3.0) * (-distance).exp()
