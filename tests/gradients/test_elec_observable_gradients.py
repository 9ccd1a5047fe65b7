"""Gradients of gain, radar cross-section and absorption through the whole run, against five-point differences.

Small grids in float64. The differences 8 (J(p + h) - J(p - h)) - (J(p + 2 h) - J(p - 2 h)) over 12 h with h = 1e-4 of
the parameter have an error of h^4, 1e-16, and of rounding over h, some 1e-11; the gate is 1e-6.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from elec.fdtd import Box, GaussianDerivative, Monitors, absorbing_layers, dipole, uniform_media, yee_step
from elec.fdtd.plane_wave import incident_spectrum, total_field_sources
from elec.grid import Grid
from elec.observables import (
    Surface,
    far_field,
    incident_density,
    per_unit,
    point_rate,
    radar_cross_section,
    radiated_power,
)
from mindsci.solvers import rollout

PULSE = GaussianDerivative(frequency_max=12e9)
FREQUENCIES = (5e9, 8e9)
N_STEPS = 100
LAYERS = 3


def grid() -> Grid:
    line = 2e-3 * torch.arange(17, dtype=torch.float64)
    return Grid(x=line, y=line.clone(), z=line.clone(), absorber_cells=LAYERS)


def lump(value: Tensor, at: tuple[int, int, int], rest: float) -> Tensor:
    """A block of 2 x 3 x 2 nodes with another value than the rest."""
    mask = torch.zeros(3, 17, 17, 17, dtype=torch.bool)
    mask[:, at[0] : at[0] + 2, at[1] : at[1] + 3, at[2] : at[2] + 2] = True
    return torch.where(mask, value, torch.tensor(rest, dtype=torch.float64))


def gain(parameter: Tensor) -> Tensor:
    """Gain of a dipole beside a block of that permittivity, against the power that leaves the box."""
    space = grid()
    surface = Surface(grid=space, low=(4, 4, 4), high=(12, 12, 12))
    monitors = Monitors(boxes=surface.boxes, frequencies=FREQUENCIES, every=2)
    step = yee_step(
        space,
        uniform_media(space, permittivity=lump(parameter, (9, 7, 8), 1.0)),
        absorber=absorbing_layers(space),
        sources=[dipole(space, 2, (7, 8, 8), PULSE)],
        monitors=monitors,
    )
    dt = 0.9 * space.courant_limit()
    fields, _ = rollout(step, step.start(), n_steps=N_STEPS, dt=dt)
    spectra = monitors.unpack(fields.spectra)
    theta, phi = torch.tensor([1.1, 1.9], dtype=torch.float64), torch.tensor([0.2, 2.5], dtype=torch.float64)
    field = far_field(surface, spectra, FREQUENCIES, dt, theta, phi)
    return field.gain(radiated_power(surface, spectra)).sum()


def illuminated(permittivity: Tensor, conductivity: Tensor, boxes: tuple[Box, ...]) -> tuple[list[Tensor], float]:
    space = grid()
    dt = 0.9 * space.courant_limit()
    sources = total_field_sources(
        space,
        dt,
        N_STEPS,
        low=(5, 5, 5),
        high=(11, 11, 11),
        direction=(0, 0.3, 1),
        polarisation=(1, 0, 0),
        waveform=PULSE,
    )
    monitors = Monitors(boxes=boxes, frequencies=FREQUENCIES, every=2)
    step = yee_step(
        space,
        uniform_media(space, permittivity=permittivity, conductivity=conductivity),
        absorber=absorbing_layers(space),
        sources=sources,
        monitors=monitors,
    )
    fields, _ = rollout(step, step.start(), n_steps=N_STEPS, dt=dt)
    return monitors.unpack(fields.spectra), dt


def cross_section(parameter: Tensor) -> Tensor:
    """Back and side cross-section of a block of that permittivity, in decibels."""
    surface = Surface(grid=grid(), low=(4, 4, 4), high=(12, 12, 12))
    spectra, dt = illuminated(lump(parameter, (7, 7, 7), 1.0), torch.tensor(0.0, dtype=torch.float64), surface.boxes)
    theta, phi = torch.tensor([math.pi, 1.2], dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64)
    field = far_field(surface, spectra, FREQUENCIES, dt, theta, phi)
    incident = incident_spectrum(PULSE, dt, N_STEPS, FREQUENCIES)
    return 10.0 * radar_cross_section(field, incident).log10().sum()


def absorption(parameter: Tensor) -> Tensor:
    """Mean rate in a lossy block of that conductivity for 1 W/m^2."""
    box = Box(low=(6, 6, 6), high=(10, 11, 10))
    conductivity = lump(parameter, (7, 7, 7), 0.0)
    spectra, dt = illuminated(lump(torch.tensor(4.0, dtype=torch.float64), (7, 7, 7), 1.0), conductivity, (box,))
    cells = torch.ones(3, 4, 3, dtype=torch.float64)
    media = uniform_media(grid(), conductivity=conductivity)
    rate = point_rate(grid(), media, box, spectra[0], parameter * cells, 1000.0 * cells)
    incident = incident_spectrum(PULSE, dt, N_STEPS, FREQUENCIES)
    return 1e3 * per_unit(rate, incident_density(incident, 376.730313668)).sum()


@pytest.mark.parametrize(("objective", "value"), [(gain, 3.0), (cross_section, 3.0), (absorption, 0.4)])
def test_gradients_agree_with_five_point_differences(objective: Callable[[Tensor], Tensor], value: float) -> None:
    parameter = torch.tensor(value, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(objective(parameter), parameter)
    step = 1e-4 * value
    with torch.no_grad():
        high, low = (objective(torch.tensor(value + sign * step, dtype=torch.float64)) for sign in (1, -1))
        # the second pair of points takes the error of h^2 out of the first
        higher, lower = (objective(torch.tensor(value + 2 * sign * step, dtype=torch.float64)) for sign in (1, -1))
    difference = (8.0 * (high - low) - (higher - lower)) / (12.0 * step)
    assert abs(float(difference)) > 1e-6
    assert float(found) == pytest.approx(float(difference), rel=1e-6)
