"""Energies, forces and virials of classical force fields.

NIST: Lennard-Jones and SPC/E reference configurations (nist.gov/mml/csd/chemical-informatics-group), whose components
are printed to five or six digits: half a unit of the last, or 1e-5 relative. Forces: central difference of the energy,
step 1e-4 angstrom, whose error is of the order of the step squared, 1e-8; 1e-7 relative to the largest force.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy
import pytest
import torch

from mindsci import tree, units
from sponge import system as systems
from sponge.forcefield import ForceField, Options
from sponge.neighbors import neighbor_list
from sponge.potentials.potential import differentiate
from sponge.system import System
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

DATA = Path(os.environ.get("MINDSCI_MIRROR", "../shared/data")) / "biomolecular" / "nist_reference"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="needs the NIST reference configurations")


def periodic(positions: torch.Tensor, cell: torch.Tensor, numbers: torch.Tensor) -> System:
    return systems.create(positions, numbers, cell=cell[None], periodic=(True, True, True))


def no_pairs() -> torch.Tensor:
    return torch.zeros((0, 2), dtype=torch.int64)


@needs_data
@pytest.mark.data
@pytest.mark.parametrize(
    ("number", "energy", "correction", "shifted"),
    [(1, -4351.5, -198.49, -3870.9), (4, -16.790321304625856, -0.54517, -15.001)],
)
def test_lennard_jones_is_nists(number: int, energy: float, correction: float, shifted: float) -> None:
    lines = (DATA / f"lj_sample_config_periodic{number}.txt").read_text().split("\n")
    side = float(lines[0].split()[0])
    rows = numpy.array([line.split()[1:4] for line in lines[2:] if line.strip()], dtype=float)
    n = len(rows)
    system = periodic(torch.tensor(rows), side * torch.eye(3).double(), torch.full((n,), 18))
    one = torch.ones((1, 1)).double()
    atoms = torch.zeros(n, dtype=torch.int64)
    nonbonded = Nonbonded(charges=torch.zeros(n).double(), kind=atoms, sigma=one, epsilon=one, exclusions=no_pairs())
    options = Options(cutoff=3.0, coulomb="cutoff", long_range_correction=True)
    neighbors = neighbor_list(system, 3.0, half=True)
    field = ForceField(Topology(n_atoms=n, nonbonded=nonbonded), options)
    terms = field.energies(system, neighbors)
    assert float(terms["lennard_jones"]) == pytest.approx(
        energy, rel=1e-12 if number == 4 else 0, abs=0 if number == 4 else 0.05
    )
    assert float(terms["long_range_correction"]) == pytest.approx(correction, rel=1e-5 * 3)
    shift = Options(cutoff=3.0, coulomb="cutoff", lennard_jones="force_shift")
    found = ForceField(Topology(n_atoms=n, nonbonded=nonbonded), shift).energies(system, neighbors)
    assert float(found["lennard_jones"]) == pytest.approx(shifted, abs=5e-4 if number == 4 else 0.05)


SPCE = {
    1: (9.95387e4, -8.23715e2, -5.58889e5, 6.27009e3, -2.84469e6, 2.80999e6),
    2: (1.93712e5, -3.29486e3, -1.19295e6, 6.03495e3, -5.68938e6, 5.61998e6),
}


@needs_data
@pytest.mark.data
@pytest.mark.parametrize("number", [1, 2])
def test_every_component_of_the_ewald_sum_is_nists(number: int) -> None:
    lines = (DATA / f"spce_sample_config_periodic{number}.txt").read_text().split("\n")
    fields = [line.split() for line in lines[2:] if line.strip()]
    positions = torch.tensor([[float(x) for x in row[1:4]] for row in fields]).double()
    oxygen = torch.tensor([row[4] == "O" for row in fields])
    n = len(fields)
    system = periodic(positions, 20.0 * torch.eye(3).double(), torch.where(oxygen, 8, 1))
    first = torch.arange(0, n, 3)
    exclusions = torch.stack([torch.stack([first + i, first + j], 1) for i, j in ((0, 1), (0, 2), (1, 2))], 1)
    boltzmann = 1.3806488e-23 / 1.602176565e-19
    depth = torch.tensor([[78.19743111 * boltzmann, 0.0], [0.0, 0.0]]).double()
    nonbonded = Nonbonded(
        charges=torch.where(oxygen, -0.8476, 0.4238).double(),
        kind=torch.where(oxygen, 0, 1),
        sigma=torch.full((2, 2), 3.16555789).double(),
        epsilon=depth,
        exclusions=exclusions.reshape(-1, 2),
    )
    constant = 1.602176565e-19 / (4.0 * math.pi * 8.854187817e-12) * 1e10
    options = Options(
        cutoff=10.0,
        long_range_correction=True,
        ewald_coefficient=5.6 / 20.0,
        ewald_reach=2.0 * math.pi / 20.0 * math.sqrt(26.5),
        coulomb_constant=constant,
    )
    field = ForceField(Topology(n_atoms=n, nonbonded=nonbonded), options)
    terms = field.energies(system, neighbor_list(system, 10.0, half=True))
    names = ("lennard_jones", "long_range_correction", "coulomb_real", "coulomb_reciprocal", "coulomb_self")
    found = [float(terms[name]) / boltzmann for name in (*names, "coulomb_excluded")]
    assert found == pytest.approx(SPCE[number], rel=1e-5)


def test_rock_salt_has_its_madelung_constant() -> None:
    sites = torch.cartesian_prod(*[torch.arange(2)] * 3)
    charges = 1.0 - 2.0 * (sites.sum(1) % 2).double()
    system = periodic(sites.double() * 2.8, 5.6 * torch.eye(3).double(), torch.full((8,), 11))
    zero = torch.zeros((1, 1)).double()
    nonbonded = Nonbonded(
        charges=charges, kind=torch.zeros(8, dtype=torch.int64), sigma=zero + 1, epsilon=zero, exclusions=no_pairs()
    )
    options = Options(cutoff=14.0, tolerance=1e-13)
    energy = ForceField(Topology(n_atoms=8, nonbonded=nonbonded), options)(
        system, neighbor_list(system, 14.0, half=True)
    )
    madelung = -float(energy) * 2.8 / units.COULOMB_EV_ANGSTROM / 4
    assert madelung == pytest.approx(1.747564594633, rel=1e-10)


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
    Options(cutoff=4.2, lennard_jones="force_shift", coulomb="pme", grid=(12, 14, 15)),
    Options(cutoff=4.2, lennard_jones="force_shift", coulomb="ewald", tolerance=1e-6),
    Options(cutoff=4.2, lennard_jones="force_shift", coulomb="shifted_force"),
    Options(cutoff=6.0, lennard_jones="switch", switch_from=4.0, long_range_correction=True, coulomb="reaction_field"),
]


@pytest.mark.parametrize("options", SUMS, ids=lambda options: options.coulomb)
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


def test_parameters_have_gradients() -> None:
    system, topology = tangled()
    leaves = {
        name: leaf.requires_grad_()
        for name, leaf in tree.named_leaves(topology)
        if leaf.is_floating_point() and "virtual" not in name
    }
    field = ForceField(topology, SUMS[1])
    field(system, neighbor_list(system, 4.2, half=True)).sum().backward()
    assert all(leaf.grad is not None and bool(leaf.grad.isfinite().all()) for leaf in leaves.values())
