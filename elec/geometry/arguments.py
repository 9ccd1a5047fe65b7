"""What the constructors of solids accept: numbers, points and polygons, as tensors that keep their gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from elec.grid import AXES
from mindsci.errors import InputError, UnknownNameError

Numbers = Sequence[float] | Tensor


def number(value: float | Tensor) -> Tensor:
    """Returns a number as a tensor; one that is a tensor keeps its gradient."""
    return value if isinstance(value, Tensor) else torch.tensor(float(value), dtype=torch.float64)


def positive(name: str, value: float | Tensor, *, unit: str = " m") -> Tensor:
    """Returns a positive number as a tensor."""
    given = number(value)
    if not bool(given > 0):
        raise InputError(f"{name} = {float(given):g}{unit} must be positive")
    return given


def vector(name: str, values: Numbers) -> Tensor:
    """Returns three coordinates as a tensor."""
    coordinates = values if isinstance(values, Tensor) else torch.tensor(list(values), dtype=torch.float64)
    if coordinates.shape != (3,):
        raise InputError(f"{name} has shape {list(coordinates.shape)}; give three coordinates x, y, z in metres")
    return coordinates


def polygon(corners: Sequence[Sequence[float]] | Tensor) -> Tensor:
    """Returns the corners of a polygon as a tensor (corners, 2)."""
    given = corners if isinstance(corners, Tensor) else torch.tensor(corners, dtype=torch.float64)
    if given.ndim != 2 or given.shape[1] != 2 or len(given) < 3:
        raise InputError(f"a polygon of shape {list(given.shape)}; give at least 3 corners of two coordinates")
    return given


def axis_index(name: str) -> int:
    """Returns 0, 1 or 2 for "x", "y" or "z"."""
    if name not in AXES:
        raise UnknownNameError.of("axis", name, AXES)
    return AXES.index(name)
