"""Thin wires: dipoles of several radii and cells against the integral equation of the current, and the time step.

The first resonance of a dipole, as length over wavelength, and the resistance there come from a tube whose retarded
potentials are matched along it [Harrington1968]; no number of the wire's medium was taken from it. What is left is of
first order in the cell at the ends and the feed, and the reference itself moves by 0.2 % with its segments: 1 % of the
length and 3 % of the resistance at 16 cells, for radii between a hundredth and a sixth of a cell. Thicker wires lose
more at their ends: 1.0 % at 0.27 of a cell.

The media of a wire must not cut the time step: the largest eigenvalue of the scheme itself, by Lanczos iterations,
allows the Courant limit of the bare grid, to what the iterations miss, 1e-3.
"""

from __future__ import annotations

import pytest
import torch

from elec.fdtd import uniform_media
from elec.fdtd.conformal import largest_time_step
from elec.fdtd.wire import ThinWire, bare_radius, end_shares
from elec.grid import Grid
from elec.validation.dipole import FREQUENCY, WAVELENGTH, dipole_run
from elec.validation.wire_impedance import resonant_dipole
from mindsci.errors import InputError


@pytest.mark.parametrize("radius", [3e-4, 2e-3, 5e-3])
def test_a_dipole_of_any_radius_resonates_where_the_integral_equation_says(radius: float) -> None:
    length = 0.47 * WAVELENGTH
    _, at, resistance, _ = dipole_run(length, radius * WAVELENGTH, 16)
    exact_length, exact_resistance = resonant_dipole(radius * at / FREQUENCY)
    assert 0.47 * at / FREQUENCY == pytest.approx(exact_length, rel=0.01)
    assert resistance == pytest.approx(exact_resistance, rel=0.03)


@pytest.mark.parametrize("ratio", [1e-3, 0.1, 0.4])
def test_a_wire_leaves_the_time_step_as_it_is(ratio: float) -> None:
    x = 1e-3 * torch.arange(12, dtype=torch.float64)
    grid = Grid(x=x, y=x, z=x)
    wire = ThinWire(start=(5e-3, 5e-3, 3.5e-3), stop=(5e-3, 5e-3, 8.5e-3), radius=ratio * 1e-3, gaps=((5e-3, 6e-3),))
    media = wire.place(grid, uniform_media(grid))
    assert largest_time_step(grid, media) > 0.999 * grid.courant_limit()


def test_a_wire_of_the_bare_radius_between_planes_changes_nothing_but_metal() -> None:
    x = 1e-3 * torch.arange(8, dtype=torch.float64)
    grid = Grid(x=x, y=x, z=x)
    media = ThinWire(start=(3e-3, 4e-3, 0.0), stop=(3e-3, 4e-3, 7e-3), radius=bare_radius(1e-3, 1e-3)).place(
        grid, uniform_media(grid)
    )
    assert torch.allclose(media.permittivity, torch.ones_like(media.permittivity))
    assert torch.allclose(media.permeability, torch.ones_like(media.permeability))
    assert bool(media.metal[2, 3, 4].all()) and bare_radius(1.0, 1.0) == pytest.approx(0.1985, abs=1e-4)


def test_the_flux_of_an_end_is_shared_by_its_five_edges() -> None:
    first, second, along = end_shares(1.0, 1.0, 1.0)
    assert first == pytest.approx(second) and 4 * first + along == pytest.approx(1.0)
    assert end_shares(1.0, 1.0, 4.0)[2] < along


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"radius": 0.6e-3}, "too large for cells"),
        ({"radius": -1.0}, "must be positive"),
        ({"stop": (4e-3, 5e-3, 8e-3)}, "along one axis"),
        ({"start": (5.3e-3, 5e-3, 3e-3), "stop": (5.3e-3, 5e-3, 8e-3)}, "lies off the grid lines"),
        ({"gaps": ((3e-3, 4e-3),)}, "does not lie inside the wire"),
    ],
)
def test_a_wire_that_cannot_be_is_refused(changed: dict[str, object], words: str) -> None:
    x = 1e-3 * torch.arange(12, dtype=torch.float64)
    grid = Grid(x=x, y=x, z=x)
    given = {"start": (5e-3, 5e-3, 3e-3), "stop": (5e-3, 5e-3, 8e-3), "radius": 1e-5} | changed
    with pytest.raises(InputError, match=words):
        ThinWire(**given).place(grid, uniform_media(grid))  # type: ignore[arg-type]
