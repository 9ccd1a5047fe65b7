"""Plane interfaces and absorbing layers: a slab, a half-space at oblique incidence, and what the layers send back."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.fdtd import (
    Media,
    ModulatedGaussian,
    Walls,
    absorbing_layers,
    dipole,
    point_probe,
    scene_media,
    uniform_media,
    yee_step,
)
from elec.fdtd.plane_wave import plane_source
from elec.fdtd.waveforms import GaussianDerivative
from elec.geometry import Scene, box
from elec.geometry.scene import Body
from elec.grid import Grid
from elec.materials import Material
from elec.validation.rows import Size, against, below, near, size
from mindsci.report import Row
from mindsci.solvers import rollout
from mindsci.units import SPEED_OF_LIGHT

THICKNESS, PERMITTIVITY = 10e-3, 4.0
FREQUENCIES = (2.5e9, 3.75e9, 5.0e9, 7.5e9, 10.0e9)
INDEX, CARRIER = 1.5, 10e9
"""Of the half-space, and the frequency [Hz] at which it is struck at the angle asked for."""
LAYERS = 16
COURANT = 0.95
WIDE = 1.0
"""Half of the extent [m] of solids that leave the grid."""


def validations() -> list[Row]:
    """Returns the rows of all cases, about half a minute on two cores."""
    return [*slab(), *half_space(), *layers()]


def slab_reflection(frequencies: Float[Tensor, "f"]) -> Float[Tensor, "f"]:
    """Returns the reflected power of the slab at normal incidence: a line between two others [Pozar2012, sec. 2.4]."""
    index = math.sqrt(PERMITTIVITY)
    step = (1.0 - index) / (1.0 + index)
    turn = torch.exp(-2j * 2.0 * math.pi * frequencies * index * THICKNESS / SPEED_OF_LIGHT)
    return (step * (1.0 - turn) / (1.0 - step**2 * turn)).abs() ** 2


def slab() -> list[Row]:
    """Returns the largest errors of reflected and transmitted power on three grids, with faces on and off the grid.

    14 cells through the slab are 21 in a wavelength at 10 GHz, 28 are 42.
    """
    frequencies = torch.tensor(FREQUENCIES, dtype=torch.float64)
    exact, rows = slab_reflection(frequencies), []
    for name, shift in (("on the grid", 0.0), ("off the grid", 0.37)):
        errors = []
        for cells, limit in ((10, None), (14, 0.01), (28, 2e-3)):
            started = time.perf_counter()
            grid, reflected, transmitted = slab_powers(cells, frequencies, shift=shift)
            errors.append(float(torch.maximum((reflected - exact).abs(), (transmitted - 1.0 + exact).abs()).max()))
            took = size(grid, time.perf_counter() - started)
            case = f"slab, faces {name}, {1.5 * cells:g} cells a wavelength: largest error of R and T"
            if limit is None:
                rows.append(Row(case=case, measured=errors[-1], extra=dict(took)))
            else:
                rows.append(below(case, errors[-1], limit, **took))
        order = math.log(errors[0] / errors[2]) / math.log(2.8)
        rows.append(Row(case=f"slab, faces {name}: order", measured=order, gate=">= 1.9", ok=order >= 1.9))
    return rows


def slab_powers(
    cells: int, frequencies: Float[Tensor, "f"], *, shift: float = 0.0
) -> tuple[Grid, Float[Tensor, "f"], Float[Tensor, "f"]]:
    """Returns the grid, and reflected and transmitted power of the slab, moved by a shift [cells]."""
    cell = THICKNESS / cells
    before = LAYERS + 24
    grid = column(cell, 2 * before + cells + 1)
    first = (before + shift) * cell
    solid = box((-WIDE, -WIDE, first), (WIDE, WIDE, first + THICKNESS))
    pulse = ModulatedGaussian(frequency=6.5e9, bandwidth=12e9)
    n_steps = round((pulse.duration + 3e-9) / (COURANT * grid.courant_limit()))
    at = (LAYERS + 6, before - 4, before + cells + 8)
    nothing, there = (
        sheet_spectra(grid, media, at, pulse, n_steps, frequencies, polarisation=(1, 0, 0))
        for media in (uniform_media(grid, walls=sideways()), _filled(grid, solid, PERMITTIVITY, sideways()))
    )
    reflected = ((there[0] - nothing[0]) / nothing[1]).abs() ** 2
    return grid, reflected, (there[2] / nothing[2]).abs() ** 2


def column(cell: float, cells: int) -> Grid:
    """Returns cells in a row along z, two across; long ones along y, where nothing changes."""
    across = cell * torch.arange(3, dtype=torch.float64)
    return Grid(x=across, y=10.0 * across, z=cell * torch.arange(cells + 1, dtype=torch.float64))


def sideways(phase: float = 0.0) -> Walls:
    """Returns the walls of a column: periodic across it, with a phase [rad] along x."""
    return Walls(x=("periodic", "periodic"), y=("periodic", "periodic"), phase=(phase, 0.0, 0.0))


def _filled(grid: Grid, solid: object, permittivity: float, walls: Walls) -> Media:
    body = Body(name="slab", solid=solid, material="filling")
    materials = {"filling": Material(name="filling", relative_permittivity=permittivity)}
    return scene_media(Scene(parts=(body,), materials=materials), grid, walls=walls)


def sheet_spectra(
    grid: Grid,
    media: Media,
    nodes: Sequence[int],
    pulse: ModulatedGaussian,
    n_steps: int,
    frequencies: Float[Tensor, "f"],
    *,
    polarisation: Sequence[float],
    lateral: float = 0.0,
    walls: Walls | None = None,
) -> Complex[Tensor, "nodes f"]:
    """Returns spectra along the larger tangential part of the polarisation at some nodes, struck by a sheet."""
    walls = walls if walls is not None else sideways()
    dt = COURANT * grid.courant_limit()
    sources = plane_source(
        grid,
        dt,
        n_steps,
        axis=2,
        node=LAYERS + 10,
        polarisation=polarisation,
        waveform=pulse,
        lateral=(lateral, 0.0, 0.0),
        walls=walls,
    )
    component = 0 if abs(polarisation[0]) >= abs(polarisation[1]) else 1
    step = yee_step(
        grid,
        media,
        walls=walls,
        absorber=absorbing_layers(grid, ((0, 0), (0, 0), (LAYERS, LAYERS))),
        sources=sources,
        probes=[point_probe(component, (0, 0, node)) for node in nodes],
    )
    records = rollout(step, step.start(n_steps), n_steps=n_steps, dt=dt)[0].records
    t = dt * (1.0 + torch.arange(n_steps, dtype=torch.float64))
    turn = torch.exp(-2j * math.pi * frequencies * t[:, None])
    return records.to(torch.complex128) @ turn


def fresnel(angle: float, polarisation: str) -> float:
    """Returns the reflected power of the half-space at an angle [deg]; "s" or "p" [Pozar2012, sec. 1.8]."""
    cosine = math.cos(math.radians(angle))
    inside = math.sqrt(INDEX**2 - math.sin(math.radians(angle)) ** 2)
    if polarisation == "s":
        return ((cosine - inside) / (cosine + inside)) ** 2
    return ((INDEX**2 * cosine - inside) / (INDEX**2 * cosine + inside)) ** 2


def half_space_reflection(angle: float, polarisation: str, *, cells: int, shift: float = 0.0) -> float:
    """Returns the reflected power at an angle [deg] with `cells` in a wavelength of the dense medium.

    The lateral wave number is that of the carrier at the angle; the face lies on a node, or a shift [cells] beyond.
    """
    return _half_space(angle, polarisation, cells, shift)[1]


def _half_space(angle: float, polarisation: str, cells: int, shift: float) -> tuple[Grid, float]:
    wavelength = SPEED_OF_LIGHT / CARRIER
    cell = wavelength / (INDEX * cells)
    lateral = 2.0 * math.pi / wavelength * math.sin(math.radians(angle))
    face = LAYERS + 20
    grid = column(cell, face + 12 + LAYERS)
    walls = sideways(-lateral * float(grid.x[-1]))
    # Below the frequency that travels along the face nothing propagates: the band ends well above it.
    pulse = ModulatedGaussian(frequency=CARRIER, bandwidth=0.9 * CARRIER * (1.0 - math.sin(math.radians(angle))))
    solid = box((-WIDE, -WIDE, (face + shift) * cell), (WIDE, WIDE, WIDE))
    n_steps = round((pulse.duration + 10.0 / CARRIER) / (COURANT * grid.courant_limit()))
    direction = (math.cos(math.radians(angle)), 0.0, -math.sin(math.radians(angle)))
    found = [
        sheet_spectra(
            grid,
            media,
            (LAYERS + 5, LAYERS + 14),
            pulse,
            n_steps,
            torch.tensor([CARRIER], dtype=torch.float64),
            polarisation=(0.0, 1.0, 0.0) if polarisation == "s" else direction,
            lateral=lateral,
            walls=walls,
        )
        for media in (uniform_media(grid, walls=walls), _filled(grid, solid, INDEX**2, walls))
    ]
    return grid, float(((found[1][0] - found[0][0]) / found[0][1]).abs() ** 2)


def half_space(cells: int = 40) -> list[Row]:
    """Returns the rows of the half-space: Rs within 1 %, Rp within 1e-3 on half as many cells, against Fresnel."""
    rows = []
    for angle in (30.0, 60.0):
        for polarisation in ("s", "p"):
            started = time.perf_counter()
            on_grid = polarisation == "s"
            grid, found = _half_space(angle, polarisation, cells if on_grid else cells // 2, 0.0 if on_grid else 0.3)
            took: Size = size(grid, time.perf_counter() - started)
            case, exact = f"half-space n = {INDEX}, {angle:g} degrees, R{polarisation}", fresnel(angle, polarisation)
            if polarisation == "s":
                rows.append(against(case, found, exact, percent=1.0, **took))
            else:
                rows.append(near(case + ", face off the grid", found, exact, within=1e-3, **took))
    return rows


def layers(n_steps: int = 100) -> list[Row]:
    """Returns what ten layers send back at up to 60 degrees, against a domain too large for anything to come back.

    The small domain has 10 cells of air around a dipole; probes stand 8 cells out. The layers of the large one begin 34
    cells out: a wave goes 0.95 / sqrt(3) cells a step, 55 in all, and would need 60.
    """
    started = time.perf_counter()
    (_, small), (grid, large) = (_dipole_records(air, n_steps) for air in (10, 34))
    worst = float(((small - large).abs().amax(1) / large.abs().amax(1)).max())
    took = size(grid, time.perf_counter() - started)
    return [below("reflection of ten layers", 20.0 * math.log10(worst), -60.0, unit="dB", **took)]


def _dipole_records(air: int, n_steps: int) -> tuple[Grid, Tensor]:
    cell, count = 1e-3, 10
    line = cell * torch.arange(2 * (air + count) + 1, dtype=torch.float64)
    grid = Grid(x=line, y=line, z=line, absorber_cells=count)
    middle = air + count
    wave = GaussianDerivative(frequency_max=0.05 * SPEED_OF_LIGHT / cell)
    step = yee_step(
        grid,
        uniform_media(grid),
        absorber=absorbing_layers(grid),
        sources=[dipole(grid, 2, (middle, middle, middle), wave)],
        probes=[point_probe(2, (middle + i, middle + j, middle + k)) for i, j, k in ((8, 0, 0), (8, 8, 0), (8, 8, 8))],
    )
    return grid, rollout(step, step.start(n_steps), n_steps=n_steps, dt=COURANT * grid.courant_limit())[0].records
