"""Topologies one after the other: every number of an atom moves with it, every interaction stays."""

from __future__ import annotations

import pytest
import torch

from mindsci import tree
from mindsci.errors import InputError
from sponge import system as systems
from sponge.builders import join_topologies, replicate_topology
from sponge.forcefield import ForceField, Options
from sponge.neighbors.lists import all_pairs
from sponge.topology import (
    GeneralisedBorn,
    HarmonicBonds,
    Nonbonded,
    Residue,
    Topology,
    TorsionMaps,
)

EVERYTHING = Options(lennard_jones="all", coulomb="all")


def molecule(n: int, sigma: float, charge: float) -> Topology:
    """A chain with bonds, a torsion map and names."""
    atoms = torch.arange(n)
    pairs = torch.stack([atoms[:-1], atoms[1:]], dim=1)
    one = torch.ones((1, 1), dtype=torch.float64)
    values = torch.full((n - 1,), 1.0, dtype=torch.float64)
    return Topology(
        n_atoms=n,
        bonds=HarmonicBonds(atoms=pairs, length=values, stiffness=2.0 * values),
        torsion_maps=TorsionMaps(
            atoms=torch.tensor([[0, 1, 2, 3, 1, 2, 3, 4]]),
            table=torch.tensor([0]),
            grids=[sigma * torch.arange(16, dtype=torch.float64).reshape(4, 4)],
        ),
        nonbonded=Nonbonded(
            charges=torch.full((n,), charge, dtype=torch.float64),
            kind=torch.zeros(n, dtype=torch.int64),
            sigma=sigma * one,
            epsilon=0.01 * one,
            exclusions=pairs,
        ),
        connectivity=pairs,
        atom_names=("C",) * n,
        residues=(Residue(name="MOL", number="1"),),
        residue_of_atom=torch.zeros(n, dtype=torch.int64),
    )


def energies(topology: Topology, positions: torch.Tensor) -> dict[str, float]:
    system = systems.create(positions, torch.full((len(positions),), 6))
    found = ForceField(topology, EVERYTHING).energies(system, all_pairs(system, half=True))
    return {name: float(value) for name, value in found.items()}


def test_molecules_far_apart_have_the_sum_of_their_energies() -> None:
    generator = torch.Generator().manual_seed(1)
    places = 2.0 * torch.rand((11, 3), generator=generator).double() + torch.arange(11).double()[:, None]
    places[5:] += 1e6
    one, two = molecule(5, 2.0, 0.1), molecule(6, 2.5, -0.2)
    joined = join_topologies(one, two, cross="lorentz_berthelot")
    together, first, second = energies(joined, places), energies(one, places[:5]), energies(two, places[5:])
    for name in ("bonds", "torsion_maps", "lennard_jones"):
        assert together[name] == pytest.approx(first[name] + second[name], rel=1e-9), name
    assert joined.name_atom(6) == "atom 6 (C of MOL 1)"
    assert joined.nonbonded.sigma.tolist() == [[2.0, 2.25], [2.25, 2.5]]
    assert join_topologies(one, two, cross="geometric").nonbonded.sigma[0, 1] == pytest.approx(5.0**0.5)


def test_kinds_that_are_the_same_are_shared_as_by_replicas() -> None:
    one = molecule(5, 2.0, 0.1)
    joined, replicated = join_topologies(one, one), replicate_topology(one, 2)
    for name in ("bonds", "nonbonded"):
        for (_, leaf), (_, other) in zip(
            tree.named_leaves(getattr(joined, name)), tree.named_leaves(getattr(replicated, name)), strict=True
        ):
            assert torch.equal(leaf, other)
    assert torch.equal(joined.connectivity, replicated.connectivity)


def test_what_does_not_go_together_is_refused() -> None:
    one, two = molecule(5, 2.0, 0.1), molecule(6, 2.5, -0.2)
    with pytest.raises(InputError, match="give cross = 'lorentz_berthelot' or 'geometric'"):
        join_topologies(one, two)
    born = GeneralisedBorn(radius=torch.ones(5).double(), screening=torch.ones(5).double())
    with pytest.raises(InputError, match="1 of 2 topologies have `generalised_born`"):
        join_topologies(tree.replace(one, generalised_born=born), one)
    with pytest.raises(InputError, match="cross = 'mean' is unknown"):
        join_topologies(one, cross="mean")
    with pytest.raises(InputError, match="one or more"):
        join_topologies()


def test_a_topology_without_names_takes_them_from_all() -> None:
    one = molecule(5, 2.0, 0.1)
    bare = tree.replace(one, atom_names=(), residues=(), residue_of_atom=None, connectivity=None)
    joined = join_topologies(one, bare)
    assert joined.atom_names == () and joined.residue_of_atom is None and joined.connectivity is None
