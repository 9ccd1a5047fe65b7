"""A Gaussian beam on the grid: the currents of a sheet that send it to one side.

The beam is a sum of plane waves (`elec.fdtd.gaussian_beam`). On the grid every one has the scheme's wave vector and
amplitudes [Schneider2004]: on even cells their sum satisfies the discrete equations for any waist, and nothing is sent
backwards.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.fdtd.gaussian_beam import SHALLOW, GaussianBeam
from elec.fdtd.harmonics import Harmonics, Spectrum, UpTo, harmonics, squared_rate, travelling, wave_number
from elec.fdtd.incidence import inner_nodes, sheet_of_side
from elec.fdtd.sources import Source
from elec.fdtd.walls import Walls
from elec.grid import AXES, Grid
from mindsci.errors import InputError
from mindsci.units import SPEED_OF_LIGHT, VACUUM_PERMEABILITY

TIGHTEST = 2.0
"""Least k w: below it the waves that travel no longer make up a spot of that size."""
LOW_FRACTION = 0.01
"""Largest part of a waveform that lies there; it fades out."""
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


class TooEarly(InputError):
    """A beam whose rim would have to start before the run, and by how much."""

    def __init__(self, lead: float) -> None:
        super().__init__(
            f"the rim of the beam leads on its sheet and would have to start before the run; delay it by {lead:.3g} "
            "s more"
        )
        self.lead = lead
        """[s]"""


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
        raise TooEarly(lead)
