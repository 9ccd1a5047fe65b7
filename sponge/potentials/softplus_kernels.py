"""The shifted softplus and its derivative in one pass, for compiled loops.

ln(1 + e^x) - ln 2 = max(x, 0) + ln(1 + t) - ln 2 and its derivative 1 / (1 + e^-x) share t = e^-|x|. In float32 both
come from polynomials that a compiler turns into vectors: e^r by its series on |r| <= ln(2) / 2, and
ln(1 + t) = 2 artanh(t / (2 + t)) by its series, whose argument is at most 1/3. Their first neglected terms are below
1e-8. Float64 takes the library's functions.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types
from numba.extending import overload

from mindsci.kernels.dense import OPTIONS

f = np.float32
LOG_2, LOG2_E = f(math.log(2.0)), f(1.0 / math.log(2.0))
# ln 2 in two parts, the first of few bits: n times it is exact.
LOG_2_HIGH, LOG_2_LOW = f(0.693359375), f(math.log(2.0) - 0.693359375)
SERIES_EXP = tuple(f(1.0 / math.factorial(k)) for k in range(8))
SERIES_ARTANH = tuple(f(1.0 / (2 * k + 1)) for k in range(8))
ZERO, HALF, ONE, TWO, LOWEST = f(0.0), f(0.5), f(1.0), f(2.0), f(-87.0)
LOG_2_DOUBLE = math.log(2.0)


def _softplus_pair(x):  # type: ignore[no-untyped-def]
    raise NotImplementedError("runs inside compiled code alone")


@overload(_softplus_pair, inline="always", jit_options={"fastmath": True})
def _(x):  # type: ignore[no-untyped-def]
    return _pair_of_singles if x == types.float32 else _pair_of_doubles


def _pair_of_singles(x):  # type: ignore[no-untyped-def]
    minus = max(-abs(x), LOWEST)
    n = np.floor(minus * LOG2_E + HALF)
    r = (minus - n * LOG_2_HIGH) - n * LOG_2_LOW
    e = SERIES_EXP[7]
    e = e * r + SERIES_EXP[6]
    e = e * r + SERIES_EXP[5]
    e = e * r + SERIES_EXP[4]
    e = e * r + SERIES_EXP[3]
    e = e * r + SERIES_EXP[2]
    e = e * r + SERIES_EXP[1]
    e = e * r + SERIES_EXP[0]
    # 2^n, by its bits.
    t = e * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    s = t / (TWO + t)
    q = s * s
    a = SERIES_ARTANH[7]
    a = a * q + SERIES_ARTANH[6]
    a = a * q + SERIES_ARTANH[5]
    a = a * q + SERIES_ARTANH[4]
    a = a * q + SERIES_ARTANH[3]
    a = a * q + SERIES_ARTANH[2]
    a = a * q + SERIES_ARTANH[1]
    a = a * q + SERIES_ARTANH[0]
    inverse = ONE / (ONE + t)
    return max(x, ZERO) + TWO * s * a - LOG_2, inverse if x >= ZERO else t * inverse


def _pair_of_doubles(x):  # type: ignore[no-untyped-def]
    t = math.exp(-abs(x))
    value = max(x, 0.0) + math.log1p(t) - LOG_2_DOUBLE
    return value, (1.0 / (1.0 + t) if x >= 0.0 else t / (1.0 + t))


@njit(**OPTIONS)
def activate(x, bias, value, slope, first, last):  # type: ignore[no-untyped-def]
    """Sets value = ssp(x + bias) and slope = ssp'(x + bias) in rows first .. last."""
    for row in range(first, last):
        for column in range(x.shape[1]):
            value[row, column], slope[row, column] = _softplus_pair(x[row, column] + bias[column])
