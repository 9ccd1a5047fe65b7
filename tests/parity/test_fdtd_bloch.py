"""Bloch-periodic runs of the compiled engine against the reference flows in complex numbers.

Tolerances as in test_fdtd_engines.py: 1e-12 of the largest value in float64, 1e-5 in float32.
"""

from __future__ import annotations

import pytest
import torch
from fdtd_problems import PULSE, everything, owned, random_values, uneven_grid
from torch import Tensor

from elec.fdtd import Box, Monitors, Walls, absorbing_layers, point_probe, uniform_media, yee_step
from elec.fdtd.sources import Source
from mindsci import tree

PERIODIC = ("periodic", "periodic")
WALLS = {
    "x": Walls(x=PERIODIC, phase=(0.7, 0.0, 0.0)),
    "y": Walls(x=("pmc", "pec"), y=PERIODIC, phase=(0.0, 2.0, 0.0)),
    "z": Walls(z=PERIODIC, phase=(0.0, 0.0, -1.1)),
    "x and y": Walls(x=PERIODIC, y=PERIODIC, phase=(0.0, -0.4, 0.0)),
    "all": Walls(x=PERIODIC, y=PERIODIC, z=PERIODIC, phase=(0.7, 2.0, -1.1)),
}


def worst_error(found: object, expected: object) -> float:
    pairs = zip(tree.leaves(found), tree.leaves(expected), strict=True)
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-300)) for a, b in pairs if a.numel())


@pytest.mark.parametrize("name", WALLS)
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    # A second precision takes half a minute to compile, for the same lines.
    [(torch.float64, 1e-12), pytest.param(torch.float32, 1e-5, marks=pytest.mark.slow)],
)
def test_a_bloch_periodic_run_has_the_numbers_of_the_reference(name: str, dtype: torch.dtype, tolerance: float) -> None:
    walls = WALLS[name]
    grid, reference = everything((18, 17, 16), walls=walls, dtype=dtype)
    _, compiled = everything((18, 17, 16), walls=walls, dtype=dtype, engine="numba")
    dt = 0.9 * grid.courant_limit()
    start = reference.start(30)
    nodes = slice(0, -1)
    field = torch.complex(*(1e4 * random_values((18, 17, 16), seed) for seed in (7, 8))) * ~reference.ampere.media.metal
    start.electric[:, nodes, nodes, nodes] = field[:, nodes, nodes, nodes].to(start.electric)
    found = compiled.advance(compiled.advance(start, 0.0, dt, 11), 11 * dt, dt, 19)
    expected = reference.advance(start, 0.0, dt, 30)
    assert worst_error(owned(found, walls), owned(expected, walls)) < tolerance


def _analytic(t: Tensor) -> Tensor:
    return torch.stack([PULSE(t) * (1.0 + 0.5j), 1j * PULSE(t - 1e-11)], dim=1)


def test_complex_amplitudes_and_signals_drive_both_parts() -> None:
    grid, walls = uneven_grid((9, 8, 24)), Walls(x=PERIODIC, y=PERIODIC, phase=(0.5, 0.0, 0.0))
    sources = [
        Source(
            places=torch.tensor([[0, 3, 3, 9], [1, 4, 2, 9], [0, 3, 3, 9]]),
            amplitude=torch.tensor([1.0 + 2.0j, -1.0j, 0.3], dtype=torch.complex128),
            waveform=_analytic,
            kind=kind,  # type: ignore[arg-type]
            columns=torch.tensor([0, 1, 1]),
        )
        for kind in ("current", "magnetic current")
    ]
    reference, compiled = (
        yee_step(
            grid, uniform_media(grid, walls=walls), walls=walls, sources=sources, probes=[point_probe(0, (3, 3, 12))],
            absorber=absorbing_layers(grid, ((0, 0), (0, 0), (5, 5))), engine=engine,
        )
        for engine in ("reference", "numba")
    )  # fmt: skip
    dt = 0.9 * grid.courant_limit()
    start = reference.start(40)
    found, expected = (step.advance(start, 0.0, dt, 40) for step in (compiled, reference))
    assert worst_error(owned(found, walls), owned(expected, walls)) < 1e-12


def test_a_monitor_on_the_image_of_the_first_node_is_left_to_the_reference() -> None:
    grid, walls = uneven_grid((9, 8, 7)), Walls(x=PERIODIC, phase=(0.5, 0.0, 0.0))
    monitors = Monitors(boxes=(Box(low=(0, 2, 2), high=(9, 3, 3)),), frequencies=(1e9,))
    step = yee_step(grid, uniform_media(grid, walls=walls), walls=walls, monitors=monitors)
    assert step.engine == "reference" and "the last node along x" in step.reason
