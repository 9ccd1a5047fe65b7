"""From port spectra to networks: Touchstone files, resonances, and the plot that an antenna engineer looks at first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Complex, Float
from numpy import ndarray
from torch import Tensor

from mindsci.errors import InputError
from mindsci.tree import Tree

if TYPE_CHECKING:
    import skrf

DEEPEST = 1e-10
"""Smallest |S| that is shown, -200 dB: below it there is only rounding."""


class Resonance(Tree):
    """A minimum of |S11|."""

    frequency: float
    """[Hz]"""
    level: float
    """|S11| there [dB]"""


def decibels(values: Complex[ndarray, "f"] | Float[ndarray, "f"]) -> Float[ndarray, "f"]:
    """Returns 20 log10 |values|."""
    return 20.0 * np.log10(np.maximum(np.abs(values), DEEPEST))


def resonances(
    frequencies: Float[ndarray, "f"], reflection: Complex[ndarray, "f"], *, below: float = -6.0
) -> list[Resonance]:
    """Returns the minima of |S11| that reach below a level [dB], each refined by the parabola through three samples.

    At -6 dB three quarters of the power are accepted.
    """
    level = decibels(reflection)
    steps = np.diff(frequencies)
    if len(frequencies) < 3 or not np.allclose(steps, steps[0], rtol=1e-6):
        raise InputError("resonances need at least 3 frequencies at equal distances")
    found = []
    for i in range(1, len(level) - 1):
        left, middle, right = level[i - 1 : i + 2]
        if middle < left and middle <= right and middle < below:
            offset = 0.5 * (left - right) / (left - 2.0 * middle + right)
            depth = middle - 0.25 * (left - right) * offset
            found.append(Resonance(frequency=float(frequencies[i] + offset * steps[0]), level=float(depth)))
    return found


def lowest(frequencies: Float[ndarray, "f"], level: Float[ndarray, "f"]) -> float:
    """Returns where a level is lowest [Hz], by the parabola through three samples."""
    i = min(max(int(level.argmin()), 1), len(level) - 2)
    left, middle, right = level[i - 1 : i + 2]
    curvature = left - 2.0 * middle + right
    offset = 0.5 * (left - right) / curvature if curvature > 0 else 0.0
    return float(frequencies[i] + offset * (frequencies[1] - frequencies[0]))


def network(
    frequencies: Float[Tensor, "f"], scattering: Complex[Tensor, "f ports ports"], *, impedance: float, name: str
) -> skrf.Network:
    """Returns the scikit-rf network of S-parameters at frequencies [Hz] against a reference impedance [ohm]."""
    import skrf

    axis = skrf.Frequency.from_f(frequencies.cpu().numpy(), unit="Hz")
    return skrf.Network(frequency=axis, s=scattering.cpu().numpy(), z0=impedance, name=name)


def write_touchstone(path: Path, made: skrf.Network) -> None:
    """Writes a network as Touchstone (real and imaginary parts, GHz) to a path that ends on .sNp."""
    text = made.write_touchstone(filename=path.name, return_string=True, form="ri", format_spec_freq="{:.9g}")
    path.write_text(text, encoding="utf-8")


def plot_reflection(
    path: Path, frequencies: Float[ndarray, "f"], reflection: Complex[ndarray, "f"], marked: Sequence[Resonance]
) -> None:
    """Draws |S11| in dB over frequency, the resonances marked, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(frequencies / 1e9, decibels(reflection), linewidth=1.6)
    for one in marked:
        axes.plot(one.frequency / 1e9, one.level, "v", color="tab:red")
        label = f"{one.frequency / 1e9:.3f} GHz\n{one.level:.1f} dB"
        axes.annotate(label, (one.frequency / 1e9, one.level), xytext=(8, -4), textcoords="offset points", fontsize=9)
    axes.set_xlabel("frequency [GHz]")
    axes.set_ylabel("|S11| [dB]")
    axes.set_xlim(frequencies[0] / 1e9, frequencies[-1] / 1e9)
    axes.grid(alpha=0.3)
    figure.savefig(path, format="png")
