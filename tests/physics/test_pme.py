"""Smooth particle mesh Ewald against the Ewald sum that it approximates, and against AMBER's.

An interpolation by splines of order p errs by the step of the grid to the power p [Essmann1995]: measured between grids
of 24 and 36 points, 1.5^p times, gated at four fifths of p, for aliases of the shortest waves add to the coarser one.
Of options made from a tolerance, the forces err by less than it (root mean square over their root mean square).
AMBER's forces of 4000 ions: its tables limit the direct part to 3e-4, gate 1e-3. Derivatives by hand
against those through the graph: rounding.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from mindsci import tree, units
from mindsci.errors import InputError
from sponge import system as systems
from sponge.builders import from_amber
from sponge.forcefield import ForceField, Options, ewald, pme
from sponge.forcefield.clusters import ClusterSearch
from sponge.neighbors import neighbor_list
from sponge.potentials.potential import differentiate
from sponge.system import System
from sponge.topology import Nonbonded, Topology
from sponge.validation import lattices

SLANTED = torch.tensor([[[9.0, 0.0, 0.0], [2.0, 8.5, 0.0], [-1.5, 1.0, 9.5]]]).double()


def random_ions(cell: torch.Tensor, *counts: int) -> tuple[System, torch.Tensor]:
    """Random charges, not neutral, also outside their cell."""
    generator = torch.Generator().manual_seed(4)
    n = sum(counts)
    owner = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    positions = 20.0 * torch.rand((n, 3), generator=generator).double() - 5.0
    system = systems.create(positions, torch.full((n,), 6), system=owner, cell=cell, periodic=(True,) * 3)
    return system, torch.randn(n, generator=generator).double()


@pytest.mark.parametrize("order", [4, 5, 6])
def test_the_error_falls_with_the_order_of_the_splines(order: int) -> None:
    system, charges = random_ions(SLANTED, 20)
    exact = ewald.reciprocal(system, charges, alpha=0.4, reach=6.0)
    errors = []
    for size in (24, 36):
        mesh = pme.Mesh(size=(size, size + 1, size), order=order, alpha=0.4)
        errors.append(abs(float(pme.reciprocal(system, charges, mesh) - exact)))
    assert math.log(errors[0] / errors[1], 1.5) > 0.8 * order


@pytest.mark.parametrize("dispersion", [False, True])
@pytest.mark.parametrize("size", [(10, 12, 9), (10, 11, 8)])
def test_derivatives_by_hand_are_those_of_the_graph(size: tuple[int, int, int], dispersion: bool) -> None:
    system, charges = random_ions(torch.cat([SLANTED, 9.0 * torch.eye(3).double()[None]]), 11, 14)
    mesh = pme.Mesh(size=size, order=5, alpha=0.5, dispersion=dispersion)
    found = []
    for by_hand in (True, False):
        inputs = [leaf.clone().requires_grad_() for leaf in (system.positions, system.cell, charges)]
        moved = tree.replace(system, positions=inputs[0], cell=inputs[1])
        energy = (pme.reciprocal(moved, inputs[2], mesh, by_hand=by_hand) * torch.tensor([1.0, 2.0]).double()).sum()
        found.append(torch.autograd.grad(energy, inputs))
    for one, other in zip(*found, strict=True):
        assert float((one - other).abs().max()) < 1e-13 * float(other.abs().max())


def test_second_derivatives_are_right() -> None:
    system, charges = random_ions(SLANTED, 3)
    mesh = pme.Mesh(size=(8, 9, 8), order=5, alpha=0.5)

    def energy(positions: torch.Tensor, cell: torch.Tensor, charges: torch.Tensor) -> torch.Tensor:
        return pme.reciprocal(tree.replace(system, positions=positions, cell=cell), charges, mesh)

    inputs = [leaf.clone().requires_grad_() for leaf in (system.positions, system.cell, charges)]
    assert torch.autograd.gradgradcheck(energy, inputs, atol=1e-6)


def test_a_batch_has_the_energies_of_its_systems() -> None:
    cells = torch.cat([SLANTED, 11.0 * torch.eye(3).double()[None]])
    both, charges = random_ions(cells, 6, 9)
    mesh = pme.Mesh(size=(12, 14, 16), order=4, alpha=0.5)
    together = pme.reciprocal(both, charges, mesh)
    for number, atoms in enumerate((slice(0, 6), slice(6, 15))):
        alone = systems.create(
            both.positions[atoms], both.atomic_numbers[atoms], cell=cells[number, None], periodic=(True,) * 3
        )
        assert float(pme.reciprocal(alone, charges[atoms], mesh)) == pytest.approx(float(together[number]), rel=1e-13)


def test_waves_taken_some_at_a_time_have_the_sum_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    system, charges = random_ions(SLANTED, 12)
    found = []
    for at_once in (10**9, 100):
        monkeypatch.setattr(ewald, "AT_ONCE", at_once)
        inputs = [leaf.clone().requires_grad_() for leaf in (system.positions, system.cell)]
        moved = tree.replace(system, positions=inputs[0], cell=inputs[1])
        energy = ewald.reciprocal(moved, charges, alpha=0.4, reach=3.0)
        found.append([energy.detach(), *torch.autograd.grad(energy.sum(), inputs)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", lattices.MADELUNG)
def test_crystals_have_their_madelung_constants_and_no_forces(name: str) -> None:
    system, topology = lattices.crystal(name)
    options = Options(cutoff=9.0, coulomb="pme", tolerance=1e-6)
    found = differentiate(ForceField(topology, options), system, neighbor_list(system, 9.0, half=True))
    madelung = -float(found.energy) * 2.8 / units.COULOMB_EV_ANGSTROM / (system.n_atoms / 2)
    assert madelung == pytest.approx(lattices.MADELUNG[name], rel=1e-6)
    assert float(found.forces.abs().max()) < 1e-5


def test_dispersion_of_all_distances_is_what_a_long_cutoff_tends_to() -> None:
    """Geometric rule: the sum within 60 angstrom and its correction at uniform density err by 1e-7 of the energy."""
    system, _ = random_ions(SLANTED, 4)
    root, sigma = torch.tensor([0.1, 0.2]).double().sqrt(), torch.tensor([1.2, 1.5]).double()
    nonbonded = Nonbonded(
        charges=torch.zeros(4).double(),
        kind=torch.tensor([0, 1, 1, 0]),
        sigma=torch.sqrt(sigma[:, None] * sigma),
        epsilon=root[:, None] * root,
        exclusions=torch.tensor([[0, 2]]),
    )
    topology = Topology(n_atoms=4, nonbonded=nonbonded)
    found = []
    for options in (
        Options(cutoff=60.0, coulomb="cutoff", long_range_correction=True),
        Options(cutoff=11.0, coulomb="pme", lennard_jones="pme", ewald_coefficient=0.6, spline_order=6, grid=(48,) * 3),
    ):
        terms = ForceField(topology, options).energies(system, neighbor_list(system, options.cutoff, half=True))
        found.append(sum(float(value) for value in terms.values()))
    assert found[1] == pytest.approx(found[0], rel=1e-6)


@pytest.mark.data
@pytest.mark.parametrize("tolerance", [1e-3, 1e-4, 1e-6])
def test_forces_in_water_are_those_of_a_converged_ewald_sum_to_the_tolerance(
    tolerance: float, data_mirror: Path
) -> None:
    path = data_mirror / "biomolecular/openmmtools/watbox216.prmtop"
    system, topology = from_amber(path, path.with_suffix(".crd"), cell=18.77 * torch.eye(3).double())
    charged = lattices.charges_alone(topology.nonbonded.charges, topology.nonbonded.exclusions)
    neighbors = neighbor_list(system, 9.0, half=True)
    forces = [
        differentiate(ForceField(charged, options), system, neighbors).forces
        for options in (Options(tolerance=1e-9), Options(coulomb="pme", tolerance=tolerance))
    ]
    error = (forces[1] - forces[0]).square().mean().sqrt() / forces[0].square().mean().sqrt()
    assert 0.1 * tolerance < float(error) < tolerance


@pytest.mark.data
def test_four_thousand_ions_have_ambers_forces(data_mirror: Path) -> None:
    from scipy.io import loadmat

    held = loadmat(data_mirror / "biomolecular/pme_reference/cubeions.mat")
    rows = torch.from_numpy(held["crdq"]).double()
    positions = rows[:, :3].contiguous().requires_grad_()
    ions = lattices.charges_alone(rows[:, 3].contiguous(), torch.zeros((0, 2), dtype=torch.int64))
    system = systems.create(
        positions, torch.full((len(rows),), 11), cell=64.0 * torch.eye(3).double()[None], periodic=(True,) * 3
    )
    options = Options(cutoff=9.0, coulomb="pme", ewald_coefficient=0.3488, spline_order=4, grid=(96, 96, 96))
    field = ForceField(ions, tree.replace(options, coulomb_constant=18.2223**2))
    energies = field.energies(system, neighbor_list(system, 9.0, half=True))
    for name, reference in (("coulomb_real", "fdirAMB"), ("coulomb_reciprocal", "frecAMB")):
        force = -torch.autograd.grad(energies[name].sum(), positions, retain_graph=True)[0]
        expected = torch.from_numpy(held[reference]).double()
        error = (force - expected).square().mean().sqrt() / expected.square().mean().sqrt()
        assert float(error) < 1e-3, name


def test_the_compiled_engine_leaves_dispersion_over_waves_to_the_reference() -> None:
    system, topology = lattices.crystal("NaCl")
    options = Options(coulomb="pme", lennard_jones="pme")
    with pytest.raises(InputError, match="no sum of dispersion over waves"):
        ForceField(topology, options, engine="numba").search(system, skin=1.0)
    assert not isinstance(ForceField(topology, options).search(system, skin=1.0), ClusterSearch)


def test_a_grid_that_is_fixed_stays_while_the_cell_changes() -> None:
    options = Options(coulomb="pme")
    fixed = pme.with_grid(options, SLANTED)
    assert fixed.grid == pme.mesh_of(1.0 * SLANTED, options).size
    assert pme.mesh_of(1.5 * SLANTED, fixed).size == fixed.grid != pme.mesh_of(1.5 * SLANTED, options).size


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(coulomb="pme", spline_order=3), "use 4, 5 or 6"),
        (Options(coulomb="pme", grid=(4, 32, 32)), "6 points or more"),
    ],
)
def test_options_that_make_no_grid_are_refused(options: Options, words: str) -> None:
    with pytest.raises(InputError, match=words):
        ForceField(Topology(n_atoms=1), options)
