"""MolCT's parts against formulas written out."""

from __future__ import annotations

import math

import pytest
import torch
from ase.build import molecule

from mindsci.errors import InputError
from sponge import all_pairs, concatenate, from_ase
from sponge.potentials import MolCT
from sponge.potentials.attention import EgoAttention, slots
from sponge.potentials.molct import halting_weights, time_signal
from sponge.potentials.radial import smooth_cutoff


def test_the_smooth_cutoff_is_a_half_at_half_way_and_flat_at_both_ends() -> None:
    at = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64).requires_grad_()
    value = smooth_cutoff(at, 2.0)
    (incline,) = torch.autograd.grad(value.sum(), at)
    assert torch.allclose(value, torch.tensor([1.0, 0.5, 0.0, 0.0], dtype=torch.float64), atol=1e-15)
    # f' = -30 x^2 (1 - x)^2 / cutoff
    expected = torch.tensor([0.0, -30 * 0.25 * 0.25 / 2.0, 0.0, 0.0], dtype=torch.float64)
    assert torch.allclose(incline, expected, atol=1e-15)


def test_slots_hold_the_atom_itself_then_its_neighbours() -> None:
    system = concatenate([from_ase(molecule("H2O")), from_ase(molecule("H2"))])
    for half in (False, True):
        pairs = all_pairs(system, half=half)
        found = slots(pairs)
        assert found.neighbor[:, 0].tolist() == [0, 1, 2, 3, 4]
        assert found.filled.tolist() == [[True] * 3] * 3 + [[True, True, False]] * 2
        assert {*found.neighbor[0].tolist()} == {0, 1, 2}
        assert found.neighbor[3, :2].tolist() == [3, 4]
        assert found.edge[:, 0].tolist() == [pairs.n_edges] * 5
        for atom, row in enumerate(found.edge.tolist()):
            for slot, edge in enumerate(row):
                if slot and found.filled[atom, slot]:
                    ends = {int(pairs.centre[edge]), int(pairs.neighbor[edge])}
                    assert ends == {atom, int(found.neighbor[atom, slot])}


def test_attention_weighs_each_neighbour_by_the_envelope_times_the_exponential_of_its_score() -> None:
    torch.manual_seed(0)
    layer = EgoAttention(4, 2, False).double().requires_grad_(False)
    layer.norm.weight.copy_(torch.tensor([1.0, 2.0, 0.5, 1.5]))
    layer.norm.bias.copy_(torch.tensor([0.1, -0.2, 0.3, 0.4]))
    z = torch.randn(3, 3, 4, dtype=torch.float64)
    envelope = torch.tensor([[1.0, 0.3, 0.0], [1.0, 1.0, 0.9], [1.0, 0.0, 0.0]], dtype=torch.float64)
    weights = layer.weights(z, envelope)
    full = z * layer.norm.weight + layer.norm.bias
    for head in range(2):
        part = slice(2 * head, 2 * head + 2)
        query, key = layer.query(full[:, 0])[:, part], layer.key(full)[..., part]
        shares = envelope * torch.exp((key @ query[..., None])[..., 0] / math.sqrt(2.0))
        assert torch.allclose(weights[:, head], shares / shares.sum(-1, keepdim=True), atol=1e-14)
    assert weights[2].tolist() == [[1.0, 0.0, 0.0]] * 2


def test_an_update_is_the_projected_mean_of_values() -> None:
    torch.manual_seed(1)
    layer = EgoAttention(4, 2, False).double().requires_grad_(False)
    layer.norm.bias.copy_(torch.tensor([0.1, -0.2, 0.3, 0.4]))
    system = from_ase(molecule("H2O"))
    where = slots(all_pairs(system))
    x, embedded = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 3, 4, dtype=torch.float64)
    envelope = torch.ones(3, 3, dtype=torch.float64)
    z = x[where.neighbor] * embedded
    plain = torch.nn.functional.layer_norm(z, (4,))
    weights = layer.weights(plain, envelope)
    values = layer.value(layer.norm(z)).view(3, 3, 2, 2)
    expected = x + layer.out(torch.einsum("ahs,ashf->ahf", weights, values).reshape(3, 4))
    assert torch.allclose(layer(x, embedded, envelope, where), expected, atol=1e-14)


def test_an_atom_halts_once() -> None:
    weights = halting_weights(torch.tensor([[0.25, 1.0], [0.5, 0.3], [0.9, 0.3]]))
    assert torch.allclose(weights, torch.tensor([[0.25, 1.0], [0.375, 0.0], [0.375, 0.0]]))


def test_the_ponder_cost_is_one_cycle_unless_there_are_more() -> None:
    system = from_ase(molecule("H2O"))
    options = {"elements": ["H", "O"], "features": 8, "heads": 2, "basis": 8}
    torch.manual_seed(0)
    once, thrice = MolCT(**options).double(), MolCT(**options, cycles=3).double()
    assert float(once.ponder_cost(system, all_pairs(system)).detach()) == pytest.approx(1.0)
    cost = thrice.ponder_cost(system, all_pairs(system))
    assert 1.0 < float(cost.detach()) < 1.5  # atoms begin ready to halt
    cost.sum().backward()
    assert bool((thrice.halting[0].bias.grad < 0).all())


def test_the_ponder_cost_is_a_term_of_the_loss_where_there_are_cycles() -> None:
    system = from_ase([molecule("H2O"), molecule("H2")])
    options = {"elements": ["H", "O"], "features": 8, "heads": 2, "basis": 8}
    torch.manual_seed(0)
    once, thrice = MolCT(**options).double(), MolCT(**options, cycles=3).double()
    pairs = all_pairs(system, half=True)
    found = thrice.evaluate(system, pairs, create_graph=True)
    assert torch.equal(found.terms["ponder"], thrice.ponder_cost(system, pairs).mean())
    assert torch.equal(found.energy, thrice(system, pairs)) and found.terms["ponder"].requires_grad
    assert once.evaluate(system, pairs).terms == {} and once.terms == ()


def test_the_time_signal_turns_slower_from_feature_to_feature() -> None:
    signal = time_signal(3, 4)
    assert torch.allclose(signal[0], torch.tensor([0.0, 0.0, 1.0, 1.0]))
    assert torch.allclose(signal[2], torch.tensor([math.sin(2.0), math.sin(2e-4), math.cos(2.0), math.cos(2e-4)]))


def test_one_set_of_weights_serves_all_layers_where_they_are_shared() -> None:
    own, shared = (MolCT(elements=["H"], features=8, heads=2, shared=flag) for flag in (False, True))
    assert len(own.layers) == 3 and len(shared.layers) == 1


def test_features_that_the_heads_do_not_divide_are_refused() -> None:
    with pytest.raises(InputError, match="features that 2 heads divide"):
        MolCT(elements=["H"], features=12, heads=8)
