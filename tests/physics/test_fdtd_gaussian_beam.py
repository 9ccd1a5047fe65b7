"""A Gaussian beam sent through a plane: its width, its Gouy phase, its power, and how little goes the other way.

Set-up. Waist of one wavelength, focus one wavelength beyond the sheet; a quarter of the section between an electric and
a magnetic mirror, 8 and 12 cells a wavelength. At such a waist the paraxial formulae are off by 1 / (k w)^2 = 2.5 %:
the reference is the beam's angular spectrum in the continuum (`GaussianBeam.field`), which another test holds against
w(z) and the Gouy phase [Saleh2007, sec. 3.1] for a wide waist, k w = 25, where 1 / (k w)^2 = 0.16 %.

Tolerances. The wave number on the axis is the scheme's. The rest of the beam is off by its dispersion, of second order:
(k cell)^2 / 24 = 2.6 % at 8 cells a wavelength of a diffraction of about one radian: below 0.03. The absorbing layers
send back 3e-4 of the field at this resolution, the rim of the sheet cuts the beam off at exp(-9 / 1.1) = 3e-4 of the
field on its axis. So behind the sheet there is no more than 1e-3, -60 dB, and the power through two planes is the same
to twice that. The plane counts the mean H of its two sides, cos(k cell / 2) of what a wave along the axis has.
"""

from __future__ import annotations

import cmath
import functools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from elec.fdtd import (
    GaussianBeam,
    GaussianDerivative,
    ModulatedGaussian,
    Monitors,
    Walls,
    absorbing_layers,
    beam_sources,
    point_probe,
    uniform_media,
    yee_step,
)
from elec.fdtd.harmonics import wave_number
from elec.fdtd.plane_wave import incident_spectrum
from elec.fdtd.probes import Box
from elec.grid import Grid
from elec.observables import Plane
from mindsci.errors import InputError
from mindsci.solvers import rollout
from mindsci.tree import Tree
from mindsci.units import SPEED_OF_LIGHT, VACUUM_IMPEDANCE

FREQUENCY = 10e9
WAVELENGTH = SPEED_OF_LIGHT / FREQUENCY
PULSE = ModulatedGaussian(frequency=FREQUENCY, bandwidth=8e9)
DELAY = 1.5e-10
MIRRORS = Walls(x=("pec", "pec"), y=("pmc", "pec"))
LAYERS = 16


class Launched(Tree):
    """A beam on a grid at the middle frequency, over the spectrum of the waveform."""

    grid: Grid
    beam: GaussianBeam
    node: int
    focus: int
    dt: float
    electric: Tensor
    """E_x of the plane y = 0, (x, z)"""
    powers: Tensor
    """[W] through planes half a wavelength behind the sheet and half a wavelength beyond the focus"""


@functools.cache
def launched(cells: int) -> Launched:
    cell = WAVELENGTH / cells
    across, along = 3 * cells + LAYERS // 2, 4 * cells + 2 * LAYERS
    x, z = (cell * torch.arange(n + 1, dtype=torch.float64) for n in (across, along))
    ends = (LAYERS // 2, LAYERS)
    grid = Grid(x=x, y=x, z=z, absorber_cells=((0, ends[0]), (0, ends[0]), (LAYERS, LAYERS)))
    node, focus = LAYERS + cells, LAYERS + 2 * cells
    beam = GaussianBeam(
        waist=WAVELENGTH, focus=(0.0, 0.0, float(z[focus])), direction=(0, 0, 1), polarisation=(1, 0, 0)
    )
    dt = 0.95 * grid.courant_limit()
    n_steps = math.ceil((PULSE.duration + DELAY + 6.0 / FREQUENCY) / dt)
    sources = beam_sources(grid, dt, n_steps, beam=beam, axis=2, node=node, waveform=PULSE, delay=DELAY, walls=MIRRORS)
    corner = across - ends[0]
    planes = [Plane(grid=grid, axis=2, node=at, low=(0, 0), high=(corner, corner)) for at in (
        node + cells // 2, focus + cells // 2)]  # fmt: skip
    boxes = (Box(low=(0, 0, 0), high=(corner, 1, along)), *planes[0].boxes, *planes[1].boxes)
    monitors = Monitors(boxes=boxes, frequencies=(FREQUENCY,))
    step = yee_step(
        grid, uniform_media(grid, walls=MIRRORS), walls=MIRRORS, sources=sources, absorber=absorbing_layers(grid),
        monitors=monitors,
    )  # fmt: skip
    spectra = monitors.unpack(step.advance(step.start(), 0.0, dt, n_steps).spectra)
    unit = incident_spectrum(PULSE, dt, n_steps, [FREQUENCY], delay=DELAY)[0]
    powers = [4.0 * plane.power(spectra[i : i + 2]) / unit.abs() ** 2 for plane, i in zip(planes, (1, 3), strict=True)]
    return Launched(
        grid=grid, beam=beam, node=node, focus=focus, dt=dt, electric=spectra[0][0, 0, :, 0] / unit,
        powers=torch.cat(powers),
    )  # fmt: skip


def largest_error(cells: int) -> float:
    """Over planes at the focus and one wavelength from it on both sides, phases against that at the focus."""
    made, worst = launched(cells), 0.0
    omega = torch.tensor([2.0 * math.pi * FREQUENCY], dtype=torch.float64)
    k = wave_number(omega, (0, 0, 1), [WAVELENGTH / cells] * 3, made.dt, SPEED_OF_LIGHT)
    x = made.grid.centers(0)[: made.electric.shape[0]]
    for shift in (-1, 0, 1):
        at = made.focus + shift * cells
        points = torch.stack([x, 0.0 * x, made.grid.z[at].expand(len(x))], dim=1)
        way, beyond = (float(made.grid.z[at] - made.grid.z[start]) for start in (made.node, made.focus))
        measured = made.electric[:, at] * torch.exp(1j * k * way)
        ideal = made.beam.field(points, FREQUENCY)[:, 0] * cmath.exp(1j * made.beam.wavenumber(FREQUENCY) * beyond)
        worst = max(worst, float((measured - ideal).abs().max()))
    return worst


def test_the_ideal_beam_has_the_width_and_the_gouy_phase_of_the_textbook() -> None:
    beam = GaussianBeam(waist=25.0 * WAVELENGTH / (2.0 * math.pi), focus=(0, 0, 0), direction=(0, 0, 1),
                        polarisation=(0, 1, 0))  # fmt: skip
    distance = beam.rayleigh_length(FREQUENCY)
    radius = beam.radius(distance, FREQUENCY)
    assert radius == pytest.approx(math.sqrt(2.0) * beam.waist)
    points = torch.tensor([[0, 0, distance], [radius, 0, distance], [0, radius, distance]], dtype=torch.float64)
    axis, *edges = beam.field(points, FREQUENCY)[:, 1]
    assert abs(axis) == pytest.approx(1.0 / math.sqrt(2.0), rel=5e-3)
    assert [abs(edge) / abs(axis) for edge in edges] == pytest.approx([math.exp(-1.0)] * 2, rel=5e-3)
    ahead = axis * torch.exp(torch.tensor(1j * beam.wavenumber(FREQUENCY) * distance))
    assert float(ahead.angle()) == pytest.approx(math.pi / 4.0, abs=5e-3)
    assert beam.power(FREQUENCY) == pytest.approx(math.pi * beam.waist**2 / (4.0 * VACUUM_IMPEDANCE), rel=5e-3)


def test_the_beam_on_the_grid_is_the_ideal_one_to_second_order() -> None:
    coarse, fine = largest_error(8), largest_error(12)
    assert coarse < 0.03
    assert math.log(coarse / fine) / math.log(1.5) > 1.7


def test_little_goes_backwards() -> None:
    made = launched(12)
    behind = made.electric[:, LAYERS : made.node].abs().max()
    assert 20.0 * math.log10(float(behind / made.electric.abs().max())) < -60.0


def test_all_planes_carry_the_power_of_the_beam() -> None:
    powers, ideal = launched(12).powers, launched(12).beam.power(FREQUENCY) * math.cos(math.pi / 12)
    assert float(powers[1] / powers[0]) == pytest.approx(1.0, abs=2e-3)
    assert float(powers[0]) == pytest.approx(ideal, rel=0.01)


def test_an_oblique_beam_comes_to_its_focus_against_the_axis() -> None:
    """20 degrees off the normal, towards lower x: at the focus the field is one, with the way's delay of 8 cells a
    wavelength, and a waist away across the beam it is the ideal beam's."""
    cell, size = WAVELENGTH / 8, 72
    pulse = ModulatedGaussian(frequency=FREQUENCY, bandwidth=5e9)
    x, y, z = (cell * torch.arange(n + 1, dtype=torch.float64) for n in (36, size, size))
    grid = Grid(x=x, y=y, z=z, absorber_cells=8)
    tilt, focus = math.radians(20.0), (16, 36, 36)
    direction = (-math.cos(tilt), math.sin(tilt), 0.0)
    at = (float(x[focus[0]]), float(y[focus[1]]), float(z[focus[2]]))
    beam = GaussianBeam(waist=WAVELENGTH, focus=at, direction=direction, polarisation=(0, 0, 1))
    dt, n_steps = 0.95 * grid.courant_limit(), 420
    sources = beam_sources(grid, dt, n_steps, beam=beam, axis=0, node=24, waveform=pulse, delay=3e-10)
    monitors = Monitors(boxes=(Box(low=(16, 36, 32), high=(17, 44, 40)),), frequencies=(FREQUENCY,))
    step = yee_step(grid, uniform_media(grid), sources=sources, absorber=absorbing_layers(grid), monitors=monitors)
    found = monitors.unpack(step.advance(step.start(), 0.0, dt, n_steps).spectra)[0][0, 2, 0]
    found = found / incident_spectrum(pulse, dt, n_steps, [FREQUENCY], delay=3e-10)[0]
    omega = torch.tensor([2.0 * math.pi * FREQUENCY], dtype=torch.float64)
    way = float(x[24] - x[16]) / math.cos(tilt)
    found = found * torch.exp(1j * wave_number(omega, direction, [cell] * 3, dt, SPEED_OF_LIGHT) * way)
    points = torch.cartesian_prod(x[16:17], y[36:44], grid.centers(2)[32:40])
    assert float((found.reshape(-1) - beam.field(points, FREQUENCY)[:, 2]).abs().max()) < 0.02


def test_the_gradient_of_the_amplitude_is_the_field_of_a_unit_beam() -> None:
    line = WAVELENGTH / 8 * torch.arange(41, dtype=torch.float64)
    grid = Grid(x=line, y=line, z=line[:25])
    beam = GaussianBeam(
        waist=0.7 * WAVELENGTH, focus=(float(line[20]), float(line[20]), float(line[14])), direction=(0, 0, 1),
        polarisation=(1, 0, 0),
    )  # fmt: skip
    dt = 0.9 * grid.courant_limit()
    amplitude = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    sources = beam_sources(grid, dt, 150, beam=beam, axis=2, node=8, waveform=PULSE, amplitude=amplitude, delay=DELAY)
    step = yee_step(grid, uniform_media(grid), sources=sources, probes=[point_probe(0, (20, 20, 14))])
    value = rollout(step, step.start(150), n_steps=150, dt=dt)[0].records.abs().sum()
    (gradient,) = torch.autograd.grad(value, amplitude)
    assert float(value.detach()) > 1.0
    assert float(gradient) == pytest.approx(float(value.detach()) / 2.0, rel=1e-10)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"waveform": GaussianDerivative(frequency_max=15e9)}, "waist of .* is under a third of a wavelength"),
        ({"delay": 0.0, "focus": 24, "waist": 0.6 * WAVELENGTH}, "rim of the beam leads"),
        ({"axis": 0}, "put the sheet across z"),
        ({"node": 0}, "inside the grid"),
        ({"waist": 6.0 * WAVELENGTH}, "at the rim of its sheet"),
        ({"waist": -1.0}, "must be positive"),
        ({"polarisation": (0, 0, 1)}, "parallel to the direction"),
    ],
)
def test_a_beam_that_does_not_fit_is_refused_with_the_fix(changes: dict[str, Any], words: str) -> None:
    line = WAVELENGTH / 8 * torch.arange(105, dtype=torch.float64)
    grid = Grid(x=line, y=line, z=line[:49], absorber_cells=4)
    given = {
        "waveform": ModulatedGaussian(frequency=FREQUENCY, bandwidth=5e9),
        "axis": 2,
        "node": 8,
        "delay": DELAY,
    } | changes
    middle = float(line[52])
    options = {name: given.pop(name) for name in ("waist", "polarisation") if name in given}
    place = (middle, middle, float(line[8 + given.pop("focus", 8)]))
    with pytest.raises(InputError, match=words):
        beam = GaussianBeam(
            **{"waist": WAVELENGTH, "polarisation": (1, 0, 0), "focus": place, "direction": (0, 0, 1)} | options
        )
        beam_sources(grid, 0.9 * grid.courant_limit(), 100, beam=beam, **given)
