"""Every learned potential keeps the laws of physics and the contract of `Potential`.

Setup: small models with random weights, float64, molecules and crystals off their minima. Energies and forces are of
the order of 1, so that sums round at about 1e-13; differences of the energy with step h = 2e-4 by Richardson's rule err
by 4 h^4 f^(5)/30, with f^(5) up to 1e7 about 2e-9, plus rounding eps E / h, about 1e-11: hence 1e-8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy
import pytest
import torch
from ase.build import bulk, molecule
from torch import Tensor

from mindsci import testing, tree
from mindsci.errors import InputError
from sponge import all_pairs, concatenate, from_ase, neighbor_list
from sponge.dynamics import Forces
from sponge.potentials import MolCT, PaiNN, PhysNet, Potential, SchNet, energy_and_forces
from sponge.system import System

ROUNDING = 1e-11
DIFFERENCES = 1e-8
CUTOFF = 3.0

Builder = Callable[[Sequence[str]], Potential]
MODELS: dict[str, Builder] = {
    "SchNet": lambda e: SchNet(elements=e, features=8, interactions=2, gaussians=8, cutoff=CUTOFF),
    "MolCT": lambda e: MolCT(elements=e, features=8, heads=2, interactions=2, basis=8, cutoff=CUTOFF),
    "MolCT, shared, fed forward, three cycles": lambda e: MolCT(
        elements=e, features=8, heads=2, basis=8, cutoff=CUTOFF, shared=True, feed_forward=True, cycles=3
    ),
    "PaiNN": lambda e: PaiNN(elements=e, features=8, interactions=3, basis=6, cutoff=CUTOFF),
    "PhysNet": lambda e: PhysNet(elements=e, features=8, modules=2, basis=8, cutoff=CUTOFF, electrostatics=False),
    "PhysNet, charges to a cutoff": lambda e: PhysNet(
        elements=e, features=8, modules=2, basis=8, cutoff=0.8 * CUTOFF, coulomb_cutoff=CUTOFF
    ),
}


@pytest.fixture(params=MODELS)
def build(request: pytest.FixtureRequest) -> Builder:
    def drawn(elements: Sequence[str]) -> Potential:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            model = MODELS[request.param](elements)
            model.requires_grad_(False)
            for parameter in model.parameters():  # Some begin at zero, where nothing would be tested.
                parameter.add_(0.1 * torch.randn_like(parameter))
        return model.double()

    return drawn


def shaken(name: str, seed: int = 0) -> System:
    atoms = molecule(name)
    atoms.positions += 0.1 * numpy.random.default_rng(seed).normal(size=atoms.positions.shape)
    return from_ase(atoms)


def salt() -> System:
    atoms = bulk("NaCl", "rocksalt", a=5.0)
    atoms.positions += 0.1 * numpy.random.default_rng(0).normal(size=atoms.positions.shape)
    return from_ase(atoms)


def slope(energy: Callable[[float], Tensor], step: float = 2e-4) -> float:
    """The derivative at zero by Richardson's rule, of fourth order."""

    def half(h: float) -> float:
        return float(energy(h) - energy(-h)) / (2 * h)

    return (4 * half(step) - half(2 * step)) / 3


def test_energy_and_forces_follow_a_rigid_motion(build: Builder) -> None:
    potential, system = build(("H", "C", "O")), shaken("CH3CH2OH")
    turn, _ = numpy.linalg.qr(numpy.random.default_rng(1).normal(size=(3, 3)))  # may reflect, too
    rotation = torch.as_tensor(turn)
    moved = tree.replace(system, positions=system.positions @ rotation.T + 7.0)
    energy, forces = energy_and_forces(potential, system)
    turned_energy, turned_forces = energy_and_forces(potential, moved)
    assert energy.dtype == torch.float64
    assert torch.allclose(turned_energy, energy, rtol=0, atol=ROUNDING)
    assert torch.allclose(turned_forces, forces @ rotation.T, rtol=0, atol=ROUNDING)
    nothing = torch.zeros(3, dtype=torch.float64)
    assert torch.allclose(forces.sum(0), nothing, atol=ROUNDING)
    assert torch.allclose(torch.linalg.cross(system.positions, forces).sum(0), nothing, atol=ROUNDING)


def test_the_order_of_atoms_does_not_matter(build: Builder) -> None:
    potential, system = build(("H", "C", "O")), shaken("CH3CH2OH")
    order = torch.randperm(system.n_atoms, generator=torch.Generator().manual_seed(0))
    mixed = tree.replace(system, positions=system.positions[order], atomic_numbers=system.atomic_numbers[order])
    energy, forces = energy_and_forces(potential, system)
    mixed_energy, mixed_forces = energy_and_forces(potential, mixed)
    assert torch.allclose(mixed_energy, energy, rtol=0, atol=ROUNDING)
    assert torch.allclose(mixed_forces, forces[order], rtol=0, atol=ROUNDING)


def test_a_batch_gives_what_its_systems_give_alone(build: Builder) -> None:
    potential = build(("H", "C", "O"))
    singles = [shaken(name, seed) for seed, name in enumerate(("CH3CH2OH", "H2O", "CH4", "O"))]
    energy, forces = energy_and_forces(potential, concatenate(singles))
    alone = [energy_and_forces(potential, single) for single in singles]
    assert torch.allclose(energy, torch.cat([one for one, _ in alone]), rtol=0, atol=ROUNDING)
    assert torch.allclose(forces, torch.cat([one for _, one in alone]), rtol=0, atol=ROUNDING)


def test_energy_is_extensive(build: Builder) -> None:
    """Two copies of a molecule in one system, far beyond the cutoff: twice the energy, the same forces twice."""
    potential, system = build(("H", "C", "O")), shaken("CH3CH2OH")
    if getattr(potential, "electrostatics", False):
        pytest.skip("charges reach beyond the cutoff")
    atoms = molecule("CH3CH2OH")
    atoms.positions = system.positions.numpy()
    copy = atoms.copy()
    copy.positions += 10 * CUTOFF
    energy, forces = energy_and_forces(potential, system)
    twice, both = energy_and_forces(potential, from_ase(atoms + copy))
    assert float(twice) == pytest.approx(2 * float(energy), abs=ROUNDING)
    assert torch.allclose(both, forces.repeat(2, 1), rtol=0, atol=ROUNDING)


def test_energy_of_a_supercell_is_that_of_its_cells(build: Builder) -> None:
    potential = build(("Na", "Cl"))
    cell = bulk("NaCl", "rocksalt", a=5.0)
    one, eight = (Forces.of(potential, system)(system) for system in (from_ase(cell), from_ase(cell.repeat(2))))
    assert float(eight.energy) == pytest.approx(8 * float(one.energy), abs=ROUNDING)


def test_every_kind_of_list_serves(build: Builder) -> None:
    potential, system = build(("Na", "Cl")), salt()
    half = neighbor_list(system, CUTOFF, half=True)
    full = neighbor_list(system, CUTOFF)
    longer = neighbor_list(system, 1.4 * CUTOFF)
    room = tree.replace(full, worst=torch.zeros(2, dtype=torch.float64))
    roomier = tree.replace(
        room,
        centre=torch.cat((room.centre, torch.zeros_like(room.centre[:5]))),
        neighbor=torch.cat((room.neighbor, torch.zeros_like(room.neighbor[:5]))),
        shift=torch.cat((room.shift, torch.zeros_like(room.shift[:5]))),
    )
    energy, forces = energy_and_forces(potential, system, half)
    for other in (full, longer, room, roomier):
        found = energy_and_forces(potential, system, other)
        assert torch.allclose(found[0], energy, rtol=0, atol=ROUNDING)
        assert torch.allclose(found[1], forces, rtol=0, atol=ROUNDING)


def test_forces_are_minus_the_slope_of_the_energy(build: Builder) -> None:
    potential, system = build(("H", "C", "O")), shaken("CH3CH2OH")
    pairs = all_pairs(system)
    _, forces = energy_and_forces(potential, system, pairs)
    directions = torch.as_tensor(numpy.random.default_rng(2).normal(size=(3, *forces.shape)))
    for along in directions / torch.linalg.vector_norm(directions, dim=(1, 2), keepdim=True):
        found = slope(lambda h, d=along: potential(tree.replace(system, positions=system.positions + h * d), pairs))
        assert found == pytest.approx(-float((forces * along).sum()), abs=DIFFERENCES)


def test_the_virial_is_minus_the_slope_by_a_strain(build: Builder) -> None:
    potential, system = build(("Na", "Cl")), salt()
    pairs = neighbor_list(system, 1.1 * CUTOFF)
    found = potential.evaluate(system, pairs, virial=True).virial
    assert found is not None and found.shape == (1, 3, 3)
    assert torch.allclose(found, found.mT, rtol=0, atol=ROUNDING)
    strain = torch.as_tensor(numpy.random.default_rng(4).normal(size=(3, 3)))
    strain = 0.5 * (strain + strain.T)

    def strained(h: float) -> Tensor:
        deform = torch.eye(3, dtype=torch.float64) + h * strain
        moved = tree.replace(system, positions=system.positions @ deform, cell=system.cell @ deform)
        return potential(moved, pairs)

    assert slope(strained) == pytest.approx(-float((found[0] * strain).sum()), abs=DIFFERENCES)


def test_energy_and_forces_are_continuous_where_a_neighbour_crosses_the_cutoff(build: Builder) -> None:
    """A hydrogen leaves a water molecule along x. A jump would show at any distance between two evaluations; a
    continuous force differs by f' 2h, with f' < 100 and h = 1e-6 [angstrom] below 2e-4, and the energy by f 2h."""
    potential = build(("H", "O"))
    water = molecule("H2O")
    water.positions -= water.positions[0]
    h = 1e-6

    def at(distance: float) -> tuple[Tensor, Tensor]:
        atoms = water + molecule("H")
        atoms.positions[3] = [distance, 0.0, 0.0]
        system = from_ase(atoms)
        return energy_and_forces(potential, system, neighbor_list(system, CUTOFF))

    for cutoff in {CUTOFF, getattr(potential, "short_cutoff", CUTOFF)}:
        inside, outside = at(cutoff - h), at(cutoff + h)
        assert float((inside[0] - outside[0]).abs()) < 1e-5
        assert float((inside[1] - outside[1]).abs().max()) < 2e-4
        assert float((at(0.5 * cutoff)[1] - outside[1]).abs().max()) > 1e-3


def test_the_gradient_of_a_force_loss_passes_gradcheck(build: Builder) -> None:
    """What training needs: the derivatives by weights and positions of a function of forces."""
    potential, system = build(("H", "O")), shaken("H2O")
    pairs = all_pairs(system)
    some = list(potential.named_parameters())[::5]
    named = {name: value.clone().requires_grad_() for name, value in some}

    def force_loss(positions: Tensor, *weights: Tensor) -> Tensor:
        moved = tree.replace(system, positions=positions)
        energy = torch.func.functional_call(potential, dict(zip(named, weights, strict=True)), (moved, pairs))
        (gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=True)
        return (gradient**2).sum() + energy.sum()

    positions = system.positions.clone().requires_grad_()
    assert torch.autograd.gradcheck(force_loss, (positions, *named.values()), fast_mode=True)


def test_scales_and_references_enter_the_energy(build: Builder) -> None:
    potential, system = build(("H", "O")), shaken("H2O")
    if getattr(potential, "electrostatics", False):
        pytest.skip("the Coulomb energy has a scale of its own")
    before, forces = energy_and_forces(potential, system)
    potential.set_scales(reference=torch.tensor([-10.0, -2000.0], dtype=torch.float64), scale=2.0)
    energy, scaled = energy_and_forces(potential, system)
    assert float(energy - 2 * before) == pytest.approx(-2020.0, abs=ROUNDING * 2000)
    assert torch.allclose(scaled, 2 * forces, rtol=0, atol=ROUNDING)


def test_the_model_survives_its_weights_file_and_its_record(build: Builder) -> None:
    potential, system = build(("H", "O")), shaken("H2O")
    testing.check_module(potential, system, all_pairs(system))
    again = type(potential)(**potential.config).double()
    again.load_state_dict(potential.state_dict())
    assert torch.equal(again(system, all_pairs(system)), potential(system, all_pairs(system)))


def test_an_element_that_was_not_trained_on_is_named(build: Builder) -> None:
    with pytest.raises(InputError, match="not trained on N; it knows H, C, O"):
        Forces.of(build(("H", "C", "O")), from_ase(molecule("NH3")))
