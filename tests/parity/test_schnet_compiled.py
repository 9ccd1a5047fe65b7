"""The compiled SchNet against the plain one, whose energy is differentiated by torch.

Setup: small SchNets with random weights and biases, float64 unless said, features that do not fill a vector; an open
batch of two molecules, and a crystal whose atoms meet their own images. What is left between the two is the table of
filters: a cubic Hermite piece errs by h^4 f''''/384, its slope by the order h^3 [deBoor1978]. With 4096 knots over
5 angstrom (h / width of a Gaussian = 1/280) both are below 1e-8 of the largest.
"""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from ase.build import molecule
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
from mindsci.kernels.dense import dense, pack, padded
from sponge import from_ase, neighbor_list
from sponge.batch import replicate
from sponge.neighbors import all_pairs
from sponge.potentials import SchNet
from sponge.potentials.filter_table import Knots
from sponge.potentials.schnet_compiled import CompiledSchNet
from sponge.potentials.softplus_kernels import activate


def some_schnet(elements: tuple[str, ...] = ELEMENTS, *, features: int = 20, interactions: int = 3) -> SchNet:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = SchNet(elements=elements, features=features, interactions=interactions, gaussians=16).double()
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.05 * torch.randn_like(weight))
    return with_references(model)


@pytest.mark.parametrize("name", SYSTEMS)
def test_energies_forces_and_virials_agree_as_closely_as_the_table(name: str) -> None:
    check_form_for_use(some_schnet().requires_grad_(False), CompiledSchNet, SYSTEMS[name](), halves=(False,))


def test_single_precision_keeps_the_gates_of_a_shipped_size() -> None:
    check_single_precision(some_schnet(features=128, interactions=6).requires_grad_(False))


def test_one_call_and_blocks_in_threads_agree_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    system = replicate(two_molecules(), 4)  # 68 atoms: two blocks
    model = CompiledSchNet(some_schnet(), dtype=torch.float64)
    neighbors = neighbor_list(system, 5.0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    several = model.evaluate(system, neighbors)
    monkeypatch.setattr("sponge.potentials.schnet_compiled.WORTH_SHARING", 100)
    one = model.evaluate(system, neighbors)
    assert torch.equal(one.forces, several.forces) and torch.equal(one.energy, several.energy)


def test_a_list_with_a_skin_changes_nothing() -> None:
    system = two_molecules()
    model = CompiledSchNet(some_schnet(), dtype=torch.float64)
    near, all_of_them = (model.evaluate(system, found) for found in (neighbor_list(system, 5.0), all_pairs(system)))
    assert torch.allclose(near.forces, all_of_them.forces, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", SYSTEMS)
def test_gradients_of_a_loss_on_energies_and_forces_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system, model = SYSTEMS[name](), some_schnet()
    monkeypatch.setattr("sponge.potentials.schnet_training.knots_for_training", lambda model: Knots(model.cutoff, 4096))
    neighbors = neighbor_list(system, 5.0)
    random = numpy.random.default_rng(3)
    energy = torch.as_tensor(random.normal(size=system.n_systems))
    forces = torch.as_tensor(random.normal(size=(system.n_atoms, 3)))
    gradients = {}
    for engine in ("reference", "numba"):
        model.engine = engine
        found = model.evaluate(system, neighbors, create_graph=True)
        loss = ((found.energy - energy) ** 2).sum() + ((found.forces - forces) ** 2).sum()
        gradients[engine] = torch.autograd.grad(loss, list(model.parameters()))
    for exact, swept in zip(gradients["reference"], gradients["numba"], strict=True):
        assert float((exact - swept).abs().max()) < 1e-6 * float(exact.abs().max())


def test_the_engine_of_training_is_chosen_by_what_is_asked() -> None:
    system, model = two_molecules(), some_schnet()
    neighbors = neighbor_list(system, 5.0)
    loss = model.evaluate(system, neighbors, create_graph=True).forces.square().sum()
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.autograd.grad(loss, list(model.parameters()), create_graph=True)[0].sum().backward()
    moving = tree.replace(system, positions=system.positions.clone().requires_grad_())
    assert model.evaluate(moving, neighbors, create_graph=True).energy.requires_grad
    model.engine = "numba"
    with pytest.raises(InputError, match="by the weights alone"):
        model.evaluate(moving, neighbors, create_graph=True)


def test_atoms_before_the_first_knot_are_named() -> None:
    model = CompiledSchNet(some_schnet(("H",)), dtype=torch.float64)
    atoms = molecule("H2")
    atoms.positions[1] = atoms.positions[0] + (0.0, 0.0, 0.1)
    system = from_ase(atoms)
    with pytest.raises(InputError, match=r"0\.1 angstrom apart"):
        model.evaluate(system, all_pairs(system))


def test_a_table_that_cannot_be_close_enough_is_refused() -> None:
    with pytest.raises(InputError, match="4096 knots"):
        CompiledSchNet(some_schnet(("H",)), dtype=torch.float64, tolerance=1e-16)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 5, 6, 13])
def test_a_packed_dense_layer_is_the_matrix_product(dtype: str, rows: int) -> None:
    random = numpy.random.default_rng(rows)
    x, weight = random.normal(size=(rows + 2, 19)).astype(dtype), random.normal(size=(19, 37)).astype(dtype)
    panels = pack(weight)
    out = numpy.zeros((rows + 2, padded(37, dtype)), dtype)
    dense(x, panels, out, 1, rows + 1, False)
    dense(x, panels, out, 1, rows + 1, True)
    # Sums of 19 products of order one round to 19 units of the last place at most.
    limit = 40 * 19 * numpy.finfo(dtype).eps
    assert numpy.abs(out[1:-1, :37] - 2 * x[1:-1] @ weight).max() < limit
    assert not out[0].any() and not out[-1].any() and not out[:, 37:].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_softplus_and_its_slope_are_exact_to_rounding(dtype: str) -> None:
    x = numpy.linspace(-120.0, 120.0, 40001).astype(dtype)[None]
    value, slope = numpy.empty_like(x), numpy.empty_like(x)
    activate(x, numpy.zeros(x.shape[1], dtype), value, slope, 0, 1)
    wide = x.astype("float64")
    eps = numpy.finfo(dtype).eps
    assert numpy.abs(value - (numpy.logaddexp(0.0, wide) - math.log(2.0))).max() <= 2 * eps * 120
    assert numpy.abs(slope - 1.0 / (1.0 + numpy.exp(-wide))).max() <= 2 * eps


def test_a_position_that_is_not_finite_is_named_rather_than_left_out() -> None:
    model = CompiledSchNet(some_schnet(), dtype=torch.float64)
    system = two_molecules()
    positions = system.positions.clone()
    positions[10, 1] = float("nan")
    with pytest.raises(InputError, match="not finite"):
        model.evaluate(tree.replace(system, positions=positions), all_pairs(system))


def test_a_full_list_of_fixed_capacity_gives_what_a_list_of_each_pair_once_gives() -> None:
    system, model = two_molecules(), some_schnet().requires_grad_(False)
    once, both = all_pairs(system, half=True), all_pairs(system)
    fixed = tree.replace(both, cutoff=5.0, worst=torch.zeros(2, dtype=torch.float64))
    exact, found = model.evaluate(system, once), model.evaluate(system, fixed)
    assert torch.allclose(found.energy, exact.energy, rtol=1e-13, atol=0)
    assert torch.allclose(found.forces, exact.forces, rtol=0, atol=1e-12)
