"""Neighbour lists: every engine against ASE's list, which is exact for any cell [ase.neighborlist]."""

from __future__ import annotations

import ase
import numpy
import pytest
import torch
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list as ase_neighbor_list
from neighbor_cases import random_atoms, rows_of, same_edges

from mindsci import tree
from mindsci.errors import InputError
from sponge import NeighborSearch, all_pairs, concatenate, displacements, from_ase, neighbor_list
from sponge.neighbors import check_distances, reverse_edges, trimmed

ENGINES = ("reference", "numba")
CASES = {
    "molecule": (molecule("CH3CH2OH"), 2.5),
    "one atom, its own images": (bulk("Cu"), 7.0),
    "rocksalt": (bulk("NaCl", "rocksalt", a=5.64, cubic=True), 5.0),
    "triclinic": (random_atoms(0, 12, 4.0, (True, True, True)), 4.5),
    "triclinic, cutoff of several cells": (random_atoms(1, 3, 2.5, (True, True, True)), 8.0),
    "slab": (random_atoms(2, 10, 5.0, (True, True, False)), 4.0),
    "wire": (random_atoms(3, 10, 5.0, (False, True, False)), 4.0),
    "open, with a cell": (random_atoms(4, 10, 5.0, (False, False, False)), 4.0),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", CASES)
def test_edges_are_those_of_ase(name: str, engine: str) -> None:
    atoms, cutoff = CASES[name]
    system = from_ase(atoms)
    full = neighbor_list(system, cutoff, engine=engine)
    i, j, shift, distance = ase_neighbor_list("ijSd", atoms, cutoff)
    expected = numpy.column_stack([i, j, shift])
    numpy.testing.assert_array_equal(rows_of(full), expected[numpy.lexsort(expected.T)])
    half = neighbor_list(system, cutoff, engine=engine, half=True)
    numpy.testing.assert_array_equal(rows_of(half, both_ways=True), expected[numpy.lexsort(expected.T)])
    found = torch.linalg.vector_norm(displacements(system, full), dim=-1)
    numpy.testing.assert_allclose(numpy.sort(found.numpy()), numpy.sort(distance), atol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("half", [True, False])
def test_edges_of_a_batch_are_the_edges_of_its_systems(engine: str, half: bool) -> None:
    """Open, periodic and partly periodic systems of different size in one batch."""
    flags = [(True, True, True), (False, False, False), (True, False, True), (True, True, True)]
    singles = [from_ase(random_atoms(seed, 4 + 3 * seed, 4.0, pbc)) for seed, pbc in enumerate(flags)]
    whole = neighbor_list(concatenate(singles), 4.0, engine=engine, half=half)
    first, offset = 0, 0
    for single in singles:
        own = neighbor_list(single, 4.0, engine=engine, half=half)
        part = slice(first, first + own.n_edges)
        assert torch.equal(whole.centre[part] - offset, own.centre)
        assert torch.equal(whole.neighbor[part] - offset, own.neighbor)
        shift = torch.zeros(own.n_edges, 3, dtype=torch.int32) if own.shift is None else own.shift
        assert torch.equal(whole.shift[part], shift)
        first, offset = first + own.n_edges, offset + single.n_atoms
    assert first == whole.n_edges


def test_the_rows_of_an_atom_are_its_edges() -> None:
    system = from_ase(random_atoms(2, 10, 5.0, (True, True, False)))
    for found in (neighbor_list(system, 4.0), neighbor_list(system, 4.0, half=True)):
        assert torch.equal(torch.arange(10).repeat_interleave(found.rows.diff()), found.centre)
        assert int(found.rows[0]) == 0 and int(found.rows[-1]) == found.n_edges


@pytest.mark.parametrize("half", [True, False])
def test_all_pairs_of_unequal_molecules_stay_within_their_molecule(half: bool) -> None:
    batch = concatenate([from_ase(molecule(name)) for name in ("H2O", "CH4", "H")])
    pairs = all_pairs(batch, half=half)
    assert pairs.n_edges == (3 + 10 + 0) * (1 if half else 2)
    same_edges(pairs, neighbor_list(batch, 100.0, half=half))
    assert torch.equal(torch.arange(9).repeat_interleave(pairs.rows.diff()), pairs.centre)


def test_every_edge_knows_its_reverse() -> None:
    system = from_ase(random_atoms(1, 3, 2.5, (True, True, True)))
    found = neighbor_list(system, 6.0)
    back = reverse_edges(found)
    assert torch.equal(found.centre[back], found.neighbor)
    assert torch.equal(found.neighbor[back], found.centre)
    assert torch.equal(found.shift[back], -found.shift)
    with pytest.raises(InputError, match="full list"):
        reverse_edges(neighbor_list(system, 6.0, half=True))


def test_trimming_a_list_leaves_the_list_of_the_shorter_cutoff() -> None:
    system = from_ase(random_atoms(0, 12, 4.0, (True, True, True)))
    wide = neighbor_list(system, 6.0)
    same_edges(trimmed(system, wide, 4.5), neighbor_list(system, 4.5))
    with pytest.raises(InputError, match="does not serve 7"):
        trimmed(system, wide, 7.0)


def test_displacements_are_differentiable_in_positions_and_cell() -> None:
    batch = concatenate([from_ase(random_atoms(seed, 3, 3.0, (True, True, True))) for seed in (0, 1)])
    for system in (batch, from_ase(random_atoms(0, 3, 3.0, (True, True, True)))):
        found = neighbor_list(system, 3.5)

        def vectors(positions: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
            return displacements(tree.replace(system, positions=positions, cell=cell), found)  # noqa: B023

        inputs = (system.positions.clone().requires_grad_(), system.cell.clone().requires_grad_())
        assert torch.autograd.gradcheck(vectors, inputs, fast_mode=True)


def test_a_list_is_kept_until_half_the_skin_is_used_and_misses_nothing_meanwhile() -> None:
    system = from_ase(random_atoms(5, 40, 8.0, (True, True, True)))
    search = NeighborSearch(cutoff=4.0, skin=1.0)
    system = search.refresh(system)
    first = system.neighbors
    random = torch.Generator().manual_seed(0)
    for _ in range(6):
        step = 0.1 * torch.nn.functional.normalize(torch.randn(40, 3, dtype=torch.float64, generator=random), dim=-1)
        system = search.refresh(tree.replace(system, positions=system.positions + step))
        same_edges(trimmed(system, system.neighbors, 4.0), neighbor_list(system, 4.0))
    kept = search.refresh(tree.replace(system, positions=system.positions + 1e-9))
    assert kept.neighbors is system.neighbors
    far = tree.replace(system, positions=first.origin + torch.eye(40, 3, dtype=torch.float64))
    assert search.refresh(far).neighbors is not system.neighbors


def test_a_cell_that_shrinks_uses_up_the_skin_too() -> None:
    system = NeighborSearch(cutoff=4.0, skin=1.0).refresh(from_ase(random_atoms(5, 40, 8.0, (True, True, True))))
    search = NeighborSearch(cutoff=4.0, skin=1.0)

    def scaled(factor: float):
        return search.refresh(tree.replace(system, positions=factor * system.positions, cell=factor * system.cell))

    # |A - 1| = sqrt(3) * 0.02 takes 0.17 of the five angstrom: kept, although atoms moved by more than the skin.
    slightly = scaled(0.98)
    assert float((slightly.positions - system.positions).norm(dim=-1).max()) > 0.25
    assert slightly.neighbors is system.neighbors
    same_edges(trimmed(slightly, slightly.neighbors, 4.0), neighbor_list(slightly, 4.0))
    assert scaled(0.85).neighbors is not system.neighbors


def test_a_list_of_another_cutoff_kind_or_periodicity_is_made_anew() -> None:
    system = NeighborSearch(cutoff=3.0, skin=0.5).refresh(from_ase(random_atoms(5, 10, 8.0, (True, True, True))))
    assert NeighborSearch(cutoff=4.0, skin=0.5).refresh(system).neighbors.cutoff == 4.0
    assert NeighborSearch(cutoff=3.0, skin=0.5, half=True).refresh(system).neighbors.half
    opened = tree.replace(system, periodic=torch.zeros(1, 3, dtype=torch.bool))
    assert NeighborSearch(cutoff=3.0, skin=0.5).refresh(opened).neighbors.shift is None


def test_what_makes_no_list_is_refused_by_name() -> None:
    copper, water = from_ase(bulk("Cu")), from_ase(molecule("H2O"))
    with pytest.raises(InputError, match="neighbor_list"):
        all_pairs(copper)
    with pytest.raises(InputError, match="positive"):
        neighbor_list(water, 0.0)
    with pytest.raises(InputError, match=r"cell of system 1 is .* below twice the cutoff"):
        neighbor_list(concatenate([water, copper]), 3.0, minimum_image=True)
    with pytest.raises(InputError, match="is its unit angstrom"):
        neighbor_list(copper, 1000.0)
    lost = tree.replace(water, positions=water.positions * float("inf"))
    with pytest.raises(InputError, match=r"atom 0 \(O\) of system 0 has a position that is not finite"):
        neighbor_list(lost, 3.0)


def test_atoms_on_top_of_each_other_are_named() -> None:
    twice = ase.Atoms("HOC", positions=[[0, 0, 0], [1, 0, 0], [1, 0, 0]])
    batch = concatenate([from_ase(molecule("H2O")), from_ase(twice)])
    with pytest.raises(InputError, match=r"atom 1 \(O\) of system 1 and atom 2 \(C\) of system 1 are 0 angstrom apart"):
        check_distances(batch, neighbor_list(batch, 3.0))
