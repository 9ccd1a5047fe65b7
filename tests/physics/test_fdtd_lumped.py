"""Lumped elements against circuit theory, on a parallel-plate line and under a port.

Across a matched line of impedance Z0 = eta h / w an admittance Y lets 2 / (2 + Y Z0) of a wave pass [Pozar2012, sec.
2.3]. The step turns j omega into s = 2j tan(omega dt / 2) / dt, of second order, and Y is taken there. The element
fills the plane between the plates, so what is left is the scheme's own wave impedance for eta: (k cell)^2 / 8 of Y
Z0 or less, 1e-2 at 15 GHz on 1 mm cells, and no more than half of that in what passes: 5e-3.

The impedance that a port sees is a property of what it is connected to: ports with and without an inductor and a
capacitor inside find the same one, but for what is cut off of the ring-down.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from elec.fdtd import (
    Circuit,
    LumpedElement,
    Media,
    ModulatedGaussian,
    VoltagePort,
    Walls,
    absorbing_layers,
    point_probe,
    uniform_media,
    yee_step,
)
from elec.fdtd.plane_wave import plane_source
from elec.grid import Grid
from mindsci.units import VACUUM_IMPEDANCE

LINE = Walls(x=("periodic", "periodic"))
FREQUENCIES = torch.linspace(5e9, 15e9, 11, dtype=torch.float64)
CIRCUITS = {
    "R": Circuit(resistance=300.0),
    "L": Circuit(inductance=5e-9),
    "C": Circuit(capacitance=0.05e-12),
    "series RL": Circuit(resistance=200.0, inductance=3e-9),
    "series RC": Circuit(resistance=200.0, capacitance=0.05e-12),
    "series LC": Circuit(inductance=3e-9, capacitance=0.05e-12),
    "series RLC": Circuit(resistance=100.0, inductance=3e-9, capacitance=0.1e-12),
    "overdamped series RLC": Circuit(resistance=900.0, inductance=3e-9, capacitance=0.1e-12),
    "parallel RLC": Circuit(resistance=800.0, inductance=5e-9, capacitance=0.05e-12, kind="parallel"),
}


def plates() -> Grid:
    """Three cells wide, two high, along z."""
    x, y, z = (1e-3 * torch.arange(n + 1, dtype=torch.float64) for n in (3, 2, 60))
    return Grid(x=x, y=y, z=z)


def behind(grid: Grid, media: Media) -> Tensor:
    """Spectrum of the field behind the element."""
    dt, n_steps = 0.95 * grid.courant_limit(), 3000
    pulse = ModulatedGaussian(frequency=10e9, bandwidth=16e9)
    source = plane_source(grid, dt, n_steps, axis=2, node=16, polarisation=(0.0, 1.0, 0.0), waveform=pulse, walls=LINE)
    absorber = absorbing_layers(grid, ((0, 0), (0, 0), (12, 12)))
    step = yee_step(grid, media, walls=LINE, sources=source, probes=[point_probe(1, (1, 1, 40))], absorber=absorber)
    record = step.advance(step.start(n_steps), 0.0, dt, n_steps).records[0]
    t = dt * torch.arange(1, n_steps + 1, dtype=torch.float64)
    return torch.exp(-2j * math.pi * FREQUENCIES[:, None] * t) @ record.to(torch.complex128)


@pytest.fixture(scope="module")
def undisturbed() -> Tensor:
    grid = plates()
    return behind(grid, uniform_media(grid, walls=LINE))


@pytest.mark.parametrize("name", CIRCUITS)
def test_a_line_lets_pass_what_circuit_theory_says(name: str, undisturbed: Tensor) -> None:
    grid, circuit = plates(), CIRCUITS[name]
    # Three even columns make up the period: of a box the outer ones would count half.
    edges = torch.tensor([[1, i, j, 30] for i in range(3) for j in range(2)])
    scale = torch.full((6,), 2e-3 / 3.0 / 1e-6, dtype=torch.float64)
    passed = behind(grid, circuit.on_edges(uniform_media(grid, walls=LINE), edges, scale)) / undisturbed
    line, dt = VACUUM_IMPEDANCE * 2.0 / 3.0, 0.95 * grid.courant_limit()
    exact = 2.0 / (2.0 + line * circuit.admittance(2j / dt * torch.tan(math.pi * dt * FREQUENCIES)))
    assert (passed - exact).abs().max() < 5e-3


def seen(port: VoltagePort, grid: Grid, media: Media, frequencies: Tensor) -> Tensor:
    dt, n_steps = 0.95 * grid.courant_limit(), 6000
    with_port, source, probe = port.place(grid, media, dt=dt, n_steps=n_steps)
    step = yee_step(grid, with_port, sources=[source], probes=[probe], absorber=absorbing_layers(grid, 4))
    record = step.advance(step.start(n_steps), 0.0, dt, n_steps).records[0]
    reflection = port.reflection(record, dt, frequencies)
    return (1.0 + reflection) / (1.0 - reflection) * port.resistance


def test_a_port_with_an_impedance_in_series_sees_the_same_load() -> None:
    x = 1e-3 * torch.arange(15, dtype=torch.float64)
    grid = Grid(x=x, y=x, z=x)
    load = LumpedElement(
        start=(8e-3, 7e-3, 7e-3), stop=(8e-3, 7e-3, 8e-3), axis=2, circuit=Circuit(resistance=70.0, inductance=2e-9)
    )
    metal = torch.zeros(3, 15, 15, 15, dtype=torch.bool)
    for plate in (7, 8):
        metal[0, 6:9, 6:9, plate] = metal[1, 6:10, 6:8, plate] = True
    media = load.place(grid, uniform_media(grid, metal=metal))
    given = {
        "start": (7e-3, 7e-3, 7e-3),
        "stop": (7e-3, 7e-3, 8e-3),
        "axis": 2,
        "waveform": ModulatedGaussian(frequency=5e9, bandwidth=8e9),
    }
    frequencies = torch.linspace(2e9, 8e9, 7, dtype=torch.float64)
    plain = seen(VoltagePort(resistance=50.0, **given), grid, media, frequencies)  # type: ignore[arg-type]
    reactive = VoltagePort(resistance=80.0, inductance=1e-9, capacitance=1e-12, **given)  # type: ignore[arg-type]
    assert torch.allclose(seen(reactive, grid, media, frequencies), plain, rtol=1e-4)
