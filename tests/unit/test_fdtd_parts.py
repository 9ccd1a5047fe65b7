"""The parts of the FDTD solver one by one: waveforms, monitors, sources, layers, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from fdtd_problems import PULSE, everything, uneven_grid

from elec.fdtd import (
    Box,
    GaussianDerivative,
    ModulatedGaussian,
    Monitors,
    VoltagePort,
    absorbing_layers,
    dipole,
    outer_walls,
    padded,
    point_probe,
    spectrum,
    uniform_media,
    yee_step,
)
from elec.grid import Grid
from mindsci.errors import InputError


def even_grid(cells: int = 10) -> Grid:
    nodes = 1e-3 * torch.arange(cells + 1, dtype=torch.float64)
    return Grid(x=nodes, y=nodes, z=nodes)


def test_the_pulse_has_no_dc_part_and_ends_at_its_highest_frequency() -> None:
    wave = GaussianDerivative(frequency_max=10e9)
    dt = 1e-13
    signal = wave((torch.arange(round(wave.duration / dt), dtype=torch.float64) + 0.5) * dt)
    frequencies = torch.linspace(0.0, 15e9, 301, dtype=torch.float64)
    level = spectrum(signal, dt, frequencies).abs()
    assert float(signal.abs().max()) == pytest.approx(1.0, rel=1e-4)
    assert float(level[0] / level.max()) < 1e-6
    assert float(level[200] / level.max()) == pytest.approx(0.1, rel=1e-2)
    assert float(signal[0].abs()) < 1e-6


def test_the_modulated_pulse_is_20_dB_down_at_the_ends_of_its_band() -> None:
    wave = ModulatedGaussian(frequency=10e9, bandwidth=4e9)
    dt = 1e-13
    signal = wave((torch.arange(round(wave.duration / dt), dtype=torch.float64) + 0.5) * dt)
    level = spectrum(signal, dt, torch.tensor([8e9, 10e9, 12e9], dtype=torch.float64)).abs()
    assert (level / level[1]).tolist() == pytest.approx([0.1, 1.0, 0.1], rel=1e-2)


def test_a_monitor_is_the_fourier_sum_of_the_fields_that_it_saw() -> None:
    """The records hold the same field at the same times: the sums differ by rounding of their largest terms only."""
    grid = even_grid()
    monitors = Monitors(boxes=(Box(low=(4, 4, 4), high=(6, 6, 6)),), frequencies=(5e9, 20e9), every=2)
    step = yee_step(
        grid,
        uniform_media(grid),
        sources=[dipole(grid, 2, (3, 4, 5), PULSE)],
        probes=[point_probe(2, (5, 4, 5))],
        monitors=monitors,
    )
    dt = 0.9 * grid.courant_limit()
    fields = step.advance(step.start(50), 0.0, dt, 50)
    t = dt * torch.arange(1, 51, dtype=torch.float64)[1::2]
    expected = [
        2 * dt * (fields.records[0, 1::2] * torch.exp(-2j * math.pi * f * t)).sum() for f in monitors.frequencies
    ]
    found = monitors.unpack(fields.spectra)[0][:, 2, 1, 0, 1]
    largest = dt * float(fields.records.abs().sum())
    assert torch.allclose(found, torch.stack(expected), rtol=0, atol=1e-13 * largest)


def test_padding_and_walls_hold_exactly_the_edges_that_exist_inside() -> None:
    nodes = (4, 5, 6)
    walls = outer_walls(nodes)
    # Ex: 3 cells along x, 3 inner nodes along y, 4 along z; and so on.
    assert [(~walls[component]).sum().item() for component in range(3)] == [3 * 3 * 4, 2 * 4 * 4, 2 * 3 * 5]
    components = [torch.ones(3, 5, 6), torch.ones(4, 4, 6), torch.ones(4, 5, 5)]
    assert padded(components, nodes, value=0.0).sum() == 3 * 5 * 6 + 4 * 4 * 6 + 4 * 5 * 5
    with pytest.raises(InputError, match="does not fit"):
        padded([torch.ones(5, 5, 6)] * 3, nodes, value=0.0)


def test_the_stretch_grows_outward_and_is_nothing_inside() -> None:
    grid = uneven_grid((20, 18, 16))
    absorber = absorbing_layers(grid, ((5, 4), (0, 3), (2, 2)))
    assert absorber is not None
    sigma = absorber.nodes[0].conductivity
    assert sigma[5:16].abs().max() == 0
    assert (sigma[:5].diff() < 0).all() and (sigma[15:].diff() > 0).all()
    assert absorber.nodes[1].conductivity[:14].abs().max() == 0
    b, c = absorber.nodes[0].recursion(1e-12)
    assert (c[5:16] == 0).all() and (c[:5] < 0).all() and (b <= 1).all()


def test_a_grid_without_layers_has_no_absorber() -> None:
    assert absorbing_layers(even_grid(), 0) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda g: absorbing_layers(g, 5), "layers of 5 and 5 cells along x leave nothing of its 10 cells"),
        (lambda g: dipole(g, 2, (3, 3, 10), PULSE), r"no Ez edge at node \[3, 3, 10\]: 10 along z is not in 0..9"),
        (lambda g: GaussianDerivative(frequency_max=0.0), "must be positive"),
        (lambda g: Box(low=(2, 2, 2), high=(2, 5, 5)), "is empty"),
        (lambda g: Box(low=(2, 2, 2), high=(3, 5, 5), field="magnetix"), "use 'electric' or 'magnetic'"),
        (lambda g: Monitors(every=0), "use 1 or more"),
        (lambda g: yee_step(g, uniform_media(g), sources=[dipole(g, 2, (0, 4, 4), PULSE)]), "on metal or on the outer"),
        (lambda g: yee_step(g, uniform_media(g), probes=[point_probe(0, (4, 4, 11))]), "outside the .* nodes"),
        (lambda g: yee_step(g, uniform_media(g), engine="nubma"), "did you mean 'numba'"),
        (lambda g: yee_step(g, uniform_media(g, dtype=torch.float16), engine="numba"), "not in float16"),
    ],
)
def test_what_cannot_work_is_refused_with_its_fix(make: object, message: str) -> None:
    with pytest.raises((ValueError, LookupError), match=message):
        make(even_grid())  # type: ignore[operator]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"stop": (3e-3, 4e-3, 3e-3)}, "no extent along its direction z"),
        ({"stop": (3e-3, 4e-3, 3.4e-3)}, "smaller than a cell along z: 0.4 mm against 1 mm; use cells of at most"),
        ({"stop": (3e-3, 4.5e-3, 5e-3)}, "lies off the grid lines"),
        ({"stop": (3e-3, 4e-3, 50e-3)}, "outside the grid"),
        ({"resistance": -1.0}, "must be positive"),
    ],
)
def test_a_port_that_cannot_work_is_refused(changed: dict[str, object], message: str) -> None:
    grid = even_grid()
    values = {"start": (3e-3, 3e-3, 3e-3), "stop": (3e-3, 4e-3, 5e-3), "resistance": 50.0} | changed
    with pytest.raises(InputError, match=message):
        VoltagePort(axis=2, waveform=PULSE, **values).place(grid, uniform_media(grid))  # type: ignore[arg-type]


def test_a_shorted_port_is_refused() -> None:
    grid = even_grid()
    metal = torch.zeros(3, 11, 11, 11, dtype=torch.bool)
    metal[2, 3, 3, 4] = True
    port = VoltagePort(start=(3e-3, 3e-3, 3e-3), stop=(3e-3, 4e-3, 5e-3), axis=2, resistance=50.0, waveform=PULSE)
    with pytest.raises(InputError, match="1 of its 4 edges lie in or on metal"):
        port.place(grid, uniform_media(grid, metal=metal))


def test_records_that_are_too_short_are_refused_by_every_engine() -> None:
    for engine in ("reference", "numba"):
        grid, step = everything((18, 17, 17), engine=engine)
        with pytest.raises(InputError, match="step 11 is beyond the 10 samples"):
            step.advance(step.start(10), 0.0, 0.9 * grid.courant_limit(), 11)


def test_the_engine_is_chosen_and_says_why() -> None:
    grid = even_grid()
    chosen = yee_step(grid, uniform_media(grid, dtype=torch.float32))
    assert (chosen.engine, chosen.reason) == ("numba", "the fastest on cpu")
    half = yee_step(grid, uniform_media(grid, dtype=torch.bfloat16))
    assert half.engine == "reference"
    assert "not in bfloat16" in half.reason


def test_importing_the_solver_compiles_nothing(repository: object) -> None:
    import os
    import subprocess
    import sys

    code = "import sys, elec.fdtd, elec.case; print('numba' in sys.modules, 'triton' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(repository)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["False", "False"], done.stderr
