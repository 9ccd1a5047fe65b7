"""A Gaussian beam of any waist, sent to one side of a sheet: its angular spectrum on the grid.

At each frequency the beam is a sum of plane waves with the weights exp(-(w k_t / 2)^2), k_t the wave number across its
axis [Novotny2012, sec. 3.2]; evanescent waves are left out. The fields of each are the transverse ones of the axis,
turned to its own direction as a lens does [Richards1959], so that E and H spread alike. On the grid every plane wave
has the scheme's wave vector and amplitudes [Schneider2004]: on even cells their sum satisfies the discrete equations
for any waist, and nothing is sent backwards.

For k w above some ten the width is w(z) = w sqrt(1 + (z / z_R)^2), z_R = k w^2 / 2, and the phase on the axis runs
ahead of a plane wave's by the Gouy phase atan(z / z_R).
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.fdtd.harmonics import (
    Harmonics,
    Spectrum,
    harmonics,
    squared_rate,
    transverse,
    travelling,
    unit_vector,
    wave_number,
)
from elec.fdtd.incidence import inner_nodes, sheet_of_side
from elec.fdtd.sources import Source
from elec.fdtd.walls import Walls
from elec.grid import AXES, Grid
from mindsci.errors import InputError
from mindsci.tree import Tree
from mindsci.units import SPEED_OF_LIGHT, VACUUM_IMPEDANCE, VACUUM_PERMEABILITY

TIGHTEST = 2.0
"""Least k w: below it the waves that travel no longer make up a spot of that size."""
LOW_FRACTION = 0.01
"""Largest part of a waveform that lies there; it fades out."""
STEEPEST, SHALLOW = 0.5, 0.05
"""Cosines to the beam's axis between which plane waves fade out: a spectrum that ends abruptly has no end in space."""
LEAST_COSINE = 0.7
"""Between the beam and the normal of its sheet."""
RIM = 0.02
"""Largest field at the rim of the sheet, of that in its middle; what is cut off there is diffracted."""
EARLY = 1e-4
"""Largest field on the sheet at the start, of the highest."""
REPETITION = 8.0
"""Distance at which the beam repeats itself, in half-widths of the sheet: so far off its tails are weak and late."""
RANK_FLOOR = 1e-6
"""Signals of the sheet that are weaker than this are dropped."""


class GaussianBeam(Tree):
    """A beam in a homogeneous medium, given by its narrowest place."""

    waist: float
    """radius at the focus where the field is 1 / e of that on the axis [m]"""
    focus: tuple[float, float, float]
    """[m]"""
    direction: tuple[float, float, float]
    """of travel; need not be of unit length"""
    polarisation: tuple[float, float, float]
    """of the electric field on the axis; its part along the direction is dropped"""
    permittivity: float = 1.0
    permeability: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.waist) and self.waist > 0):
            raise InputError(f"the beam's waist of {self.waist:g} m must be positive")
        _ = self.axes

    @functools.cached_property
    def axes(self) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
        """Unit vectors along the beam and along its electric field."""
        u = unit_vector(self.direction, "direction")
        return u, transverse(self.polarisation, u)

    def wavenumber(self, frequency: float) -> float:
        """Returns k [rad/m]."""
        return 2.0 * math.pi * frequency / SPEED_OF_LIGHT * math.sqrt(self.permittivity * self.permeability)

    def rayleigh_length(self, frequency: float) -> float:
        """Returns k w^2 / 2 [m]: that far from the focus the beam is sqrt(2) times as wide."""
        return 0.5 * self.wavenumber(frequency) * self.waist**2

    def radius(self, distance: float, frequency: float) -> float:
        """Returns w(z) [m] of the paraxial beam at a distance [m] from the focus."""
        return self.waist * math.hypot(1.0, distance / self.rayleigh_length(frequency))

    def part(self, unit: Float[Tensor, "*n 3"], k: float) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n 3"]]:
        """Returns weight and electric vector of plane waves in directions of unit length, wave number k [rad/m]."""
        u, p = self.axes
        along = unit @ u
        x = ((along - SHALLOW) / (STEEPEST - SHALLOW)).clamp(0.0, 1.0)
        lens = x**4 * (35.0 - 84.0 * x + 70.0 * x**2 - 20.0 * x**3)
        weight = torch.exp(-((0.5 * self.waist * k) ** 2) * (1.0 - along**2)) * lens
        turned = (unit @ p / (1.0 + along.clamp(min=0.0)))[..., None]
        return weight, p - turned * (u + unit)

    def field(self, points: Float[Tensor, "n 3"], frequency: float) -> Complex[Tensor, "n 3"]:
        """Returns the beam's electric field at points [m], 1 V/m on the axis at the focus, phase zero there."""
        k, (unit, area, weight, electric) = self.wavenumber(frequency), self._directions(points, frequency)
        share = weight * area
        scale = (share * (electric @ self.axes[1])).sum()
        focus = torch.tensor(self.focus, dtype=torch.float64)
        phase = torch.exp(-1j * k * ((points - focus) @ unit.T))
        return phase @ (share[:, None] * electric / scale).to(torch.complex128)

    def power(self, frequency: float) -> float:
        """Returns the power [W] for 1 V/m at the focus; pi w^2 / (4 eta) where k w is large."""
        k = self.wavenumber(frequency)
        unit, area, weight, electric = self._directions(torch.tensor([self.focus], dtype=torch.float64), frequency)
        scale = (weight * area * (electric @ self.axes[1])).sum()
        eta = VACUUM_IMPEDANCE * math.sqrt(self.permeability / self.permittivity)
        flux = (weight**2 * (unit @ self.axes[0]) * area).sum() / scale**2
        return float(flux) * (2.0 * math.pi) ** 2 / (2.0 * eta * k**2)

    def _directions(self, points: Tensor, frequency: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Directions of half a sphere; the area of each in the plane across the axis, over k^2; weight and E."""
        k, (u, p) = self.wavenumber(frequency), self.axes
        reach = float((points - torch.tensor(self.focus, dtype=torch.float64)).norm(dim=1).max())
        widest = math.asin(min(1.0, 10.0 / (k * self.waist)))
        rings = 32 + math.ceil(0.5 * k * reach * widest**2) + math.ceil(k * reach * widest / 2.0)
        spokes = 16 + 2 * math.ceil(k * reach * math.sin(widest))
        from numpy.polynomial.legendre import leggauss

        nodes, weights = (torch.from_numpy(part) for part in leggauss(rings))
        theta = 0.5 * widest * (nodes + 1.0)
        phi = 2.0 * math.pi / spokes * torch.arange(spokes, dtype=torch.float64)
        q = torch.linalg.cross(u, p)
        around = phi.cos()[:, None] * p + phi.sin()[:, None] * q
        unit = theta.sin()[:, None, None] * around + theta.cos()[:, None, None] * u
        area = (0.5 * widest * weights * theta.sin() * theta.cos())[:, None].expand(rings, spokes)
        unit = unit.reshape(-1, 3)
        weight, electric = self.part(unit, k)
        return unit, area.reshape(-1) * 2.0 * math.pi / spokes, weight, electric


class UpTo(Tree):
    """A waveform that is silent after its duration."""

    waveform: Harmonics

    def __call__(self, t: Float[Tensor, "times"]) -> Float[Tensor, "times signals"]:
        inside = t <= self.waveform.duration
        found = self.waveform(t[inside])
        return found.new_zeros(len(t), found.shape[1]).index_put((inside.nonzero()[:, 0],), found)


class _Lattice(NamedTuple):
    """The plane waves that the sheet is made of, by their wave numbers along its two axes, and its cells."""

    axis: int
    sides: tuple[int, int]
    """axes of the sheet, in order"""
    sign: float
    """of the travel along the axis"""
    cells: tuple[float, float, float]
    node: float
    """plane of the sheet [m]"""
    lateral: tuple[Tensor, Tensor]
    """[rad/m]"""


def beam_sources(
    grid: Grid,
    dt: float,
    n_steps: int,
    *,
    beam: GaussianBeam,
    axis: int,
    node: int,
    waveform: Any,
    amplitude: float | Float[Tensor, ""] = 1.0,
    delay: float = 0.0,
    walls: Walls | None = None,
) -> tuple[Source, Source]:
    """Returns currents on the plane of a node that send a Gaussian beam to one side, that to which it travels.

    The sheet fills the grid's section inside its absorbing layers; on a mirror (a "pmc" wall, or a "pec" one) the beam
    goes on as its image does, so give one that is symmetric. At the focus the field along the polarisation is amplitude
    [V/m] times waveform(t - delay - l / v), l the way from the sheet to the focus (negative where the beam starts
    beyond it) and v the speed of a plane wave on the grid; all frequencies have the same waist. What comes back passes
    through the sheet. Even cells are assumed, and a homogeneous medium around the sheet. Gradients pass through
    amplitude and the parameters of the waveform.

    Raises InputError for a sheet outside the grid or too small for the beam, a beam that is too oblique, a waveform
    that reaches where the waist is below a third of a wavelength, and a delay so short that the beam's rim, which
    leads, would have to start before the run.
    """
    walls = walls if walls is not None else Walls()
    u, _ = beam.axes
    _check(grid, beam, axis, node)
    low, high = _window(grid, axis)
    sheet = sheet_of_side(grid, axis, "low" if float(u[axis]) > 0 else "high", low, high, node, walls)
    speed = SPEED_OF_LIGHT / math.sqrt(beam.permittivity * beam.permeability)
    span = math.dist(*([float(grid.nodes(i)[end[i]]) for i in range(3) if i != axis] for end in (low, high)))
    spectrum = harmonics(waveform, dt, _lasting(waveform, dt, n_steps, delay, span / speed), delay)
    highest = float(squared_rate(spectrum.omega, dt, speed).max()) ** 0.5
    lattice = _lattice(grid, beam, axis, node, (low, high), highest)
    spectrum = _usable(beam, spectrum, lattice, dt, speed)
    fields = _fields(grid, beam, lattice, (low, high), walls, spectrum, dt, speed)
    border = _border(grid, sheet.edges, axis)
    sources = []
    for kind, places, scale, field in (
        ("current", sheet.edges, sheet.current, fields[1]),
        ("magnetic current", sheet.faces, sheet.magnetic_current, fields[0]),
    ):
        shapes, signals = _separated(field, spectrum, border)
        sizes = shapes.abs() * signals.modes.detach().abs().square().sum(0).sqrt()
        place, column = (sizes > 1e-3 * RANK_FLOOR * sizes.max()).nonzero().unbind(1)
        sources.append(
            Source(
                places=places[place],
                amplitude=amplitude * (scale[place] * shapes[place, column]),
                waveform=UpTo(waveform=signals),
                kind=kind,  # type: ignore[arg-type]
                columns=column,
            )
        )
    return sources[0], sources[1]


def _check(grid: Grid, beam: GaussianBeam, axis: int, node: int) -> None:
    if not 1 <= node <= grid.shape[axis] - 1:
        raise InputError(
            f"the sheet at node {node} along {AXES[axis]} must lie within 1 .. {grid.shape[axis] - 1}, inside the grid"
        )
    u = beam.axes[0]
    if abs(float(u[axis])) < LEAST_COSINE:
        best = AXES[int(u.abs().argmax())]
        raise InputError(
            f"the beam along {u.tolist()} leaves its sheet across {AXES[axis]} at more than "
            f"{math.degrees(math.acos(LEAST_COSINE)):.0f} degrees from the normal; put the sheet across {best}"
        )


def _window(grid: Grid, axis: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Corners of the sheet: what the absorbing layers leave of the section."""
    low = [0 if i == axis else grid.layers[i][0] for i in range(3)]
    high = [grid.shape[i] - (0 if i == axis else grid.layers[i][1]) for i in range(3)]
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def _lasting(waveform: Any, dt: float, n_steps: int, delay: float, spread: float) -> int:
    """Steps in which the waveform and what the sheet makes of it, earlier and later by its width, are over."""
    t = dt * torch.arange(n_steps + 1, dtype=torch.float64) - delay
    size = waveform(t).detach().abs()
    last = int((size > 1e-9 * size.max()).nonzero().max())
    return min(n_steps, last + math.ceil(spread / dt) + 1)


def _lattice(grid: Grid, beam: GaussianBeam, axis: int, node: int, window: tuple[Any, Any], highest: float) -> _Lattice:
    """Even wave numbers so dense that the beam's repetitions stay off the sheet, up to the highest [rad/m]."""
    sides = [i for i in range(3) if i != axis]
    plane, u = float(grid.nodes(axis)[node]), beam.axes[0]
    cells, lateral = [0.0] * 3, []
    cells[axis] = float(grid.spacing(axis)[node if float(u[axis]) > 0 else node - 1])
    for side in sides:
        low, high = (float(grid.nodes(side)[end[side]]) for end in window)
        cells[side] = (high - low) / (window[1][side] - window[0][side])
        crossing = beam.focus[side] + float(u[side] / u[axis]) * (plane - beam.focus[axis])
        period = REPETITION * max(abs(high - crossing), abs(low - crossing))
        # What lies further off the axis than 10 / w has a weight below 1e-10; no wave is shorter than two cells.
        widest = min(1.1 * highest, highest * abs(float(u[side])) + 10.0 / beam.waist, math.pi / cells[side])
        count = math.ceil(0.5 * period * widest / math.pi)
        lateral.append(2.0 * math.pi / period * torch.arange(-count, count + 1, dtype=torch.float64))
    return _Lattice(
        axis=axis,
        sides=(sides[0], sides[1]),
        sign=math.copysign(1.0, float(u[axis])),
        cells=(cells[0], cells[1], cells[2]),
        node=plane,
        lateral=(lateral[0], lateral[1]),
    )


def _usable(beam: GaussianBeam, spectrum: Spectrum, lattice: _Lattice, dt: float, speed: float) -> Spectrum:
    """Leaves out what cannot be focused; InputError where that is a visible part of the signal."""
    rate = squared_rate(spectrum.omega, dt, speed).sqrt()
    wide = rate * beam.waist >= TIGHTEST
    weight = spectrum.weight.detach().abs()
    if float(weight[~wide].sum()) > LOW_FRACTION * float(weight.sum()):
        lowest = TIGHTEST * speed / beam.waist / (2.0 * math.pi)
        raise InputError(
            f"{100 * float(weight[~wide].sum() / weight.sum()):.2g} % of the waveform lies below {lowest:.3g} Hz, "
            f"where a waist of {beam.waist * 1e3:.4g} mm is under a third of a wavelength; use a wider waist, or a "
            "waveform with a narrower band (ModulatedGaussian)"
        )
    # A spectrum that ends abruptly rings: what is below the limit fades out over an octave.
    x = (2.0 * rate * beam.waist / TIGHTEST - 1.0).clamp(0.0, 1.0)
    faded = spectrum.weight * x**4 * (35.0 - 84.0 * x + 70.0 * x**2 - 20.0 * x**3)
    kept = Spectrum(omega=spectrum.omega[x > 0], weight=faded[x > 0], duration=spectrum.duration)
    return travelling(kept, rate[x > 0] * 0.5 * max(lattice.cells) < 0.9)


def _fields(
    grid: Grid,
    beam: GaussianBeam,
    lattice: _Lattice,
    window: tuple[Any, Any],
    walls: Walls,
    spectrum: Spectrum,
    dt: float,
    speed: float,
) -> tuple[Complex[Tensor, "places f"], Complex[Tensor, "places f"]]:
    """Returns E at the edges of the sheet and H at its faces, in their order, for a field of one at the focus."""
    axis, omega = lattice.axis, spectrum.omega
    # The order in which `sheet_of_side` lists the two tangential directions.
    halves = [((axis + 2) % 3, (axis + 1) % 3), ((axis + 1) % 3, (axis + 2) % 3)]
    waves = []
    for along, other in halves:
        lines = {
            along: grid.centers(along)[window[0][along] : window[1][along]],
            other: grid.nodes(other)[inner_nodes(grid, other, window[0][other], window[1][other], walls)],
        }
        waves.append(
            [
                torch.exp(-1j * (lines[side].to(torch.float64).cpu() - beam.focus[side])[:, None] * k)
                for side, k in zip(lattice.sides, lattice.lateral, strict=True)
            ]
        )
    rate_t = 2.0 * torch.sin(0.5 * omega * dt) / dt
    turn = -wave_number(omega, beam.axes[0].tolist(), lattice.cells, dt, speed)
    turn = turn * (beam.focus[axis] - lattice.node) / float(beam.axes[0][axis])
    electric, magnetic = [], []
    for index in range(len(omega)):
        k = float(rate_t[index]) / speed
        e, h = _plane_waves(beam, lattice, k, float(rate_t[index]))
        delayed = torch.exp(1j * turn[index])
        for which, found in ((e, electric), (h, magnetic)):
            parts = []
            for (along, other), (first, second) in zip(halves, waves, strict=True):
                component = along if which is e else other
                parts.append((first @ which[component] @ second.T).reshape(-1))
            found.append(delayed * torch.cat(parts))
    return torch.stack(electric, dim=1), torch.stack(magnetic, dim=1)


def _plane_waves(
    beam: GaussianBeam, lattice: _Lattice, k: float, rate: float
) -> tuple[Complex[Tensor, "3 a b"], Complex[Tensor, "3 a b"]]:
    """E on the plane of the sheet and H half a cell before it, of each plane wave, with its phase at the focus."""
    axis, cells, sign = lattice.axis, lattice.cells, lattice.sign
    wave = torch.zeros(len(lattice.lateral[0]), len(lattice.lateral[1]), 3, dtype=torch.float64)
    for place, (side, lateral) in enumerate(zip(lattice.sides, lattice.lateral, strict=True)):
        line = 2.0 / cells[side] * torch.sin(0.5 * lateral * cells[side])
        wave[..., side] = line[:, None] if place == 0 else line
    left = k**2 - wave.square().sum(dim=-1)
    kept = left > (SHALLOW * k) ** 2
    along = left.clamp(min=(SHALLOW * k) ** 2).sqrt()
    wave[..., axis] = sign * along
    unit = wave / k
    weight, electric = beam.part(unit, k)
    # Even steps across the sheet are none across the beam: the ratio of the two areas.
    weight = kept * weight * (unit @ beam.axes[0]).clamp(min=0.0) * k / along
    weight = weight / (weight * (electric @ beam.axes[1])).sum()
    magnetic = torch.linalg.cross(wave, electric) / (VACUUM_PERMEABILITY * beam.permeability * rate)
    travel = sign * 2.0 / cells[axis] * torch.asin((0.5 * cells[axis] * along).clamp(max=1.0))
    ahead = torch.exp(1j * travel * (beam.focus[axis] - lattice.node))
    # The face lies half a cell before the sheet.
    before = torch.exp(1j * travel * sign * 0.5 * cells[axis])
    e = (weight * ahead)[..., None] * electric
    h = (weight * ahead * before)[..., None] * magnetic
    return e.movedim(-1, 0), h.movedim(-1, 0)


def _border(grid: Grid, edges: Tensor, axis: int) -> Tensor:
    """The edges next to absorbing layers."""
    found = torch.zeros(len(edges), dtype=torch.bool)
    for side in range(3):
        low, high = grid.layers[side]
        if side != axis:
            place = edges[:, 1 + side]
            found |= (place <= low) & (low > 0)
            found |= (place >= grid.shape[side] - high - 1) & (high > 0)
    return found


def _separated(
    field: Complex[Tensor, "places f"], spectrum: Spectrum, border: Tensor
) -> tuple[Float[Tensor, "places signals"], Harmonics]:
    """Returns few signals, and what each place takes of them: places of a beam differ little in time.

    Raises InputError for a field that is cut off at the rim, or that would have started before the run.
    """
    weighted = field * spectrum.weight.detach()
    both = torch.cat([weighted.real, weighted.imag], dim=1)
    squared, turned = torch.linalg.eigh(both.T @ both)
    kept = squared > (RANK_FLOOR**2) * squared[-1]
    shapes = both @ (turned[:, kept] / squared[kept].sqrt())
    size = (shapes.square() @ squared[kept]).sqrt()
    if bool(border.any()) and float(size[border].max()) > RIM * float(size.max()):
        raise InputError(
            f"at the rim of its sheet the beam still has {100 * float(size[border].max() / size.max()):.2g} % of its "
            f"field, above {100 * RIM:g} %; widen the grid, or put the sheet nearer to the focus"
        )
    signals = Harmonics(
        omega=spectrum.omega,
        modes=shapes.T.to(torch.complex128).matmul(field).T * spectrum.weight[:, None],
        duration=spectrum.duration,
    )
    _check_start(signals)
    return shapes, signals


def _check_start(signals: Harmonics) -> None:
    """The signals are periodic, so that what should have come before the run can be seen."""
    detached = Harmonics(omega=signals.omega, modes=signals.modes.detach(), duration=signals.duration)
    t = torch.linspace(-0.5, 1.0, 1500, dtype=torch.float64) * signals.duration
    size = detached(t).norm(dim=1)
    early = (t <= 0.0) & (size > EARLY * size.max())
    if bool(early.any()):
        lead = -float(t[early].min()) + signals.duration / 1000.0
        raise InputError(
            f"the rim of the beam leads on its sheet and would have to start before the run; delay it by {lead:.3g} "
            "s more"
        )
