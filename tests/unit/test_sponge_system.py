"""Systems: batching, and the way to ASE and back with its units."""

from __future__ import annotations

import ase
import numpy
import pytest
import torch
from ase.build import bulk, molecule

from mindsci import tree
from mindsci.errors import InputError
from sponge import concatenate, create, from_ase, separate, to_ase
from sponge.system import kinetic_energy, temperature


def warm(atoms: ase.Atoms) -> ase.Atoms:
    atoms.set_momenta(numpy.random.default_rng(1).normal(size=(len(atoms), 3)))
    return atoms


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


def test_a_batch_separates_into_its_systems() -> None:
    singles = [from_ase(warm(molecule(name))) for name in ("H2O", "CH4", "CO")]
    batch = concatenate(singles)
    assert batch.n_systems == 3
    assert batch.system.tolist() == [0] * 3 + [1] * 5 + [2] * 2
    for single, back in zip(singles, separate(batch), strict=True):
        for (name, one), other in zip(tree.named_leaves(single), tree.leaves(back), strict=True):
            assert torch.equal(one, other), name


def test_arrays_that_make_no_system_are_refused() -> None:
    positions = torch.zeros(2, 3)
    with pytest.raises(InputError, match="sort them by system"):
        create(positions, torch.tensor([1, 1]), system=torch.tensor([1, 0]))
    with pytest.raises(InputError, match="no volume"):
        create(positions, torch.tensor([1, 1]), cell=torch.zeros(1, 3, 3), periodic=(True, True, True))
    with pytest.raises(InputError, match="no atoms"):
        from_ase(ase.Atoms())


def test_a_batch_of_open_and_periodic_systems_is_refused() -> None:
    with pytest.raises(InputError, match="same axes"):
        concatenate([from_ase(molecule("H2O")), from_ase(bulk("Cu"))])


def test_only_a_single_system_becomes_an_ase_object() -> None:
    water = from_ase(molecule("H2O"))
    with pytest.raises(InputError, match="separate"):
        to_ase(concatenate([water, water]))
