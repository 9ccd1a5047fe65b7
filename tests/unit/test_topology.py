"""What holds molecules together."""

from __future__ import annotations

import pytest
import torch

from mindsci.errors import InputError
from sponge.topology import Residue, Topology, lorentz_berthelot, molecules


def test_molecules_are_numbered_in_the_order_of_their_first_atoms() -> None:
    topology = Topology(n_atoms=6, connectivity=torch.tensor([[1, 4], [2, 3], [3, 5]]))
    assert molecules(topology).tolist() == [0, 1, 2, 2, 1, 2]


def test_molecules_without_connectivity_are_refused() -> None:
    with pytest.raises(InputError, match="connectivity"):
        molecules(Topology(n_atoms=2))


def test_an_atom_is_named_by_its_residue() -> None:
    residues = (Residue(name="ALA", number="7", chain="B"),)
    names = Topology(
        n_atoms=2, atom_names=("N", "CA"), residues=residues, residue_of_atom=torch.zeros(2, dtype=torch.int64)
    )
    assert names.name_atom(1) == "atom 1 (CA of ALA 7, chain B)"
    assert Topology(n_atoms=2).name_atom(1) == "atom 1"


def test_lorentz_berthelot_means_are_arithmetic_and_geometric() -> None:
    sigma, epsilon = lorentz_berthelot(torch.tensor([1.0, 3.0]), torch.tensor([4.0, 9.0]))
    assert sigma.tolist() == [[1.0, 2.0], [2.0, 3.0]]
    assert epsilon.tolist() == [[4.0, 6.0], [6.0, 9.0]]
