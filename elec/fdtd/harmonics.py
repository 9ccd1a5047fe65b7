"""Signals of an incident wave along its path, in the scheme's own dispersion: what plane waves and beams share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from elec.grid import Grid
from mindsci.errors import InputError
from mindsci.tree import Tree
from mindsci.units import VACUUM_PERMEABILITY

SPECTRUM_FLOOR = 1e-9
"""Frequencies below this fraction of the largest are left out: their sum stays below -120 dB."""
LOST_FRACTION = 1e-4
POINTS = 6
"""Of the Lagrange interpolation along the path: 4e-7 at two columns a cell and 15 cells a wavelength."""


class Harmonics(Tree):
    """A waveform of many signals: sum over frequencies of modes exp(j omega t), its real part or all of it."""

    omega: Float[Tensor, "frequencies"]
    """[rad/s]"""
    modes: Complex[Tensor, "frequencies signals"]
    duration: float
    """[s]"""
    analytic: bool = False

    def __call__(self, t: Float[Tensor, "times"]) -> Tensor:
        """Returns (times, signals). Raises InputError beyond the steps that the source was made for."""
        if t.numel() and float(t.max()) > self.duration:
            raise InputError(
                f"the source was made for {self.duration:g} s and is asked for {float(t.max()):g} s; give more n_steps"
            )
        angle = t.to(self.omega)[:, None] * self.omega
        value = torch.polar(torch.ones_like(angle), angle) @ self.modes
        return value if self.analytic else value.real


class UpTo(Tree):
    """A waveform that is silent after its duration."""

    waveform: Harmonics

    def __call__(self, t: Float[Tensor, "times"]) -> Float[Tensor, "times signals"]:
        inside = t <= self.waveform.duration
        found = self.waveform(t[inside])
        return found.new_zeros(len(t), found.shape[1]).index_put((inside.nonzero()[:, 0],), found)


class Spectrum(Tree):
    """A waveform as harmonics: signal(t) = Re sum of weight exp(j omega t) over 0 <= t <= duration."""

    omega: Float[Tensor, "frequencies"]
    weight: Complex[Tensor, "frequencies"]
    duration: float


def harmonics(waveform: Any, dt: float, n_steps: int, delay: float = 0.0) -> Spectrum:
    """Returns the harmonics of a waveform, sampled at half steps and faded out smoothly beyond the last one.

    The period is three times the duration, so that nothing that wraps round comes back within the run.
    """
    if n_steps < 1 or not dt > 0:
        raise InputError(f"dt = {dt:g} s and n_steps = {n_steps} must be positive")
    count = 2 * (n_steps + 2)
    t = 0.5 * dt * torch.arange(3 * count, dtype=torch.float64)
    x = ((t / (0.5 * dt) - count) / count).clamp(0.0, 1.0)
    fade = 1.0 - x**4 * (35.0 - 84.0 * x + 70.0 * x**2 - 20.0 * x**3)
    spectrum = torch.fft.rfft(waveform(t - delay) * fade) / t.numel()
    omega = 2.0 * math.pi * torch.fft.rfftfreq(t.numel(), 0.5 * dt, dtype=torch.float64)
    weight = torch.cat([spectrum[:1], 2.0 * spectrum[1:]])
    size = weight.detach().abs()
    # A frequency of exactly zero has no direction of its discrete wave vector; a hundredth of the first one has.
    omega = torch.cat([0.01 * omega[1:2], omega[1:]])
    kept = (size > SPECTRUM_FLOOR * size.max()) & (omega * dt < math.pi)
    return Spectrum(omega=omega[kept], weight=weight[kept], duration=(n_steps + 2) * dt)


def squared_rate(omega: Tensor, dt: float, speed: float) -> Tensor:
    """Returns (2 sin(omega dt / 2) / (c dt))^2 [1/m^2], the left side of the dispersion relation."""
    return (2.0 * torch.sin(0.5 * omega * dt) / (speed * dt)) ** 2


def wave_number(
    omega: Float[Tensor, "frequencies"], direction: Sequence[float], cells: Sequence[float], dt: float, speed: float
) -> Float[Tensor, "frequencies"]:
    """Returns the scheme's wave number [rad/m] along a direction; NaN where no wave travels [Taflove2005, ch. 4].

    sum over axes of (2 sin(k u d / 2) / d)^2 = (2 sin(omega dt / 2) / (c dt))^2, by Newton's method.
    """
    u, d = (torch.tensor(list(map(float, values)), dtype=torch.float64) for values in (direction, cells))
    right = squared_rate(omega, dt, speed)
    limit = math.pi / float((u.abs() * d).max())
    k = omega / speed
    for _ in range(40):
        phase = k[:, None] * u * d
        error = (2.0 * torch.sin(0.5 * phase) / d).square().sum(1) - right
        slope = (2.0 * u / d * torch.sin(phase)).sum(1)
        k = (k - error / slope).clamp(0.0, limit)
    phase = k[:, None] * u * d
    error = (2.0 * torch.sin(0.5 * phase) / d).square().sum(1) - right
    return torch.where(error.abs() <= 1e-9 * right, k, torch.nan)


def discrete_wave_vector(k: Tensor, cells: Sequence[float]) -> Tensor:
    """Returns 2 sin(k d / 2) / d of wave vectors (..., 3) [rad/m]: what central differences make of them."""
    d = torch.tensor(list(map(float, cells)), dtype=torch.float64)
    return 2.0 * torch.sin(0.5 * k * d) / d


def polarised(
    wave: Float[Tensor, "frequencies 3"], omega: Tensor, dt: float, polarisation: Tensor, permeability: float
) -> tuple[Float[Tensor, "frequencies 3"], Float[Tensor, "frequencies 3"]]:
    """Returns the electric and magnetic amplitudes that satisfy the discrete curl equations, E . polarisation = 1."""
    unit = wave / wave.norm(dim=1, keepdim=True)
    electric = polarisation - unit * (unit @ polarisation)[:, None]
    electric = electric / (electric @ polarisation)[:, None]
    rate = 2.0 * torch.sin(0.5 * omega * dt) / dt
    magnetic = torch.linalg.cross(wave, electric) / (VACUUM_PERMEABILITY * permeability * rate)[:, None]
    return electric, magnetic


def travelling(spectrum: Spectrum, usable: Tensor) -> Spectrum:
    """Returns the frequencies that travel; InputError where what does not is a visible part of the signal."""
    lost = float(spectrum.weight[~usable].detach().abs().sum())
    total = float(spectrum.weight.detach().abs().sum())
    if lost > LOST_FRACTION * total:
        worst = float(spectrum.omega[~usable].median()) / (2.0 * math.pi)
        raise InputError(
            f"{100 * lost / total:.2g} % of the waveform lies at frequencies (about {worst:.3g} Hz) that do not travel "
            "in that direction on this grid; use a narrower band, finer cells, or a smaller lateral wave number"
        )
    return Spectrum(omega=spectrum.omega[usable], weight=spectrum.weight[usable], duration=spectrum.duration)


def unit_vector(value: Sequence[float], what: str) -> Float[Tensor, "3"]:
    """Returns a direction of length one; InputError unless it is three numbers, not all zero."""
    vector = torch.tensor([float(part) for part in value], dtype=torch.float64)
    if vector.shape != (3,) or not bool(torch.isfinite(vector).all()) or float(vector.norm()) == 0.0:
        raise InputError(f"{what} = {list(value)} is no direction; give three numbers that are not all zero")
    return vector / vector.norm()


def transverse(polarisation: Sequence[float], direction: Tensor) -> Float[Tensor, "3"]:
    """Returns the polarisation made perpendicular to the direction; InputError where it is parallel to it."""
    vector = unit_vector(polarisation, "polarisation")
    across = vector - direction * torch.dot(vector, direction)
    if float(across.norm()) < 1e-6:
        raise InputError(
            f"polarisation {list(polarisation)} is parallel to the direction of travel {direction.tolist()}; "
            "the electric field lies across it"
        )
    return across / across.norm()


def positions(grid: Grid, places: Int[Tensor, "places 4"], *, magnetic: bool) -> Float[Tensor, "places 3"]:
    """Returns where edges, or faces, lie [m]."""
    found = []
    for axis in range(3):
        nodes = grid.nodes(axis).cpu().to(torch.float64)
        centers = torch.cat([grid.centers(axis).cpu().to(torch.float64), nodes[-1:]])
        middle = (places[:, 0] != axis) if magnetic else (places[:, 0] == axis)
        index = places[:, axis + 1]
        found.append(torch.where(middle, centers[index], nodes[index]))
    return torch.stack(found, dim=1)


def interpolation(
    distance: Float[Tensor, "places"], start: float, spacing: float
) -> tuple[Int[Tensor, "places points"], Float[Tensor, "places points"]]:
    """Returns columns and Lagrange weights that interpolate a table along the path; column 0 lies at start."""
    x = (distance - start) / spacing
    nearest = x.round()
    x = torch.where((x - nearest).abs() < 1e-9, nearest, x)
    first = x.floor() - (POINTS // 2 - 1)
    offsets = torch.arange(POINTS, dtype=torch.float64)
    local = (x - first)[:, None]
    weights = torch.ones(len(x), POINTS, dtype=torch.float64)
    for i in range(POINTS):
        for j in range(POINTS):
            if i != j:
                weights[:, i] *= (local[:, 0] - j) / (i - j)
    return (first[:, None] + offsets).to(torch.int64), weights
