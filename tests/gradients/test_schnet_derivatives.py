"""Derivatives of the potentials: forces against differences of the energy, second derivatives by gradcheck.

Central differences with step h err by h^2 f'''/6 plus rounding eps E / h: with h = 1e-4 angstrom and energies of some
eV, about 1e-8 eV/angstrom.
"""

from __future__ import annotations

import numpy
import pytest
import torch
from ase.build import bulk, molecule
from torch import Tensor

from mindsci import tree
from sponge import all_pairs, from_ase, neighbor_list
from sponge.potentials import LennardJones, Potential, SchNet, energy_and_forces
from sponge.potentials.convolution import filter_convolution
from sponge.system import System


def small_schnet(elements: tuple[str, ...]) -> SchNet:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return SchNet(elements=elements, features=4, interactions=2, gaussians=5, cutoff=3.0).double()


def argon() -> System:
    atoms = bulk("Ar", "fcc", a=5.2, cubic=True)
    atoms.positions += 0.2 * numpy.random.default_rng(0).normal(size=atoms.positions.shape)
    return from_ase(atoms)


CASES = {
    "SchNet, molecule": lambda: (small_schnet(("H", "O")), from_ase(molecule("H2O"))),
    "SchNet, crystal": lambda: (small_schnet(("Ar",)), argon()),
    "Lennard-Jones, crystal": lambda: (LennardJones(cutoff=6.0), argon()),
}


@pytest.mark.parametrize("name", CASES)
def test_forces_are_minus_the_slope_of_the_energy(name: str) -> None:
    potential, system = CASES[name]()
    pairs = neighbor_list(system, potential.cutoff, half=True)
    _, forces = energy_and_forces(potential, system, pairs)
    step = 1e-4
    for atom, axis in ((0, 0), (1, 2), (2, 1)):
        shift = torch.zeros_like(system.positions)
        shift[atom, axis] = step
        with torch.no_grad():
            up, down = (potential(tree.replace(system, positions=system.positions + s * shift), pairs) for s in (1, -1))
        assert float(forces[atom, axis]) == pytest.approx(-float(up - down) / (2 * step), abs=1e-7)


def test_the_gradient_of_a_force_loss_passes_gradcheck() -> None:
    """What training needs: the derivative, with respect to weights and positions, of a function of forces."""
    potential = small_schnet(("H", "O"))
    system = from_ase(molecule("H2O"))
    pairs = all_pairs(system, half=True)
    names = ["embedding.weight", "interactions.0.filter.0.weight", "interactions.1.before.weight", "readout.2.weight"]
    weights = [potential.get_parameter(name).detach().clone().requires_grad_() for name in names]

    def force_loss(positions: Tensor, *weights: Tensor) -> Tensor:
        moved = tree.replace(system, positions=positions)
        given = dict(zip(names, weights, strict=True))
        energy = torch.func.functional_call(potential, given, (moved, pairs))
        (gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=True)
        return (gradient**2).sum() + energy.sum()

    positions = system.positions.clone().requires_grad_()
    assert torch.autograd.gradcheck(force_loss, (positions, *weights), fast_mode=True)


def test_the_convolution_has_derivatives_of_every_order() -> None:
    random = torch.Generator().manual_seed(0)
    i, j = torch.tensor([0, 0, 1, 2]), torch.tensor([1, 2, 2, 2])  # the last is an atom and its own image
    x = torch.randn(3, 2, dtype=torch.float64, generator=random).requires_grad_()
    filters = torch.randn(4, 2, dtype=torch.float64, generator=random).requires_grad_()

    def convolve(x: Tensor, filters: Tensor) -> Tensor:
        return filter_convolution(x, filters, i, j)

    assert torch.autograd.gradcheck(convolve, (x, filters))
    assert torch.autograd.gradgradcheck(convolve, (x, filters))


def test_forces_keep_no_tape_unless_asked() -> None:
    potential: Potential = small_schnet(("H", "O"))
    system = from_ase(molecule("H2O"))
    energy, forces = energy_and_forces(potential, system, all_pairs(system, half=True))
    assert not energy.requires_grad and not forces.requires_grad
    energy, forces = energy_and_forces(potential, system, all_pairs(system, half=True), create_graph=True)
    assert energy.requires_grad and forces.requires_grad
