"""Absorbing layers: what comes back, measured against a domain so large that nothing can have come back.

A dipole in the middle of 20 cells of air, 10 layers on every side; the same dipole with 42 more cells of air on every
side. In n steps of 0.95 of the Courant limit a wave travels 0.95 n / sqrt(3) cells. The larger domain's layers begin 52
cells from the source: for the 150 steps compared (82 cells) nothing has been there and back to the probe, 8 cells out
(96 cells). The difference of the two signals is what the layers of the small domain send back, at all angles up to 60
degrees at once. The project's gate is -60 dB of the signal's peak [Roden2000 reports about that for ten layers].
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from elec.fdtd.absorber import absorbing_layers
from elec.fdtd.media import uniform_media
from elec.fdtd.probes import point_probe
from elec.fdtd.sources import dipole
from elec.fdtd.step import yee_step
from elec.fdtd.waveforms import GaussianDerivative
from elec.grid import Grid
from mindsci.solvers import rollout

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
