"""Energies, forces and virials of classical force fields.

NIST: Lennard-Jones and SPC/E reference configurations (nist.gov/mml/csd/chemical-informatics-group), whose components
are printed to five or six digits: half a unit of the last, or 1e-5 relative. Forces: central difference of the energy,
step 1e-4 angstrom, whose error is of the order of the step squared, 1e-8; 1e-7 relative to the largest force.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from mindsci import tree, units
from sponge import system as systems
from sponge.dynamics import Forces
from sponge.forcefield import ForceField, Options
from sponge.neighbors import neighbor_list
from sponge.potentials.potential import differentiate
from sponge.system import System
from sponge.thermodynamics import pressure
from sponge.topology import (
    HarmonicAngles,
    HarmonicBonds,
    HarmonicImpropers,
    Nonbonded,
    PeriodicTorsions,
    ScaledPairs,
    Topology,
    TorsionMaps,
    VirtualSites,
)
from sponge.validation import lattices, liquids, nist


def periodic(positions: torch.Tensor, cell: torch.Tensor, numbers: torch.Tensor) -> System:
    return systems.create(positions, numbers, cell=cell[None], periodic=(True, True, True))


@pytest.mark.data
def test_every_printed_component_is_nists(data_mirror: Path) -> None:
    rows = nist.nist(data_mirror / "biomolecular")
    assert len(rows) == 24
    assert [row.case for row in rows if not row.ok] == []


@pytest.mark.data
def test_lennard_jones_has_the_sixteen_digits_of_nists_fourth_configuration(data_mirror: Path) -> None:
    system, topology = nist.fluid(data_mirror / "biomolecular/nist_reference", 4)
    found = nist.energies(system, topology, Options(cutoff=3.0, coulomb="cutoff"))
    assert found["lennard_jones"] == pytest.approx(-16.790321304625856, rel=1e-12)


@pytest.mark.parametrize("name", lattices.MADELUNG)
def test_crystals_have_their_madelung_constants(name: str) -> None:
    system, topology = lattices.crystal(name)
    options = Options(cutoff=11.0, coulomb="ewald", tolerance=1e-13)
    energy = ForceField(topology, options)(system, neighbor_list(system, 11.0, half=True))
    madelung = -float(energy) * 2.8 / units.COULOMB_EV_ANGSTROM / (system.n_atoms / 2)
    assert madelung == pytest.approx(lattices.MADELUNG[name], rel=1e-10)


def tangled() -> tuple[System, Topology]:
    """Twelve atoms with every term, a virtual site and a net charge, in a triclinic cell, one across its boundary."""
    generator = torch.Generator().manual_seed(3)
    cell = torch.tensor([[9.0, 0.0, 0.0], [2.0, 8.5, 0.0], [-1.5, 1.0, 9.5]]).double()
    grid = torch.cartesian_prod(torch.arange(3), torch.arange(2), torch.arange(2)).double() * 2.2
    positions = grid + 0.5 * torch.rand((12, 3), generator=generator).double()
    positions[5] += cell[1]

    def rand(n: int) -> torch.Tensor:
        return 0.5 + torch.rand(n, generator=generator).double()

    def rows(*of: tuple[int, ...]) -> torch.Tensor:
        return torch.tensor(of)

    four = rows((0, 1, 3, 5), (2, 3, 5, 7))
    table = 2.0 + 0.3 * torch.tensor([[0.0, 1.0], [1.0, 2.0]]).double()
    topology = Topology(
        n_atoms=12,
        bonds=HarmonicBonds(atoms=rows((0, 1), (4, 5)), length=rand(2), stiffness=rand(2)),
        urey_bradley=HarmonicBonds(atoms=rows((0, 3)), length=rand(1), stiffness=rand(1)),
        angles=HarmonicAngles(atoms=rows((0, 1, 3), (3, 5, 4)), angle=rand(2), stiffness=rand(2)),
        torsions=PeriodicTorsions(atoms=four, periodicity=torch.tensor([2, 3]), phase=rand(2), barrier=rand(2)),
        harmonic_impropers=HarmonicImpropers(atoms=four, angle=rand(2), stiffness=rand(2)),
        torsion_maps=TorsionMaps(
            atoms=rows((0, 1, 3, 5, 1, 3, 5, 7), (2, 3, 5, 7, 3, 5, 7, 8)),
            table=torch.tensor([1, 0]),
            grids=[rand(64).reshape(8, 8), rand(36).reshape(6, 6)],
        ),
        pairs14=ScaledPairs(atoms=rows((0, 5)), sigma=rand(1), epsilon=rand(1), charge_product=rand(1)),
        nonbonded=Nonbonded(
            charges=rand(12),
            kind=torch.arange(12) % 2,
            sigma=table,
            epsilon=0.1 * table,
            exclusions=rows((0, 1), (0, 3), (0, 5), (4, 5), (9, 11)),
        ),
        virtual_sites=VirtualSites(
            site=torch.tensor([11]),
            parents=rows((8, 9, 10)),
            weights=torch.tensor([[0.4, 0.35, 0.25]]).double(),
            cross=torch.tensor([0.1]).double(),
        ),
    )
    return periodic(positions, cell, torch.full((12,), 6)), topology


SUMS = [
    Options(cutoff=4.2, lennard_jones="pme", coulomb="pme", ewald_coefficient=1.6, grid=(12, 14, 15)),
    Options(cutoff=4.2, lennard_jones="force_shift", coulomb="pme", grid=(12, 14, 15)),
    Options(cutoff=4.2, lennard_jones="force_shift", coulomb="ewald", tolerance=1e-6),
    Options(cutoff=4.2, lennard_jones="force_shift", coulomb="shifted_force"),
    Options(cutoff=6.0, lennard_jones="switch", switch_from=4.0, long_range_correction=True, coulomb="reaction_field"),
]


@pytest.mark.parametrize("options", SUMS, ids=lambda options: f"{options.lennard_jones}-{options.coulomb}")
def test_forces_and_virial_are_derivatives_of_the_energy(options: Options) -> None:
    system, topology = tangled()
    field = ForceField(topology, options)
    neighbors = neighbor_list(system, options.cutoff, half=True)
    found = differentiate(field, system, neighbors, virial=True)
    step, scale = 1e-4, float(found.forces.abs().max())
    for atom in range(11):
        for axis in range(3):
            ends = []
            for sign in (1.0, -1.0):
                moved = system.positions.clone()
                moved[atom, axis] += sign * step
                ends.append(float(field(tree.replace(system, positions=moved), neighbors)))
            assert -(ends[0] - ends[1]) / (2 * step) == pytest.approx(float(found.forces[atom, axis]), abs=1e-7 * scale)
    assert float(found.forces[11].abs().max()) == 0.0
    assert found.virial is not None
    size = float(found.virial.abs().max())
    for i in range(3):
        for j in range(3):
            ends = []
            for sign in (1.0, -1.0):
                deform = torch.eye(3).double()
                deform[i, j] += 0.5 * sign * 1e-5
                deform[j, i] += 0.5 * sign * 1e-5
                strained = tree.replace(system, positions=system.positions @ deform, cell=system.cell @ deform)
                ends.append(float(field(strained, neighbors)))
            assert -(ends[0] - ends[1]) / 2e-5 == pytest.approx(float(found.virial[0, i, j]), abs=1e-6 * size)


@pytest.mark.parametrize("engine", ["reference", "numba"])
def test_the_correction_of_the_pressure_is_that_of_the_whole_tail(engine: str) -> None:
    """16 pi / 3 rho^2 epsilon sigma^3 (2/3 (sigma / cutoff)^9 - (sigma / cutoff)^3) [AllenTildesley2017, eq. 2.145]."""
    system, made = liquids.fluid(0.8, cells=4)
    topology, sigma, epsilon = made.potential.topology, liquids.SIGMA, liquids.EPSILON
    cutoff = 2.5 * sigma
    found = []
    for corrected in (True, False):
        options = Options(cutoff=cutoff, coulomb="cutoff", long_range_correction=corrected)
        forces = Forces.of(ForceField(topology, options, engine=engine), system, virial=True, skin=0.1)
        found.append(float(pressure(forces(system))))
    density = system.n_atoms / float(system.cell.det())
    inverse = (sigma / cutoff) ** 3
    expected = 16 * math.pi / 3 * density**2 * epsilon * sigma**3 * (2 / 3 * inverse**3 - inverse)
    assert found[0] - found[1] == pytest.approx(expected, rel=1e-10)


def test_parameters_have_gradients() -> None:
    system, topology = tangled()
    leaves = {
        name: leaf.requires_grad_()
        for name, leaf in tree.named_leaves(topology)
        if leaf.is_floating_point() and "virtual" not in name
    }
    field = ForceField(topology, SUMS[2])
    field(system, neighbor_list(system, 4.2, half=True)).sum().backward()
    assert all(leaf.grad is not None and bool(leaf.grad.isfinite().all()) for leaf in leaves.values())
