"""The engines of the constraints agree: SETTLE with a tight iteration, compiled loops with plain torch.

Tolerance: lengths are solved to 1e-13 relative, of about 1 angstrom and with bonds that turn by a tenth of a radian;
that of momenta is the mass times it over a step of 1 fs.
"""

from __future__ import annotations

import pytest
import torch
from rigid_systems import held, hydrocarbon, water_box

from mindsci import tree
from mindsci.errors import InputError
from mindsci.solvers import Splitting, rollout
from sponge.dynamics import Constraints, Move, maxwell_boltzmann, velocity_verlet
from sponge.forcefield.clusters import search
from sponge.system import System
from sponge.topology import DistanceConstraints, Topology


def as_bonds(topology: Topology) -> Topology:
    """Each rigid water as three bonds."""
    waters = topology.waters
    assert waters is not None
    atoms = waters.atoms[:, [0, 1, 0, 2, 1, 2]].reshape(-1, 2)
    length = torch.stack([waters.oxygen_hydrogen, waters.oxygen_hydrogen, waters.hydrogen_hydrogen], 1).flatten()
    return tree.replace(topology, waters=None, constraints=DistanceConstraints(atoms=atoms, length=length))


def moving(system: System, constraints: Constraints) -> System:
    return maxwell_boltzmann(constraints.start(system), temperature=600.0, seed=1, constraints=constraints)


@pytest.mark.parametrize("engine", ["reference", "numba"])
def test_settle_is_the_solution_of_a_tight_iteration(engine: str) -> None:
    system, topology = water_box(3)
    settle = Constraints.of(topology, system, engine=engine)
    newton = Constraints.of(as_bonds(topology), system, engine="reference", tolerance=1e-14)
    start = moving(system, settle)
    for dt in (0.5, 2.0, -2.0):
        one, other = Move(constraints=settle)(start, 0.0, dt), Move(constraints=newton)(start, 0.0, dt)
        assert torch.allclose(one.positions, other.positions, rtol=0, atol=1e-13)
        assert torch.allclose(one.momenta, other.momenta, rtol=0, atol=1e-12)
        assert float(settle.error(one)) < 1e-14


@pytest.mark.parametrize(("name", "bonds_held"), [("cyclobutane", "all"), ("isobutane", "hydrogens"), ("water", "")])
def test_compiled_loops_are_plain_torch(name: str, bonds_held: str) -> None:
    system, topology = water_box(2) if name == "water" else hydrocarbon(name, bonds_held=bonds_held, stretched=0.02)
    plain = Constraints.of(topology, system, engine="reference", tolerance=1e-14)
    fast = Constraints.of(topology, system, engine="numba", tolerance=1e-14)
    start = moving(system, plain)
    assert torch.allclose(start.positions, fast.start(system).positions, rtol=0, atol=1e-13)
    one, other = Move(constraints=plain)(start, 0.0, 1.0), Move(constraints=fast)(start, 0.0, 1.0)
    assert torch.allclose(one.positions, other.positions, rtol=0, atol=1e-13)
    assert torch.allclose(one.momenta, other.momenta, rtol=0, atol=1e-12)
    kicked = tree.replace(one, momenta=torch.sin(torch.arange(3 * one.n_atoms).double()).reshape(-1, 3))
    assert torch.allclose(plain.project(kicked).momenta, fast.project(kicked).momenta, rtol=0, atol=1e-13)
    pulled = tree.replace(one, forces=torch.cos(torch.arange(3 * one.n_atoms).double()).reshape(-1, 3))
    for a, b in zip(plain.forces(pulled), fast.forces(pulled), strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)


def test_auto_takes_the_compiled_engine_unless_a_gradient_is_asked_for() -> None:
    system, topology = water_box(2)
    constraints = Constraints.of(topology, system)
    assert constraints._compiles(system, system.positions)
    wanted = system.positions.clone().requires_grad_()
    assert not constraints._compiles(system, wanted)
    with torch.no_grad():
        assert constraints._compiles(system, wanted)


def test_threads_share_waters_and_bonds_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    from sponge.dynamics.constraints import compiled

    for system, topology in (water_box(3), hydrocarbon("isobutane", bonds_held="hydrogens", stretched=0.02)):
        constraints = Constraints.of(topology, system, engine="numba")
        start = moving(system, constraints)
        alone = Move(constraints=constraints)(start, 0.0, 1.0)
        monkeypatch.setattr(compiled, "PER_THREAD", 1)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
        shared = Move(constraints=constraints)(start, 0.0, 1.0)
        monkeypatch.undo()
        assert torch.equal(alone.positions, shared.positions) and torch.equal(alone.momenta, shared.momenta)


def test_single_precision_is_solved_in_double() -> None:
    """Lengths keep the rounding of coordinates below 8 angstrom alone: half a unit in the last place, 2.4e-7."""
    system, topology = water_box(2)
    single = system.to(dtype=torch.float32)
    results = []
    for one in (system, single):
        constraints = Constraints.of(topology, one)
        assert constraints.tolerance == (1e-10 if one is system else 1e-6)
        results.append(Move(constraints=constraints)(moving(one, constraints), 0.0, 1.0))
        assert float(constraints.error(results[-1])) < (1e-14 if one is system else 1.7e-6)
    assert results[1].positions.dtype == results[1].momenta.dtype == torch.float32
    assert torch.allclose(results[0].positions, results[1].positions.double(), rtol=0, atol=3e-6)


def of_molecules(name: str) -> tuple[System, Topology]:
    """Waters, or a hydrocarbon with charges, so that both take the same kernels."""
    if name == "water":
        return water_box(3)
    system, topology = hydrocarbon(name, bonds_held="hydrogens")
    assert topology.nonbonded is not None
    charges = torch.linspace(-0.1, 0.1, topology.n_atoms).double()
    return system, tree.replace(topology, nonbonded=tree.replace(topology.nonbonded, charges=charges))


@pytest.mark.parametrize("name", ["water", "isobutane"])
@pytest.mark.parametrize("threads", [1, 2])
def test_steps_at_once_are_single_steps_to_the_bits(name: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where lists are made anew on the way, and where the run is cut in two."""
    monkeypatch.setattr(search, "ATOMS_PER_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    system, topology = of_molecules(name)
    forces, constraints, start = held(topology, system, virial=True)
    start = tree.replace(start, momenta=moving(start, constraints).momenta)
    step = velocity_verlet(forces, constraints)
    single = Splitting(flows=step.flows, order=step.order)
    wanted, _ = rollout(single, start, n_steps=30, dt=1.0)
    assert name != "water" or wanted.neighbors is not start.neighbors
    found, _ = rollout(step, start, n_steps=30, dt=1.0)
    half, _ = rollout(step, start, n_steps=11, dt=1.0)
    cut, _ = rollout(step, half, n_steps=19, start=11, dt=1.0)
    for what in ("positions", "momenta", "forces", "energy", "virial"):
        assert torch.equal(getattr(found, what), getattr(wanted, what))
        assert torch.equal(getattr(cut, what), getattr(wanted, what))


@pytest.mark.parametrize("name", ["water", "isobutane"])
def test_a_step_that_no_constraint_survives_names_the_atoms(name: str) -> None:
    forces, constraints, start = held(*reversed(of_molecules(name)))
    with pytest.raises(InputError, match=r"do not converge to 1e-10: .* and .* of system 0"):
        rollout(velocity_verlet(forces, constraints), moving(start, constraints), n_steps=3, dt=300.0)
