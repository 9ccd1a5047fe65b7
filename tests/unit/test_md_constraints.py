"""Constraints: what they are made of, what they refuse, and the batches that they act on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rigid_systems import held, hydrocarbon, water_box

from mindsci import testing, tree
from mindsci.errors import InputError
from sponge import concatenate, degrees_of_freedom, replicate, select
from sponge.builders import from_amber, repartition_hydrogen_mass, replicate_topology
from sponge.dynamics import Constraints, Kick, Move, OrnsteinUhlenbeck, langevin, maxwell_boltzmann, velocity_verlet
from sponge.dynamics.constraints import made_whole
from sponge.dynamics.constraints.clusters import elimination, label
from sponge.forcefield import Options
from sponge.system import System
from sponge.topology import DistanceConstraints, Topology

OPEN = Options(cutoff=15.0, lennard_jones="force_shift", coulomb="shifted_force")


def test_clusters_are_constraints_that_share_atoms() -> None:
    pairs = torch.tensor([[5, 6], [0, 1], [7, 5], [2, 3], [1, 4]])
    assert label(pairs, 8).tolist() == [0, 1, 0, 2, 1]


def test_elimination_multiplies_back_to_the_matrix() -> None:
    """The factors that the pattern leaves room for hold every entry: L D L^T of a dense matrix of the same pattern."""
    _, topology = hydrocarbon()
    assert topology.constraints is not None
    pairs = topology.constraints.atoms
    pattern = elimination(pairs, label(pairs, topology.n_atoms))
    count, order = len(pairs), pattern.order
    dense = torch.zeros(count, count, dtype=torch.float64)
    for k, c in enumerate(order.tolist()):
        for j, d in enumerate(order.tolist()):
            shared = set(pairs[c].tolist()) & set(pairs[d].tolist())
            dense[k, j] = 3.0 if k == j else -1.0 * len(shared)
    factor = torch.linalg.cholesky(dense + 5.0 * torch.eye(count))
    inside = torch.zeros(count, count, dtype=torch.bool)
    for k in range(count):
        inside[k, pattern.columns[pattern.rows[k] : pattern.rows[k + 1]]] = True
    outside = torch.tril(factor, -1)[~inside]
    assert float(outside.abs().max()) < 1e-12
    assert int(inside.sum()) < count * (count - 1) / 4


def test_constraints_take_degrees_of_freedom() -> None:
    system, topology = water_box(2)
    started = Constraints.of(topology, system).start(system)
    assert degrees_of_freedom(started).tolist() == [3.0 * 24 - 24 - 3]
    assert degrees_of_freedom(concatenate([system, started]), removed=0).tolist() == [72.0, 48.0]
    assert degrees_of_freedom(select(concatenate([system, started]), 1), removed=0).tolist() == [48.0]
    masses = torch.cat([system.masses[:-1], torch.zeros(1).double()])
    site = tree.replace(system, masses=masses)
    assert degrees_of_freedom(site, removed=0).tolist() == [69.0]
    assert torch.equal(site.velocities, torch.zeros_like(system.momenta))


@pytest.mark.parametrize("engine", ["reference", "numba"])
def test_a_replica_moves_as_it_would_alone(engine: str) -> None:
    system, topology = hydrocarbon("isobutane", bonds_held="hydrogens", stretched=0.02)
    batch, both = replicate(system, 2), replicate_topology(topology, 2)

    def run(start: System, of: Topology) -> System:
        forces, constraints, start = held(of, start, OPEN, engine=engine)
        bath = OrnsteinUhlenbeck.of(start, temperature=300.0, friction=0.01, seed=2, constraints=constraints)
        moving = maxwell_boltzmann(start, temperature=300.0, seed=1, constraints=constraints)
        step = langevin(forces, bath)
        with torch.no_grad():
            for index in range(5):
                moving = step(moving, index * 2.0, 2.0)
        return moving

    together = run(batch, both)
    for k in range(2):
        alone = run(select(batch, k), topology)
        among = select(together, k)
        assert torch.allclose(alone.positions, among.positions, rtol=0, atol=1e-10)
        assert torch.allclose(alone.momenta, among.momenta, rtol=0, atol=1e-10)
    assert not torch.allclose(select(together, 0).positions, select(together, 1).positions)


def test_flows_with_constraints_keep_the_contract() -> None:
    for system, topology, options in (
        (*water_box(2), Options(cutoff=3.0, lennard_jones="force_shift", coulomb="shifted_force")),
        (*hydrocarbon(stretched=0.02), OPEN),
    ):
        forces, constraints, start = held(topology, system, options, tolerance=1e-13)
        moving = maxwell_boltzmann(start, temperature=300.0, seed=1, constraints=constraints)
        bath = OrnsteinUhlenbeck.of(moving, temperature=300.0, friction=0.01, seed=2, constraints=constraints)
        moving = tree.replace(moving, neighbors=None)
        for flow in (Kick(constraints=constraints), Move(constraints=constraints), bath):
            testing.check_flow(flow, moving, 0.5)
        for step in (velocity_verlet(forces, constraints), langevin(forces, bath)):
            testing.check_flow(step, forces(moving), 0.5)


def test_molecules_that_a_cell_has_cut_are_made_whole() -> None:
    system, topology = water_box(2)
    shift = torch.randint(-2, 3, (24, 3), generator=torch.Generator().manual_seed(0)).double()
    cut = tree.replace(system, positions=system.positions + shift @ system.cell[0])
    assert topology.connectivity is not None
    whole = made_whole(cut, topology.connectivity)
    assert torch.equal(whole.positions[::3], cut.positions[::3])
    inside = (whole.positions.reshape(-1, 3, 3) - whole.positions[::3, None]).norm(dim=-1)
    assert float(inside.max()) == pytest.approx(1.0, abs=1e-12)
    again = made_whole(whole, topology.connectivity)
    assert torch.equal(again.positions, whole.positions)


def test_constraints_that_cannot_be_met_name_their_atoms() -> None:
    system, topology = hydrocarbon("isobutane", bonds_held="hydrogens")
    for engine in ("reference", "numba"):
        constraints = Constraints.of(topology, system, engine=engine)
        points = constraints.start(system).positions
        atom = int(topology.constraints.atoms[0, 1])  # type: ignore[union-attr]
        far = points.index_add(0, torch.tensor([atom]), torch.full((1, 3), 40.0).double())
        with pytest.raises(
            InputError, match=rf"do not converge .*H{atom} of HYC 1\) of system 0 \(6.* for 1\..*shorter"
        ):
            constraints.displacements(system, points, far)
    box, waters = water_box(2)
    for engine in ("reference", "numba"):
        constraints = Constraints.of(waters, box, engine=engine)
        points = constraints.start(box).positions
        with pytest.raises(InputError, match=r"atom 3 and atom 4 of system 0.*and 1 more"):
            torn = points.clone()
            torn[4] += 3.0
            torn[10] += 3.0
            torn[16] += 3.0
            torn[22] += 3.0
            constraints.displacements(box, points, torn)


def test_constraints_that_contradict_are_refused() -> None:
    system, topology = water_box(2)

    def bonds(*atoms: tuple[int, int]) -> Topology:
        rows = torch.tensor(atoms)
        return tree.replace(
            topology, constraints=DistanceConstraints(atoms=rows, length=torch.ones(len(rows)).double())
        )

    with pytest.raises(InputError, match="atom 0 and atom 5 belongs to a rigid water"):
        Constraints.of(bonds((0, 5)), system)
    free = tree.replace(topology, waters=None)
    with pytest.raises(InputError, match="is there twice"):
        Constraints.of(tree.replace(bonds((0, 5), (5, 0)), waters=None), system)
    with pytest.raises(InputError, match="to itself"):
        Constraints.of(tree.replace(bonds((5, 5)), waters=None), system)
    with pytest.raises(InputError, match="without mass"):
        Constraints.of(tree.replace(bonds((0, 1)), waters=None), tree.replace(system, masses=0.0 * system.masses))
    masses = system.masses.clone()
    masses[1] = 2.0
    with pytest.raises(InputError, match="hydrogens of different mass"):
        Constraints.of(topology, tree.replace(system, masses=masses))
    with pytest.raises(InputError, match="replicate_topology"):
        Constraints.of(free, replicate(system, 2))
    with pytest.raises(InputError, match=r"tolerance = 0\.5"):
        Constraints.of(topology, system, tolerance=0.5)
    with pytest.raises(InputError, match="engine = 'triton'"):
        Constraints.of(topology, system, engine="triton")
    started = Constraints.of(topology, system).start(system)
    with pytest.raises(InputError, match="constraints=constraints"):
        maxwell_boltzmann(started, temperature=300.0, seed=0)
    grad = tree.replace(started, positions=started.positions.requires_grad_())
    with pytest.raises(InputError, match="no graph for gradients"):
        Constraints.of(topology, system, engine="numba").project(grad)


def test_mass_moves_from_heavy_atoms_to_hydrogens() -> None:
    system, topology = hydrocarbon("isobutane")
    system = maxwell_boltzmann(system, temperature=300.0, seed=0)
    heavy = repartition_hydrogen_mass(system, topology, mass=3.0)
    hydrogen = system.atomic_numbers == 1
    assert torch.allclose(heavy.masses[hydrogen], torch.tensor(3.0).double())
    assert float(heavy.masses.sum()) == pytest.approx(float(system.masses.sum()), rel=1e-14)
    assert torch.allclose(heavy.velocities, system.velocities, rtol=1e-14)
    with pytest.raises(InputError, match=r"C\d+ of HYC 1\) would keep"):
        repartition_hydrogen_mass(system, topology, mass=4.0)
    box, waters = water_box(2)
    assert repartition_hydrogen_mass(box, waters).masses is not None
    assert torch.equal(repartition_hydrogen_mass(box, waters).masses, box.masses)
    assert float(repartition_hydrogen_mass(box, waters, waters=True).masses[1]) == pytest.approx(3.024)


def test_a_topology_of_replicas_is_that_of_each() -> None:
    system, topology = water_box(2)
    both = replicate_topology(topology, 2)
    assert both.n_atoms == 48 and both.nonbonded is not None and both.waters is not None
    assert both.waters.atoms[8:].tolist() == (topology.waters.atoms + 24).tolist()  # type: ignore[union-attr]
    assert both.nonbonded.sigma.shape == (2, 2) and both.nonbonded.kind.shape == (48,)
    _, _, batch = held(both, replicate(system, 2))
    alone = held(topology, system)[2]
    assert torch.allclose(batch.energy, alone.energy.expand(2), rtol=1e-12)
    with pytest.raises(InputError, match="count = 0"):
        replicate_topology(topology, 0)


@pytest.mark.data
def test_waters_of_a_file_are_held_at_the_lengths_of_their_force_field(data_mirror: Path) -> None:
    """TIP3P in Amber: 0.9572 and 1.5136 angstrom. The angles in the files are nonsense: a cell that is given serves."""
    stem = data_mirror / "biomolecular/openmmtools/watbox216"
    cell = 18.774349 * torch.eye(3).double()
    system, topology = from_amber(f"{stem}.prmtop", f"{stem}.crd", cell=cell)
    constraints = Constraints.of(topology, system)
    started = constraints.start(system)
    assert degrees_of_freedom(started).tolist() == [6.0 * 216 - 3]
    assert 1e-5 < float(constraints.error(system)) < 1e-3
    assert float(constraints.error(started)) < 1e-13
    waters = started.positions.reshape(-1, 3, 3)
    assert torch.allclose((waters[:, 1] - waters[:, 2]).norm(dim=-1), torch.tensor(1.5136).double(), atol=1e-4)
    assert torch.equal(started.cell[0], cell)
