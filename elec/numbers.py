"""Numbers of materials, waveforms and circuits: plain ones, or tensors of one number through which gradients pass."""

from __future__ import annotations

import math

from jaxtyping import Float, Inexact
from torch import Tensor

from mindsci.errors import InputError

Real = float | Float[Tensor, ""]
Scalar = complex | float | Inexact[Tensor, ""]
Number = Real | tuple[Real, ...]
"""The same along all axes, or one number for each of x, y and z."""


def plain(number: Scalar) -> complex:
    """Returns the value alone, without a gradient."""
    return complex(number.detach().item() if isinstance(number, Tensor) else number)


def plain_real(number: Real) -> float:
    """Returns the value alone, without a gradient."""
    return float(number.detach().item() if isinstance(number, Tensor) else number)


def conjugate(number: Scalar) -> Scalar:
    """Returns the complex conjugate."""
    return number.conj() if isinstance(number, Tensor) else complex(number).conjugate()


def along(number: Number, axis: int) -> Real:
    """Returns the number of one axis."""
    one = number[axis] if isinstance(number, tuple) else number
    return one if isinstance(one, Tensor) else float(one)


def mean(number: Number) -> Real:
    """Returns the mean over the axes."""
    return (number[0] + number[1] + number[2]) / 3.0 if isinstance(number, tuple) else along(number, 0)


def check_number(prefix: str, quantity: str, value: Number, *, lowest: float) -> None:
    """Raises InputError unless the number, or each of three, is finite and at least `lowest`."""
    numbers = value if isinstance(value, tuple) else (value,)
    if len(numbers) not in (1, 3):
        raise InputError(f"{prefix}{quantity} has {len(numbers)} numbers; give one, or three for x, y and z")
    for number in map(plain_real, numbers):
        if not (math.isfinite(number) and number >= lowest):
            raise InputError(
                f"{prefix}{quantity} = {number:g} must be a finite number of at least {lowest:g}"
                + ("; for metal use the material 'pec'" if lowest == 1.0 and "permittivity" in quantity else "")
            )
