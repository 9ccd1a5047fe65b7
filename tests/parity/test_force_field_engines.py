"""The compiled pairs of a force field are those of plain torch, in both precisions and every way to end a sum.

Atoms near the places of a lattice, three kinds, charges, chains of excluded neighbours, positions several cells from
home; sizes that fill clusters of eight atoms and that do not; cells of any shape, periodic or open. Tolerances: float64
1e-12 of the largest, as sums of some thousand terms differ; float32 coordinates of 30 angstrom are rounded by 2e-6, and
a force changes by 12 / r of that, so 1e-4, and the virial, whose terms cancel, 3e-4.
"""

from __future__ import annotations

import numpy
import pytest
import torch

from mindsci import tree
from mindsci.errors import InputError
from mindsci.solvers import Splitting, rollout
from sponge import concatenate
from sponge.dynamics import Forces, velocity_verlet
from sponge.dynamics.compiled_verlet import CompiledVerlet
from sponge.forcefield import ForceField, Options, place_virtual_sites
from sponge.forcefield.clusters import ClusterList
from sponge.neighbors import neighbor_list
from sponge.system import System, create
from sponge.topology import (
    HarmonicAngles,
    HarmonicBonds,
    HarmonicImpropers,
    Nonbonded,
    PeriodicTorsions,
    ScaledPairs,
    Topology,
    VirtualSites,
    lorentz_berthelot,
)

SHAPES = {
    "cube": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    "skewed": [[1.0, 0.0, 0.0], [0.3, 1.0, 0.0], [-0.2, 0.4, 1.0]],
}
FLOAT32, FLOAT64 = (1e-5, 1e-4, 3e-4), (1e-12, 1e-12, 1e-12)


def liquid(
    n: int, shape: str = "skewed", dtype: torch.dtype = torch.float64, periodic: tuple[bool, bool, bool] = (True,) * 3
) -> System:
    random = numpy.random.default_rng(n)
    cell = (n / 0.03) ** (1 / 3) * numpy.array(SHAPES[shape])
    side = int(numpy.ceil(n ** (1 / 3)))
    places = numpy.stack(numpy.meshgrid(*[numpy.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)[:n]
    away = random.integers(-2, 3, (n, 3)) * numpy.array(periodic)
    positions = ((places + random.normal(scale=0.1, size=(n, 3))) / side + away) @ cell
    return create(
        torch.as_tensor(positions, dtype=dtype),
        torch.full((n,), 18),
        cell=torch.as_tensor(cell, dtype=dtype)[None],
        periodic=periodic,
    )


def chains(n: int, *, combined: bool = True) -> Topology:
    random = numpy.random.default_rng(n)
    sigma, epsilon = lorentz_berthelot(torch.tensor([3.0, 2.5, 1.0]).double(), torch.tensor([0.01, 0.02, 0.0]).double())
    if not combined:
        sigma = sigma.clone()
        sigma[0, 1] = sigma[1, 0] = 3.1
    charges = torch.as_tensor(random.normal(scale=0.3, size=n))
    first = torch.arange(n - 2)
    pairs = torch.stack([torch.stack([first, first + 1], 1), torch.stack([first, first + 2], 1)], 1).reshape(-1, 2)
    kind = torch.as_tensor(random.integers(0, 3, n))
    nonbonded = Nonbonded(charges=charges - charges.mean(), kind=kind, sigma=sigma, epsilon=epsilon, exclusions=pairs)
    return Topology(n_atoms=n, nonbonded=nonbonded)


def compare(system: System, topology: Topology, options: Options, tolerance: tuple[float, float, float]) -> None:
    reference = ForceField(topology, options, engine="reference")
    compiled = ForceField(topology, options, engine="numba")
    listed = compiled.search(system, skin=1.0).build(system)
    assert isinstance(listed, ClusterList)
    wanted = reference.evaluate(system, neighbor_list(system, options.cutoff, half=True), virial=True)
    found = compiled.evaluate(system, listed, virial=True)
    assert found.virial is not None and wanted.virial is not None
    assert found.forces.dtype == system.positions.dtype
    for one, other, limit in zip(
        (found.energy, found.forces, found.virial),
        (wanted.energy, wanted.forces, wanted.virial),
        tolerance,
        strict=True,
    ):
        assert float((one - other).abs().max()) < limit * float(other.abs().max())


@pytest.mark.parametrize("n", [5, 123, 1000])
@pytest.mark.parametrize("dtype", [pytest.param(torch.float32, marks=pytest.mark.slow), torch.float64])
def test_pairs_are_those_of_plain_torch(n: int, dtype: torch.dtype) -> None:
    tolerance = FLOAT32 if dtype == torch.float32 else FLOAT64
    compare(liquid(n, dtype=dtype), chains(n), Options(cutoff=9.0), tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("combined", [True, False])
@pytest.mark.parametrize("coulomb", ["cutoff", "reaction_field", "shifted_force", "ewald"])
@pytest.mark.parametrize("lennard_jones", ["cutoff", "switch", "potential_shift", "force_shift"])
def test_every_way_to_end_a_sum_is_that_of_plain_torch(lennard_jones: str, coulomb: str, combined: bool) -> None:
    options = Options(cutoff=9.0, lennard_jones=lennard_jones, switch_from=7.0, coulomb=coulomb)
    for shape in SHAPES:
        compare(liquid(300, shape), chains(300, combined=combined), options, FLOAT64)


@pytest.mark.parametrize("periodic", [(True, False, True), (False, True, False), (False, False, False)])
def test_open_axes_need_no_images(periodic: tuple[bool, bool, bool]) -> None:
    compare(liquid(200, periodic=periodic), chains(200), Options(cutoff=9.0), FLOAT64)


def test_a_list_serves_until_its_skin_is_used_and_is_made_anew_from_where_it_was_made() -> None:
    system = liquid(300)
    field = ForceField(chains(300), Options(cutoff=9.0), engine="numba")
    forces = Forces.of(field, system, skin=1.0, virial=True)
    listed = forces(system).neighbors
    step = 0.4 * torch.nn.functional.normalize(torch.ones_like(system.positions), dim=-1)
    near, far = (tree.replace(system, positions=system.positions + k * step, neighbors=listed) for k in (1, 2))
    assert forces(near).neighbors is listed
    assert forces(far).neighbors is not listed
    again = tree.replace(near, neighbors=forces.search.build(system))
    assert torch.equal(forces(near).forces, forces(again).forces)
    assert torch.allclose(forces(near).forces, forces(far).forces, rtol=0, atol=1e-10)


def test_forces_on_sites_go_to_their_parents() -> None:
    n, sites = 200, torch.arange(3, 200, 10)
    weights = torch.tensor([0.4, 0.3, 0.3]).double().expand(len(sites), 3)
    placed = VirtualSites(
        site=sites,
        parents=torch.stack([sites - 3, sites - 2, sites - 1], 1),
        weights=weights,
        cross=torch.full((len(sites),), 0.1).double(),
    )
    topology = tree.replace(chains(n), virtual_sites=placed)
    system = place_virtual_sites(liquid(n), placed)
    compare(system, topology, Options(cutoff=9.0), (1e-11, 1e-11, 1e-11))


def molecules(n: int) -> Topology:
    """Chains with every covalent term, whose atoms lie far apart: no angle is straight, no dihedral is undefined."""
    first = torch.arange(0, n - 3, 2)
    pairs, triples, fours = (torch.stack([first + k for k in range(count)], 1) for count in (2, 3, 4))
    numbers = torch.linspace(0.2, 1.2, len(first)).double()
    torsions = {"atoms": fours, "periodicity": torch.arange(len(first)) % 5, "phase": numbers, "barrier": 0.1 * numbers}
    return tree.replace(
        chains(n),
        bonds=HarmonicBonds(atoms=pairs, length=3.0 * numbers, stiffness=numbers),
        urey_bradley=HarmonicBonds(atoms=triples[:, ::2], length=4.0 * numbers, stiffness=numbers),
        angles=HarmonicAngles(atoms=triples, angle=numbers, stiffness=numbers),
        torsions=PeriodicTorsions(**torsions),
        impropers=PeriodicTorsions(**torsions | {"atoms": fours.flip(0)}),
        harmonic_impropers=HarmonicImpropers(atoms=fours, angle=3.0 * numbers, stiffness=numbers),
        pairs14=ScaledPairs(atoms=fours[:, ::3], sigma=numbers, epsilon=0.1 * numbers, charge_product=numbers - 0.5),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", ["cube", "skewed"])
def test_molecules_with_waves_are_those_of_plain_torch(dtype: torch.dtype, shape: str) -> None:
    options = Options(cutoff=9.0, coulomb="pme", long_range_correction=True)
    tolerance = FLOAT32 if dtype == torch.float32 else FLOAT64
    compare(liquid(123, shape, dtype), molecules(123), options, tolerance)


def test_steps_between_observations_have_the_same_bits_without_energies() -> None:
    system, options = liquid(123), Options(cutoff=9.0, coulomb="pme")
    forces = Forces.of(ForceField(molecules(123), options, engine="numba"), system, virial=True)
    step, start = velocity_verlet(forces), forces(system)
    assert isinstance(step, CompiledVerlet) and not step.pairs_alone
    at_once, _ = rollout(step, start, n_steps=10, dt=0.5)
    one_by_one, _ = rollout(Splitting(flows=step.flows, order=step.order), start, n_steps=10, dt=0.5)
    assert torch.equal(at_once.positions, one_by_one.positions)
    assert torch.equal(at_once.energy, one_by_one.energy)
    assert at_once.virial is not None and one_by_one.virial is not None
    assert torch.equal(at_once.virial, one_by_one.virial)


def test_a_net_charge_has_its_background() -> None:
    topology = chains(123)
    assert topology.nonbonded is not None
    charged = tree.replace(topology.nonbonded, charges=topology.nonbonded.charges + 0.01)
    options = Options(cutoff=9.0, coulomb="pme", spline_order=4)
    compare(liquid(123), tree.replace(topology, nonbonded=charged), options, FLOAT64)


def test_what_is_not_compiled_is_added_by_plain_torch() -> None:
    compare(liquid(123), molecules(123), Options(cutoff=9.0, coulomb="ewald"), FLOAT64)


def test_what_the_kernels_do_not_take_runs_on_plain_torch() -> None:
    one = liquid(20)
    both, topology = concatenate([one, one]), chains(40)
    options = Options(cutoff=9.0, coulomb="cutoff")
    listed = ForceField(topology, options).search(both, skin=1.0).build(both)
    assert not isinstance(listed, ClusterList)
    with pytest.raises(InputError, match="one system, not 2"):
        ForceField(topology, options, engine="numba").search(both, skin=1.0)
