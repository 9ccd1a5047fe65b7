"""Absorbing layers: what comes back, measured against a domain so large that nothing can have come back.

A dipole in the middle of 20 cells of air, 10 layers on every side; the same dipole with 42 more cells of air on every
side. In n steps of 0.95 of the Courant limit a wave travels 0.95 n / sqrt(3) cells. The larger domain's layers begin 52
cells from the source: for the 150 steps compared (82 cells) nothing has been there and back to the probe, 8 cells out
(96 cells). The difference of the two signals is what the layers of the small domain send back, at all angles up to 60
degrees at once. The project's gate is -60 dB of the signal's peak [Roden2000 reports about that for ten layers].

Long waves: a plane wave in a column of periodic cells, layers on its two ends, against a column so long that nothing
comes back. Waves of 20 to 200 cells; the layers' own corner lies at 750 cells (`elec.fdtd.absorber.CORNER_DEPTH`).
Maxwell's equations know no length: cells of a micrometre and of a metre have to give the same.

Late times: without loss the energy in a box can only leave through its layers.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from elec.fdtd.absorber import absorbing_layers
from elec.fdtd.media import uniform_media
from elec.fdtd.probes import point_probe
from elec.fdtd.sources import Source, dipole
from elec.fdtd.step import yee_step
from elec.fdtd.walls import Walls
from elec.fdtd.waveforms import Gaussian, GaussianDerivative
from elec.grid import Grid
from mindsci.solvers import rollout
from mindsci.units import SPEED_OF_LIGHT

CELL = 1e-3
N_STEPS = 150


def signals(air: int, permittivity: float, layers: int = 10) -> Tensor:
    """Returns what probes on the axis, on an edge and on a corner of a cube around the dipole record."""
    nodes = CELL * torch.arange(2 * (air + layers) + 1, dtype=torch.float64)
    grid = Grid(x=nodes, y=nodes, z=nodes, absorber_cells=layers)
    middle = air + layers
    waveform = GaussianDerivative(frequency_max=0.05 * 299_792_458.0 / CELL)
    step = yee_step(
        grid,
        uniform_media(grid, permittivity=permittivity),
        absorber=absorbing_layers(grid) if layers else None,
        sources=[dipole(grid, 2, (middle, middle, middle), waveform)],
        probes=[point_probe(2, (middle + i, middle + j, middle + k)) for i, j, k in ((8, 0, 0), (8, 8, 0), (8, 8, 8))],
        engine="numba",
    )
    last, _ = rollout(step, step.start(N_STEPS), n_steps=N_STEPS, dt=0.95 * grid.courant_limit())
    return last.records


@pytest.mark.parametrize("permittivity", [1.0, 4.0])
def test_ten_layers_reflect_less_than_minus_sixty_decibels(permittivity: float) -> None:
    """The layers continue the medium; in eps = 4 waves are half as fast, so the large domain is safe there too."""
    small, large = signals(10, permittivity), signals(52, permittivity)
    for one, other in zip(small, large, strict=True):
        error = 20 * math.log10(float((one - other).abs().max()) / float(other.abs().max()))
        assert error < -60.0


def test_without_layers_the_wall_reflects_strongly() -> None:
    """The measure itself can fail: the same domain that ends on metal is far above the gate."""
    wall, large = signals(20, 1.0, layers=0), signals(52, 1.0)
    assert float((wall - large).abs().max()) > 0.05 * float(large.abs().max())


def test_thicker_layers_reflect_less() -> None:
    large = signals(52, 1.0)[0]
    errors = [float((signals(10, 1.0, layers)[0] - large).abs().max()) for layers in (5, 10, 16)]
    assert errors == sorted(errors, reverse=True)


def column(cell: float, air: int, n_steps: int, shift: float | None = None) -> Tensor:
    """Returns what a probe records eight cells beside a sheet of current in a column of periodic cells [m]."""
    across = cell * torch.arange(3, dtype=torch.float64)
    along = cell * torch.arange(air + 21, dtype=torch.float64)
    grid = Grid(x=across, y=across, z=along)
    walls = Walls(x=("periodic", "periodic"), y=("periodic", "periodic"))
    sheet = Source(
        places=torch.tensor([[0, i, j, 20] for i in range(2) for j in range(2)]),
        amplitude=torch.ones(4, dtype=torch.float64),
        waveform=GaussianDerivative(frequency_max=0.05 * SPEED_OF_LIGHT / cell),
        kind="current",
    )
    layers = ((0, 0), (0, 0), (10, 10))
    step = yee_step(
        grid,
        uniform_media(grid, walls=walls),
        absorber=absorbing_layers(grid, layers, shift=shift),
        walls=walls,
        sources=[sheet],
        probes=[point_probe(0, (0, 0, 28))],
        engine="numba",
    )
    return step.advance(step.start(n_steps), 0.0, 0.5 * cell / SPEED_OF_LIGHT, n_steps).records[0]


def long_wave_reflection(cell: float, shift: float | None = None) -> float:
    """Returns the largest reflection of waves of 20 to 200 cells [dB]."""
    n_steps = 2000
    found, alone = column(cell, 20, n_steps, shift), column(cell, 540, n_steps, shift)
    phase = torch.arange(n_steps) * (
        2j * math.pi * 0.5 / torch.tensor([20.0, 40.0, 80.0, 120.0, 160.0, 200.0])[:, None]
    )
    spectra = [(signal * torch.exp(-phase)).sum(1).abs() for signal in (found - alone, alone)]
    return 20.0 * math.log10(float((spectra[0] / spectra[1]).max()))


def test_long_waves_are_absorbed_whatever_the_size_of_the_cells() -> None:
    small, large = long_wave_reflection(1e-3), long_wave_reflection(1.0)
    assert small < -60.0 and large < -60.0
    assert small == pytest.approx(large, abs=1e-3)


def test_a_shift_that_does_not_follow_the_depth_reflects_long_waves() -> None:
    """What is right for cells of half a millimetre is not for cells of a metre: the measure can tell."""
    assert long_wave_reflection(1.0, shift=0.05) > -40.0


@pytest.mark.slow
@pytest.mark.parametrize("cell", [1e-6, 1.0])
def test_nothing_grows_in_the_layers_in_twenty_thousand_steps(cell: float) -> None:
    """A current that leaves charges behind, in float32 at 0.99 of the limit: what stays is their static field."""
    nodes = cell * torch.arange(25, dtype=torch.float64)
    grid = Grid(x=nodes, y=nodes, z=nodes)
    waveform = Gaussian(frequency_max=0.05 * SPEED_OF_LIGHT / cell)
    step = yee_step(
        grid,
        uniform_media(grid, dtype=torch.float32),
        absorber=absorbing_layers(grid, 8),
        sources=[dipole(grid, 2, (11, 12, 12), waveform)],
        engine="numba",
    )
    dt, fields, largest = 0.99 * grid.courant_limit(), step.start(), []
    for piece in range(20):
        fields = step.advance(fields, 1000 * piece * dt, dt, 1000)
        largest.append(float(fields.electric.abs().max()))
    assert largest[-1] > 0.0
    assert max(largest[1:]) <= 1.02 * largest[0]
