"""Cuts through a pattern, the half-power width of a beam, and pictures of patterns (PNG)."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci.errors import InputError

HALF_POWER = 0.5


def great_circle(phi: float, n: int = 361) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"], Float[Tensor, "n"]]:
    """Returns (angle, theta, phi) of a cut through the z axis: angle from z, -180 to 180 degrees [rad].

    phi = 0 is the E plane of an antenna that points along z with E along x, phi = pi / 2 its H plane.
    """
    angle = torch.linspace(-math.pi, math.pi, n, dtype=torch.float64)
    back = math.pi * (angle < 0)
    return angle, angle.abs(), phi + back


def half_power_width(angle: Float[Tensor, "n"], gain: Float[Tensor, "n"]) -> float:
    """Returns the angle [rad] between the half-power points on both sides of the highest gain of a cut.

    Interpolated in decibels between samples; angles must increase, and are taken round the circle where they close it.
    Raises InputError where the beam does not fall to half.
    """
    if not bool((angle.diff() > 0).all()):
        raise InputError("the angles of a cut must increase")
    level = (gain.detach() / gain.detach().max()).clamp(min=1e-30).log10()
    if abs(float(angle[-1] - angle[0]) - 2.0 * math.pi) < 1e-9:
        level = torch.cat([level[:-1]] * 3)
        angle = torch.cat([angle[:-1] + shift for shift in (-2.0 * math.pi, 0.0, 2.0 * math.pi)])
        peak = len(level) // 3 + int(level[len(level) // 3 : 2 * len(level) // 3].argmax())
    else:
        peak = int(level.argmax())
    ends = []
    for step in (-1, 1):
        i = peak
        while 0 <= i + step < len(level) and level[i] > math.log10(HALF_POWER):
            i += step
        if level[i] > math.log10(HALF_POWER):
            raise InputError("the beam does not fall to half of its power within the cut; widen the cut")
        before = i - step
        share = (math.log10(HALF_POWER) - float(level[before])) / float(level[i] - level[before])
        ends.append(float(angle[before]) + share * float(angle[i] - angle[before]))
    return ends[1] - ends[0]


def plot_cuts(path: Path, angle: Float[Tensor, "n"], cuts: dict[str, Float[Tensor, "n"]], *, title: str = "") -> None:
    """Draws gains [1] over the angle of their cuts, as dBi in a polar plot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 6.0), dpi=120, layout="constrained")
    axes = figure.add_subplot(projection="polar")
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    levels = {name: 10.0 * gain.detach().clamp(min=1e-9).log10() for name, gain in cuts.items()}
    top = max(float(level.max()) for level in levels.values())
    for name, level in levels.items():
        axes.plot(angle.numpy(), level.clamp(min=top - 40.0).numpy(), label=name)
    axes.set_rmin(top - 40.0)
    axes.set_rmax(top + 2.0)
    axes.set_title(title or f"gain [dBi], highest {top:.2f}")
    axes.legend(loc="lower right")
    figure.savefig(path, format="png")


def plot_pattern(
    path: Path, theta: Float[Tensor, "n m"], phi: Float[Tensor, "n m"], gain: Float[Tensor, "n m"], *, title: str = ""
) -> None:
    """Draws a pattern as a surface, its distance from the origin the gain in decibels above the highest less 30."""
    from matplotlib import cm, colors
    from matplotlib.figure import Figure

    level = 10.0 * gain.detach().clamp(min=1e-9).log10()
    top = float(level.max())
    level = level.clamp(min=top - 30.0)
    radius = (level - top + 30.0) / 30.0
    phi, theta, radius, level = (torch.cat([part, part[:, :1]], dim=1) for part in (phi, theta, radius, level))
    x, y, z = radius * theta.sin() * phi.cos(), radius * theta.sin() * phi.sin(), radius * theta.cos()
    figure = Figure(figsize=(7.0, 6.0), dpi=120, layout="constrained")
    axes = figure.add_subplot(projection="3d")
    scale = colors.Normalize(top - 30.0, top)
    axes.plot_surface(
        x.numpy(), y.numpy(), z.numpy(), facecolors=cm.viridis(scale(level.numpy())), rstride=1, cstride=1, shade=False
    )
    axes.set_box_aspect((1, 1, 1))
    axes.set(xlim=(-1, 1), ylim=(-1, 1), zlim=(-1, 1), xlabel="x", ylabel="y", zlabel="z")
    figure.colorbar(cm.ScalarMappable(norm=scale, cmap="viridis"), ax=axes, label="gain [dBi]", shrink=0.7)
    axes.set_title(title or f"highest {top:.2f} dBi")
    figure.savefig(path, format="png")
