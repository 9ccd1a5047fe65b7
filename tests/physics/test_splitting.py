"""Splitting methods on a harmonic oscillator of unit mass and frequency, H = (p^2 + x^2)/2.

Velocity Verlet ("BAB") is second order: the phase error per unit time is dt^2/24 [Hairer2006], so that halving dt
divides the position error at a fixed time by 4. The ratio's own correction is of order dt^2 = 6e-4 here; the
tolerance of the order, 0.01, covers it. "BA" (symplectic Euler) is first order.
"""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from mindsci import tree
from mindsci.solvers import Splitting, rollout
from mindsci.tree import Tree


class Point(Tree):
    x: Tensor
    p: Tensor


class Drift(Tree):
    reversible: ClassVar[bool] = True

    def __call__(self, state: Point, t: float, dt: float) -> Point:
        return tree.replace(state, x=state.x + dt * state.p)


class Kick(Tree):
    reversible: ClassVar[bool] = True

    def __call__(self, state: Point, t: float, dt: float) -> Point:
        return tree.replace(state, p=state.p - dt * state.x)


class Clock(Tree):
    """Records the times at which it is called."""

    calls: list[tuple[float, float]]
    reversible: ClassVar[bool] = True

    def __call__(self, state: Point, t: float, dt: float) -> Point:
        self.calls.append((t, dt))
        return state


def start() -> Point:
    return Point(x=torch.ones((), dtype=torch.float64), p=torch.zeros((), dtype=torch.float64))


def error(order: str, n_steps: int) -> float:
    step = Splitting(flows={"A": Drift(), "B": Kick()}, order=order)
    last, _ = rollout(step, start(), n_steps=n_steps, dt=1.0 / n_steps)
    return abs(float(last.x) - math.cos(1.0))


@pytest.mark.parametrize(("order", "expected"), [("BAB", 2.0), ("ABA", 2.0), ("BA", 1.0)])
def test_position_error_falls_with_the_order_of_the_splitting(order: str, expected: float) -> None:
    observed = math.log2(error(order, 40) / error(order, 80))
    assert observed == pytest.approx(expected, abs=0.02)


def test_a_negative_step_undoes_a_positive_one() -> None:
    step = Splitting(flows={"A": Drift(), "B": Kick()}, order="BA")
    back = step(step(start(), 0.0, 0.1), 0.1, -0.1)
    assert abs(float(back.x) - 1) < 1e-15
    assert abs(float(back.p)) < 1e-15


def test_each_letter_keeps_its_own_time_in_both_directions() -> None:
    first, second = Clock(calls=[]), Clock(calls=[])
    step = Splitting(flows={"B": first, "A": second}, order="BAB")
    step(start(), 1.0, 0.5)
    assert first.calls == [(1.0, 0.25), (1.25, 0.25)]
    assert second.calls == [(1.0, 0.5)]
    first.calls.clear()
    step(start(), 1.5, -0.5)
    assert first.calls == [(1.5, -0.25), (1.25, -0.25)]


def test_an_order_that_does_not_match_its_flows_is_refused() -> None:
    with pytest.raises(ValueError, match="no flow for \\['C'\\]"):
        Splitting(flows={"A": Drift()}, order="AC")
    with pytest.raises(ValueError, match="not in the order \\['B'\\]"):
        Splitting(flows={"A": Drift(), "B": Kick()}, order="A")


def test_a_run_cut_in_pieces_equals_the_whole_to_the_bit() -> None:
    step = Splitting(flows={"A": Drift(), "B": Kick()}, order="BAB")
    whole, seen = rollout(step, start(), n_steps=10, dt=0.1, observe=lambda s: s.x, every=2)
    half, _ = rollout(step, start(), n_steps=6, dt=0.1)
    rest, _ = rollout(step, half, n_steps=4, dt=0.1, start=6)
    assert torch.equal(whole.x, rest.x)
    assert seen.shape == (5,)
    assert torch.equal(seen[-1], whole.x)


def test_the_fused_path_is_taken_without_a_gradient_and_observed_at_the_same_steps() -> None:
    class Fused(Splitting):
        taken: list[int]

        def advance(self, state: Point, t: float, dt: float, n_steps: int) -> Point:
            self.taken.append(n_steps)
            for i in range(n_steps):
                state = self(state, t + i * dt, dt)
            return state

    step = Fused(flows={"A": Drift(), "B": Kick()}, order="BAB", taken=[])
    last, seen = rollout(step, start(), n_steps=7, dt=0.1, observe=lambda s: s.x, every=3)
    assert step.taken == [3, 3, 1]
    plain = Splitting(flows=step.flows, order="BAB")
    expected, expected_seen = rollout(plain, start(), n_steps=7, dt=0.1, observe=lambda s: s.x, every=3)
    assert torch.equal(last.x, expected.x)
    assert torch.equal(seen, expected_seen)
    step.taken.clear()
    rollout(step, tree.replace(start(), x=torch.ones((), requires_grad=True)), n_steps=2, dt=0.1)
    assert step.taken == []
