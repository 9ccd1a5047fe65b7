"""Surfaces of conductors: what current a sheet carries for a tangential field, and what field the skin of a conductor
asks for.

The admittance per square of a sheet, K = Y(s) E, is a conductance and resistors in series with inductors in parallel,

    Y(s) = conductance + sum drive / (s - rate),   rate < 0 < drive,

and enters the scheme as poles on the edges of the sheet. The impedance of a skin [Pozar2012, sec. 1.7], E = Z(s) K, is
a resistance and resistors in parallel with inductors in series, in the manner of [Oh1995],

    Z(s) = resistance + sum s resistance / (s - rate),

and enters as magnetic poles on the faces beside it. Both ladders are passive term by term.
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


class Skin(Tree):
    """An impedance per square."""

    resistance: float = 0.0
    """[ohm]"""
    branches: tuple[tuple[float, float], ...] = ()
    """(rate [1/s], resistance [ohm]) of resistors in parallel with inductors"""
    error: float = 0.0
    """largest relative error of a fit over its band"""

    def impedance(self, frequencies: Float[Tensor, "f"]) -> Complex[Tensor, "f"]:
        """Returns Z [ohm] at frequencies [Hz]."""
        s = 2j * math.pi * torch.as_tensor(frequencies, dtype=torch.float64)
        total = torch.full_like(s, self.resistance)
        for rate, resistance in self.branches:
            total = total + s * resistance / (s - rate)
        return total


def resistance_surface(resistance: float) -> Surface:
    """Returns the surface of a sheet resistance [ohm per square]."""
    if not (math.isfinite(resistance) and resistance > 0):
        raise InputError(f"sheet resistance {resistance:g} ohm must be positive; for zero use 'pec'")
    return Surface(conductance=1.0 / resistance)


def drude_surface(weight: float, damping: float) -> Surface:
    """Returns the sheet Y = D / (s + gamma): weight D [S/s], damping gamma [1/s]; graphene between its bands.

    There D = e^2 |E_F| / (pi hbar^2), 3.5e10 S/s at a Fermi level of 0.3 eV [Hanson2008].
    """
    if not (math.isfinite(weight) and weight > 0 and math.isfinite(damping) and damping >= 0):
        raise InputError(f"a Drude sheet of {weight:g} S/s and {damping:g} 1/s: the weight must be positive")
    return Surface(branches=((-damping, weight),))


def skin_depth(conductivity: float, frequency: float, *, relative_permeability: float = 1.0) -> float:
    """Returns the skin depth [m] of a conductivity [S/m] at a frequency [Hz] [Pozar2012, eq. 1.60]."""
    return 1.0 / math.sqrt(math.pi * frequency * VACUUM_PERMEABILITY * relative_permeability * conductivity)


def thick_surface(conductivity: float, band: Sequence[float], *, relative_permeability: float = 1.0) -> Skin:
    """Returns the skin of a conductor much thicker than it: Z = sqrt(mu s / sigma) [Pozar2012, sec. 1.7].

    conductivity [S/m]; band, the lowest and highest frequency [Hz] between which the ladder holds.
    """
    _check(conductivity, band)
    scale = math.sqrt(VACUUM_PERMEABILITY * relative_permeability / conductivity)
    fit = _ladder(lambda s: scale / np.sqrt(s), band, constant=False)  # Z / s
    return Skin(branches=fit.branches, error=fit.error)


def layer_skin(
    conductivity: float, thickness: float, band: Sequence[float], *, relative_permeability: float = 1.0
) -> Skin:
    """Returns either side of a layer that carries a current of its own on each: Z = (gamma / sigma) coth(gamma t).

    gamma = sqrt(s mu sigma); t, the thickness [m]. It is 1 / (sigma t) where the layer is thinner than its skin, and
    that of a thick conductor where it is thicker. What leaks through is no part of it.
    """
    _check(conductivity, band)
    _check_thickness(thickness)
    mu = VACUUM_PERMEABILITY * relative_permeability
    steady = 1.0 / (conductivity * thickness)

    def inductance(s: np.ndarray) -> np.ndarray:
        gamma = np.sqrt(s * mu * conductivity)
        return (gamma / conductivity / np.tanh(gamma * thickness) - steady) / s

    own = [(k * math.pi / thickness) ** 2 / (mu * conductivity) for k in range(1, FOIL_RATES)]
    fit = _ladder(inductance, band, own, constant=False)
    return Skin(resistance=steady, branches=fit.branches, error=fit.error)


def foil_surface(
    conductivity: float, thickness: float, band: Sequence[float], *, relative_permeability: float = 1.0
) -> Surface:
    """Returns the surface of a foil with the same field on both sides: Y = (2 sigma / gamma) tanh(gamma t / 2).

    gamma = sqrt(s mu sigma); t, the thickness [m]. It is sigma t where the foil is thinner than its skin, and two thick
    surfaces side by side where it is thicker. Fields that differ on the two sides, and what leaks through, are no part
    of it.
    """
    _check(conductivity, band)
    _check_thickness(thickness)
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


def _check_thickness(thickness: float) -> None:
    if not (math.isfinite(thickness) and thickness > 0):
        raise InputError(f"thickness {thickness:g} m must be positive")


def _ladder(
    admittance: Callable[[np.ndarray], np.ndarray],
    band: Sequence[float],
    own: Sequence[float] = (),
    *,
    constant: bool = True,
) -> Surface:
    """Returns the resistors and inductors with this admittance in the band [Hz], with a conductance or without.

    All of these are sums of 1 / (s + p) with positive weights (Stieltjes functions): nonnegative least squares over
    fixed, evenly spread rates finds them.
    """
    low, high = (math.log10(2.0 * math.pi * edge) for edge in band)
    count = RATES_A_DECADE * math.ceil(high - low + 2.0 * DECADES_BESIDE) + 1
    rates = np.concatenate([np.logspace(low - DECADES_BESIDE, high + DECADES_BESIDE, count), own])
    s = 1j * np.logspace(low, high, 40 * max(1, math.ceil(high - low)))
    wanted = admittance(s)
    columns = np.stack([rate / (s + rate) for rate in rates] + [np.ones_like(s)], axis=1) / wanted[:, None]
    columns = columns[:, : len(columns[0]) - (not constant)]
    size = np.abs(columns).max(axis=0)
    stacked = np.concatenate([columns.real, columns.imag]) / size
    weights, _ = nnls(stacked, np.concatenate([np.ones(len(s)), np.zeros(len(s))]))
    weights = weights / size
    error = float(np.abs(columns @ weights - 1.0).max())
    used = [
        (-float(rate), float(rate * weight))
        for rate, weight in zip(rates, weights[: len(rates)], strict=True)
        if weight > 0
    ]
    return Surface(conductance=float(weights[-1]) if constant else 0.0, branches=tuple(used), error=error)
