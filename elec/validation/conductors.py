"""Conductors known by their surface: loss of cavities and guides, resistive sheets, the shield of a thin layer."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from elec.fdtd import (
    Media,
    ModulatedGaussian,
    Source,
    Walls,
    absorbing_layers,
    point_probe,
    scene_media,
    uniform_media,
    yee_step,
)
from elec.fdtd.conformal import cut_scene_media
from elec.geometry import Scene, Solid, box, cylinder, sheet
from elec.geometry.scene import Body
from elec.grid import Grid
from elec.materials import Material, foil_surface, good_conductor, resistance_surface
from elec.observables.resonances import resonances
from elec.validation.rows import against, near, size
from elec.validation.slabs import LAYERS, WIDE, column, sheet_spectra, sideways
from mindsci import tree
from mindsci.report import Row
from mindsci.solvers import rollout
from mindsci.units import SPEED_OF_LIGHT, VACUUM_IMPEDANCE, VACUUM_PERMEABILITY

COPPER = 5.8e7
"""[S/m]"""
EDGES = (30e-3, 12e-3, 24e-3)
"""Of the box [m]; its mode TE101 has E along y."""
RADIUS, LENGTH = 12e-3, 15e-3
"""Of the cylinder [m]; its mode TM010 has E along the axis."""
ROOT = 2.404826
"""First zero of J0."""
COURANT = 0.95
BAND = (5e9, 15e9)
"""[Hz] in which the skins hold."""


def validations() -> list[Row]:
    """Returns the rows of all cases, about two minutes on two cores."""
    return [*cavities(), *guides(), *sheets(), *shield()]


def surface_resistance(conductivity: float, frequency: float) -> float:
    """Returns Rs [ohm] of a good conductor [S/m] at a frequency [Hz] [Pozar2012, eq. 1.125]."""
    return math.sqrt(math.pi * frequency * VACUUM_PERMEABILITY / conductivity)


def box_quality(conductivity: float) -> tuple[float, float]:
    """Returns (frequency [Hz], Q) of TE101 in the box [Pozar2012, eq. 6.46]."""
    a, b, d = EDGES
    k = math.pi * math.hypot(1.0 / a, 1.0 / d)
    f = k * SPEED_OF_LIGHT / (2.0 * math.pi)
    walls = 2.0 * a**3 * b + 2.0 * b * d**3 + a**3 * d + a * d**3
    rs = surface_resistance(conductivity, f)
    return f, (k * a * d) ** 3 * b * VACUUM_IMPEDANCE / (2.0 * math.pi**2 * rs * walls)


def cylinder_quality(conductivity: float) -> tuple[float, float]:
    """Returns (frequency [Hz], Q) of TM010 in the cylinder [Pozar2012, sec. 6.4]."""
    f = ROOT * SPEED_OF_LIGHT / (2.0 * math.pi * RADIUS)
    return f, ROOT * VACUUM_IMPEDANCE / (2.0 * surface_resistance(conductivity, f) * (1.0 + RADIUS / LENGTH))


def cavity_grid(cells: int, lengths: Sequence[float], shift: Sequence[float]) -> tuple[Grid, Tensor]:
    """Returns a grid of `cells` along the longest of the lengths [m] around the origin, two cells wider, on whose nodes
    the ends of the lengths lie, and a shift [cells] in [m]."""
    lines, steps = [], []
    for length in lengths:
        count = round(cells * length / max(lengths))
        cell = length / count
        lines.append(cell * (torch.arange(count + 5, dtype=torch.float64) - 2.0 - 0.5 * count))
        steps.append(cell)
    return Grid(x=lines[0], y=lines[1], z=lines[2]), torch.tensor(
        [a * b for a, b in zip(shift, steps, strict=True)], dtype=torch.float64
    )


def box_hole(shift: Tensor) -> Solid:
    half = 0.5 * torch.tensor(EDGES, dtype=torch.float64)
    return box(shift - half, shift + half)


def cylinder_hole(shift: Tensor, tilt: float = 0.0) -> Solid:
    axis = torch.tensor([math.sin(tilt), 0.0, math.cos(tilt)], dtype=torch.float64)
    return cylinder(shift - 0.5 * LENGTH * axis, shift + 0.5 * LENGTH * axis, RADIUS)


def hollow(grid: Grid, hole: Solid, conductivity: float) -> Media:
    """Returns the media of a hole in a block of metal [S/m]."""
    metal = good_conductor("metal", conductivity, BAND)
    block = Body(name="block", solid=box((-WIDE, -WIDE, -WIDE), (WIDE, WIDE, WIDE)) - hole, material="metal")
    return cut_scene_media(Scene(parts=(block,), materials={"metal": metal}), grid, dt=COURANT * grid.courant_limit())


def ringing(
    grid: Grid, media: Media, component: int, shape: Tensor, frequency: float, periods: float = 30.0
) -> tuple[float, float]:
    """Returns (frequency [Hz], Q) of the oscillation that is left of a field of this shape near a frequency [Hz]."""
    dt = COURANT * grid.courant_limit()
    n_steps = round(periods / (frequency * dt))
    place = [n // 2 for n in grid.shape]
    step = yee_step(grid, media, probes=[point_probe(component, place)])
    fields = step.start(n_steps)
    electric = fields.electric.clone()
    electric[component] = torch.where(media.metal[component], 0.0, shape)
    fields, _ = rollout(step, tree.replace(fields, electric=electric), n_steps=n_steps, dt=dt)
    # The skins begin without current: a tenth of the record lets what that stirs up pass.
    found = resonances(fields.records[0, n_steps // 10 :], dt, (0.85 * frequency, 1.15 * frequency))
    nearest = int((found.frequency - frequency).abs().argmin())
    strongest = 0 if float(found.amplitude[0].abs()) > 3.0 * float(found.amplitude[nearest].abs()) else nearest
    return float(found.frequency[strongest]), float(found.quality[strongest])


def box_case(cells: int, shift: Sequence[float], conductivity: float = COPPER) -> tuple[Grid, float, float]:
    """Returns (grid, frequency [Hz], Q) of the box with `cells` along its longest edge, moved by a shift [cells]."""
    grid, moved = cavity_grid(cells, EDGES, shift)
    x, z = grid.x - moved[0], grid.z - moved[2]
    shape = torch.cos(math.pi * x / EDGES[0])[:, None, None] * torch.cos(math.pi * z / EDGES[2])
    media = hollow(grid, box_hole(moved), conductivity)
    return grid, *ringing(grid, media, 1, shape.expand(media.metal.shape[1:]), box_quality(conductivity)[0])


def cylinder_case(cells: int, tilt: float, conductivity: float = COPPER) -> tuple[Grid, float, float]:
    """Returns (grid, frequency [Hz], Q) of the cylinder with `cells` across it, turned by a tilt [rad]."""
    long = 2.0 * (0.5 * LENGTH * math.cos(tilt) + RADIUS * math.sin(tilt)) if tilt else LENGTH
    wide = 2.0 * (RADIUS * math.cos(tilt) + 0.5 * LENGTH * math.sin(tilt))
    grid, moved = cavity_grid(cells, (wide, 2.0 * RADIUS, long), (0.0, 0.0, 0.0))
    radius = torch.sqrt((grid.x[:, None] ** 2 + grid.y**2)[..., None] + 0.0 * grid.z) / RADIUS
    shape = (1.0 - radius**2).clamp(min=0.0)
    media = hollow(grid, cylinder_hole(moved, tilt), conductivity)
    return grid, *ringing(grid, media, 2, shape, cylinder_quality(conductivity)[0])


def cavities() -> list[Row]:
    """Returns the rows of Q: a box with walls on the grid and off it, and cylinders with conformal walls."""
    rows = []
    _, exact = box_quality(COPPER)
    for name, shift in (("on", (0.0, 0.0, 0.0)), ("off", (0.3, 0.17, 0.41))):
        started = time.perf_counter()
        grid, _, found = box_case(20, shift)
        took = size(grid, time.perf_counter() - started)
        rows.append(against(f"copper box, walls {name} the grid: Q of TE101", found, exact, percent=2.0, **took))
    _, exact = cylinder_quality(COPPER)
    for name, tilt in (("cylinder", 0.0), ("tilted cylinder", 0.5)):
        started = time.perf_counter()
        grid, _, found = cylinder_case(24, tilt)
        took = size(grid, time.perf_counter() - started)
        rows.append(against(f"copper {name}, 24 cells across: Q of TM010", found, exact, percent=5.0, **took))
    return rows


def guides() -> list[Row]:
    """Returns the rows of what copper takes of a wave in a metre: a WR-90 guide, and two parallel plates."""
    rows, frequency = [], 10e9
    rs, k = surface_resistance(COPPER, frequency), 2.0 * math.pi * frequency / SPEED_OF_LIGHT
    a, b = 22.86e-3, 10.16e-3
    beta = math.sqrt(k**2 - (math.pi / a) ** 2)
    guide = rs * (2.0 * b * math.pi**2 + a**3 * k**2) / (a**3 * b * beta * k * VACUUM_IMPEDANCE)  # [Pozar2012, 3.96]
    gap = 1e-3
    plates = rs / (VACUUM_IMPEDANCE * gap)  # [Pozar2012, sec. 3.2]
    for name, width, height, exact in (("WR-90", a, b, guide), ("plates 1 mm apart", None, gap, plates)):
        started = time.perf_counter()
        grid, found = attenuation(width, height, frequency)
        took = size(grid, time.perf_counter() - started)
        decibel = 20.0 / math.log(10.0)
        case = f"copper {name}: attenuation at {frequency / 1e9:g} GHz"
        rows.append(against(case, found * decibel, exact * decibel, percent=2.0, unit="dB/m", **took))
    return rows


def attenuation(
    width: float | None, height: float, frequency: float, conductivity: float = COPPER
) -> tuple[Grid, float]:
    """Returns the attenuation [Np/m] of a wave with E along y between metal y = 0 and the height [m].

    Metal at x = 0 and the width [m] too, or no walls there. It is the ratio of the fields at two places along z over
    the same in perfect metal, which leaves out what the grid and the layers do.
    """
    nx, ny, nz, cell = 18 if width else 2, 4, 70, 1.2e-3
    dx = width / nx if width else cell
    # One cell of metal on each side, of which the scheme sees the surface alone.
    x = dx * (torch.arange(nx + (3 if width else 1), dtype=torch.float64) - (1.0 if width else 0.0))
    y = height / ny * (torch.arange(ny + 3, dtype=torch.float64) - 1.0)
    grid = Grid(x=x, y=y, z=cell * torch.arange(nz + 1, dtype=torch.float64))
    walls = Walls() if width else Walls(x=("periodic", "periodic"))
    far = (WIDE, WIDE, WIDE)
    hole = box((0.0, 0.0, -WIDE), (width, height, WIDE)) if width else box((-WIDE, 0.0, -WIDE), (WIDE, height, WIDE))
    block = Body(name="block", solid=box([-one for one in far], far) - hole, material="metal")
    dt, pulse = COURANT * grid.courant_limit(), ModulatedGaussian(frequency=frequency, bandwidth=0.4 * frequency)
    n_steps = round((pulse.duration + 3e-9) / dt)
    near, distant = LAYERS + 12, nz - LAYERS - 4
    across = range(2, nx + 1) if width else range(nx)
    profile = [math.sin(math.pi * float(grid.x[i]) / width) if width else 1.0 for i in across]
    places = torch.tensor([[1, i, j + 1, LAYERS + 2] for i in across for j in range(ny)])
    amplitude = torch.tensor([value for value in profile for _ in range(ny)], dtype=torch.float64)
    middle = nx // 2 + (1 if width else 0)
    ratios = []
    for metal in (good_conductor("metal", conductivity, BAND), Material(name="metal", kind="pec")):
        media = cut_scene_media(Scene(parts=(block,), materials={"metal": metal}), grid, dt=dt, walls=walls)
        step = yee_step(
            grid,
            media,
            walls=walls,
            absorber=absorbing_layers(grid, ((0, 0), (0, 0), (LAYERS, LAYERS))),
            sources=[Source(places=places, amplitude=amplitude, waveform=pulse, kind="current")],
            probes=[point_probe(1, (middle, 2, node)) for node in (near, distant)],
        )
        records = rollout(step, step.start(n_steps), n_steps=n_steps, dt=dt)[0].records
        turn = torch.exp(-2j * math.pi * frequency * dt * torch.arange(n_steps, dtype=torch.float64))
        first, second = records.to(torch.complex128) @ turn
        ratios.append(abs(complex(second / first)))
    length = float(grid.z[distant] - grid.z[near])
    return grid, math.log(ratios[1] / ratios[0]) / length


def sheet_powers(
    material: Material, angle: float, polarisation: str, frequency: float, cells: int = 20
) -> tuple[Grid, float, float]:
    """Returns (grid, reflected, transmitted power) of a sheet at an angle [deg], `cells` in a wavelength [Hz]."""
    cell = SPEED_OF_LIGHT / frequency / cells
    lateral = 2.0 * math.pi * frequency / SPEED_OF_LIGHT * math.sin(math.radians(angle))
    at = LAYERS + 24
    grid = column(cell, at + 14 + LAYERS)
    walls = sideways(-lateral * float(grid.x[-1]))
    wide = ((-WIDE, -WIDE), (WIDE, -WIDE), (WIDE, WIDE), (-WIDE, WIDE))
    part = sheet(wide, float(grid.z[at])).part("film", material=material.name)
    media = scene_media(Scene(parts=(part,), materials={material.name: material}), grid, walls=walls)
    pulse = ModulatedGaussian(frequency=frequency, bandwidth=0.9 * frequency * (1.0 - math.sin(math.radians(angle))))
    n_steps = round((pulse.duration + 12.0 / frequency) / (COURANT * grid.courant_limit()))
    direction = (math.cos(math.radians(angle)), 0.0, -math.sin(math.radians(angle)))
    nothing, there = (
        sheet_spectra(
            grid,
            one,
            (LAYERS + 5, at - 4, at + 8),
            pulse,
            n_steps,
            torch.tensor([frequency], dtype=torch.float64),
            polarisation=(0.0, 1.0, 0.0) if polarisation == "s" else direction,
            lateral=lateral,
            walls=walls,
        )
        for one in (uniform_media(grid, walls=walls), media)
    )
    reflected, transmitted = (there[0] - nothing[0]) / nothing[1], there[2] / nothing[2]
    return grid, float(reflected.abs() ** 2), float(transmitted.abs() ** 2)


def sheet_law(admittance: complex, angle: float, polarisation: str) -> tuple[float, float]:
    """Returns (reflected, transmitted power) of an admittance [S] across a line of the wave's own impedance."""
    cosine = math.cos(math.radians(angle))
    wave = VACUUM_IMPEDANCE / cosine if polarisation == "s" else VACUUM_IMPEDANCE * cosine
    y = 0.5 * admittance * wave
    return abs(y / (1.0 + y)) ** 2, abs(1.0 / (1.0 + y)) ** 2


def sheets() -> list[Row]:
    """Returns the rows of a sheet of 377 ohm at 10 GHz: reflected, transmitted and absorbed power."""
    rows, film = [], Material(name="film", kind="sheet", surface=resistance_surface(VACUUM_IMPEDANCE))
    for angle, polarisation in ((0.0, "s"), (45.0, "s"), (45.0, "p")):
        started = time.perf_counter()
        grid, *found = sheet_powers(film, angle, polarisation, 10e9)
        took = size(grid, time.perf_counter() - started)
        exact = sheet_law(1.0 / VACUUM_IMPEDANCE, angle, polarisation)
        case = f"sheet of 377 ohm, {angle:g} degrees, {polarisation}"
        for name, have, want in zip(("reflected", "transmitted"), found, exact, strict=True):
            rows.append(near(f"{case}: {name}", have, want, within=0.01, **took))
        rows.append(near(f"{case}: absorbed", 1.0 - sum(found), 1.0 - sum(exact), within=0.01, **took))
    return rows


def layer_law(conductivity: float, thickness: float, frequency: float) -> float:
    """Returns the transmitted power of a layer of metal at normal incidence, its skin effect included."""
    s = 2j * math.pi * frequency
    gamma = torch.tensor(s * VACUUM_PERMEABILITY * conductivity, dtype=torch.complex128).sqrt()
    impedance = gamma / conductivity / VACUUM_IMPEDANCE
    depth = gamma * thickness
    return float((1.0 / (depth.cosh() + 0.5 * (impedance + 1.0 / impedance) * depth.sinh())).abs() ** 2)


def shield() -> list[Row]:
    """Returns the row of what a layer of copper of 100 nm lets through at 5 GHz."""
    started, frequency, thickness = time.perf_counter(), 5e9, 1e-7
    film = Material(name="film", kind="sheet", surface=foil_surface(COPPER, thickness, BAND))
    grid, _, found = sheet_powers(film, 0.0, "s", frequency)
    exact = layer_law(COPPER, thickness, frequency)
    took = size(grid, time.perf_counter() - started)
    shown, law = (-10.0 * math.log10(one) for one in (found, exact))
    return [near("copper, 100 nm: shielding at 5 GHz", shown, law, within=0.2, unit="dB", **took)]
