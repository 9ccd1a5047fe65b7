"""SchNet keeps the symmetries of physics, exactly up to rounding.

Setup: a small SchNet with random weights, float64, ethanol off its minimum. The energy is a function of distances
and elements [Schutt2018], hence unchanged by translation, rotation, reflection and exchange of equal atoms; forces
turn with the molecule and add up to zero. Tolerance: rounding of sums of about 1 eV, 1e-12.
"""

from __future__ import annotations

import numpy
import pytest
import torch
from ase.build import bulk, molecule
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from sponge import all_pairs, concatenate, from_ase, neighbor_list
from sponge.dynamics import Forces
from sponge.potentials import SchNet, energy_and_forces
from sponge.system import System

TOLERANCE = 1e-12


@pytest.fixture(scope="module")
def potential() -> SchNet:
    return tiny_schnet(("H", "C", "O"))


def tiny_schnet(elements: tuple[str, ...], cutoff: float = 5.0) -> SchNet:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = SchNet(elements=elements, features=16, interactions=2, gaussians=12, cutoff=cutoff)
    return model.double().requires_grad_(False)


def shaken(name: str, seed: int = 0) -> System:
    atoms = molecule(name)
    atoms.positions += 0.1 * numpy.random.default_rng(seed).normal(size=atoms.positions.shape)
    return from_ase(atoms)


def evaluate(potential: SchNet, system: System) -> tuple[Tensor, Tensor]:
    return energy_and_forces(potential, system, all_pairs(system, half=True))


def test_energy_and_forces_follow_a_rigid_motion(potential: SchNet) -> None:
    system = shaken("CH3CH2OH")
    turn, _ = numpy.linalg.qr(numpy.random.default_rng(1).normal(size=(3, 3)))  # may reflect, too
    rotation = torch.as_tensor(turn)
    moved = tree.replace(system, positions=system.positions @ rotation.T + 7.0)
    energy, forces = evaluate(potential, system)
    turned_energy, turned_forces = evaluate(potential, moved)
    assert torch.allclose(turned_energy, energy, rtol=0, atol=TOLERANCE)
    assert torch.allclose(turned_forces, forces @ rotation.T, rtol=0, atol=TOLERANCE)
    assert torch.allclose(forces.sum(0), torch.zeros(3, dtype=torch.float64), atol=TOLERANCE)
    torque = torch.linalg.cross(system.positions, forces).sum(0)
    assert torch.allclose(torque, torch.zeros(3, dtype=torch.float64), atol=TOLERANCE)


def test_the_order_of_atoms_does_not_matter(potential: SchNet) -> None:
    system = shaken("CH3CH2OH")
    order = torch.randperm(system.n_atoms, generator=torch.Generator().manual_seed(0))
    mixed = tree.replace(system, positions=system.positions[order], atomic_numbers=system.atomic_numbers[order])
    energy, forces = evaluate(potential, system)
    mixed_energy, mixed_forces = evaluate(potential, mixed)
    assert torch.allclose(mixed_energy, energy, rtol=0, atol=TOLERANCE)
    assert torch.allclose(mixed_forces, forces[order], rtol=0, atol=TOLERANCE)


def test_a_batch_gives_what_its_molecules_give_alone(potential: SchNet) -> None:
    singles = [shaken(name, seed) for seed, name in enumerate(("CH3CH2OH", "H2O", "CH4", "CH3CH2OH"))]
    energy, forces = evaluate(potential, concatenate(singles))
    alone = [evaluate(potential, single) for single in singles]
    assert torch.allclose(energy, torch.cat([one for one, _ in alone]), rtol=0, atol=TOLERANCE)
    assert torch.allclose(forces, torch.cat([one for _, one in alone]), rtol=0, atol=TOLERANCE)


def test_pairs_beyond_the_cutoff_add_nothing() -> None:
    potential = tiny_schnet(("H", "C", "O"), cutoff=2.0)
    system = shaken("CH3CH2OH")
    whole = energy_and_forces(potential, system, all_pairs(system, half=True))
    near = energy_and_forces(potential, system, neighbor_list(system, 2.0, half=True))
    for one, other in zip(whole, near, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=TOLERANCE)


def test_energy_of_a_supercell_is_that_of_its_cells() -> None:
    potential = tiny_schnet(("Na", "Cl"), cutoff=4.5)
    cell = bulk("NaCl", "rocksalt", a=5.64)
    one, eight = (Forces.of(potential, system)(system) for system in (from_ase(cell), from_ase(cell.repeat(2))))
    assert float(eight.energy) == pytest.approx(8 * float(one.energy), abs=1e-10)


def test_energy_and_force_vanish_continuously_at_the_cutoff() -> None:
    """The cosine cutoff goes to zero as (rc - r)^2: at 1e-4 from it the interaction is below 1e-7 of its size."""
    potential = tiny_schnet(("H",), cutoff=3.0)

    def pair(distance: float) -> tuple[Tensor, Tensor]:
        system = from_ase(molecule("H2"))
        positions = torch.tensor([[0.0, 0.0, 0.0], [distance, 0.0, 0.0]], dtype=torch.float64)
        return evaluate(potential, tree.replace(system, positions=positions))

    apart, _ = pair(4.0)
    bound, force_inside = pair(2.0)
    size = abs(float(bound - apart))
    near, force_near = pair(3.0 - 1e-4)
    assert abs(float(near - apart)) < 1e-6 * size
    assert float(force_near.abs().max()) < 1e-3 * float(force_inside.abs().max())
    beyond, force_beyond = pair(3.0 + 1e-9)
    assert float(beyond) == float(apart)
    assert bool((force_beyond == 0).all())


def test_an_element_that_was_not_trained_on_is_named(potential: SchNet) -> None:
    with pytest.raises(InputError, match="not trained on N; it knows H, C, O"):
        Forces.of(potential, from_ase(molecule("NH3")))
