"""A metal shape that has a known best: the short of a stub, moved by its reflection alone.

Set-up: a strip of a parallel-plate line, one cell high and one wide (periodic), Z0 = eta. A port of Z0 sees absorbing
layers on the right, which match it, in parallel with a stub on the left that a metal block ends: Z = j Z0 tan(k L).
Law: the stub is open, and S11 zero, at L = lambda / 4 [Pozar2012, sec. 2.3]. The block's face lies between the nodes,
so that it reaches the solver through conformal cuts alone. Tolerance: at 30 cells a wavelength the scheme's own
wavelength is off by (k h)^2 / 24 = 2e-3 at most, 0.014 mm, and a cut cell is second order too: 0.03 mm; |S11|^2 grows
with the square of the distance from there, 0.03 mm are 1e-5.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from elec.design import minimize
from elec.fdtd import GaussianDerivative, VoltagePort, Walls, absorbing_layers, yee_step
from elec.fdtd.conformal import cut_scene_media
from elec.geometry import Scene, box
from elec.geometry.scene import Body
from elec.grid import Grid
from mindsci.solvers import rollout
from mindsci.units import SPEED_OF_LIGHT, VACUUM_IMPEDANCE

CELL, FREQUENCY, STEPS, PORT = 1e-3, SPEED_OF_LIGHT / 30e-3, 600, 14
BEST = 7.5
"""[mm]"""


def reflection(length: Tensor) -> Tensor:
    """|S11|^2 at one frequency with the block's face that far [mm] from the port."""
    line = CELL * torch.arange(41, dtype=torch.float64)
    grid = Grid(x=line, y=line[:2], z=line[:2], absorber_cells=((0, 10), (0, 0), (0, 0)))
    walls, dt = Walls(y=("periodic", "periodic")), 0.95 * CELL / SPEED_OF_LIGHT
    dt = min(dt, 0.95 * grid.courant_limit())
    face = PORT * CELL - 1e-3 * length
    zero = torch.zeros((), dtype=torch.float64)
    block = box((-CELL, -CELL, -CELL), torch.stack([face, zero + 2 * CELL, zero + 2 * CELL]))
    scene = Scene(parts=(Body(name="short", solid=block),), materials={})
    media = cut_scene_media(scene, grid, dt=dt, walls=walls)
    x = float(line[PORT])
    pulse = GaussianDerivative(frequency_max=2.5 * FREQUENCY)
    port = VoltagePort(start=(x, 0, 0), stop=(x, 0, CELL), axis=2, resistance=VACUUM_IMPEDANCE, waveform=pulse)
    media, source, probe = port.place(grid, media)
    step = yee_step(grid, media, absorber=absorbing_layers(grid), walls=walls, sources=[source], probes=[probe])
    last, _ = rollout(step, step.start(STEPS), n_steps=STEPS, dt=dt)
    return port.reflection(last.records[0], dt, torch.tensor([FREQUENCY])).abs().square().sum()


@pytest.mark.parametrize("start", [4.3, pytest.param(9.6, marks=pytest.mark.slow)])
def test_the_short_of_a_stub_moves_to_a_quarter_of_a_wavelength(start: float) -> None:
    found = minimize(
        lambda p: reflection(p["length"]), {"length": torch.tensor(start, dtype=torch.float64)}, evaluations=10,
        bounds=(2.6, 12.4),
    )  # fmt: skip
    assert found.values[0] > 0.05
    assert found.value < 1e-5
    assert float(found.parameters["length"]) == pytest.approx(BEST, abs=0.03)


@pytest.mark.parametrize(("length", "side"), [(6.5, 0.0), (7.0, -0.5)])
def test_a_face_on_a_node_moves_to_the_side_that_covers_more(length: float, side: float) -> None:
    """Nothing is cut there: the gradient is that of the next cuts, from both sides half-way between nodes. The
    differences of h = 1e-5 mm err by h times the second derivative, some 1e-4 of the first, on one side alone."""
    unknown = torch.tensor(length, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(reflection(unknown), unknown)
    with torch.no_grad():
        low, high = (float(reflection(unknown + 1e-5 * (side + end))) for end in (-0.5, 0.5))
    assert float(slope) == pytest.approx((high - low) / 1e-5, rel=1e-4)


@pytest.mark.slow
def test_the_shared_trainer_finds_the_same_short() -> None:
    found = minimize(
        lambda p: reflection(p["length"]), {"length": torch.tensor(5.9, dtype=torch.float64)}, method="adam",
        evaluations=60, learning_rate=0.15,
    )  # fmt: skip
    assert float(found.parameters["length"]) == pytest.approx(BEST, abs=0.03)
