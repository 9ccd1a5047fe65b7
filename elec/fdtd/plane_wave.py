"""Plane waves: through a box of total field at any angle, or from one sheet across a periodic structure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.fdtd.harmonics import (
    POINTS,
    Harmonics,
    discrete_wave_vector,
    harmonics,
    interpolation,
    polarised,
    positions,
    squared_rate,
    transverse,
    travelling,
    unit_vector,
    wave_number,
)
from elec.fdtd.incidence import Node, Sheet, sheet_of_side
from elec.fdtd.sources import Source
from elec.fdtd.walls import Walls
from elec.grid import AXES, Grid
from mindsci.errors import InputError
from mindsci.units import SPEED_OF_LIGHT

SIDES = tuple(f"{axis} {side}" for axis in AXES for side in ("low", "high"))


def total_field_sources(
    grid: Grid,
    dt: float,
    n_steps: int,
    *,
    low: Sequence[int],
    high: Sequence[int],
    direction: Sequence[float],
    polarisation: Sequence[float],
    waveform: Any,
    amplitude: float | Float[Tensor, ""] = 1.0,
    delay: float = 0.0,
    open_sides: Sequence[str] = (),
    walls: Walls | None = None,
    permittivity: float = 1.0,
    permeability: float = 1.0,
) -> tuple[Source, Source]:
    """Returns electric and magnetic currents that carry a plane wave into the box of nodes low .. high and out again.

    Inside (edges on the surface included) the fields are total, outside they are scattered [Taflove2005, ch. 5]. At the
    `reference_point`, the corner that the wave meets first, its electric field along the polarisation is amplitude
    [V/m] times waveform(t - delay). Each frequency travels with the scheme's own wave number in that direction and with
    amplitudes that satisfy the discrete curl equations [Schneider2004], so that on even cells what leaks out is only
    the interpolation along the path. On graded cells the mean cell of the box is taken, and the error of dispersion
    within it leaks.

    direction and polarisation need not be of unit length. The medium around the box is homogeneous. open_sides ("x
    low", ...) name sides of the box that lie on a symmetry or periodic wall, have no sources, and along which the wave
    does not travel; walls says what they are (edges on a PEC wall are left out). Gradients pass through amplitude and
    the parameters of the waveform.

    Raises InputError for a box outside the grid or touching absorbing layers, and for a waveform beyond the grid.
    """
    u = unit_vector(direction, "direction")
    p = transverse(polarisation, u)
    low, high = _checked_box(grid, low, high, u, open_sides)
    sheet = _box_surface(grid, low, high, open_sides, walls if walls is not None else Walls())
    cells = [
        float((grid.nodes(axis)[high[axis]] - grid.nodes(axis)[low[axis]]) / (high[axis] - low[axis]))
        for axis in range(3)
    ]
    speed = SPEED_OF_LIGHT / math.sqrt(permittivity * permeability)
    spectrum = harmonics(waveform, dt, n_steps, delay)
    k = wave_number(spectrum.omega, u.tolist(), cells, dt, speed)
    usable = ~k.isnan()
    spectrum, k = travelling(spectrum, usable), k[usable]
    wave = discrete_wave_vector(k[:, None] * u, cells)
    electric, magnetic = polarised(wave, spectrum.omega, dt, p, permeability)
    origin = torch.tensor(reference_point(grid, low, high, u.tolist()), dtype=torch.float64)
    distances = [
        (positions(grid, places, magnetic=is_magnetic) - origin) @ u
        for places, is_magnetic in ((sheet.edges, False), (sheet.faces, True))
    ]
    return _currents(sheet, distances, k, spectrum, (electric, magnetic), 0.5 * min(cells), amplitude)


def reference_point(
    grid: Grid, low: Sequence[int], high: Sequence[int], direction: Sequence[float]
) -> tuple[float, float, float]:
    """Returns the corner [m] of the box that the wave meets first: there the phase of the incident wave is zero."""
    x, y, z = (float(grid.nodes(axis)[low[axis] if direction[axis] >= 0 else high[axis]]) for axis in range(3))
    return (x, y, z)


def incident_spectrum(
    waveform: Any,
    dt: float,
    n_steps: int,
    frequencies: Float[Tensor, "f"] | Sequence[float],
    *,
    amplitude: float | Float[Tensor, ""] = 1.0,
    delay: float = 0.0,
) -> Complex[Tensor, "f"]:
    """Returns dt sum E exp(-2 pi i f t) of the incident field at the reference point [V s/m], as monitors sample."""
    t = dt * (1.0 + torch.arange(n_steps, dtype=torch.float64))
    f = torch.as_tensor(frequencies, dtype=torch.float64)
    angle = -2.0 * math.pi * f[:, None] * t
    return dt * amplitude * (torch.polar(torch.ones_like(angle), angle) @ waveform(t - delay).to(torch.complex128))


def plane_source(
    grid: Grid,
    dt: float,
    n_steps: int,
    *,
    axis: int,
    node: int,
    polarisation: Sequence[float],
    waveform: Any,
    towards_high: bool = True,
    lateral: Sequence[float] = (0.0, 0.0, 0.0),
    amplitude: float | Float[Tensor, ""] = 1.0,
    delay: float = 0.0,
    walls: Walls | None = None,
    permittivity: float = 1.0,
    permeability: float = 1.0,
) -> tuple[Source, Source]:
    """Returns currents on the whole cross-section at a node that send a plane wave to one side only.

    Structures that are periodic across the axis need no box: the incident field is one-sided, and what comes back
    passes through the sheet. A lateral wave vector [rad/m] (its part along the axis is ignored) is the same at all
    frequencies, so each one has another angle; it needs Bloch-periodic walls of phase -lateral times the period, and
    the fields and amplitudes are complex: exp(j omega t - j k r), positive frequencies only. The electric field along
    the polarisation at the first node of the sheet is amplitude [V/m] times waveform(t - delay), or its analytic
    signal.

    Even cells across the axis are assumed; along it, the cell next to the sheet is the one whose dispersion counts.

    Raises InputError for a node outside, walls of another phase, or a waveform that reaches below cut-off.
    """
    walls = walls if walls is not None else Walls()
    across = [float(value) if index != axis else 0.0 for index, value in enumerate(lateral)]
    bloch = any(across)
    _check_sheet(grid, axis, node, across, walls)
    sheet = sheet_of_side(grid, axis, "low" if towards_high else "high", (0, 0, 0), grid.shape, node, walls)
    cells = [float(grid.spacing(index).mean()) for index in range(3)]
    cells[axis] = float(grid.spacing(axis)[node])
    speed = SPEED_OF_LIGHT / math.sqrt(permittivity * permeability)
    spectrum = harmonics(waveform, dt, n_steps, delay)
    side = torch.tensor(across, dtype=torch.float64)
    left = squared_rate(spectrum.omega, dt, speed) - discrete_wave_vector(side, cells).square().sum()
    argument = 0.5 * cells[axis] * left.clamp(min=0.0).sqrt()
    usable = (left > 0) & (argument < 1.0)
    spectrum = travelling(spectrum, usable)
    k = 2.0 / cells[axis] * torch.asin(argument[usable])
    sign = 1.0 if towards_high else -1.0
    vector = side.repeat(len(k), 1)
    vector[:, axis] = sign * k
    wave = discrete_wave_vector(vector, cells)
    middle = int(spectrum.weight.detach().abs().argmax())
    p = transverse(polarisation, wave[middle] / wave[middle].norm())
    fields = polarised(wave, spectrum.omega, dt, p, permeability)
    origin = torch.tensor([float(grid.nodes(i)[node if i == axis else 0]) for i in range(3)], dtype=torch.float64)
    where = [
        positions(grid, places, magnetic=is_magnetic) - origin
        for places, is_magnetic in ((sheet.edges, False), (sheet.faces, True))
    ]
    distances = [sign * place[:, axis] for place in where]
    factors = None
    if bloch:
        factors = [torch.polar(torch.ones(len(place), dtype=torch.float64), -(place @ side)) for place in where]
    return _currents(sheet, distances, k, spectrum, fields, 0.5 * cells[axis], amplitude, factors, analytic=bloch)


def _currents(
    sheet: Sheet,
    distances: Sequence[Tensor],
    k: Tensor,
    spectrum: Any,
    fields: tuple[Tensor, Tensor],
    spacing: float,
    amplitude: float | Tensor,
    factors: Sequence[Tensor] | None = None,
    *,
    analytic: bool = False,
) -> tuple[Source, Source]:
    """Returns the sources of a sheet: J from the incident H at its faces, M from the incident E at its edges."""
    targets = (
        ("current", sheet.edges, sheet.faces[:, 0], distances[1], sheet.current, fields[1], 1),
        ("magnetic current", sheet.faces, sheet.edges[:, 0], distances[0], sheet.magnetic_current, fields[0], 0),
    )
    sources = []
    for kind, places, component, distance, scale, field, which in targets:
        start = spacing * (math.floor(float(distance.min()) / spacing) - POINTS // 2)
        index, weights = interpolation(distance, start, spacing)
        count = int(index.max()) + 1
        path = start + spacing * torch.arange(count, dtype=torch.float64)
        delayed = spectrum.weight[:, None] * torch.polar(
            torch.ones(len(k), count, dtype=torch.float64), -k[:, None] * path
        )
        modes = (field.to(delayed.dtype)[:, :, None] * delayed[:, None, :]).reshape(len(k), 3 * count)
        used = weights != 0.0
        value = scale if factors is None else scale * factors[which]
        row = torch.arange(len(places))[:, None].expand_as(index)[used]
        columns = (component[:, None] * count + index)[used]
        needed, columns = columns.unique(return_inverse=True)
        sources.append(
            Source(
                places=places[row],
                amplitude=amplitude * (value[row] * weights[used]),
                waveform=Harmonics(
                    omega=spectrum.omega, modes=modes[:, needed], duration=spectrum.duration, analytic=analytic
                ),
                kind=kind,  # type: ignore[arg-type]
                columns=columns,
            )
        )
    return sources[0], sources[1]


def _box_surface(grid: Grid, low: Node, high: Node, open_sides: Sequence[str], walls: Walls) -> Sheet:
    sides = [
        sheet_of_side(grid, axis, side, low, high, (low if side == "low" else high)[axis], walls)
        for axis, name in enumerate(AXES)
        for side in ("low", "high")
        if f"{name} {side}" not in open_sides
    ]
    if not sides:
        raise InputError("all six sides of the box are open; at least one must carry the sources")
    names = ("edges", "faces", "current", "magnetic_current")
    return Sheet(**{name: torch.cat([getattr(side, name) for side in sides]) for name in names})


def _checked_box(
    grid: Grid, low: Sequence[int], high: Sequence[int], direction: Tensor, open_sides: Sequence[str]
) -> tuple[Node, Node]:
    for side in open_sides:
        if side not in SIDES:
            raise InputError(f"open side '{side}' is not known; use some of {', '.join(SIDES)}")
    for axis, name in enumerate(AXES):
        size, layers = grid.shape[axis], grid.layers[axis]
        least = 0 if f"{name} low" in open_sides else layers[0] + 1
        most = size if f"{name} high" in open_sides else size - layers[1] - 1
        if not least <= low[axis] < high[axis] <= most:
            raise InputError(
                f"the box of nodes {low[axis]} .. {high[axis]} along {name} must lie within {least} .. {most}: inside "
                f"the grid of {size} cells and clear of its {layers[0]} and {layers[1]} absorbing cells; move it, or "
                "name an open side"
            )
        if any(side.startswith(name) for side in open_sides) and abs(float(direction[axis])) > 1e-9:
            raise InputError(
                f"the box is open along {name}, but the wave travels along it ({direction.tolist()}); a side on a wall "
                "may be open only where the direction has no part along that axis"
            )
    return (int(low[0]), int(low[1]), int(low[2])), (int(high[0]), int(high[1]), int(high[2]))


def _check_sheet(grid: Grid, axis: int, node: int, lateral: Sequence[float], walls: Walls) -> None:
    if not 1 <= node <= grid.shape[axis] - 1:
        raise InputError(
            f"the sheet at node {node} along {AXES[axis]} must lie within 1 .. {grid.shape[axis] - 1}, inside the grid"
        )
    for other in range(3):
        if other == axis:
            continue
        nodes = grid.nodes(other)
        expected = -lateral[other] * float(nodes[-1] - nodes[0])
        needed = walls.periodic(other) or bool(lateral[other])
        if needed and abs(math.remainder(expected - walls.phase[other], 2.0 * math.pi)) > 1e-9:
            raise InputError(
                f"a lateral wave number of {lateral[other]:g} rad/m along {AXES[other]} needs periodic walls of "
                f"phase {expected:g} rad there; it is {walls.phase[other]:g}"
            )
