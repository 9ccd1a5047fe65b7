"""Absorption in a sphere of tissue, 100 mm at 900 MHz, against the Mie series: whole body, points, 1 g and 10 g."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from elec.fdtd import ModulatedGaussian, scene_media
from elec.fdtd.probes import Box
from elec.materials import Material
from elec.observables.absorption import absorbed_power, per_unit, point_rate, unfolded
from elec.observables.cross_section import incident_density
from elec.observables.mass_average import mass_average
from elec.validation.rows import against, size
from elec.validation.spheres import COURANT, WALLS, Scatterer, illuminate, quarter_sphere
from elec.validation.tissue_sphere import (
    BACK,
    CENTRE,
    CONDUCTIVITY,
    DENSITY,
    FREQUENCY,
    FRONT,
    PERMITTIVITY,
    RADIUS,
    WHOLE_BODY,
    absorbed_in_sphere,
    highest_average,
    rate_at,
)
from mindsci.report import Row
from mindsci.tree import Tree
from mindsci.units import VACUUM_IMPEDANCE

# Cells next to the surface hold two materials: the field there is extrapolated from those further in.
SKIPPED = 1.0


class Exposed(Tree):
    """A quarter of the sphere of tissue: the rate in its cells for 1 W/m^2, and the power in all of the sphere."""

    case: Scatterer
    rate: Float[Tensor, "cx cy cz"]
    """[W/kg]"""
    density: Float[Tensor, "cx cy cz"]
    """[kg/m^3]"""
    power: float
    """[W]"""
    nodes: tuple[Tensor, Tensor, Tensor]
    """of the cells [m]"""

    @property
    def middles(self) -> list[Tensor]:
        return [0.5 * (line[1:] + line[:-1]) for line in self.nodes]


def exposed(cell: float, duration: float = 13e-9) -> Exposed:
    """Runs the sphere on even cells [m]."""
    tissue = Material(name="tissue", relative_permittivity=PERMITTIVITY, conductivity=CONDUCTIVITY)
    case = quarter_sphere(tissue, radius=RADIUS, cells=RADIUS / cell, gaps=(4, 1, 3))
    media = scene_media(case.scene, case.grid, walls=WALLS)
    dt = COURANT * case.grid.courant_limit()
    reach = round(RADIUS / cell) + 1
    middle = case.grid.shape[2] // 2
    box = Box(low=(0, 0, middle - reach), high=(reach + 1, reach + 1, middle + reach + 1))
    pulse = ModulatedGaussian(frequency=FREQUENCY, bandwidth=1e9)
    run = illuminate(case, media, pulse, [FREQUENCY], math.ceil(duration / dt), dt, (box,), highest=2e9)
    density = incident_density(run.incident, VACUUM_IMPEDANCE)
    x, y, z = (case.grid.nodes(axis)[box.low[axis] : box.high[axis]] for axis in range(3))
    cells = case.scene.cell_materials(case.grid).conductivity
    for axis in range(3):
        cells = cells.narrow(axis, box.low[axis], box.high[axis] - 1 - box.low[axis])
    mass = DENSITY * cells / CONDUCTIVITY
    spectra = run.spectra[0].to(torch.complex128)
    rate = per_unit(point_rate(case.grid, media, box, spectra, cells, mass), density)
    power = 4.0 * absorbed_power(case.grid, media, box, spectra, mirrors=(0, 1)) / density
    return Exposed(case=case, rate=rate[0], density=mass, power=float(power), nodes=(x, y, z))


def exact_rate(found: Exposed) -> Float[Tensor, "cx cy cz"]:
    """Returns the rate of the Mie series at the middles of the same cells [W/kg]."""
    inside = found.density > 0
    points = torch.stack(torch.meshgrid(*found.middles, indexing="ij"), dim=-1)[inside].numpy()
    rate = torch.zeros_like(found.rate)
    rate[inside] = torch.from_numpy(rate_at(points))
    return rate


def highest(found: Exposed, mass: float) -> float:
    """Returns the highest average [W/kg] over cubes of a mass [kg], looked for in the front quarter."""
    depth = int((found.middles[2] < -0.5 * RADIUS).sum())
    width = [int((middle < 0.6 * RADIUS).sum()) for middle in found.middles[:2]]
    rate, density = (unfolded(values[: width[0], : width[1], :depth], (0, 1)) for values in (found.rate, found.density))
    x, y = (torch.cat([-line[1 : n + 1].flip(0), line[: n + 1]]) for line, n in zip(found.nodes, width, strict=False))
    nodes = (x, y, found.nodes[2][: depth + 1])
    return float(mass_average(rate, density, nodes, mass=mass, tissue=density / DENSITY).rate.max())


def at_surface(found: Exposed, *, front: bool) -> float:
    """Returns the rate where the axis meets the surface: log-quadratic through three cells within [W/kg]."""
    z, column = found.middles[2], found.rate[0, 0]
    depth = z + RADIUS if front else RADIUS - z
    cell = float(z[1] - z[0])
    order = torch.argsort(depth)
    chosen = order[depth[order] > SKIPPED * cell][:3]
    u, v = (depth[chosen] / cell).numpy(), column[chosen].log().numpy()
    return math.exp(float(np.polyval(np.polyfit(u, v, 2), 0.0)))


GRIDS = (2.5, 1.25)
"""Cells [mm]. The surface of a lossy body is of first order: the coarser grid is shown, the finer judged."""


def tissue_rows() -> list[Row]:
    """Power, rates at points and averages over cubes, against the Mie series and cubes of the exact sphere."""
    rows = []
    exact = {grams: highest_average(1e-3 * grams) for grams in (1, 10)}
    for cell in GRIDS:
        started = time.perf_counter()
        found = exposed(1e-3 * cell)
        name, judged = f"tissue sphere, {cell:g} mm cells:", cell == GRIDS[-1]
        rows += local_rows(found, name, size(found.case.grid, time.perf_counter() - started), judged=judged)
        for grams, wanted in exact.items():
            average = highest(found, 1e-3 * grams)
            spent = size(found.case.grid, time.perf_counter() - started)
            case = f"{name} highest average over {grams} g"
            rows.append(against(case, 1e3 * average, 1e3 * wanted, percent=3.0, unit="mW/kg", **spent))
    return rows


def local_rows(found: Exposed, name: str, spent: dict[str, Any], *, judged: bool) -> list[Row]:
    """The rows of power, of the whole body, and of the rate at three points."""
    mass = 4.0 / 3.0 * math.pi * RADIUS**3 * DENSITY
    middle = found.rate.shape[2] // 2
    centre = float(found.rate[0, 0, middle - 1 : middle + 1].mean())
    front, back = (at_surface(found, front=side) for side in (True, False))
    rows = (
        ("absorbed power", found.power, absorbed_in_sphere(), 3.0, "mW"),
        ("whole-body SAR", found.power / mass, WHOLE_BODY, 3.0, "mW/kg"),
        ("SAR at the centre", centre, CENTRE, 2.0, "mW/kg"),
        ("peak SAR, front surface", front, FRONT, 3.0, "mW/kg"),
        ("SAR at the back surface", back, BACK, 5.0, "mW/kg"),
    )
    return [
        against(f"{name} {case}", 1e3 * value, 1e3 * exact, percent=percent if judged else None, unit=unit, **spent)
        for case, value, exact, percent, unit in rows
    ]
