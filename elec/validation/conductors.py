"""Conductors known by their surface: loss of cavities and guides, resistive sheets, the shield of a thin layer."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch
from jaxtyping import Float
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
    grid: Grid, media: Media, component: int, shape: Tensor, frequency: float, periods: float = 80.0
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
    reach = LENGTH if not tilt else 2.0 * RADIUS
    long = 2.0 * (0.5 * LENGTH * math.cos(tilt) + RADIUS * math.sin(tilt)) if tilt else LENGTH
    wide = 2.0 * (RADIUS * math.cos(tilt) + 0.5 * LENGTH * math.sin(tilt))
    del reach
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
