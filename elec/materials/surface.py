"""Surfaces of conductors: what current a sheet, or the skin of a thick conductor, carries for a tangential field.

The admittance per square, K = Y(s) E, is a conductance and resistors in series with inductors in parallel,

    Y(s) = conductance + sum drive / (s - rate),   rate < 0 < drive,

a ladder that is passive term by term and enters the scheme as poles on the edges of the surface.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Complex, Float
from scipy.optimize import nnls
from torch import Tensor

from mindsci.errors import InputError
from mindsci.tree import Tree
from mindsci.units import VACUUM_PERMEABILITY

# Rates on both sides of the band, and how many a decade: sqrt(s) within 1e-3 in the band.
DECADES_BESIDE = 2.0
RATES_A_DECADE = 2
FOIL_RATES = 6


class Surface(Tree):
    """An admittance per square."""

    conductance: float = 0.0
    """[S]"""
    branches: tuple[tuple[float, float], ...] = ()
    """(rate [1/s], drive [S/s]) of resistors in series with inductors"""
    error: float = 0.0
    """largest relative error of a fit over its band"""

    def admittance(self, frequencies: Float[Tensor, "f"]) -> Complex[Tensor, "f"]:
        """Returns Y [S] at frequencies [Hz]."""
        s = 2j * math.pi * torch.as_tensor(frequencies, dtype=torch.float64)
        total = torch.full_like(s, self.conductance)
        for rate, drive in self.branches:
            total = total + drive / (s - rate)
        return total


def resistance_surface(resistance: float) -> Surface:
    """Returns the surface of a sheet resistance [ohm per square]."""
    if not (math.isfinite(resistance) and resistance > 0):
        raise InputError(f"sheet resistance {resistance:g} ohm must be positive; for zero use 'pec'")
    return Surface(conductance=1.0 / resistance)


def thick_surface(conductivity: float, band: Sequence[float], *, relative_permeability: float = 1.0) -> Surface:
    """Returns the surface of a conductor much thicker than its skin: Y = sqrt(sigma / (mu s)) [Pozar2012, sec. 1.7].

    conductivity [S/m]; band, the lowest and highest frequency [Hz] between which the ladder holds.
    """
    _check(conductivity, band)
    scale = math.sqrt(conductivity / (VACUUM_PERMEABILITY * relative_permeability))
    return _ladder(lambda s: scale / np.sqrt(s), band)


def foil_surface(
    conductivity: float, thickness: float, band: Sequence[float], *, relative_permeability: float = 1.0
) -> Surface:
    """Returns the surface of a foil with the same field on both sides: Y = (2 sigma / gamma) tanh(gamma t / 2).

    gamma = sqrt(s mu sigma); t, the thickness [m]. It is sigma t where the foil is thinner than its skin, and two thick
    surfaces side by side where it is thicker. Fields that differ on the two sides, and what leaks through, are no part
    of it.
    """
    _check(conductivity, band)
    if not (math.isfinite(thickness) and thickness > 0):
        raise InputError(f"thickness {thickness:g} m must be positive")
    mu = VACUUM_PERMEABILITY * relative_permeability

    def admittance(s: np.ndarray) -> np.ndarray:
        gamma = np.sqrt(s * mu * conductivity)
        return 2.0 * conductivity / gamma * np.tanh(0.5 * gamma * thickness)

    # tanh is a sum over these rates: a thin foil needs the first few, a thick one is as smooth as a thick conductor.
    own = [((2 * k + 1) * math.pi / thickness) ** 2 / (mu * conductivity) for k in range(FOIL_RATES)]
    return _ladder(admittance, band, own)


def _check(conductivity: float, band: Sequence[float]) -> None:
    if not (math.isfinite(conductivity) and conductivity > 0):
        raise InputError(f"conductivity {conductivity:g} S/m must be positive; copper has 5.8e7 S/m")
    if len(band) != 2 or not 0 < band[0] < band[1]:
        raise InputError(f"band {list(band)} Hz: give the lowest and highest frequency, 0 < low < high")


def _ladder(
    admittance: Callable[[np.ndarray], np.ndarray], band: Sequence[float], own: Sequence[float] = ()
) -> Surface:
    """Returns the resistors and inductors with this admittance in the band [Hz].

    All of these are sums of 1 / (s + p) with positive weights (Stieltjes functions): nonnegative least squares over
    fixed, evenly spread rates finds them.
    """
    low, high = (math.log10(2.0 * math.pi * edge) for edge in band)
    count = RATES_A_DECADE * math.ceil(high - low + 2.0 * DECADES_BESIDE) + 1
    rates = np.concatenate([np.logspace(low - DECADES_BESIDE, high + DECADES_BESIDE, count), own])
    s = 1j * np.logspace(low, high, 40 * max(1, math.ceil(high - low)))
    wanted = admittance(s)
    columns = np.stack([rate / (s + rate) for rate in rates] + [np.ones_like(s)], axis=1) / wanted[:, None]
    size = np.abs(columns).max(axis=0)
    stacked = np.concatenate([columns.real, columns.imag]) / size
    weights, _ = nnls(stacked, np.concatenate([np.ones(len(s)), np.zeros(len(s))]))
    weights = weights / size
    error = float(np.abs(columns @ weights - 1.0).max())
    used = [(-float(rate), float(rate * weight)) for rate, weight in zip(rates, weights, strict=False) if weight > 0]
    return Surface(conductance=float(weights[-1]), branches=tuple(used), error=error)
