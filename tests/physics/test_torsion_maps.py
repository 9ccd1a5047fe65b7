"""Torsion maps (CMAP): a periodic bicubic spline, and every term of alanine tripeptide in water as CHARMM has it.

The spline of sin(phi) cos(2 psi) errs by the fourth power of the step [deBoor1978]: 16 times less at half of it (root
mean square over 60 points), gated at 14. Alanine tripeptide: values of sander for the chamber topology, to their
printed digits once Coulomb's constant is Amber's, 332.0522 kcal/mol angstrom.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from mindsci import units
from sponge import system as systems
from sponge.builders import from_amber
from sponge.forcefield.torsion_maps import torsion_maps
from sponge.system import System
from sponge.topology import TorsionMaps
from sponge.validation.references import CHARMM_ALA3, open_options, terms

CHAIN = torch.tensor([[0, 1, 2, 3, 1, 2, 3, 4]])


def chain(phi: float, psi: float) -> System:
    """Five atoms with the two dihedral angles [rad]."""
    places = list(torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).double())
    for angle in (phi, psi):
        a, b, c = places[-3:]
        axis = (c - b) / (c - b).norm()
        away = a - b - ((a - b) * axis).sum() * axis
        away = away / away.norm()
        side = torch.linalg.cross(axis, away)
        places.append(c + math.cos(angle) * away + math.sin(angle) * side + 0.3 * axis)
    positions = torch.stack(places)
    return systems.create(positions, torch.full((5,), 6))


def sine_map(size: int) -> TorsionMaps:
    angle = 2.0 * math.pi * torch.arange(size).double() / size
    grid = torch.sin(angle)[:, None] * torch.cos(2.0 * angle)[None, :]
    return TorsionMaps(atoms=CHAIN, table=torch.tensor([0]), grids=[grid])


def test_a_map_is_a_fourth_order_spline_of_both_angles() -> None:
    errors = []
    angles = 2.0 * math.pi * torch.rand((60, 2), generator=torch.Generator().manual_seed(2)).double()
    for size in (24, 48):
        terms = sine_map(size)
        found = [float(torsion_maps(chain(phi, psi), terms)) for phi, psi in angles.tolist()]
        exact = torch.sin(angles[:, 0]) * torch.cos(2.0 * angles[:, 1])
        errors.append(float((torch.tensor(found).double() - exact).square().mean().sqrt()))
    assert errors[0] / errors[1] > 14


def test_a_map_goes_through_its_nodes_and_has_continuous_curvature_there() -> None:
    size = 12
    generator = torch.Generator().manual_seed(1)
    grid = torch.randn((size, size), generator=generator).double()
    terms = TorsionMaps(atoms=CHAIN, table=torch.tensor([0]), grids=[grid])
    step = 2.0 * math.pi / size
    for i, j in ((0, 0), (3, 11), (7, 2)):
        assert float(torsion_maps(chain(i * step, j * step), terms)) == pytest.approx(float(grid[i, j]), abs=1e-12)

    def curvature(phi: float) -> float:
        h = 1e-4
        left, middle, right = (float(torsion_maps(chain(phi + k * h, 0.3), terms)) for k in (-1, 0, 1))
        return (left - 2 * middle + right) / h**2

    assert curvature(4 * step - 2e-4) == pytest.approx(curvature(4 * step + 2e-4), rel=0.05)


def test_maps_of_different_sizes_stand_side_by_side_and_have_gradients() -> None:
    system = chain(0.7, -1.9)
    small, large = sine_map(10), sine_map(24)
    both = TorsionMaps(
        atoms=CHAIN.expand(2, 8), table=torch.tensor([1, 0]), grids=[small.grids[0], large.grids[0].requires_grad_()]
    )
    energy = torsion_maps(system, both)
    assert energy[0] == torsion_maps(system, large)[0] and energy[1] == torsion_maps(system, small)[0]
    energy.sum().backward()
    # The energy is linear in its grid, so that grid and gradient make it up.
    assert float((both.grids[1] * both.grids[1].grad).sum().detach()) == pytest.approx(
        float(energy[0].detach()), rel=1e-12
    )


@pytest.mark.data
def test_every_term_of_alanine_tripeptide_is_charmms(data_mirror: Path) -> None:
    path = data_mirror / "biomolecular/openmm_systems/ala3_solv.parm7"
    system, topology = from_amber(path, path.with_suffix(".crd"), rigid_water=False, periodic=False)
    found = terms(system, topology, open_options(), units.KCAL_PER_MOL_EV)
    assert found == pytest.approx(CHARMM_ALA3, abs=1e-6)
