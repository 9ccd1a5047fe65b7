"""The energy of a closed system with dispersive media and magnetic walls.

Noise in a box of random media. Poisson's identity of the leapfrog (multiply Ampère's law by the mean of E, Faraday's by
H, sum over the box) leaves no term but what the poles take, E-mean times J-mean, and that is to rounding the change of
what they hold where they have no loss: Lorentz terms (|dP/dt|^2 + omega0^2 P^2) / (2 epsilon0 strength omega0^2), Drude
terms J^2 / (2 epsilon0 omega_p^2). So the sum is constant to rounding, 1e-12 over 300 steps; with damping it falls.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from fdtd_problems import random_values, uneven_grid

from elec.fdtd import Walls, uniform_media, yee_step
from elec.fdtd.energy import energy
from elec.fdtd.media import material_poles
from elec.fdtd.poles import join_poles
from elec.materials import Pole, debye, drude, lorentz
from elec.observables.decay import field_energy
from mindsci import tree
from mindsci.errors import InputError

NODES = (8, 7, 6)
OPEN = Walls(x=("pmc", "pec"), y=("periodic", "periodic"), z=("pmc", "pec"))
EDGES = torch.tensor([[0, 2, 3, 2], [0, 2, 3, 2], [1, 0, 2, 3], [2, 4, 0, 2], [1, 3, 2, 0]])


def energies(poles: tuple[Pole, ...], walls: Walls = OPEN) -> list[float]:
    """The energy after 0, 100, 200 and 300 steps; some edges lie on the magnetic walls, one carries two copies."""
    grid = uneven_grid(NODES)
    media = uniform_media(
        grid,
        permittivity=1.0 + random_values(NODES, 2),
        permeability=1.0 + random_values(NODES, 3),
        poles=join_poles([material_poles(poles, EDGES, torch.linspace(0.5, 1.0, len(EDGES), dtype=torch.float64))]),
        walls=walls,
    )
    dt = 0.9 * grid.courant_limit()
    step = yee_step(grid, media, walls=walls, engine="reference")
    noise = torch.where(step.ampere.media.metal, 0.0, random_values(NODES, 4) - 0.5)
    if walls.periodic(1):
        noise[0, :, -1], noise[2, :, -1] = noise[0, :, 0], noise[2, :, 0]
    fields, found = tree.replace(step.start(), electric=noise), []
    for _ in range(4):
        found.append(energy(grid, media, fields, step.advance(fields, 0.0, dt, 1), walls=walls))
        fields = step.advance(fields, 0.0, dt, 100)
    return found


@pytest.mark.parametrize(
    "poles", [(), lorentz(2.0, 8e9, 0.0), drude(3e10, 0.0), drude(9e9, 0.0) + lorentz(1.0, 4e10, 0.0)]
)
def test_what_lossless_poles_hold_completes_the_energy(poles: tuple[Pole, ...]) -> None:
    first, *rest = energies(poles)
    assert first > 0
    assert max(abs(one / first - 1.0) for one in rest) < 1e-12


def test_the_measure_of_a_run_that_decays_counts_poles_and_halves_too() -> None:
    """Up to the half step between E and H: with a step of a hundredth of the limit the two are the same within it."""
    grid, poles = uneven_grid(NODES), material_poles(drude(3e10, 0.0), EDGES, torch.ones(len(EDGES)))
    media = uniform_media(grid, poles=poles, walls=OPEN)
    dt = 0.01 * grid.courant_limit()
    step = yee_step(grid, media, walls=OPEN, engine="reference")
    noise = torch.where(step.ampere.media.metal, 0.0, random_values(NODES, 4) - 0.5)
    fields = step.advance(tree.replace(step.start(), electric=noise), 0.0, dt, 200)
    after = step.advance(fields, 0.0, dt, 1)
    assert field_energy(grid, media, walls=OPEN)(fields, 0, 1) == pytest.approx(
        energy(grid, media, fields, after, walls=OPEN), rel=0.03
    )


@pytest.mark.parametrize("poles", [debye(3.0, 2e-11), drude(2e10, 1e10), lorentz(2.0, 1e10, 6e9)])
def test_lossy_poles_take_energy_and_never_give_it(poles: tuple[Pole, ...]) -> None:
    found = energies(poles)
    assert all(0.0 < b < a for a, b in itertools.pairwise(found))


def test_poles_that_hold_no_known_energy_are_refused() -> None:
    with pytest.raises(InputError, match="not known what energy they hold"):
        energies((Pole(rate=-1e9 + 5e10j, jump=1e9 - 1e10j),))
