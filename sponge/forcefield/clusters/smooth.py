"""The smooth part of Coulomb's energy within a cutoff, as polynomials of r^2.

erfc(a r) / r is 1 / r less an entire function of r^2, which a polynomial of a dozen terms gives to the last bit of
float32 and one of some twenty to that of float64: no exponential and no table.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.special import erf

NODES = 80
SERIES = 0.5
"""argument squared below which the power series is taken: the closed form of the derivative cancels there"""

EXACT = {"float32": 2.0, "float64": 0.25}
"""error of a polynomial in units of the precision; 1 / r^3 itself is off by as much in float32"""


def ewald_parts(alpha: float, cutoff: float, dtype: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns coefficients, lowest first, of erf(a r) / r and of minus its derivative over r, of u.

    u = 2 r^2 / cutoff^2 - 1, from -1 to 1.
    """
    u = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    w = 0.5 * (u + 1.0) * (alpha * cutoff) ** 2
    energy, slope = _error_function(w)
    return tuple(  # type: ignore[return-value]
        _polynomial(u, values, dtype) for values in (alpha * energy, -2.0 * alpha**3 * slope)
    )


def _error_function(w: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """erf(sqrt(w)) / sqrt(w) and its derivative by w: 2/sqrt(pi) sum (-w)^n / (n! (2n + 1))."""
    n = np.arange(24)
    factor = 2.0 / math.sqrt(math.pi) * (-1.0) ** n / ((2 * n + 1) * np.array([math.factorial(k) for k in n], float))
    small = np.minimum(w, SERIES)[:, None]
    safe = np.maximum(w, SERIES)
    closed = erf(np.sqrt(safe)) / np.sqrt(safe)
    slope = (2.0 / math.sqrt(math.pi) * np.exp(-safe) - closed) / (2.0 * safe)
    series = (factor * small**n).sum(1), (factor[1:] * n[1:] * small ** n[:-1]).sum(1)
    return np.where(w < SERIES, series[0], closed), np.where(w < SERIES, series[1], slope)


def _polynomial(u: NDArray[Any], values: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """The shortest polynomial whose error is that of its precision."""
    fitted = chebyshev.chebfit(u, values, NODES // 2)
    left = np.cumsum(np.abs(fitted[::-1]))[::-1]
    needed = int((left > EXACT[np.dtype(dtype).name] * np.finfo(dtype).eps * np.abs(fitted).max()).sum())
    return chebyshev.cheb2poly(fitted[: max(needed, 1)]).astype(dtype)
