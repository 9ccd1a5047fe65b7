"""Cardinal B-splines: how particle mesh methods spread a charge over a grid [Essmann1995]."""

from __future__ import annotations

import functools

import numpy
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad


def spline_weights(
    fraction: Float[Tensor, "*points"], order: int
) -> tuple[Float[Tensor, "*points order"], Float[Tensor, "*points order"]]:
    """Returns M_n(w + j) and M_n'(w + j), j = 0 to n - 1, of the spline of order n at w from 0 to 1.

    M_n is piecewise of degree n - 1 on 0 to n; order is at least 3.
    """
    w = fraction[..., None]
    lower = values = pad(w, (0, 1)) + pad(1.0 - w, (1, 0))
    steps = w.new_tensor(range(order))
    for k in range(3, order + 1):
        lower, u = values, w + steps[:k]
        values = (u * pad(lower, (0, 1)) + (k - u) * pad(lower, (1, 0))) / (k - 1)
    return values, pad(lower, (0, 1)) - pad(lower, (1, 0))


@functools.lru_cache(maxsize=64)
def euler_factors(size: int, order: int) -> NDArray[numpy.float64]:
    """Returns |b(m)|^2 of each wave number m of a grid of so many points [Essmann1995, eq. 4.4].

    Of an odd order, the interpolation fails at half the size, where b is infinite; its neighbours' mean stands in.
    """
    nodes = numpy.zeros(1)
    for k in range(2, order + 1):
        # M_k at 0, 1, ..., k - 1.
        u = numpy.arange(k)
        padded = numpy.append(nodes, 0.0) if k > 2 else numpy.array([0.0, 1.0])
        before = numpy.concatenate([[0.0], padded[:-1]])
        nodes = padded if k == 2 else (u * padded + (k - u) * before) / (k - 1)
    waves = numpy.exp(2j * numpy.pi * numpy.outer(numpy.arange(size), numpy.arange(order - 1)) / size)
    square = numpy.abs(waves @ nodes[1:]) ** 2
    fails = square < 1e-10
    square[fails] = 0.5 * (numpy.roll(square, 1) + numpy.roll(square, -1))[fails]
    return 1.0 / square
