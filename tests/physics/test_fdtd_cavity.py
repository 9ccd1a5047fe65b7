"""A vacuum box with perfectly conducting walls, started in one of its modes.

Setup: 50 x 30 x 40 mm, walls on grid planes, 0.9 of the Courant limit, float64. Law: f = (c/2) sqrt(sum (m/a)^2)
[Pozar2012, eq. 6.40]. The scheme oscillates in the same shapes at the frequency of its dispersion relation
[Taflove2005, sec. 4.3], which it must meet to rounding (1e-9: the frequency comes from an arc cosine near 1, which
loses half the digits of the record), and approaches the law at second order: 2.00 +- 0.05 over three grids, the
deviation being the next term of the series. Without loss the leapfrog energy is constant; 1e-12 allows for the
rounding of some 10^3 steps.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from elec.fdtd import absorbing_layers, dipole, point_probe, uniform_media, yee_step
from elec.fdtd.energy import cavity_frequency, cavity_mode, energy, oscillation_frequency, scheme_frequency
from elec.fdtd.waveforms import GaussianDerivative
from elec.grid import Grid

SIZE = (0.050, 0.030, 0.040)
MODES = {(1, 0, 1): (0.0, 1.0, 0.0), (1, 1, 1): (1.0, 1.0, -2.0), (2, 1, 0): (0.0, 0.0, 1.0)}


def box(cell: float) -> Grid:
    x, y, z = (torch.linspace(0.0, a, round(a / cell) + 1, dtype=torch.float64) for a in SIZE)
    return Grid(x=x, y=y, z=z)


def measured(mode: tuple[int, int, int], cell: float) -> tuple[float, float]:
    """Frequency of the mode in the simulation, and that of the scheme's dispersion relation."""
    grid = box(cell)
    dt = 0.9 * grid.courant_limit()
    component = max(range(3), key=lambda axis: abs(MODES[mode][axis]))
    place = [max(1, round(n * 0.37)) for n in grid.shape]
    step = yee_step(grid, uniform_media(grid), probes=[point_probe(component, place)])
    fields = step.advance(cavity_mode(step.start(400), grid, mode, MODES[mode]), 0.0, dt, 400)
    return oscillation_frequency(fields.records[0], dt), scheme_frequency(mode, SIZE, grid.shape, dt)


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_oscillates_as_the_dispersion_relation_says_and_converges_at_second_order(
    mode: tuple[int, int, int],
) -> None:
    exact = cavity_frequency(mode, SIZE)
    errors = []
    for cell in (5e-3, 2.5e-3, 1.25e-3):
        frequency, scheme = measured(mode, cell)
        assert frequency == pytest.approx(scheme, rel=1e-9)
        errors.append(abs(frequency - exact))
    orders = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert orders == pytest.approx([2.0, 2.0], abs=0.05)


def test_energy_is_kept_on_a_graded_grid_with_a_dielectric() -> None:
    x, y, z = (
        torch.cat([torch.zeros(1), 1e-3 * 1.1 ** torch.arange(n)]).cumsum(0).to(torch.float64) for n in (12, 10, 11)
    )
    grid = Grid(x=x, y=y, z=z)
    permittivity = 1.0 + 3.0 * torch.rand(
        3, 13, 11, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    media = uniform_media(grid, permittivity=permittivity)
    dt = 0.95 * grid.courant_limit()
    source = dipole(grid, 2, (6, 5, 5), GaussianDerivative(frequency_max=40e9))
    driven = yee_step(grid, media, sources=[source])
    free = yee_step(grid, media)
    fields = driven.advance(driven.start(), 0.0, dt, 200)
    energies = []
    for index in range(200, 1200, 250):
        energies.append(energy(grid, media, fields, free.advance(fields, index * dt, dt, 1)))
        fields = free.advance(fields, index * dt, dt, 250)
    assert energies[0] > 0
    assert energies == pytest.approx([energies[0]] * 4, rel=1e-12)


def test_layers_take_energy_away() -> None:
    grid = box(2.5e-3)
    media = uniform_media(grid)
    dt = 0.9 * grid.courant_limit()
    source = dipole(grid, 2, (10, 6, 8), GaussianDerivative(frequency_max=20e9))
    step = yee_step(grid, media, sources=[source], absorber=absorbing_layers(grid, 3))
    early = step.advance(step.start(), 0.0, dt, 100)
    late = step.advance(early, 100 * dt, dt, 400)
    assert float(late.electric.abs().max()) < 1e-2 * float(early.electric.abs().max())
