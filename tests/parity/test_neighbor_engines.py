"""The compiled neighbour searches find the pairs of the reference, which looks at all pairs in all images.

Cells of any shape, axes that repeat or not, cutoffs from a fraction of a cell to several, atoms anywhere, batches.
Engines compute in float64; a pair within 1e-9 of the cutoff may fall either way, no other.
"""

from __future__ import annotations

import importlib.util

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from neighbor_cases import rows_of, same_edges

from mindsci import tree
from sponge import NeighborSearch, concatenate, create, displacements, neighbor_list
from sponge.cells import completed_cell
from sponge.neighbors import Neighbors, cell_kernels, trimmed
from sponge.system import System
from sponge.thermodynamics import volume

CLOSE = 1e-9
EDGES = 2000
"""a case has about so many at most: thousands tell no more than these, and the reference looks at all of them"""


@st.composite
def systems(draw: st.DrawFn, largest: int = 30, narrowest: float = 1.0) -> System:
    """A system of random atoms in a random cell, some of them at its corners, edges and faces, or far outside."""
    random = numpy.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_atoms = draw(st.integers(1, largest))
    lean = draw(st.sampled_from([0.0, 0.4, 0.9]))
    stretch = numpy.diag([draw(st.sampled_from([0.5, 1.0, 3.0])) for _ in range(3)])
    cell = (
        draw(st.floats(narrowest, 8.0))
        * stretch
        @ (numpy.eye(3) + lean * numpy.tril(random.uniform(-1, 1, (3, 3)), -1))
    )
    fractions = random.uniform(-draw(st.sampled_from([0.0, 2.0])), 1.0, (n_atoms, 3))
    on_planes = random.random((n_atoms, 3)) < draw(st.sampled_from([0.0, 0.3]))
    fractions = numpy.where(on_planes, numpy.round(fractions), fractions)
    periodic = tuple(draw(st.booleans()) for _ in range(3))
    dtype = draw(st.sampled_from([torch.float64, torch.float32]))
    positions, cell = (torch.as_tensor(array, dtype=dtype) for array in (fractions @ cell, cell[None]))
    return create(positions, torch.full((n_atoms,), 18), cell=cell, periodic=periodic)


def affordable(system: System, cutoff: float) -> float:
    """The cutoff [angstrom], or the one at which the mean density of the smallest cell gives EDGES edges."""
    density = float((system.atom_counts.double() ** 2 / volume(system)).sum())
    return min(cutoff, (EDGES / (4.19 * density)) ** (1 / 3))


def assert_same_but_at_the_cutoff(system: System, one: Neighbors, other: Neighbors, cutoff: float) -> None:
    both = [{tuple(row) for row in rows_of(found, both_ways=found.half).tolist()} for found in (one, other)]
    differing = both[0] ^ both[1]
    double = system.to(dtype=torch.float64)
    for centre, neighbor, *shift in differing:
        image = torch.tensor(shift, dtype=torch.float64) @ double.cell[int(system.system[centre])]
        distance = float((double.positions[neighbor] - double.positions[centre] + image).norm())
        assert abs(distance - cutoff) < CLOSE, (centre, neighbor, shift, distance)


@settings(max_examples=60, deadline=None)
@given(system=systems(), cutoff=st.floats(0.3, 9.0), half=st.booleans())
def test_numba_finds_what_the_reference_finds(system: System, cutoff: float, half: bool) -> None:
    cutoff = affordable(system, cutoff)
    expected = neighbor_list(system, cutoff, half=half, engine="reference")
    found = neighbor_list(system, cutoff, half=half, engine="numba")
    assert_same_but_at_the_cutoff(system, found, expected, cutoff)
    assert len({tuple(row) for row in rows_of(found).tolist()}) == found.n_edges, "no edge twice"
    assert torch.equal(torch.arange(system.n_atoms).repeat_interleave(found.rows.diff()), found.centre)


@settings(max_examples=40, deadline=None)
@given(parts=st.lists(systems(largest=12), min_size=2, max_size=4), cutoff=st.floats(0.5, 5.0), half=st.booleans())
def test_numba_finds_the_same_in_a_batch_of_anything(parts: list[System], cutoff: float, half: bool) -> None:
    batch = concatenate([one.to(dtype=torch.float64) for one in parts])
    cutoff = affordable(batch, cutoff)
    expected = neighbor_list(batch, cutoff, half=half, engine="reference")
    assert_same_but_at_the_cutoff(batch, neighbor_list(batch, cutoff, half=half, engine="numba"), expected, cutoff)


@settings(max_examples=40, deadline=None)
@given(
    system=systems(largest=12, narrowest=3.0),
    cutoff=st.floats(1.0, 4.0),
    seed=st.integers(0, 1000),
    strain=st.sampled_from([0.0, 0.01]),
)
def test_a_list_with_a_skin_never_misses_a_pair(system: System, cutoff: float, seed: int, strain: float) -> None:
    """Ten random moves of some 0.2 of the skin, of cell and atoms: at each the kept list holds every pair."""
    random = torch.Generator().manual_seed(seed)
    cutoff = affordable(system, cutoff)
    search = NeighborSearch(cutoff=cutoff, skin=0.8)
    system = search.refresh(system.to(dtype=torch.float64))
    for _ in range(10):
        deform = torch.eye(3) + strain * torch.randn(3, 3, dtype=torch.float64, generator=random)
        cell = system.cell @ deform if strain else system.cell
        moves = 0.1 * torch.randn(system.n_atoms, 3, dtype=torch.float64, generator=random)
        system = search.refresh(tree.replace(system, positions=system.positions @ deform + moves, cell=cell))
        expected = neighbor_list(system, cutoff, engine="reference")
        assert_same_but_at_the_cutoff(system, trimmed(system, system.neighbors, cutoff), expected, cutoff)


def test_threads_and_growing_arrays_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dense corner in a thin gas: arrays sized for the mean are too short, and threads cut through bins."""
    from sponge.neighbors import cpu

    random = numpy.random.default_rng(0)
    positions = numpy.concatenate([random.uniform(0, 30, (300, 3)), random.uniform(0, 3, (300, 3))])
    cell = torch.eye(3, dtype=torch.float64)[None] * 30
    numbers = torch.full((600,), 18)
    system = create(torch.as_tensor(positions), numbers, cell=cell, periodic=(True, True, True))
    alone = neighbor_list(system, 4.0, engine="numba")
    same_edges(alone, neighbor_list(system, 4.0, engine="reference"))
    monkeypatch.setattr(cpu, "ATOMS_PER_THREAD", 100)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    shared = neighbor_list(system, 4.0, engine="numba")
    for one, other in zip(tree.leaves(alone), tree.leaves(shared), strict=True):
        assert torch.equal(one, other)


@settings(max_examples=50, deadline=None)
@given(system=systems())
def test_completed_cells_are_those_of_the_reference(system: System) -> None:
    expected = completed_cell(system.cell.double(), system.periodic)[0].numpy()
    found = system.cell[0].double().numpy().copy()
    cell_kernels.complete(found, system.periodic[0].numpy())
    numpy.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.peer
@pytest.mark.skipif(importlib.util.find_spec("vesin") is None, reason="needs vesin: pip install vesin")
@settings(max_examples=60, deadline=None)
@given(system=systems(), cutoff=st.floats(0.5, 6.0))
def test_numba_finds_what_vesin_finds(system: System, cutoff: float) -> None:
    from vesin import NeighborList

    double = system.to(dtype=torch.float64)
    cutoff = affordable(double, cutoff)
    search = NeighborList(cutoff=cutoff, full_list=True)
    flags = double.periodic[0].numpy()
    box = double.cell[0].numpy() if flags.any() else numpy.zeros((3, 3))
    i, j, shift, distance = search.compute(points=double.positions.numpy(), box=box, periodic=flags, quantities="ijSd")
    found = neighbor_list(double, cutoff, engine="numba")
    ours = {tuple(row) for row in rows_of(found).tolist()}
    theirs = {tuple(row) for row in numpy.column_stack([i, j, shift]).astype(int).tolist()}
    lengths = torch.linalg.vector_norm(displacements(double, found), dim=-1).numpy()
    if ours != theirs:
        edge = [d for d in (*lengths, *distance) if abs(d - cutoff) < CLOSE]
        assert len(ours ^ theirs) <= len(edge)
