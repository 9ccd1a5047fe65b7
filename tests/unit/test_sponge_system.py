"""Systems: batching, and the way to ASE and back with its units."""

from __future__ import annotations

import ase
import numpy
import pytest
import torch
from ase.build import bulk, molecule

from mindsci import tree
from mindsci.errors import InputError
from sponge import (
    concatenate,
    create,
    degrees_of_freedom,
    from_ase,
    kinetic_energy,
    pressure,
    replicate,
    select,
    separate,
    temperature,
    to_ase,
)
from sponge.dynamics import Forces
from sponge.potentials import LennardJones
from sponge.system import System
from sponge.thermodynamics import pressure_tensor


def warm(atoms: ase.Atoms) -> ase.Atoms:
    atoms.set_momenta(numpy.random.default_rng(1).normal(size=(len(atoms), 3)))
    return atoms


def mixed_batch() -> System:
    return from_ase([warm(molecule("H2O")), warm(bulk("Cu")), warm(molecule("CH4"))])


def assert_same(one: System, other: System) -> None:
    """Everything but the random stream, which a batch may renumber."""
    for (name, a), b in zip(tree.named_leaves(one), tree.leaves(other), strict=True):
        assert name == "stream" or torch.equal(a, b), name


@pytest.mark.parametrize("atoms", [molecule("CH3CH2OH"), bulk("NaCl", "rocksalt", a=5.64)], ids=["open", "periodic"])
def test_ase_and_back_keeps_everything(atoms: ase.Atoms) -> None:
    back = to_ase(from_ase(warm(atoms)))
    assert back.get_chemical_symbols() == atoms.get_chemical_symbols()
    numpy.testing.assert_allclose(back.positions, atoms.positions, rtol=1e-15)
    numpy.testing.assert_allclose(back.get_momenta(), atoms.get_momenta(), rtol=1e-14)
    numpy.testing.assert_allclose(back.cell.array, atoms.cell.array)
    assert list(back.pbc) == list(atoms.pbc)


def test_kinetic_energy_and_temperature_are_those_of_ase() -> None:
    """ASE takes CODATA 2014, this project a later one: the constants differ by 1e-8."""
    atoms = warm(molecule("CH3CH2OH"))
    system = from_ase(atoms)
    assert float(kinetic_energy(system)) == pytest.approx(atoms.get_kinetic_energy(), rel=1e-7)
    assert float(temperature(system, removed=0)) == pytest.approx(atoms.get_temperature(), rel=1e-6)


def test_degrees_of_freedom_are_counted_for_each_system() -> None:
    batch = mixed_batch()
    assert degrees_of_freedom(batch).tolist() == [6.0, 1.0, 12.0]
    assert degrees_of_freedom(batch, removed=torch.tensor([6, 0, 0])).tolist() == [3.0, 3.0, 15.0]
    each = torch.cat([temperature(one) for one in separate(batch)])
    assert torch.allclose(temperature(batch), each, rtol=1e-14)


def test_pressure_is_kinetic_and_virial_over_volume() -> None:
    """-dE/dV by a central difference of the scaled cell plus 2 K / 3 V; step 1e-4, errors of its square."""
    atoms = warm(bulk("Ar", "fcc", a=5.2, cubic=True))
    atoms.rattle(0.1, seed=1)
    potential = LennardJones(cutoff=6.0)

    def energy(scale: float) -> float:
        scaled = atoms.copy()
        scaled.set_cell(atoms.cell.array * scale, scale_atoms=True)
        return float(Forces.of(potential, from_ase(scaled))(from_ase(scaled)).energy)

    system = from_ase(atoms)
    found = Forces.of(potential, system, virial=True)(system)
    step = 1e-4
    slope = (energy(1 + step) - energy(1 - step)) / (2 * step) / (3 * atoms.get_volume())
    kinetic = 2 * atoms.get_kinetic_energy() / (3 * atoms.get_volume())
    assert float(pressure(found)) == pytest.approx(kinetic - slope, abs=1e-8)
    with pytest.raises(InputError, match="virial=True"):
        pressure_tensor(system)


def test_a_batch_separates_into_its_systems() -> None:
    singles = [from_ase(warm(molecule(name))) for name in ("H2O", "CH4", "CO")]
    batch = concatenate(singles)
    assert batch.n_systems == 3
    assert batch.system.tolist() == [0] * 3 + [1] * 5 + [2] * 2
    for single, back in zip(singles, separate(batch), strict=True):
        assert_same(single, back)


def test_open_and_periodic_systems_share_a_batch() -> None:
    batch = mixed_batch()
    assert batch.periodic.tolist() == [[False] * 3, [True] * 3, [False] * 3]
    assert [to_ase(one).get_chemical_formula() for one in separate(batch)] == ["H2O", "Cu", "CH4"]


def test_systems_are_picked_in_any_order_and_keep_their_streams() -> None:
    batch = mixed_batch()
    assert batch.stream.tolist() == [0, 1, 2]
    picked = select(batch, [2, 0])
    assert picked.stream.tolist() == [2, 0]
    assert picked.atomic_numbers.tolist() == [6, 1, 1, 1, 1, 8, 1, 1]
    assert_same(select(picked, 1), select(batch, 0))
    assert select(batch, slice(1, None)).n_systems == 2
    assert select(batch, -1).stream.tolist() == [2]
    joined = concatenate([select(batch, 2), select(batch, 0)])
    assert joined.stream.tolist() == [2, 0]


def test_replicas_never_share_a_stream() -> None:
    water = from_ase(molecule("H2O"))
    assert replicate(water, 3).stream.tolist() == [0, 1, 2]
    assert concatenate([water, water]).stream.tolist() == [0, 1]
    assert select(mixed_batch(), [1, 1]).stream.tolist() == [0, 1]


def test_paces_and_thermostat_variables_go_with_their_systems() -> None:
    one = from_ase(molecule("H2O"))
    slow = tree.replace(one, pace=torch.full((1,), 0.5, dtype=torch.float64))
    assert concatenate([one, slow]).pace.tolist() == [1.0, 0.5]
    kept = [tree.replace(one, auxiliary={"heat": torch.full((1,), value)}) for value in (1.0, 2.0)]
    assert select(concatenate(kept), 1).auxiliary["heat"].tolist() == [2.0]
    with pytest.raises(InputError, match="thermostat variables"):
        concatenate([one, kept[0]])


def test_a_change_of_precision_keeps_energies_in_float64() -> None:
    single = mixed_batch().to(dtype=torch.float32)
    assert single.positions.dtype == single.cell.dtype == torch.float32
    assert single.energy.dtype == torch.float64 and single.stream.dtype == torch.int64


def test_arrays_that_make_no_system_are_refused() -> None:
    positions, carbon = torch.zeros(2, 3), torch.tensor([6, 6])
    for message, options in {
        "sort them by system": {"system": torch.tensor([1, 0])},
        "system 0 has no atoms": {"system": torch.tensor([1, 1])},
        "no volume": {"cell": torch.zeros(1, 3, 3), "periodic": (True, True, True)},
        "no value is rounded": {"masses": torch.ones(2, dtype=torch.float64)},
        r"atom 1 \(C\) of system 0 has a mass": {"masses": torch.tensor([1.0, 0.0])},
        "pace must be positive": {"pace": torch.zeros(1)},
    }.items():
        with pytest.raises(InputError, match=message):
            create(positions, carbon, **options)
    broken = torch.tensor([[0.0, 0.0, 0.0], [0.0, float("nan"), 0.0], [0.0, 0.0, 1.0]])
    with pytest.raises(InputError, match=r"atom 0 \(C\) of system 1 has a position that is not finite"):
        create(broken, torch.tensor([6, 6, 6]), system=torch.tensor([0, 1, 1]))
    with pytest.raises(InputError, match="no atomic number"):
        create(positions, torch.tensor([6, 1000]))
    with pytest.raises(InputError, match="no atoms"):
        from_ase(ase.Atoms())
    with pytest.raises(InputError, match="no system 3"):
        select(mixed_batch(), 3)


def test_only_a_single_system_becomes_an_ase_object() -> None:
    water = from_ase(molecule("H2O"))
    with pytest.raises(InputError, match="separate"):
        to_ase(concatenate([water, water]))
