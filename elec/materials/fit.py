"""Poles that follow tabulated permittivity, passive and causal by construction.

The unknown permittivity is a sum with nonnegative weights of terms of which each alone is passive and stable:

    1,   1 / s,   1 / (1 + s tau),   1 / (s^2 + gamma s),   1 / D,   (s + omega0^2 / gamma) / D,
    D = s^2 + gamma s + omega0^2.

The last two span every conjugate pair whose Im epsilon has one sign: (alpha s + beta) / D loses energy at all
frequencies exactly where alpha >= 0 and beta gamma >= alpha omega0^2. So the weights are a nonnegative
least-squares problem for given poles, and what is left to search for is the poles: they are added one at a time, from
the places where each lowers the error most, and refined together after each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Complex, Float
from scipy.optimize import least_squares, nnls
from torch import Tensor

from elec.materials.dispersion import Pole, debye, drude
from elec.materials.material import Material
from elec.materials.optical import OpticalConstants
from mindsci.errors import InputError
from mindsci.tree import Tree
from mindsci.units import VACUUM_PERMITTIVITY

# Candidates for a new pole: places over the band and around it, widths as fractions of the place.
PLACES, BESIDE = 48, 8.0
WIDTHS = (1e-4, 0.01, 0.03, 0.1, 0.3, 1.0)
TRIED = 3
"""Places of a new pole from which the whole is refined: the best one may end in a poor minimum, as rounding has it."""
NARROWEST, WIDEST = 1e-6, 1.9
"""gamma / omega0: lossless to rounding, and still a conjugate pair."""
EVALUATIONS = 120


class Fit(Tree):
    """A fitted material and how well it follows its data: |difference| / |epsilon| over the samples."""

    material: Material
    rms_error: float
    largest_error: float
    band: tuple[float, float]
    """[Hz]"""

    def report(self) -> str:
        """One line for a log."""
        low, high = (f"{edge / 1e12:.4g}" for edge in self.band)
        return (
            f"material '{self.material.name}': {len(self.material.poles)} poles fitted from {low} to {high} THz, "
            f"permittivity within {100 * self.rms_error:.2g} % rms, {100 * self.largest_error:.2g} % at worst"
        )


def fit_material(
    name: str, constants: OpticalConstants, *, n_poles: int = 4, band: Sequence[float] | None = None
) -> Fit:
    """Returns a passive, causal material of at most n_poles pole pairs besides a Drude and a Debye term.

    band [Hz] limits the samples that are followed; the fit holds there, and stays passive everywhere.
    """
    if band is not None:
        constants = constants.between(*band)
    return fit_permittivity(name, constants.frequencies, constants.permittivity, n_poles=n_poles)


def fit_permittivity(
    name: str, frequencies: Float[Tensor, "f"], permittivity: Complex[Tensor, "f"], *, n_poles: int = 4
) -> Fit:
    """Returns the material whose permittivity follows samples at frequencies [Hz], Im <= 0; see `fit_material`."""
    if not 0 <= n_poles <= 20:
        raise InputError(f"n_poles = {n_poles} must lie between 0 and 20; 2 to 6 are usual")
    if bool((permittivity.imag > 1e-12 * permittivity.abs()).any()):
        raise InputError(f"'{name}': Im epsilon > 0 is gain with exp(+j omega t); give the conjugate")
    omega = 2.0 * math.pi * frequencies.numpy().astype(np.float64)
    scale = math.sqrt(omega.min() * omega.max())
    problem = _Problem(omega / scale, permittivity.numpy().astype(np.complex128))
    shape = problem.search(n_poles)
    material = _material(name, shape, problem.weights(shape), scale)
    error = (material.permittivity(frequencies) - permittivity).abs() / permittivity.abs()
    return Fit(
        material=material,
        rms_error=float(error.square().mean().sqrt()),
        largest_error=float(error.max()),
        band=(float(frequencies.min()), float(frequencies.max())),
    )


class _Problem:
    """The samples in units in which the middle of the band is 1.

    The shape of a fit is the logarithms of the Drude damping, the Debye time, and of omega0 and gamma / omega0 of each
    pair.
    """

    def __init__(self, omega: np.ndarray, epsilon: np.ndarray) -> None:
        self.s, self.epsilon = 1j * omega, epsilon
        self.low, self.high = omega.min(), omega.max()
        self.target = self._stacked(epsilon[:, None] - 1.0)[:, 0]

    def _stacked(self, columns: np.ndarray) -> np.ndarray:
        relative = columns / np.abs(self.epsilon)[:, None]
        return np.concatenate([relative.real, relative.imag])

    def columns(self, shape: np.ndarray) -> np.ndarray:
        s = self.s
        found = [np.ones_like(s), 1.0 / s, 1.0 / (s**2 + math.exp(shape[0]) * s), 1.0 / (1.0 + math.exp(shape[1]) * s)]
        for place, width in shape[2:].reshape(-1, 2):
            found += _pair(s, math.exp(place), math.exp(place + width))
        return np.stack(found, axis=1)

    def weights(self, shape: np.ndarray) -> np.ndarray:
        return self._solve(self._stacked(self.columns(shape)))[0]

    def _solve(self, stacked: np.ndarray) -> tuple[np.ndarray, float]:
        size = np.linalg.norm(stacked, axis=0)
        weights, misfit = nnls(stacked / size, self.target, maxiter=50 * stacked.shape[1])
        return weights / size, misfit

    def residual(self, shape: np.ndarray) -> np.ndarray:
        stacked = self._stacked(self.columns(shape))
        return stacked @ self._solve(stacked)[0] - self.target

    def search(self, n_poles: int) -> np.ndarray:
        shape = np.array([math.log(0.1 * self.low), 0.0])
        shape = self._refined(shape)
        for _ in range(n_poles):
            tried = [self._refined(one) for one in self._with_one_more(shape)]
            grown = min(tried, key=self._misfit)
            if self._misfit(grown) < self._misfit(shape):
                shape = grown
        return shape

    def _misfit(self, shape: np.ndarray) -> float:
        return float(np.linalg.norm(self.residual(shape)))

    def _with_one_more(self, shape: np.ndarray) -> list[np.ndarray]:
        """The shape with a pole more, at the places that are better than those beside them: the best of these."""
        known = self._stacked(self.columns(shape))
        places, misfits = np.geomspace(self.low / BESIDE, self.high * BESIDE, PLACES), []
        for place in places:
            pairs = [self._stacked(np.stack(_pair(self.s, place, width * place), axis=1)) for width in WIDTHS]
            misfits.append([self._solve(np.concatenate([known, pair], axis=1))[1] for pair in pairs])
        best, widths = np.min(misfits, axis=1), np.argmin(misfits, axis=1)
        beside = np.concatenate([[math.inf], best, [math.inf]])
        valleys = np.flatnonzero((best <= beside[:-2]) & (best <= beside[2:]))
        chosen = sorted(valleys, key=lambda index: best[index])[:TRIED]
        return [np.concatenate([shape, np.log([places[index], WIDTHS[widths[index]]])]) for index in chosen]

    def _refined(self, shape: np.ndarray) -> np.ndarray:
        n_pairs = len(shape) // 2 - 1
        far = math.log(self.low / BESIDE**2), math.log(self.high * BESIDE**2)
        low = np.array([math.log(1e-6 * self.low), -far[1], *[far[0], math.log(NARROWEST)] * n_pairs])
        high = np.array([far[1], -far[0], *[far[1], math.log(WIDEST)] * n_pairs])
        inside = np.clip(shape, low + 1e-6, high - 1e-6)
        found = least_squares(self.residual, inside, bounds=(low, high), max_nfev=EVALUATIONS)
        return found.x


def _pair(s: np.ndarray, place: float, damping: float) -> list[np.ndarray]:
    below = s**2 + damping * s + place**2
    return [1.0 / below, (s + place**2 / damping) / below]


def _material(name: str, shape: np.ndarray, weights: np.ndarray, scale: float) -> Material:
    """Returns the material of weights in units of `scale` [rad/s]."""
    poles: list[Pole] = []
    if weights[2] > 0:
        poles += drude(math.sqrt(weights[2]) * scale / (2.0 * math.pi), math.exp(shape[0]) * scale)
    if weights[3] > 0:
        poles += debye(float(weights[3]), math.exp(shape[1]) / scale)
    for (place, width), first, second in zip(shape[2:].reshape(-1, 2), weights[4::2], weights[5::2], strict=True):
        if first > 0 or second > 0:
            centre, damping = math.exp(place) * scale, math.exp(place + width) * scale
            rate = complex(-0.5 * damping, math.sqrt(centre**2 - 0.25 * damping**2))
            alpha = second * scale
            beta = first * scale**2 + alpha * centre**2 / damping
            poles.append(Pole(rate=rate, jump=(alpha * rate + beta) / complex(0.0, 2.0 * rate.imag)))
    return Material(
        name=name,
        relative_permittivity=1.0 + float(weights[0]),
        conductivity=float(weights[1]) * scale * VACUUM_PERMITTIVITY,
        poles=tuple(poles),
    )
