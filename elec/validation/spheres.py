"""Spheres in a plane wave against the Mie series: radar cross-section, scattering, absorption in tissue.

The wave goes along z with E along x, so a quarter of the sphere between an electric wall at x = 0 and a magnetic one at
y = 0 is enough.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.fdtd import GaussianDerivative, Monitors, Walls, absorbing_layers, scene_media, yee_step
from elec.fdtd.conformal import cut_scene_media
from elec.fdtd.plane_wave import incident_spectrum, total_field_sources
from elec.fdtd.probes import Box
from elec.geometry import Scene, sphere
from elec.geometry.scene import Body
from elec.grid import Grid
from elec.materials import Material
from elec.observables.cross_section import radar_cross_section, scattering_cross_section
from elec.observables.far_field import far_field
from elec.observables.pattern import sphere_directions
from elec.observables.surface import Surface
from elec.validation.mie import efficiencies
from elec.validation.rows import against, below, near, size
from mindsci.report import Row
from mindsci.solvers import rollout
from mindsci.tree import Tree
from mindsci.units import SPEED_OF_LIGHT

LAYERS = 10
COURANT = 0.95
WALLS = Walls(x=("pec", "pec"), y=("pmc", "pec"))
# Cells from the sphere to the total-field box, on to the surface of the far field, and on to the absorbing layers.
GAPS = (4, 3, 3)
# Sizes k a of dielectric spheres, on a coarse and a fine grid.
SMALL, LARGE = [0.5, 1.0, 1.5, 2.0], [3.0, 5.0]


class Scatterer(Tree):
    """A quarter of a sphere about the origin on its grid, with what surrounds it."""

    grid: Grid
    radius: float
    """[m]"""
    scene: Scene
    total: tuple[int, int]
    """cells from the origin to the sides of the total-field box, and to the surface of the far field"""
    layers: int = LAYERS

    def box(self, which: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Returns the lowest and the highest node of the total-field box (0) or of the surface (1)."""
        middle, half = self.grid.shape[2] // 2, self.total[which]
        return (0, 0, middle - half), (half, half, middle + half)

    @property
    def surface(self) -> Surface:
        low, high = self.box(1)
        return Surface(grid=self.grid, low=low, high=high, walls={"x low": "pec", "y low": "pmc"})


def quarter_sphere(
    material: Material, *, radius: float, cells: float, gaps: tuple[int, int, int] = GAPS, layers: int = LAYERS
) -> Scatterer:
    """Returns a sphere of a radius [m] with that many even cells a radius, its centre on a node."""
    cell = radius / cells
    total = math.ceil(cells) + gaps[0]
    half = total + gaps[1] + gaps[2] + layers
    line = cell * torch.arange(half + 1, dtype=torch.float64)
    grid = Grid(x=line, y=line.clone(), z=torch.cat([-line[1:].flip(0), line]))
    body = Body(name="sphere", solid=sphere((0.0, 0.0, 0.0), radius), material=material.name)
    scene = Scene(parts=(body,), materials={material.name: material})
    return Scatterer(grid=grid, radius=radius, scene=scene, total=(total, total + gaps[1]), layers=layers)


class Scattered(Tree):
    """What a run gives: spectra of all boxes, of the incident wave, and the time step."""

    spectra: list[Complex[Tensor, "f 3 _ _ _"]]
    incident: Complex[Tensor, "f"]
    dt: float


def illuminate(
    case: Scatterer,
    media: Any,
    pulse: Any,
    frequencies: list[float],
    n_steps: int,
    dt: float,
    boxes: tuple[Box, ...],
    *,
    highest: float,
) -> Scattered:
    """Runs a plane wave along z with E along x and returns the Fourier sums in the boxes.

    highest [Hz]: the pulse is 20 dB down there, so that sums need no more than four samples of its period.
    """
    low, high = case.box(0)
    sources = total_field_sources(
        case.grid,
        dt,
        n_steps,
        low=low,
        high=high,
        direction=(0, 0, 1),
        polarisation=(1, 0, 0),
        waveform=pulse,
        open_sides=("x low", "y low"),
        walls=WALLS,
    )
    every = max(1, int(1.0 / (4.0 * highest * dt)))
    monitors = Monitors(boxes=boxes, frequencies=tuple(frequencies), every=every)
    layers = case.layers
    step = yee_step(
        case.grid,
        media,
        absorber=absorbing_layers(case.grid, ((0, layers), (0, layers), (layers, layers))),
        walls=WALLS,
        sources=sources,
        monitors=monitors,
    )
    fields, _ = rollout(step, step.start(), n_steps=n_steps, dt=dt)
    incident = incident_spectrum(pulse, dt, n_steps, frequencies)
    return Scattered(spectra=monitors.unpack(fields.spectra), incident=incident, dt=dt)


def sizes_to_frequencies(sizes: list[float], radius: float) -> list[float]:
    """Returns the frequencies [Hz] at which k times the radius [m] takes these values."""
    return [x * SPEED_OF_LIGHT / (2.0 * math.pi * radius) for x in sizes]


def conducting(
    sizes: list[float], *, cells: int = 12, gaps: tuple[int, int, int] = GAPS, crossings: float = 22.0
) -> tuple[Scatterer, Float[Tensor, "sizes"]]:
    """Returns sigma / (pi a^2) straight back from a conducting sphere at sizes k a; conformal metal, one run."""
    case = quarter_sphere(Material(name="metal", kind="pec"), radius=1.0, cells=cells, gaps=gaps)
    frequencies = sizes_to_frequencies(sizes, case.radius)
    dt = COURANT * case.grid.courant_limit()
    media = cut_scene_media(case.scene, case.grid, dt=dt, walls=WALLS)
    pulse = GaussianDerivative(frequency_max=1.1 * max(frequencies))
    n_steps = math.ceil((pulse.duration + crossings * case.radius / SPEED_OF_LIGHT) / dt)
    run = illuminate(case, media, pulse, frequencies, n_steps, dt, case.surface.boxes, highest=pulse.frequency_max)
    back = torch.tensor([math.pi], dtype=torch.float64)
    field = far_field(case.surface, run.spectra, frequencies, run.dt, back, torch.zeros_like(back))
    return case, radar_cross_section(field, run.incident)[:, 0] / (math.pi * case.radius**2)


def dielectric(
    sizes: list[float], *, cells: float, permittivity: float = 4.0, crossings: float = 60.0
) -> tuple[Scatterer, Float[Tensor, "sizes"], Float[Tensor, "sizes"]]:
    """Returns Qsca and Qback of a lossless sphere at sizes k a; effective permittivities, one run."""
    case = quarter_sphere(Material(name="glass", relative_permittivity=permittivity), radius=1.0, cells=cells)
    frequencies = sizes_to_frequencies(sizes, case.radius)
    dt = COURANT * case.grid.courant_limit()
    media = scene_media(case.scene, case.grid, walls=WALLS)
    pulse = GaussianDerivative(frequency_max=1.1 * max(frequencies))
    n_steps = math.ceil((pulse.duration + crossings * case.radius / SPEED_OF_LIGHT) / dt)
    run = illuminate(case, media, pulse, frequencies, n_steps, dt, case.surface.boxes, highest=pulse.frequency_max)
    directions = sphere_directions(24, 32)
    field = far_field(case.surface, run.spectra, frequencies, run.dt, directions.theta, directions.phi)
    area = math.pi * case.radius**2
    back = torch.tensor([math.pi], dtype=torch.float64)
    behind = far_field(case.surface, run.spectra, frequencies, run.dt, back, torch.zeros_like(back))
    return (
        case,
        scattering_cross_section(field, run.incident, directions) / area,
        radar_cross_section(behind, run.incident)[:, 0] / area,
    )


def conducting_rows() -> list[Row]:
    """Monostatic cross-section over ka on two grids, and with another domain and box."""
    rows, sizes = [], [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0]
    exact = torch.tensor([efficiencies(x, None)["back"] for x in sizes], dtype=torch.float64)
    worst = []
    for cells, gated in ((10, False), (12, False), (14, True)):
        started = time.perf_counter()
        case, section = conducting(sizes, cells=cells)
        errors = 10.0 * (section / exact).log10()
        worst.append(float(errors.abs().max()))
        spent = size(case.grid, time.perf_counter() - started)
        if not gated:
            rows.append(
                Row(
                    case=f"PEC sphere, {cells} cells a radius: largest error of the cross-section, ka 0.5 to 5",
                    measured=worst[-1],
                    unit="dB",
                    extra={**spent},
                )
            )
            continue
        for x, found, wanted in zip(sizes, _decibels(section), _decibels(exact), strict=True):
            name = f"PEC sphere, {cells} cells a radius: monostatic cross-section, ka = {x:g}"
            rows.append(near(name, found, wanted, within=0.3, unit="dB", **spent))
    order = math.log(worst[0] / worst[2]) / math.log(14.0 / 10.0)
    rows.append(
        Row(case="PEC sphere: order in the cell", measured=order, reference=2.0, gate=">= 1.8", ok=order >= 1.8)
    )
    started = time.perf_counter()
    few = [1.0, 2.5, 5.0]
    case, first = conducting(few, cells=8)
    _, second = conducting(few, cells=8, gaps=(6, 6, 6))
    moved = float((10.0 * (second / first).log10()).abs().max())
    spent = size(case.grid, time.perf_counter() - started)
    return [*rows, below("PEC sphere: change with a larger domain and box", moved, 0.1, unit="dB", **spent)]


def _decibels(values: Tensor) -> list[float]:
    return (10.0 * values.log10()).tolist()


def dielectric_rows() -> list[Row]:
    """Qsca and Qback of permittivity 4; judged at 30 cells a wavelength inside or more, shown at 15 beside it.

    Narrow resonances move with the grid's dispersion, which is what is left at the larger sizes.
    """
    rows = []
    for cells, sizes, judged in ((14.4, [0.5, 1.0, 1.5, 2.0, 3.0], False), (20.0, SMALL, True), (48.0, LARGE, True)):
        started = time.perf_counter()
        case, scattering, back = dielectric(sizes, cells=cells)
        spent = size(case.grid, time.perf_counter() - started)
        for x, found, behind in zip(sizes, scattering.tolist(), _decibels(back), strict=True):
            wanted = efficiencies(x, 2.0)
            name = f"dielectric sphere, {cells:g} cells a radius, x = {x:g}"
            one = against(f"{name}: Qsca", found, wanted["scattering"], percent=1.0, **spent)
            level = 10.0 * math.log10(wanted["back"])
            other = near(f"{name}: Qback", behind, level, within=0.3, unit="dB", **spent)
            rows += [one, other] if judged else [replace(row, gate=None, ok=None) for row in (one, other)]
    return rows


def validations() -> list[Row]:
    """Returns the rows of all spheres."""
    from elec.validation.tissue import tissue_rows

    return [*conducting_rows(), *dielectric_rows(), *tissue_rows()]
