"""Compiled passes over roots and frequencies: products of factors, and what they send back to the roots."""

from __future__ import annotations

from typing import Any

from numba import njit

from elec.surrogates.rational import SMALLEST

AT_ONCE = 16
"""roots whose factors are multiplied before a logarithm is taken: 1e-12 to this power is a number in float64"""


@njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")
def multiply(place: Any, square: Any, frequency: Any, products: Any) -> None:
    """Fills products (designs, groups of roots, frequencies) with ((f - a)^2 + b^2) ((f + a)^2 + b^2) + SMALLEST."""
    smallest = frequency.dtype.type(SMALLEST)
    for design in range(place.shape[0]):
        for root in range(place.shape[1]):
            out = products[design, root // AT_ONCE]
            first = root % AT_ONCE == 0
            a, s = place[design, root], square[design, root]
            for k in range(frequency.shape[0]):
                below, above = frequency[k] - a, frequency[k] + a
                factor = float((below * below + s) * (above * above + s) + smallest)
                out[k] = factor if first else out[k] * factor


@njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz", "arcp"}, error_model="numpy")
def send_back(place: Any, square: Any, frequency: Any, slope: Any, of_place: Any, of_square: Any) -> None:
    """Sets the gradients by a and b^2 of the sum over frequencies of slope times the sum of the factors' logarithms."""
    smallest, two = frequency.dtype.type(SMALLEST), frequency.dtype.type(2.0)
    for design in range(place.shape[0]):
        g = slope[design]
        for root in range(place.shape[1]):
            a, s = place[design, root], square[design, root]
            first = second = frequency.dtype.type(0.0)
            for k in range(frequency.shape[0]):
                below, above = frequency[k] - a, frequency[k] + a
                left, right = below * below + s, above * above + s
                share = g[k] / (left * right + smallest)
                first += share * (above * left - below * right)
                second += share * (left + right)
            of_place[design, root] = two * first
            of_square[design, root] = second
