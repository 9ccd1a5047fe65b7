"""PaiNN's compiled forms against plain torch.

Setup: a small PaiNN with random weights, float64 unless said; two molecules in a batch, and a crystal in a triclinic
cell whose atoms meet their own images. The compiled messages do the same sums: rounding. Between the form for use and
the model stands the table of filters, whose error, a share of the largest filter, is bounded; the energy
passes it on through three blocks, each of which adds it once for every neighbour: ten times as much is allowed.
"""

from __future__ import annotations

import numpy
import pytest
import torch
from compiled_potentials import (
    ELEMENTS,
    SYSTEMS,
    check_form_for_use,
    check_single_precision,
    two_molecules,
    with_references,
)

from mindsci import tree
from mindsci.errors import InputError
from sponge import neighbor_list
from sponge.neighbors import all_pairs
from sponge.potentials import PaiNN
from sponge.potentials.painn_compiled import CompiledPaiNN


def some_painn(features: int = 12) -> PaiNN:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return with_references(PaiNN(elements=ELEMENTS, features=features))


@pytest.mark.parametrize("name", SYSTEMS)
def test_compiled_messages_give_the_energies_forces_and_training_gradients_of_plain_torch(name: str) -> None:
    system, model = SYSTEMS[name](), some_painn()
    neighbors = neighbor_list(system, 5.0, half=True)
    wanted = torch.as_tensor(numpy.random.default_rng(3).normal(size=(system.n_atoms, 3)))
    found = {}
    for model.engine in ("reference", "numba"):
        result = model.evaluate(system, neighbors, virial=True, create_graph=True)
        loss = result.energy.sum() + (result.forces - wanted).square().sum()
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        found[model.engine] = [one.detach() for one in (result.energy, result.forces, result.virial, *gradients)]
    for plain, compiled in zip(found["reference"], found["numba"], strict=True):
        assert float((plain - compiled).abs().max()) < 1e-11 * float(plain.abs().max())


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_form_for_use_agrees_as_closely_as_its_table(name: str) -> None:
    check_form_for_use(some_painn().requires_grad_(False), CompiledPaiNN, SYSTEMS[name](), halves=(True, False))


def test_single_precision_at_the_papers_size_keeps_the_gates() -> None:
    check_single_precision(some_painn(128).requires_grad_(False))


def test_the_form_for_use_keeps_no_graph_and_names_atoms_that_meet() -> None:
    system = two_molecules()
    model = some_painn().for_use(dtype=torch.float64)
    with pytest.raises(InputError, match="keeps no graph"):
        model.evaluate(system, all_pairs(system, half=True), create_graph=True)
    positions = system.positions.clone()
    positions[1] = positions[0] + 0.01
    with pytest.raises(InputError, match="the table of filters begins"):
        model.evaluate(tree.replace(system, positions=positions), all_pairs(system, half=True))
