"""What every learned model of reflection curves is: from designs and frequencies to decibels, with an uncertainty."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from elec.surrogates.curves import Curves
from mindsci.errors import InputError
from mindsci.hub import load_pretrained, load_trained
from mindsci.tree import Tree

COVERED = 0.95
"""the share of points that an interval of 1.96 standard deviations is to hold"""


class Prediction(Tree):
    """Reflection of designs."""

    mean: Float[Tensor, "designs frequencies"]
    """[dB]"""
    deviation: Float[Tensor, "designs frequencies"]
    """standard deviation [dB], calibrated on designs that did not train; 0 with one member"""


class Surrogate(nn.Module, ABC):
    """A model of the reflection of designs within ranges of their parameters, in which it is differentiable.

    Args:
        low, high: ranges of the parameters.
    """

    spread: Tensor
    """scale of the deviation"""

    def __init__(self, low: Sequence[float], high: Sequence[float]) -> None:
        super().__init__()
        if len(low) != len(high) or not all(a < b for a, b in zip(low, high, strict=True)):
            raise InputError(
                f"low = {list(low)}, high = {list(high)}: each parameter needs a low end below its high end"
            )
        self.low, self.high = list(low), list(high)
        self.register_buffer("spread", torch.ones(()))

    def predict(
        self, parameters: Float[Tensor, "designs parameters"], frequency: Float[Tensor, " frequencies"]
    ) -> Prediction:
        """Returns mean and standard deviation of the reflection at frequencies [Hz].

        Raises InputError for a design outside the ranges that the model was trained on.
        """
        beyond = self.scaled(parameters.detach()).abs().amax(0) > 1.0 + 1e-5
        if bool(beyond.any()):
            at = int(beyond.nonzero()[0, 0])
            raise InputError(
                f"parameter {at} lies outside {self.low[at]:g} to {self.high[at]:g}, where the surrogate was trained; "
                "stay inside, or train on designs out there"
            )
        found = self.distribution(parameters, frequency)
        return Prediction(mean=found.mean, deviation=self.spread * found.deviation)

    @abstractmethod
    def distribution(
        self, parameters: Float[Tensor, "designs parameters"], frequency: Float[Tensor, " frequencies"]
    ) -> Prediction:
        """Returns mean and deviation before the calibration."""

    @torch.no_grad()
    def calibrate(self, curves: Curves) -> None:
        """Sets the scale of the deviation so that 95 % of the points of designs lie within 1.96 of it."""
        found = self.distribution(curves.parameters, curves.frequency)
        if bool((found.deviation > 0).any()):
            error = (found.mean - curves.reflection).abs()
            ratio = (error / found.deviation.clamp(min=1e-9)).flatten().sort().values
            self.spread.copy_(ratio[min(int(COVERED * len(ratio)), len(ratio) - 1)] / 1.96)

    def scaled(self, parameters: Float[Tensor, "designs parameters"]) -> Float[Tensor, "designs parameters"]:
        """Returns the parameters as -1 to 1 over their ranges."""
        low, high = (parameters.new_tensor(ends) for ends in (self.low, self.high))
        return 2.0 * (parameters - low) / (high - low) - 1.0


class NetworkSurrogate(Surrogate):
    """Several networks that differ in their start alone: their mean is the answer, their spread its uncertainty.

    The networks agree more among one another than with the truth, so the calibrated scale is above 1 as a rule.

    Args:
        low, high: ranges of the design's parameters, which the networks see as -1 to 1.
        frequency_max: the highest frequency [Hz].
        members: number of networks.
        make: from the number of parameters to a network.
        options: what else the class is built again with.
    """

    def __init__(
        self,
        *,
        low: Sequence[float],
        high: Sequence[float],
        frequency_max: float,
        members: int,
        make: Callable[[int], nn.Module],
        **options: int,
    ) -> None:
        super().__init__(low, high)
        if members < 1 or frequency_max <= 0:
            raise InputError(f"members = {members}, frequency_max = {frequency_max}: both must be above zero")
        self.frequency_max = frequency_max
        self.config: dict[str, Any] = {
            "low": self.low, "high": self.high, "frequency_max": frequency_max, "members": members, **options
        }  # fmt: skip
        self.networks = nn.ModuleList([make(len(low)) for _ in range(members)])

    def forward(
        self, parameters: Float[Tensor, "designs parameters"], frequency: Float[Tensor, " frequencies"]
    ) -> Float[Tensor, "members designs frequencies"]:
        """Returns each member's reflection [dB] at frequencies [Hz]."""
        scaled = self.scaled(parameters)
        relative = (frequency / self.frequency_max).to(scaled.dtype)
        return torch.stack([self.curve(network(scaled), relative) for network in self.networks])

    def distribution(
        self, parameters: Float[Tensor, "designs parameters"], frequency: Float[Tensor, " frequencies"]
    ) -> Prediction:
        """Returns mean and standard deviation over the members; 0 with one member."""
        members = self(parameters, frequency)
        deviation = members.std(0) if len(members) > 1 else torch.zeros_like(members[0])
        return Prediction(mean=members.mean(0), deviation=deviation)

    @abstractmethod
    def curve(self, found: Tensor, frequency: Float[Tensor, " frequencies"]) -> Float[Tensor, "designs frequencies"]:
        """Returns the reflection [dB] that a network's answer means, at frequencies over the highest one."""


def load_surrogate(
    *, pretrained: str | None = None, model: Path | str | None = None, device: torch.device | str = "cpu"
) -> Surrogate:
    """Returns a surrogate for use, by the name of a card or from the model.toml of a training run."""
    if (pretrained is None) == (model is None):
        raise InputError("name one source of the surrogate: pretrained (a card) or model (a model.toml)")
    found = load_pretrained(pretrained, device=device) if pretrained else load_trained(str(model), device=device)
    if not isinstance(found, Surrogate):
        raise InputError(f"'{pretrained or model}' is a {type(found).__name__}, not a surrogate; choose another")
    return found.requires_grad_(False)


def layers(inputs: int, width: int, hidden: int, outputs: int) -> nn.Sequential:
    """Returns a dense network with `hidden` layers of `width` and SiLU between."""
    sizes = [inputs, *[width] * hidden]
    parts: list[nn.Module] = []
    for before, after in pairwise(sizes):
        parts += [nn.Linear(before, after), nn.SiLU()]
    return nn.Sequential(*parts, nn.Linear(sizes[-1], outputs))
