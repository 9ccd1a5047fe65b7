"""Gradients of designs: the fused one of unknown cells against autograd, S-parameters against finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from elec.design import Device, Imaging, Region, cell_media, design_media, mixture
from elec.design.mindelec import mindelec_pulse
from elec.fdtd import ModulatedGaussian, Walls, absorbing_layers
from elec.grid import Grid
from elec.materials import VACUUM, Material
from elec.ports import ModePort
from mindsci.solvers import Checkpoint

CELL = 0.9525e-3
PULSE = ModulatedGaussian(frequency=10.3e9, bandwidth=6e9)


def small_imaging() -> Imaging:
    return Imaging(
        cell=1e-2,
        cells=(30, 28),
        low=(12, 12),
        high=(18, 17),
        sources=((11, 15), (15, 20)),
        receivers=((19, 15), (15, 11), (11, 19)),
        waveform=mindelec_pulse(1.4e9),
        n_steps=80,
        absorber_cells=8,
    )


def test_the_gradient_of_traces_in_the_unknown_cells_is_that_of_the_reference() -> None:
    imaging = small_imaging()
    values = 1.0 + torch.rand(imaging.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = []
    for adjoint in (Checkpoint(), None):
        unknown = values.clone().requires_grad_()
        traces = imaging.traces(imaging.whole(unknown), adjoint=adjoint)
        (slope,) = torch.autograd.grad((traces**2).sum() + traces.sum(), unknown)
        found.append(slope)
    torch.testing.assert_close(found[1], found[0], rtol=1e-11, atol=0)


def guide() -> tuple[Region, Device]:
    """WR-90 along x, one cell high, with six cells of the middle to be designed."""
    along = CELL * torch.arange(53, dtype=torch.float64)
    across = CELL * torch.arange(25, dtype=torch.float64)
    grid = Grid(x=along, y=across, z=CELL * torch.arange(2, dtype=torch.float64))
    region = Region(grid=grid, low=(23, 4, 0), high=(29, 20, 1), filter_radius=2 * CELL, uniform=(2,))
    ports = [
        ModePort(
            axis=0, direction=1, source=float(along[12]), probe=float(along[16]), frequency=10e9, band=(9e9, 11e9),
            waveform=PULSE,
        ),
        ModePort(
            axis=0, direction=-1, source=float(along[40]), probe=float(along[36]), frequency=10e9, band=(9e9, 11e9),
            waveform=PULSE,
        ),
    ]  # fmt: skip
    frequencies = torch.tensor([9.5e9, 10.2e9], dtype=torch.float64)
    dt = 0.9 * CELL / (math.sqrt(2.0) * 299792458.0)
    device = Device.place(
        grid, cell_media(grid, 1.0), ports, frequencies, n_steps=700, dt=dt,
        absorber=absorbing_layers(grid, ((10, 10), (0, 0), (0, 0))), walls=Walls(), region=region,
    )  # fmt: skip
    return region, device


def test_the_gradient_of_s_parameters_by_a_latent_density_matches_finite_differences() -> None:
    """Two powers at two frequencies, through filter, projection, edges, run and ports: central differences in a random
    direction with Richardson's extrapolation."""
    region, device = guide()
    glass = mixture(VACUUM, Material(name="glass", relative_permittivity=3.0))

    def objective(latent: Tensor) -> Tensor:
        s = device.column(design_media(region, region.density(latent, 4.0), glass), 0)
        return (s[:, 1].abs() ** 2).sum() - 0.3 * (s[:, 0].abs() ** 2).sum()

    latent = 0.2 + 0.6 * torch.rand(region.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    direction = torch.randn(region.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    unknown = latent.clone().requires_grad_()
    (slope,) = torch.autograd.grad(objective(unknown), unknown)

    def difference(size: float) -> float:
        with torch.no_grad():
            ends = [float(objective(latent + sign * size * direction)) for sign in (1, -1)]
        return (ends[0] - ends[1]) / (2 * size)

    reference = (4 * difference(5e-4) - difference(1e-3)) / 3
    assert float((slope * direction).sum()) == pytest.approx(reference, rel=1e-6)
