"""Neighbour pairs against ASE's list, which is exact for any cell [ase.neighborlist]."""

from __future__ import annotations

import ase
import numpy
import pytest
import torch
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list

from mindsci.errors import InputError
from sponge import all_pairs, concatenate, from_ase, neighbor_pairs
from sponge.neighbors import Pairs, displacements
from sponge.system import System


def random_cell(seed: int, n_atoms: int, edge: float, pbc: tuple[bool, bool, bool]) -> ase.Atoms:
    """A skewed cell, with atoms up to three cells outside it."""
    random = numpy.random.default_rng(seed)
    cell = edge * (numpy.eye(3) + random.uniform(-0.6, 0.6, (3, 3)))
    positions = random.uniform(-3, 3, (n_atoms, 3)) @ cell
    return ase.Atoms(numbers=[18] * n_atoms, positions=positions, cell=cell, pbc=pbc)


CASES = {
    "molecule": (molecule("CH3CH2OH"), 2.5),
    "one atom, its own images": (bulk("Cu"), 7.0),
    "rocksalt": (bulk("NaCl", "rocksalt", a=5.64, cubic=True), 5.0),
    "triclinic": (random_cell(0, 12, 4.0, (True, True, True)), 4.5),
    "triclinic, cutoff of several cells": (random_cell(1, 3, 2.5, (True, True, True)), 8.0),
    "slab": (random_cell(2, 10, 5.0, (True, True, False)), 4.0),
    "wire": (random_cell(3, 10, 5.0, (False, True, False)), 4.0),
}


def both_ways(system: System, pairs: Pairs) -> numpy.ndarray:
    """Every pair in both directions, as rows (i, j, shift), sorted."""
    shift = torch.zeros(len(pairs.i), 3) if pairs.shift is None else pairs.shift
    there = numpy.column_stack([pairs.i, pairs.j, shift]).round().astype(int)
    back = numpy.column_stack([pairs.j, pairs.i, -shift]).round().astype(int)
    rows = numpy.concatenate([there, back])
    return rows[numpy.lexsort(rows.T)]


@pytest.mark.parametrize("name", CASES)
def test_pairs_are_those_of_ase(name: str) -> None:
    atoms, cutoff = CASES[name]
    system = from_ase(atoms)
    pairs = neighbor_pairs(system, cutoff)
    i, j, shift, distance = neighbor_list("ijSd", atoms, cutoff)
    expected = numpy.column_stack([i, j, shift])
    numpy.testing.assert_array_equal(both_ways(system, pairs), expected[numpy.lexsort(expected.T)])
    found = torch.linalg.vector_norm(displacements(system, pairs), dim=-1)
    numpy.testing.assert_allclose(numpy.sort(numpy.repeat(found.numpy(), 2)), numpy.sort(distance), atol=1e-12)


def test_pairs_of_a_batch_are_the_pairs_of_its_systems() -> None:
    singles = [from_ase(random_cell(seed, 4 + seed, 4.0, (True, True, True))) for seed in range(3)]
    whole = neighbor_pairs(concatenate(singles), 4.0)
    offset = 0
    for single in singles:
        own = neighbor_pairs(single, 4.0)
        inside = (whole.i >= offset) & (whole.i < offset + single.n_atoms)
        assert torch.equal(whole.i[inside] - offset, own.i)
        assert torch.equal(whole.j[inside] - offset, own.j)
        assert torch.equal(whole.shift[inside], own.shift)
        offset += single.n_atoms


def test_all_pairs_of_unequal_molecules_stay_within_their_molecule() -> None:
    batch = concatenate([from_ase(molecule(name)) for name in ("H2O", "CH4", "H")])
    pairs = all_pairs(batch)
    assert len(pairs.i) == 3 + 10 + 0
    assert torch.equal(batch.system[pairs.i], batch.system[pairs.j])
    assert bool((pairs.i < pairs.j).all())


def test_an_endless_list_and_a_cutoff_of_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="neighbor_pairs"):
        all_pairs(from_ase(bulk("Cu")))
    with pytest.raises(InputError, match="positive"):
        neighbor_pairs(from_ase(molecule("H2O")), 0.0)
