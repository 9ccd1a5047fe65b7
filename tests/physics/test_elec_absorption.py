"""SAR averages over cubes against integrals of a field that is known everywhere.

Set-up: a block of tissue of 1000 kg/m^3 in air, rate exp(-z / d) inside. Inside the block the average over a cube of
side L about depth z is exp(-z / d) sinh(L / 2d) / (L / 2d); 1 g is a cube of 10 mm. Cells hold their exact means, so
that what is left is the cube's ends within a cell, second order: h^2 / (8 d L) at most.

Rates at a point come from the power on edges, sigma |E|^2 / 2 times the edge's volume, shared among the cells around
it. Sharing only regroups a sum, so power is kept to rounding; in a block on the nodes of an uneven grid an edge's
conductivity is the mean over the cells around it, so a uniform field gives the uniform rate to rounding in every cell.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from torch.nn.functional import max_pool3d

from elec.fdtd import uniform_media
from elec.fdtd.media import Media, padded
from elec.fdtd.probes import Box
from elec.geometry import sphere
from elec.geometry.scene import edge_average
from elec.geometry.subpixel import fill
from elec.grid import Grid
from elec.observables.absorption import absorbed_power, cell_power, point_rate
from elec.observables.mass_average import cube_average, mass_average
from elec.validation.tissue_sphere import RADIUS, average_in_cube, grown_cube, highest_average
from mindsci.errors import InputError

DEPTH = 20e-3


def block(cell: float) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """30 mm of tissue along each axis with 6 mm of air all round; the rate falls along z."""
    line = cell * torch.arange(round(42e-3 / cell) + 1, dtype=torch.float64) - 6e-3
    middle = 0.5 * (line[1:] + line[:-1])
    inside = (middle > 0) & (middle < 30e-3)
    density = 1000.0 * (inside[:, None, None] & inside[:, None] & inside)
    mean = DEPTH / cell * (torch.exp(-line[:-1] / DEPTH) - torch.exp(-line[1:] / DEPTH))
    return mean.expand(density.shape) * (density > 0), density, (line, line.clone(), line.clone())


BOX = Box(low=(1, 1, 1), high=(8, 9, 8))


def uneven_block() -> tuple[Grid, Media, torch.Tensor]:
    """Two tissues side by side in air on uneven cells, the media, and the conductivity of the box's cells."""
    steps = 1e-3 * (1.0 + 0.3 * torch.sin(torch.arange(9, dtype=torch.float64)))
    line = torch.cat([torch.zeros(1, dtype=torch.float64), steps.cumsum(0)])
    grid = Grid(x=line, y=1.2 * line, z=0.8 * line)
    cells = torch.zeros(9, 9, 9, dtype=torch.float64)
    cells[3:6, 3:5, 2:6], cells[3:6, 5:7, 2:6] = 0.9, 0.4
    conductivity = padded(edge_average(cells, grid), (10, 10, 10), value=0.0)
    return grid, uniform_media(grid, conductivity=conductivity), cells[1:7, 1:8, 1:7]


def test_the_power_in_the_cells_is_that_on_the_edges() -> None:
    grid, media, cells = uneven_block()
    generator = torch.Generator().manual_seed(1)
    field = torch.randn(2, *BOX.shape, dtype=torch.complex128, generator=generator)
    power = cell_power(grid, media, BOX, field, cells)
    assert torch.allclose(power.sum(dim=(1, 2, 3)), absorbed_power(grid, media, BOX, field), rtol=1e-12)
    assert bool((power[:, cells == 0] == 0).all())


def test_a_uniform_field_gives_the_uniform_rate_up_to_the_faces() -> None:
    """The field on edges that touch no tissue is a thousand times larger: it must not count."""
    grid, media, cells = uneven_block()
    field = torch.tensor([1.0, 2.0j, -1.0 + 1.0j], dtype=torch.complex128).reshape(1, 3, 1, 1, 1).expand(1, *BOX.shape)
    field = torch.where(BOX.cut(media.conductivity) > 0, field, 1e3 * field)
    rate = point_rate(grid, media, BOX, field, cells, 1000.0 * (cells > 0))
    assert torch.allclose(rate[0], 0.5 * cells * 7.0 / 1000.0, rtol=1e-12, atol=0.0)


def test_power_where_no_cell_conducts_is_refused() -> None:
    grid, media, cells = uneven_block()
    field = torch.ones(1, *BOX.shape, dtype=torch.complex128)
    with pytest.raises(InputError, match="no cell conducts"):
        cell_power(grid, media, BOX, field, cells * (torch.arange(6) < 3)[:, None, None])


def test_a_gram_inside_is_the_cube_of_ten_millimetres() -> None:
    for cell in (2e-3, 1.5e-3):
        rate, density, nodes = block(cell)
        found = mass_average(rate, density, nodes, mass=1e-3)
        middle = 0.5 * (nodes[2][1:] + nodes[2][:-1])
        deep = (middle > 5.01e-3) & (middle < 24.9e-3)
        index = int(torch.nonzero(deep)[len(torch.nonzero(deep)) // 2])
        half = 5e-3 / DEPTH
        exact = torch.exp(-middle / DEPTH) * math.sinh(half) / half
        assert bool(found.centred[index, index, deep].all())
        assert found.side[index, index, index] == pytest.approx(10e-3, rel=1e-9)
        error = (found.rate[index, index, deep] / exact[deep] - 1.0).abs().max()
        assert error < cell**2 / (8.0 * DEPTH * 10e-3)


def test_cells_at_the_surface_take_the_highest_cube_that_holds_them() -> None:
    rate, density, nodes = block(2e-3)
    found = mass_average(rate, density, nodes, mass=1e-3)
    first = 3  # the first cell of tissue
    assert not bool(found.centred[10, 10, first])
    assert found.rate[10, 10, first] == pytest.approx(float(found.rate[10, 10][found.centred[10, 10]].max()))
    assert bool((found.rate[density > 0] > 0).all()) and bool((found.rate[density == 0] == 0).all())


def test_tissue_thinner_than_a_cube_is_averaged_from_one_side() -> None:
    """A plate 4 mm thick holds no valid cube of 10 mm: its faces are in air. Every cell has a rate."""
    cell = 2e-3
    line = cell * torch.arange(31, dtype=torch.float64)
    density = torch.zeros(30, 30, 30, dtype=torch.float64)
    density[:, :, 14:16] = 1000.0
    found = mass_average(torch.full_like(density, 3.0), density, (line, line, line), mass=1e-3)
    assert not bool(found.centred.any())
    assert torch.allclose(found.rate[density > 0], torch.tensor(3.0, dtype=torch.float64))


def ball(cell: float, at: float) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """A ball of 20 mm about `at` on each axis: the share of each cell, and the lines."""
    line = cell * torch.arange(round(52e-3 / cell) + 1, dtype=torch.float64) - 26e-3
    lines = (line, line.clone(), line.clone())
    grid = Grid(x=line, y=line, z=line)
    return fill(sphere((at, at, at), 20e-3), grid, subsamples=8), lines


def test_the_highest_average_converges_to_that_of_the_exact_body_wherever_the_grid_lies() -> None:
    """exp(-z / d) in a ball: the cube of 1 g that touches the pole in front, by Gauss points. The rest is the end of
    the cube within a cell and the shares of cells, h / 2 d of a share h / L of the cube each: h^2 / (d L) = 2.0 % of it
    at 2 mm."""
    points, weights = np.polynomial.legendre.leggauss(24)

    def held(side: float, power: bool) -> float:
        x, y = np.meshgrid(0.5 * side * points, 0.5 * side * points, indexing="ij")
        low = 20e-3 - np.sqrt(4e-4 - x**2 - y**2)
        depth = np.exp(-low / DEPTH) - np.exp(-side / DEPTH) if power else side - low
        scale = DEPTH if power else 1.0
        return float((np.outer(weights, weights) * 0.25 * side**2 * depth).sum()) * scale

    side = brentq(lambda length: held(length, False) - 1e-6, 8e-3, 14e-3)
    exact = held(side, True) / held(side, False)
    cell = 2e-3
    for shift in (0.0, 0.23, 0.5, 0.81):
        share, nodes = ball(cell, shift * cell)
        middle = 0.5 * (nodes[2][1:] + nodes[2][:-1]) - (shift * cell - 20e-3)
        rate = torch.exp(-middle / DEPTH).expand(share.shape)
        found = mass_average(rate, 1000.0 * share, nodes, mass=1e-3, tissue=share)
        assert float(found.rate.max()) == pytest.approx(exact, rel=cell**2 / (DEPTH * 10e-3))


def test_slivers_of_tissue_are_no_full_cells() -> None:
    """A block with a layer of cells of 2 % round it: the averages are those without."""
    rate, density, nodes = block(2e-3)
    share = density / 1000.0
    plain = mass_average(rate, density, nodes, mass=1e-3)
    around = (max_pool3d(share[None, None], 3, stride=1, padding=1)[0, 0] > 0) & (share == 0)
    thin = torch.where(around, 0.02, share)
    rate = torch.where(around, 1.0, rate)
    found = mass_average(rate, 1000.0 * thin, nodes, mass=1e-3, tissue=thin)
    assert float(found.rate.max()) == pytest.approx(float(plain.rate.max()), rel=0.02)


def test_the_reference_of_the_tissue_sphere_is_highest_at_cubes_that_touch_its_front() -> None:
    """Cubes deeper by 1 mm are lower, and those that grow to one side from points of the front.

    Of the latter only those count whose volume is within 5 % of the smallest's: others are mostly air.
    """
    mass = 1e-3
    highest = highest_average(mass)
    for polar in (0.0, 0.2, 0.6, 1.0):
        for azimuth in (0.0, 1.57):
            direction = (math.sin(polar) * math.cos(azimuth), math.sin(polar) * math.sin(azimuth), -math.cos(polar))
            start = [RADIUS * part for part in direction]
            inwards, sideways = (grown_cube(start, towards, mass) for towards in ((0.0, 0.0, 0.5), (-0.5, 0.0, 0.0)))
            assert average_in_cube(*inwards) < highest
            if (sideways[1] / inwards[1]) ** 3 <= 1.05:
                assert average_in_cube(*sideways) < highest
    deeper, side = grown_cube((0.0, 0.0, 1e-3 - RADIUS), (0.0, 0.0, 0.5), mass)
    assert side == pytest.approx(10e-3, rel=1e-4) and average_in_cube(deeper, side) < highest


def test_an_average_over_given_cubes_has_gradients() -> None:
    rate, density, nodes = block(3e-3)
    rate.requires_grad_()
    low = torch.tensor([[1e-3, 2e-3, 3e-3]], dtype=torch.float64)
    cube_average(rate, density, nodes, low, low + 10e-3).sum().backward()
    assert rate.grad is not None and float(rate.grad.sum()) == pytest.approx(1.0)


def test_tissue_lighter_than_the_mass_is_refused() -> None:
    rate, density, nodes = block(3e-3)
    with pytest.raises(InputError, match="lighter than"):
        mass_average(rate, density, nodes, mass=0.1)
