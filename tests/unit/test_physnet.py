"""PhysNet's parts against formulas written out."""

from __future__ import annotations

import math

import pytest
import torch
from ase.build import bulk, molecule

from mindsci import tree
from mindsci.errors import InputError
from mindsci.units import COULOMB_EV_ANGSTROM
from sponge import all_pairs, concatenate, from_ase
from sponge.potentials import PhysNet, energy_and_forces
from sponge.potentials.electrostatics import coulomb_energy
from sponge.potentials.physnet import Block, ExponentialBasis


@pytest.fixture
def potential() -> PhysNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = PhysNet(elements=["H", "O"], features=8, modules=3, basis=6, cutoff=4.0).double()
    return model.requires_grad_(False)


def test_two_charges_far_apart_have_the_energy_of_coulombs_law() -> None:
    distances = torch.tensor([2.0, 3.0, 50.0], dtype=torch.float64)
    products = torch.tensor([-1.0, 0.5, 1.0], dtype=torch.float64)
    energy = coulomb_energy(distances, products, shielded_within=4.0)
    assert torch.allclose(energy, COULOMB_EV_ANGSTROM * products / distances, rtol=1e-14)
    assert pytest.approx(14.399645, abs=1e-6) == COULOMB_EV_ANGSTROM


def test_charges_that_meet_are_shielded() -> None:
    # at a quarter of the range f(2 r) = 1/2
    distances = torch.tensor([1e-9, 1.0], dtype=torch.float64)
    energy = coulomb_energy(distances, torch.ones(2, dtype=torch.float64), shielded_within=4.0)
    expected = torch.tensor([1.0, 0.5 / math.sqrt(2.0) + 0.5], dtype=torch.float64) * COULOMB_EV_ANGSTROM
    assert torch.allclose(energy, expected, rtol=1e-8)


def test_the_coulomb_energy_ends_at_its_cutoff_with_its_slope() -> None:
    distances = torch.tensor([6.0 - 1e-7, 6.1, 5.0], dtype=torch.float64).requires_grad_()
    energy = coulomb_energy(distances, torch.ones(3, dtype=torch.float64), shielded_within=4.0, cutoff=6.0)
    (incline,) = torch.autograd.grad(energy.sum(), distances)
    assert float(energy[0].detach().abs()) < 1e-12 and float(incline[0].abs()) < 1e-6
    assert float(energy[1].detach()) == 0.0 and float(incline[1]) == 0.0
    expected = COULOMB_EV_ANGSTROM * (1 / 5.0 + 5.0 / 36.0 - 2 / 6.0)
    assert float(energy[2].detach()) == pytest.approx(expected, rel=1e-12)


def test_the_radial_basis_begins_with_the_papers_centres_and_widths() -> None:
    basis = ExponentialBasis(5, 3.0).double()
    d = torch.tensor([1.2], dtype=torch.float64)
    x = 1.2 / 3.0
    width = (2.0 / 5 * (1 - math.exp(-3.0))) ** -2
    for k in range(5):
        center = 1.0 + (math.exp(-3.0) - 1.0) * k / 4
        expected = (1 - 6 * x**5 + 15 * x**4 - 10 * x**3) * math.exp(-width * (math.exp(-1.2) - center) ** 2)
        assert float(basis(d)[0, k].detach()) == pytest.approx(expected, rel=1e-5)


def test_a_block_does_what_the_paper_writes() -> None:
    torch.manual_seed(0)
    block = Block(3, 4, atom=1, message=1, output=0).double().requires_grad_(False)
    block.gate.copy_(torch.tensor([0.5, 1.0, 2.0]))
    x, radial = torch.randn(2, 3, dtype=torch.float64), torch.randn(1, 4, dtype=torch.float64)
    centre, neighbor = torch.tensor([0]), torch.tensor([1])

    def ssp(values: torch.Tensor) -> torch.Tensor:
        return torch.log(0.5 * torch.exp(values) + 0.5)

    def residual(layer: torch.nn.Module, values: torch.Tensor) -> torch.Tensor:
        return values + layer.outer(ssp(layer.inner(ssp(values))))

    sent = ssp(block.others(ssp(x)))
    message = ssp(block.own(ssp(x))) + (radial @ block.filter.weight.T) * sent.flip(0)
    message = residual(block.message[0], message)
    expected = residual(block.atom[0], block.gate * x + block.after(ssp(message)))
    assert torch.allclose(block(x, radial, centre, neighbor), expected, atol=1e-13)


def test_charges_add_up_to_the_charge_of_each_system(potential: PhysNet) -> None:
    system = concatenate([from_ase(molecule("H2O")), from_ase(molecule("OH"))])
    neutral = potential.charges(system, all_pairs(system))
    assert torch.allclose(system.sum_over_atoms(neutral), torch.zeros(2, dtype=torch.float64), atol=1e-14)
    charged = tree.replace(system, auxiliary={"charge": torch.tensor([0.0, -1.0], dtype=torch.float64)})
    charges = potential.charges(charged, all_pairs(system))
    wanted = torch.tensor([0.0, -1.0], dtype=torch.float64)
    assert torch.allclose(system.sum_over_atoms(charges), wanted, atol=1e-14)
    # each atom of an ion carries the same share of what was missing
    assert torch.allclose(charges - neutral, torch.tensor([0.0, 0, 0, -0.5, -0.5]).double(), atol=1e-14)


def test_the_dipole_is_the_sum_of_charges_times_positions(potential: PhysNet) -> None:
    system = from_ase(molecule("H2O"))
    charges = potential.charges(system, all_pairs(system))
    dipole = potential.dipole(system, all_pairs(system))
    assert torch.allclose(dipole[0], charges @ system.positions, atol=1e-14)
    assert float(dipole.abs().max()) > 1e-4
    moved = tree.replace(system, positions=system.positions + 3.0)
    assert torch.allclose(potential.dipole(moved, all_pairs(system)), dipole, atol=1e-13)


def test_the_coulomb_energy_reaches_beyond_the_interactions(potential: PhysNet) -> None:
    """Two water molecules 30 angstrom apart: what they add to each other is the sum over charges of Coulomb's law."""
    near = molecule("H2O")
    far = molecule("H2O")
    far.positions += [0.0, 0.0, 30.0]
    one, other, both = from_ase(near), from_ase(far), from_ase(near + far)
    together = energy_and_forces(potential, both)[0] - energy_and_forces(potential, one)[0]
    charges = potential.charges(one, all_pairs(one))
    distances = torch.cdist(one.positions, other.positions)
    expected = COULOMB_EV_ANGSTROM * float((charges[:, None] * charges / distances).sum())
    difference = float(together - energy_and_forces(potential, other)[0])
    assert difference == pytest.approx(expected, rel=1e-9, abs=1e-12) and difference != 0.0


def test_the_hierarchy_penalty_is_a_half_where_modules_add_the_same(potential: PhysNet) -> None:
    system = from_ase(molecule("H2O"))
    for block in potential.blocks:
        for parameter in (block.after.weight, block.after.bias, *block.atom.parameters()):
            parameter.zero_()
        block.output.load_state_dict(potential.blocks[0].output.state_dict())
        block.output[-1].weight.fill_(1.0)
    # features stay as they are, so that all three modules add the same: two terms of 1/2
    assert float(potential.hierarchy_penalty(system, all_pairs(system))) == pytest.approx(1.0, abs=1e-5)
    assert float(potential.evaluate(system, all_pairs(system)).terms["hierarchy"]) == pytest.approx(1.0, abs=1e-5)


def test_a_periodic_system_needs_an_end_of_the_coulomb_energy() -> None:
    with pytest.raises(InputError, match="make it with coulomb_cutoff"):
        PhysNet(elements=["Na", "Cl"]).check(from_ase(bulk("NaCl", "rocksalt", a=5.64)))
    with pytest.raises(InputError, match="is inside the cutoff"):
        PhysNet(elements=["H"], cutoff=6.0, coulomb_cutoff=5.0)
