"""The three adjoints give one derivative: that of the discrete scheme.

Central differences extrapolated once (error of order step^4, step 1e-4) leave about 1e-11 relative in float64; 1e-6 is
the gate of `mindsci validate adjoints`, 1e-8 is asserted here. Adjoints against each other: rounding, 1e-12.
"""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import Tensor

from mindsci import tree
from mindsci.solvers import Checkpoint, Direct, Reversible, Splitting, rollout
from mindsci.solvers.memory import LiveBytes
from mindsci.solvers.validate import ADJOINTS, central_difference, cluster_objective, gradient, line_objective
from mindsci.tree import Tree

UNKNOWNS = {
    line_objective: 1.0 + torch.linspace(0, 1, 58, dtype=torch.float64) ** 2,
    cluster_objective: torch.tensor([1.0, 1.0], dtype=torch.float64),
}


@pytest.mark.parametrize("problem", UNKNOWNS)
@pytest.mark.parametrize("n_steps", [7, 64])
def test_adjoints_agree_with_each_other_and_with_finite_differences(problem, n_steps: int) -> None:
    n_steps = max(n_steps, 8) if problem is line_objective else n_steps
    unknown = UNKNOWNS[problem]
    found = {name: gradient(problem, unknown, adjoint, n_steps)[0] for name, adjoint in ADJOINTS.items()}
    size = found["direct"].norm()
    for name in ("checkpoint", "reversible"):
        assert (found[name] - found["direct"]).norm() <= 1e-12 * size
    direction = torch.sin(torch.arange(1.0, 1 + unknown.numel(), dtype=torch.float64))
    expected = central_difference(problem, unknown, direction, n_steps)
    assert float(found["direct"] @ direction) == pytest.approx(expected, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("problem", UNKNOWNS)
def test_reversible_keeps_the_same_bytes_for_any_number_of_steps(problem) -> None:
    few, many = (gradient(problem, UNKNOWNS[problem], Reversible(), n)[1] for n in (32, 128))
    assert many == few


def test_checkpoint_grows_slower_than_the_number_of_steps() -> None:
    few, many = (gradient(cluster_objective, UNKNOWNS[cluster_objective], Checkpoint(), n)[1] for n in (64, 256))
    direct = gradient(cluster_objective, UNKNOWNS[cluster_objective], Direct(), 256)[1]
    # sqrt(4) = 2 in the limit of many steps; at 64 steps the constant part only lowers the ratio.
    assert many / few < 2.2
    assert many < direct / 8


class Value(Tree):
    x: Tensor
    untouched: Tensor


class Grow(Tree):
    rate: Tensor
    reversible: ClassVar[bool] = True

    def __call__(self, state: Value, t: float, dt: float) -> Value:
        return tree.replace(state, x=state.x * torch.exp(self.rate * dt))


class Absorb(Grow):
    reversible: ClassVar[bool] = False


@pytest.mark.parametrize("adjoint", ADJOINTS.values(), ids=ADJOINTS)
def test_gradients_reach_the_state_the_parameters_and_what_is_observed(adjoint) -> None:
    """x_n = x_0 exp(n rate dt): the sum over observed x at steps 2, 4, 6 and the last, with rate dt = 0.1."""
    x = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    rate = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    untouched = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    step = Splitting(flows={"G": Grow(rate=rate)}, order="G")
    last, seen = rollout(
        step, Value(x=x, untouched=untouched), n_steps=6, dt=0.1, adjoint=adjoint, observe=lambda s: s.x, every=2
    )
    (seen.sum() + last.x + 3 * last.untouched).backward()
    steps = torch.tensor([2.0, 4.0, 6.0, 6.0], dtype=torch.float64)
    growth = torch.exp(0.1 * steps)
    assert float(x.grad) == pytest.approx(float(growth.sum()), rel=1e-14)
    assert float(rate.grad) == pytest.approx(float((2.0 * 0.1 * steps * growth).sum()), rel=1e-14)
    assert float(untouched.grad) == 3.0


def test_reversible_refuses_an_irreversible_flow_by_name() -> None:
    step = Splitting(flows={"D": Absorb(rate=torch.ones((), requires_grad=True))}, order="D")
    state = Value(x=torch.ones(()), untouched=torch.ones(()))
    with pytest.raises(ValueError, match=r"D \(Absorb\); use Checkpoint"):
        rollout(step, state, n_steps=2, dt=0.1, adjoint=Reversible())


def test_the_gradient_of_a_module_inside_a_flow_is_found() -> None:
    class Push(Tree):
        model: torch.nn.Module
        reversible: ClassVar[bool] = True

        def __call__(self, state: Value, t: float, dt: float) -> Value:
            return tree.replace(state, x=state.x + dt * self.model(state.untouched))

    found = []
    for adjoint in ADJOINTS.values():
        model = torch.nn.Linear(3, 3, dtype=torch.float64)
        with torch.no_grad():
            model.weight.copy_(torch.arange(9.0).reshape(3, 3) / 9)
            model.bias.zero_()
        start = Value(x=torch.zeros(3, dtype=torch.float64), untouched=torch.ones(3, dtype=torch.float64))
        last, _ = rollout(Push(model=model), start, n_steps=5, dt=0.1, adjoint=adjoint)
        (last.x**2).sum().backward()
        found.append(model.weight.grad)
    assert torch.allclose(found[0], found[1], rtol=1e-14)
    assert torch.allclose(found[0], found[2], rtol=1e-14)
    assert found[0].abs().max() > 0


def test_an_observation_that_is_a_view_does_not_keep_the_state_alive() -> None:
    state = Value(x=torch.zeros(10_000), untouched=torch.zeros(1))
    with LiveBytes() as bytes_:
        step = Splitting(flows={"G": Grow(rate=torch.ones(()))}, order="G")
        rollout(step, state, n_steps=20, dt=0.1, observe=lambda s: s.x[0])
    assert bytes_.peak < 4 * 40_000
