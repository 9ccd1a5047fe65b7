"""Bands of a one-dimensional photonic crystal between Bloch-periodic walls, and the engine that finds them.

Layers of permittivity 1 and 9, lengths 0.6 a and 0.4 a. At the wave number K the frequencies satisfy

    cos K a = cos k1 d1 cos k2 d2 - (n1/n2 + n2/n1)/2 sin k1 d1 sin k2 d2,   k = n omega / c   [Yeh1977].

The first three bands at K a = 1.1 are read from the ringing of an initial field by harmonic inversion. Faces lie on
nodes, with the mean permittivity there; Yee's scheme is then second order in the cell: from 20 to 40 cells a period the
errors fall by four. A tolerance of 0.2 for the order covers the next power of the cell.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy.optimize import brentq

from elec.fdtd import Walls, point_probe, uniform_media, yee_step
from elec.grid import Grid
from elec.observables.resonances import resonances
from mindsci import tree
from mindsci.units import SPEED_OF_LIGHT

PERIOD, PHASE = 1e-6, 1.1
INDEX, SHARE = (1.0, 3.0), 0.6


def exact_bands(count: int) -> list[float]:
    """Returns the lowest frequencies [Hz] at the phase."""

    def difference(x: float) -> float:
        first, second = INDEX[0] * SHARE * x, INDEX[1] * (1.0 - SHARE) * x
        ratio = 0.5 * (INDEX[0] / INDEX[1] + INDEX[1] / INDEX[0])
        bands = math.cos(first) * math.cos(second) - ratio * math.sin(first) * math.sin(second)
        return bands - math.cos(PHASE)

    grid = [0.01 * n for n in range(1, 1000)]
    roots = [brentq(difference, a, b) for a, b in itertools.pairwise(grid) if difference(a) * difference(b) < 0]
    return [root * SPEED_OF_LIGHT / (2.0 * math.pi * PERIOD) for root in roots[:count]]


def found_bands(cells: int, count: int) -> tuple[list[float], str]:
    """Returns the lowest frequencies [Hz] that ring in a period of that many cells, and the engine."""
    cell = PERIOD / cells
    along = cell * torch.arange(cells + 1, dtype=torch.float64)
    across = cell * torch.arange(4, dtype=torch.float64)
    grid = Grid(x=along, y=across, z=across)
    edge = round(SHARE * cells)
    line = torch.full((cells + 1,), INDEX[1] ** 2, dtype=torch.float64)
    line[1:edge] = INDEX[0] ** 2
    line[[0, edge, cells]] = 0.5 * (INDEX[0] ** 2 + INDEX[1] ** 2)
    sides = ("periodic", "periodic")
    walls = Walls(x=sides, y=sides, z=sides, phase=(PHASE, 0.0, 0.0))
    permittivity = line[None, :, None, None].expand(3, cells + 1, 4, 4).contiguous()
    media = uniform_media(grid, permittivity=permittivity, walls=walls)
    step = yee_step(grid, media, walls=walls, probes=[point_probe(1, (cells // 5, 1, 1))])
    dt, n_steps = 0.5 * cell / SPEED_OF_LIGHT, 100 * cells
    start = step.start(n_steps)
    electric = torch.zeros_like(start.electric)
    electric[1, cells // 4] = 1.0
    electric[1, 2 * cells // 3] = 0.5j
    last = step.advance(tree.replace(start, electric=electric), 0.0, dt, n_steps)
    exact = exact_bands(count + 1)
    ringing = resonances(last.records[0].real, dt, (0.5 * exact[0], 0.5 * (exact[-2] + exact[-1])))
    strong = ringing.amplitude.abs() > 1e-3 * ringing.amplitude.abs().max()
    return sorted(ringing.frequency[strong].tolist()), step.engine


def test_the_bands_of_a_photonic_crystal_are_found_to_second_order() -> None:
    exact, errors = torch.tensor(exact_bands(3)), []
    for cells in (20, 40):
        found, engine = found_bands(cells, 3)
        assert engine == "numba" and len(found) == 3
        errors.append((torch.tensor(found) / exact - 1.0).abs())
    assert float(errors[1].max()) < 0.01
    orders = (errors[0] / errors[1]).log2()
    assert orders.tolist() == pytest.approx([2.0] * 3, abs=0.2)
