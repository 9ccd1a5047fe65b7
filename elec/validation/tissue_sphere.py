"""The sphere of tissue by itself: rates of the Mie series, and the highest averages over cubes of the exact sphere.

Nothing here knows of a grid of cells. A cube is integrated by Gauss points across and, between its ends or those of the
sphere, along each line: exact sphere, exact field. The highest average is that of the standard [Iec2017, sec. 6] with
cells that have shrunk to points: over all cubes along the axes that hold the mass, with no more than a tenth of air and
no face outside the sphere, wherever they are. Those that grow to one side, about points of the surface, are lower here:
a test compares them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from elec.validation.mie import efficiencies, interior_field
from mindsci.units import SPEED_OF_LIGHT, VACUUM_IMPEDANCE, VACUUM_PERMITTIVITY

Real = NDArray[np.float64]

RADIUS, FREQUENCY, PERMITTIVITY, CONDUCTIVITY, DENSITY = 0.1, 900e6, 41.5, 0.97, 1000.0
CENTRE, FRONT, BACK, WHOLE_BODY = 5.36840e-3, 28.83791e-3, 10.56903e-3, 6.99224e-3
"""[W/kg] for 1 W/m^2"""
SIZE = 2.0 * math.pi * FREQUENCY * RADIUS / SPEED_OF_LIGHT
INDEX = complex(np.sqrt(PERMITTIVITY + 1j * CONDUCTIVITY / (2.0 * math.pi * FREQUENCY * VACUUM_PERMITTIVITY)))
MOST_AIR = 0.1
# Gauss points across a cube and along its lines: 10 and 20 give the same five digits.
POINTS = 10


def absorbed_in_sphere() -> float:
    """Returns the absorbed power [W] for 1 W/m^2."""
    return efficiencies(SIZE, INDEX)["absorption"] * math.pi * RADIUS**2


def rate_at(points: Real) -> Real:
    """Returns the rate [W/kg] for 1 W/m^2 at points [m] in the sphere, last axis x, y, z."""
    field = interior_field(SIZE, INDEX, RADIUS, points)
    return 0.5 * CONDUCTIVITY * 2.0 * VACUUM_IMPEDANCE * np.sum(np.abs(field) ** 2, axis=-1) / DENSITY


def _lines(centre: Sequence[float], side: float) -> tuple[Real, Real, Real, Real, Real]:
    """Lines along z through a cube: x, y, weight [m^2], and where they enter and leave sphere and cube."""
    points, weights = np.polynomial.legendre.leggauss(POINTS)
    x, y = np.meshgrid(centre[0] + 0.5 * side * points, centre[1] + 0.5 * side * points, indexing="ij")
    reach = np.sqrt(np.clip(RADIUS**2 - x**2 - y**2, 0.0, None))
    low, high = (np.clip(centre[2] + sign * 0.5 * side, -reach, reach) for sign in (-1.0, 1.0))
    return x, y, np.outer(weights, weights) * (0.5 * side) ** 2, low, high


def tissue_volume(centre: Sequence[float], side: float) -> float:
    """Returns the volume [m^3] of the sphere in a cube."""
    _, _, weight, low, high = _lines(centre, side)
    return float((weight * (high - low)).sum())


def average_in_cube(centre: Sequence[float], side: float) -> float:
    """Returns the average rate [W/kg] over the tissue in a cube."""
    x, y, weight, low, high = _lines(centre, side)
    points, weights = np.polynomial.legendre.leggauss(POINTS)
    z = 0.5 * (low + high)[..., None] + 0.5 * (high - low)[..., None] * points
    volume = (weight * 0.5 * (high - low))[..., None] * weights
    at = np.stack([np.broadcast_to(x[..., None], z.shape), np.broadcast_to(y[..., None], z.shape), z], axis=-1)
    return float((volume * rate_at(at)).sum() / volume.sum())


def grown_cube(start: Sequence[float], growth: Sequence[float], mass: float) -> tuple[list[float], float]:
    """Returns the centre and the side of the cube that holds a mass [kg]; the centre is start + growth * side [m]."""
    small, large = 0.0, 2.0 * RADIUS
    for _ in range(50):
        side = 0.5 * (small + large)
        centre = [begin + part * side for begin, part in zip(start, growth, strict=True)]
        small, large = (small, side) if DENSITY * tissue_volume(centre, side) >= mass else (side, large)
    return [begin + part * large for begin, part in zip(start, growth, strict=True)], large


def front_cube(x: float, y: float, mass: float) -> tuple[list[float], float]:
    """Returns the cube about a line x, y whose front face just touches the sphere."""
    side = (mass / DENSITY) ** (1.0 / 3.0)
    for _ in range(6):  # the nearest point of the face to the axis moves with the side: a contraction
        off = math.hypot(max(abs(x) - 0.5 * side, 0.0), max(abs(y) - 0.5 * side, 0.0))
        centre, side = grown_cube((x, y, -math.sqrt(RADIUS**2 - off**2)), (0.0, 0.0, 0.5), mass)
    return centre, side


def highest_average(mass: float) -> float:
    """Returns the highest average rate [W/kg] over valid cubes of a mass [kg].

    It is at the front, where the rate falls with depth and along y, so the cubes touch the surface; they move along x.
    """
    best = 0.0
    for x in np.arange(0.0, 0.25, 0.02) * RADIUS:
        for y in (0.0, 0.05 * RADIUS):
            centre, side = front_cube(float(x), float(y), mass)
            if 1.0 - mass / DENSITY / side**3 <= MOST_AIR:
                best = max(best, average_in_cube(centre, side))
    return best
