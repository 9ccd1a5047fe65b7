"""A thin dipole: resonant length and resistance against an integral equation, directivity against the closed form."""

from __future__ import annotations

import math
import time

import torch
from jaxtyping import Float
from torch import Tensor

from elec.fdtd import ModulatedGaussian, Monitors, VoltagePort, absorbing_layers, uniform_media, yee_step
from elec.fdtd.wire import ThinWire
from elec.grid import Grid
from elec.validation.rows import against, near, size
from elec.validation.wire_impedance import resonant_dipole
from mindsci.report import Row
from mindsci.units import SPEED_OF_LIGHT

FREQUENCY = 1e9
"""[Hz] near which the dipoles resonate."""
WAVELENGTH = SPEED_OF_LIGHT / FREQUENCY
MARGIN, LAYERS, GROWTH = 0.25, 8, 1.25
"""Air [wavelengths], absorbing cells, and how cells grow in the air."""
PORT_RESISTANCE = 70.0
PERIODS = 25
# Radius over wavelength -> resonant length over wavelength and resistance [ohm] of a sinusoidal current (induced EMF).
SINUSOIDAL = {1e-3: (0.47751, 63.98), 5e-3: (0.46653, 59.94)}
HALF_WAVE_DIRECTIVITY = 2.1509
"""[dBi] of a half wave with a sinusoidal current."""


def dipole_grid(length: float, cells: int) -> Grid:
    """Returns cubes of length / cells along the wire and beside it, growing cells in the air, layers; the wire's axis
    is a line of nodes, its ends lie in the middle of cells. `cells` is even."""
    cell = length / cells
    across, along = _axis(cell, 2), _axis(cell, cells + 1)
    return Grid(x=across, y=across, z=along, absorber_cells=LAYERS)


def _axis(cell: float, core: int) -> Float[Tensor, "nodes"]:
    """Nodes symmetric about zero: `core` even cells in the middle."""
    half, step = [cell * (0.5 * core - math.ceil(0.5 * core) + i) for i in range(1, math.ceil(0.5 * core) + 1)], cell
    edge = half[-1]
    while half[-1] < edge + MARGIN * WAVELENGTH:
        if half[-1] >= edge + 2 * cell:
            step = min(step * GROWTH, WAVELENGTH / 20.0)
        half.append(half[-1] + step)
    half += [half[-1] + step * (i + 1) for i in range(LAYERS)]
    upper = torch.tensor(half, dtype=torch.float64)
    middle = torch.zeros(1 if core % 2 == 0 else 0, dtype=torch.float64)
    return torch.cat([-upper.flip(0), middle, upper])


def dipole_run(
    length: float, radius: float, cells: int, *, far: bool = False
) -> tuple[Grid, float, float, float | None]:
    """Returns the grid, the first resonance [Hz], the resistance there [ohm] and the half-wave directivity [dBi]."""
    from elec.observables import centred_surface, far_field, sphere_directions

    grid = dipole_grid(length, cells)
    half = 0.5 * float(grid.z[grid.shape[2] // 2 + 1] - grid.z[grid.shape[2] // 2])
    ends, gap = ((0.0, 0.0, -0.5 * length), (0.0, 0.0, 0.5 * length)), (-half, half)
    media = ThinWire(start=ends[0], stop=ends[1], radius=radius, gaps=(gap,)).place(grid, uniform_media(grid))
    port = VoltagePort(
        start=(0.0, 0.0, gap[0]),
        stop=(0.0, 0.0, gap[1]),
        axis=2,
        resistance=PORT_RESISTANCE,
        waveform=ModulatedGaussian(frequency=FREQUENCY, bandwidth=1.2 * FREQUENCY),
    )
    media, source, probe = port.place(grid, media)
    half_wave = 0.5 * SPEED_OF_LIGHT / length
    surface = centred_surface(grid)
    monitors = Monitors(boxes=surface.boxes if far else (), frequencies=(half_wave,) if far else (), every=4)
    absorber = absorbing_layers(grid)
    step = yee_step(grid, media, absorber=absorber, sources=[source], probes=[probe], monitors=monitors)
    dt = 0.99 * grid.courant_limit()
    n_steps = round(PERIODS / FREQUENCY / dt)
    fields = step.advance(step.start(n_steps), 0.0, dt, n_steps)
    frequencies = FREQUENCY * torch.linspace(0.9, 1.1, 401, dtype=torch.float64)
    reflection = port.reflection(fields.records[0], dt, frequencies)
    impedance = PORT_RESISTANCE * (1.0 + reflection) / (1.0 - reflection)
    resonance, resistance = first_resonance(frequencies, impedance)
    if not far:
        return grid, resonance, resistance, None
    sphere = sphere_directions(21, 40)
    spectra = monitors.unpack(fields.spectra)
    field = far_field(surface, spectra, (half_wave,), dt, sphere.theta, sphere.phi)
    radiated = sphere.integral(field.intensity)
    broadside = torch.tensor([0.5 * math.pi], dtype=torch.float64)
    found = far_field(surface, spectra, (half_wave,), dt, broadside, torch.zeros(1, dtype=torch.float64)).gain(radiated)
    return grid, resonance, resistance, 10.0 * math.log10(float(found[0, 0]))


def first_resonance(frequencies: Float[Tensor, "f"], impedance: Tensor) -> tuple[float, float]:
    """Returns where the reactance first rises through zero [Hz], and the resistance there [ohm]."""
    x, r = impedance.imag, impedance.real
    i = int(((x[:-1] < 0) & (x[1:] >= 0)).nonzero()[0])
    share = float(x[i] / (x[i] - x[i + 1]))
    at = float(frequencies[i] + share * (frequencies[i + 1] - frequencies[i]))
    return at, float(r[i] + share * (r[i + 1] - r[i]))


def thin_dipoles(cells: int = 30) -> list[Row]:
    """Two radii; the length of the table resonates near 1 GHz, and what is measured is length f / c."""
    rows = []
    for ratio, (length, resistance) in SINUSOIDAL.items():
        started = time.perf_counter()
        far = ratio == 1e-3
        grid, at, found, directivity = dipole_run(length * WAVELENGTH, ratio * WAVELENGTH, cells, far=far)
        taken = size(grid, time.perf_counter() - started)
        name = f"thin dipole, radius {ratio:g} wavelengths"
        measured = length * at / FREQUENCY
        exact_length, exact_resistance = resonant_dipole(ratio * at / FREQUENCY)
        rows.append(against(f"{name}: resonant length, sinusoidal current", measured, length, percent=1.0, **taken))
        rows.append(
            against(f"{name}: resonant length, integral equation", measured, exact_length, percent=1.0, **taken)
        )
        rows.append(
            against(f"{name}: resistance, integral equation", found, exact_resistance, percent=3.0, unit="ohm", **taken)
        )
        rows.append(
            Row(
                case=f"{name}: resistance, sinusoidal current",
                measured=found,
                unit="ohm",
                reference=resistance,
                extra={"error %": 100.0 * (found / resistance - 1.0), **taken},
            )
        )
        if directivity is not None:
            rows.append(
                near(
                    "half-wave dipole: directivity", directivity, HALF_WAVE_DIRECTIVITY, within=0.1, unit="dBi", **taken
                )
            )
    return rows


def validations() -> list[Row]:
    """Returns the rows of the thin dipoles.

    The tables of a sinusoidal current give its resistance low by a tenth: the real current is not quite sinusoidal. It
    is shown beside the one that the integral equation for the current finds, which is what is held.
    """
    return thin_dipoles()
