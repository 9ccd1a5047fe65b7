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
from ase.build import bulk, molecule

from mindsci import tree
from mindsci.errors import InputError
from sponge import from_ase, neighbor_list
from sponge.neighbors import all_pairs
from sponge.potentials import PaiNN
from sponge.potentials.painn_compiled import CompiledPaiNN
from sponge.system import System


def some_painn(features: int = 12) -> PaiNN:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = PaiNN(elements=("H", "C", "O"), features=features).double()
    model.set_scales(reference=torch.arange(3) - 30.0, scale=1.7)
    return model


def two_molecules() -> System:
    random = numpy.random.default_rng(0)
    found = [molecule("CH3CH2OH"), molecule("CH3COOH")]
    for atoms in found:
        atoms.positions += 0.05 * random.normal(size=atoms.positions.shape)
    return from_ase(found)


def crystal() -> System:
    atoms = bulk("C", "diamond", a=3.5)
    atoms.positions += 0.1 * numpy.random.default_rng(1).normal(size=atoms.positions.shape)
    return from_ase(atoms)


SYSTEMS = {"molecules": two_molecules, "crystal": crystal}


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
    system, model = SYSTEMS[name](), some_painn().requires_grad_(False)
    exact = model.evaluate(system, neighbor_list(system, 5.0, half=True), virial=True)
    for tolerance in (1e-5, 1e-7):
        compiled = CompiledPaiNN(model, dtype=torch.float64, tolerance=tolerance, slope_tolerance=30 * tolerance)
        assert compiled.error < tolerance and compiled.slope_error < 30 * tolerance
        for half in (True, False):
            found = compiled.evaluate(system, neighbor_list(system, 5.5, half=half), virial=True)
            atomic = exact.energy + 30.0 * system.atom_counts  # without most of the reference energies
            assert float(((found.energy - exact.energy) / atomic).abs().max()) < 10 * tolerance
            assert float((found.forces - exact.forces).abs().max() / exact.forces.abs().max()) < 300 * tolerance
            assert float((found.virial - exact.virial).abs().max() / exact.virial.abs().max()) < 1000 * tolerance


def test_single_precision_at_the_papers_size_keeps_the_gates() -> None:
    system, model = two_molecules(), some_painn(128).requires_grad_(False)
    exact = model.evaluate(system, all_pairs(system, half=True))
    single = system.to(dtype=torch.float32)
    found = model.for_use().evaluate(single, all_pairs(single, half=True))
    assert float(((found.energy - exact.energy) / (exact.energy + 30.0 * system.atom_counts)).abs().max()) < 1e-5
    assert float((found.forces - exact.forces).abs().max() / exact.forces.abs().max()) < 1e-4


def test_the_form_for_use_keeps_no_graph_and_names_atoms_that_meet() -> None:
    system = two_molecules()
    model = some_painn().for_use(dtype=torch.float64)
    with pytest.raises(InputError, match="keeps no graph"):
        model.evaluate(system, all_pairs(system, half=True), create_graph=True)
    positions = system.positions.clone()
    positions[1] = positions[0] + 0.01
    with pytest.raises(InputError, match="the table of filters begins"):
        model.evaluate(tree.replace(system, positions=positions), all_pairs(system, half=True))
