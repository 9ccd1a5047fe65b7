"""The exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mindsci.distributed.host import local


class Average:
    """Follows the parameters: average += (1 - decay) (parameters - average) after each step.

    Early on the decay is (1 + n) / (10 + n) after n updates if that is smaller, so that the first weights, which
    are random, are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self._parameters: list[Tensor] = list(model.parameters())
        self.values = [parameter.detach().clone() for parameter in self._parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the present parameters."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        # Parts of DTensors beside whole tensors: what this process holds of each.
        values, present = ([local(tensor) for tensor in kind] for kind in (self.values, self._parameters))
        torch._foreach_lerp_(values, present, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Gives the model the averaged weights while the block runs."""
        present = [parameter.detach().clone() for parameter in self._parameters]
        self._give(self.values)
        try:
            yield
        finally:
            self._give(present)

    @torch.no_grad()
    def _give(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)
