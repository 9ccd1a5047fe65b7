"""Restraints: the energy is that of the formula, and forces are its derivatives, also at rest and across a boundary."""

from __future__ import annotations

import pytest
import torch

from mindsci import tree
from mindsci.errors import InputError
from sponge import system as systems
from sponge.builders import join_topologies, replicate_topology, restrain_distances, restrain_positions
from sponge.dynamics.respa import fast_and_slow
from sponge.forcefield import ForceField, Options
from sponge.neighbors.lists import all_pairs
from sponge.potentials.potential import differentiate
from sponge.system import System
from sponge.topology import Topology
from sponge.validation import lattices

OPEN = Options(lennard_jones="all", coulomb="all")


def three(**options) -> System:
    positions = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 3.0, 0.0]]).double()
    return systems.create(positions, torch.full((3,), 6), **options)


def energy(topology: Topology, system: System) -> dict[str, float]:
    found = ForceField(topology, OPEN).energies(system, all_pairs(system, half=True))
    return {name: float(value) for name, value in found.items()}


@pytest.mark.parametrize(("width", "expected"), [(0.0, 0.5 * 4.0 * 0.25), (0.2, 0.5 * 4.0 * 0.09), (0.6, 0.0)])
def test_an_atom_is_held_beyond_the_width_of_its_sphere(width: float, expected: float) -> None:
    system = three()
    topology = restrain_positions(Topology(n_atoms=3), system, torch.tensor([1]), stiffness=4.0, width=width)
    moved = tree.replace(system, positions=system.positions + torch.tensor([0.3, 0.4, 0.0], dtype=torch.float64))
    assert energy(topology, moved)["position_restraints"] == pytest.approx(expected, abs=1e-14)
    found = differentiate(ForceField(topology, OPEN), moved, all_pairs(moved, half=True)).forces
    size = 4.0 * max(0.5 - width, 0.0)
    assert found[1].tolist() == pytest.approx([-0.6 * size, -0.8 * size, 0.0])


@pytest.mark.parametrize("width", [0.0, 0.5])
def test_an_atom_at_rest_feels_nothing_and_has_a_curvature(width: float) -> None:
    system = three()
    topology = restrain_positions(Topology(n_atoms=3), system, torch.arange(3), stiffness=4.0, width=width)
    field = ForceField(topology, OPEN)
    pairs = all_pairs(system, half=True)
    assert float(differentiate(field, system, pairs).forces.abs().max()) == 0.0

    def total(positions: torch.Tensor) -> torch.Tensor:
        return field(tree.replace(system, positions=positions), pairs).sum()

    hessian = torch.autograd.functional.hessian(total, system.positions).reshape(9, 9)
    torch.testing.assert_close(hessian, (4.0 if width == 0.0 else 0.0) * torch.eye(9).double())


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        (1.5, None, 0.5 * 0.25),
        (1.0, 1.9, 0.5 * 0.01),
        (2.5, 4.0, 0.5 * 0.25),
        (1.0, 3.0, 0.0),
        (1.0, float("inf"), 0.0),
    ],
)
def test_a_pair_is_held_between_its_bounds(lower: float, upper: float | None, expected: float) -> None:
    topology = restrain_distances(Topology(n_atoms=3), torch.tensor([[0, 1]]), lower=lower, upper=upper, stiffness=1.0)
    system = three()
    assert energy(topology, system)["distance_restraints"] == pytest.approx(expected, abs=1e-14)
    field, pairs = ForceField(topology, OPEN), all_pairs(system, half=True)
    places = system.positions.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda at: field(tree.replace(system, positions=at), pairs), [places])


def test_the_nearest_image_is_held() -> None:
    cell = torch.tensor([[[9.0, 0.0, 0.0], [2.0, 8.0, 0.0], [0.0, 1.0, 7.0]]]).double()
    system = three(cell=cell, periodic=(True, True, True))
    topology = restrain_positions(Topology(n_atoms=3), system, torch.tensor([0, 2]), stiffness=2.0)
    away = system.positions + torch.tensor([0.1, 0.0, 0.0], dtype=torch.float64)
    away[0] += cell[0, 1] - 2.0 * cell[0, 2]
    field = ForceField(topology, Options(coulomb="cutoff"))
    pairs = all_pairs(three(), half=True)
    assert float(field(tree.replace(system, positions=away), pairs)) == pytest.approx(2 * 0.5 * 2.0 * 0.01)


def test_restraints_add_up_and_go_with_replicas_and_fast_terms() -> None:
    system = three()
    topology = restrain_positions(Topology(n_atoms=3), system, torch.tensor([0]), stiffness=1.0)
    topology = restrain_positions(topology, system, torch.tensor([2]), stiffness=2.0, width=0.1)
    topology = restrain_distances(topology, torch.tensor([[1, 2]]), lower=1.0, stiffness=3.0)
    assert topology.position_restraints.atoms.tolist() == [0, 2]
    for twice in (replicate_topology(topology, 2), join_topologies(topology, topology)):
        assert twice.position_restraints.atoms.tolist() == [0, 2, 3, 5]
        assert twice.distance_restraints.atoms.tolist() == [[1, 2], [4, 5]]
    fast, slow = fast_and_slow(topology)
    assert fast.position_restraints is not None and slow.position_restraints is None
    assert fast.distance_restraints is not None and slow.distance_restraints is None


def test_the_compiled_engine_holds_restraints_too() -> None:
    system, topology = lattices.crystal("NaCl")
    moved = tree.replace(system, positions=system.positions + 0.1)
    topology = restrain_positions(topology, system, torch.arange(5), stiffness=2.0)
    topology = restrain_distances(topology, torch.tensor([[0, 1]]), lower=5.0, stiffness=1.0)
    found = []
    for engine in ("reference", "numba"):
        field = ForceField(topology, Options(cutoff=7.0, coulomb="shifted_force"), engine=engine)
        found.append(field.evaluate(moved, field.search(moved, skin=1.0).build(moved), virial=True))
    assert float(found[0].energy) == pytest.approx(float(found[1].energy), rel=1e-8)
    torch.testing.assert_close(found[0].forces, found[1].forces, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(found[0].virial, found[1].virial, rtol=1e-6, atol=1e-6)


def test_restraints_that_cannot_be_are_refused() -> None:
    system, bare = three(), Topology(n_atoms=3)
    with pytest.raises(InputError, match="atom 3 of a topology of 3"):
        restrain_positions(bare, system, torch.tensor([3]), stiffness=1.0)
    with pytest.raises(InputError, match="stiffness = -1"):
        restrain_positions(bare, system, torch.tensor([0]), stiffness=-1.0)
    with pytest.raises(InputError, match="lies below lower"):
        restrain_distances(bare, torch.tensor([[0, 1]]), lower=2.0, upper=1.0, stiffness=1.0)
