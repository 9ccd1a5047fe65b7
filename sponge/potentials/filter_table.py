"""Filters as a table: each is a function of one distance, and cubic Hermite pieces follow it closely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci.errors import InputError

FIRST_KNOT = 0.2
"""[angstrom]: nuclei come no closer in chemistry, and the network's filter there is an extrapolation anyway"""
FEWEST_KNOTS, MOST_KNOTS = 64, 4096
Filters = Callable[[Any, Tensor], tuple[Tensor, Tensor]]
"""of a model at some distances: the filters (interactions, distances, features) and their derivatives"""


@dataclass(frozen=True)
class Knots:
    """Evenly spaced distances [angstrom] from FIRST_KNOT to the cutoff."""

    cutoff: float
    count: int

    @property
    def spacing(self) -> float:
        """[angstrom]"""
        return (self.cutoff - FIRST_KNOT) / (self.count - 1)

    def distances(self, like: Tensor) -> Float[Tensor, " knots"]:
        """Returns the knots in the dtype and on the device of a tensor."""
        return FIRST_KNOT + self.spacing * torch.arange(self.count, dtype=like.dtype, device=like.device)


def rows(model: Any, knots: Knots, *, of: Filters) -> Float[Tensor, "interactions knots 2 features"]:
    """Returns the table: at each knot the filters and spacing * their derivatives; differentiable in the weights."""
    values, slopes = of(model, knots.distances(model.embedding.weight))
    return torch.stack((values, knots.spacing * slopes), dim=2)


def suited_knots(
    model: Any, cutoff: float, *, of: Filters, tolerance: float, slope_tolerance: float
) -> tuple[Knots, float, float]:
    """Returns the fewest knots, by doubling, whose table meets the tolerances, and its two errors.

    An error is the largest difference from the network at three points inside every piece, as a share of the largest
    filter, and for the slopes of the largest slope. Raises InputError where 4096 knots do not do.
    """
    count = FEWEST_KNOTS
    while True:
        knots = Knots(cutoff, count)
        error, slope_error = errors(model, knots, of=of)
        if error <= tolerance and slope_error <= slope_tolerance:
            return knots, error, slope_error
        if count >= MOST_KNOTS:
            raise InputError(
                f"a table of {count} knots errs by {error:.1e} of the largest filter and {slope_error:.1e} of the "
                f"largest slope; ask for more than {tolerance:.1e} and {slope_tolerance:.1e}"
            )
        count *= 2


@torch.no_grad()
def errors(model: Any, knots: Knots, *, of: Filters) -> tuple[float, float]:
    """Returns the largest errors of a table's filters and slopes, each as a share of the largest."""
    at = knots.distances(model.embedding.weight)
    values, slopes = of(model, at)
    a, b = values[:, :-1], values[:, 1:]
    da, db = knots.spacing * slopes[:, :-1], knots.spacing * slopes[:, 1:]
    worst, worst_slope = 0.0, 0.0
    for t in (0.21, 0.5, 0.79):
        exact, exact_slope = of(model, at[:-1] + t * knots.spacing)
        value = (2 * t - 3) * t * t * (a - b) + a + t * (t - 1) * ((t - 1) * da + t * db)
        slope = (6 * t * (t - 1) * (a - b) + ((3 * t - 4) * t + 1) * da + (3 * t - 2) * t * db) / knots.spacing
        worst = max(worst, float((value - exact).abs().max()))
        worst_slope = max(worst_slope, float((slope - exact_slope).abs().max()))
    return _share(worst, values), _share(worst_slope, slopes)


def _share(worst: float, values: Tensor) -> float:
    # Filters that are zero, as a new PhysNet's are, have no error.
    return worst / float(values.abs().max()) if worst else 0.0
