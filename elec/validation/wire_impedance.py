"""The impedance of a straight wire fed in its middle, from the integral equation of its current: a reference without a
grid.

The wire is a tube: current and charge are constant over pulses of it, half a pulse apart, and the potentials of the
retarded kernel, averaged around the tube, match at the middles of the pulses of current [Harrington1968, sec. 4-3].
"""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import toeplitz
from scipy.optimize import brentq

from mindsci.units import VACUUM_IMPEDANCE

POINTS_AROUND, POINTS_ALONG = 400, 16
SEGMENTS = 60


def dipole_impedance(length: float, radius: float, segments: int = SEGMENTS) -> complex:
    """Returns the impedance [ohm] of a tube of this length and radius [wavelengths] with a gap of one segment."""
    wave_number, size = 2.0 * math.pi, length / segments
    kernel = _kernel(size, radius, segments, wave_number)
    count = segments - 1
    apart = np.arange(count)[:, None] - np.arange(count)
    vector = 1j * wave_number * size**2 * toeplitz(kernel[:count], kernel[:count])
    scalar = 2.0 * kernel[np.abs(apart)] - kernel[np.abs(apart + 1)] - kernel[np.abs(apart - 1)]
    matrix = VACUUM_IMPEDANCE / (4.0 * math.pi) * (vector + scalar / (1j * wave_number))
    voltage = np.zeros(count)
    voltage[count // 2] = 1.0
    return complex(1.0 / np.linalg.solve(matrix, voltage)[count // 2])


def _kernel(size: float, radius: float, count: int, wave_number: float) -> np.ndarray:
    """Mean of exp(-jkR) / R over a pulse and around the tube, at the axial distances 0, 1, ... pulses."""
    # Points crowd where the logarithm of the tube's own potential is, so that the mean converges.
    place = (np.arange(POINTS_AROUND) + 0.5) / POINTS_AROUND
    weight = 3.0 * place**2 / POINTS_AROUND
    chord = 2.0 * radius * np.sin(0.5 * math.pi * place**3)
    points, weights = np.polynomial.legendre.leggauss(POINTS_ALONG)
    found = np.zeros(count, dtype=complex)
    for index in range(count):
        middle = index * size
        low, high = (middle - 0.5 * size) / chord, (middle + 0.5 * size) / chord
        still = ((np.arcsinh(high) - np.arcsinh(low)) * weight).sum()
        distance = np.sqrt((middle + 0.5 * size * points)[:, None] ** 2 + chord**2)
        moving = ((np.expm1(-1j * wave_number * distance) / distance) @ weight * weights).sum() * 0.5 * size
        found[index] = (still + moving) / size
    return found


def resonant_dipole(radius: float, segments: int = SEGMENTS) -> tuple[float, float]:
    """Returns the length [wavelengths] at which the reactance first vanishes, and the resistance there [ohm]."""
    length = brentq(lambda value: dipole_impedance(value, radius, segments).imag, 0.4, 0.5, xtol=1e-6)
    return float(length), dipole_impedance(length, radius, segments).real
