"""The fused adjoint against autograd through the reference flows, and against central differences.

Set-up: everything that a step can hold at once (`fdtd_problems.everything`): uneven cells, layers on all sides, random
lossy media, poles, a port, currents of both kinds, a held field, probes and monitors of both fields. The objective is
linear in records and spectra with random weights. In float64 both are the derivative of the same discrete scheme: sums
of some 10^4 terms in another order, 1e-10 of the largest. In float32 rounding of 6e-8 a step walks over 40 steps to
1e-5 in either run: 1e-3 leaves room for cancellation. A central difference of a linear functional errs by the square of
the step times the third derivative, 1e-6 at 1e-3 of the value.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fdtd_problems import BOX, LAYERS
from fdtd_unknowns import BOXES, OPEN, STEPS, assert_same, gradients, objective, problem, with_unknown
from torch import Tensor

from elec.fdtd import retrace
from mindsci.errors import InputError
from mindsci.solvers import Checkpoint, Fused, rollout


@pytest.fixture(scope="module")
def reference() -> dict[str, Tensor]:
    return gradients("reference", Checkpoint())


@pytest.fixture
def stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs every problem in three stretches, whatever its memory."""
    monkeypatch.setattr(retrace, "stretches", lambda *_: [0, 13, 26, STEPS])


def test_the_fused_adjoint_is_the_derivative_of_the_reference(reference: dict[str, Tensor]) -> None:
    assert_same(gradients("numba", Fused()), reference, 1e-10)


def test_so_it_is_where_stretches_of_steps_are_run_again(reference: dict[str, Tensor], stretches: None) -> None:
    assert_same(gradients("numba", Fused()), reference, 1e-10)


@pytest.mark.parametrize("box", BOXES)
def test_a_box_run_again_from_its_surface_gives_the_gradient_inside(
    box: Any, reference: dict[str, Tensor], stretches: None
) -> None:
    found = gradients("numba", Fused(region=box))
    cut = (slice(None), *(slice(low, high) for low, high in zip(*box, strict=True)))
    for name in ("permittivity", "conductivity", "permeability"):
        scale = float(reference[name][cut].abs().max())
        assert float((found[name][cut] - reference[name][cut]).abs().max()) <= 1e-10 * scale
        outside = found[name].clone()
        outside[cut] = 0.0
        assert not bool(outside.any())


@pytest.mark.parametrize("box", [None, ((0, 0, 1), (10, 9, 9))])
def test_open_walls_agree(box: Any, stretches: None) -> None:
    options = {"walls": OPEN, "lossy": False, "nodes": (18, 17, 16), "layers": LAYERS}
    expected, found = gradients("reference", Checkpoint(), **options), gradients("numba", Fused(region=box), **options)
    low, high = box or ((0, 0, 0), (18, 17, 16))
    cut = (slice(None), *(slice(a, b) for a, b in zip(low, high, strict=True)))
    fields = ("permittivity", "conductivity", "permeability")
    expected = {name: value[cut] if name in fields else value for name, value in expected.items()}
    assert_same({name: value[cut] if name in fields else value for name, value in found.items()}, expected, 1e-10)


def test_single_precision_keeps_a_thousandth(reference: dict[str, Tensor]) -> None:
    assert_same(gradients("numba", Fused(), dtype=torch.float32), reference, 1e-3)


def test_the_gradient_is_that_of_central_differences() -> None:
    grid, step, unknown = problem("numba", walls=BOX)
    found = torch.autograd.grad(objective(grid, step, None), list(unknown.values()))
    for (name, value), gradient in zip(unknown.items(), found, strict=True):
        generator = torch.Generator().manual_seed(7)
        ends = []
        change = 1e-3 * torch.rand(value.shape, generator=generator, dtype=torch.float64) * value.detach()
        for sign in (1, -1, 2, -2):
            with torch.no_grad():
                moved = with_unknown(step, unknown | {name: value + sign * change})
                ends.append(float(objective(grid, moved, None)))
        slope = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / 12
        expected = float((gradient.conj() * change).real.sum())
        assert expected == pytest.approx(slope, rel=1e-6, abs=1e-12 * abs(ends[0])), name


def test_a_gradient_of_the_last_fields_is_refused_by_name() -> None:
    grid, step, unknown = problem("numba")
    last, _ = rollout(step, step.start(5), n_steps=5, dt=0.9 * grid.courant_limit())
    with pytest.raises(InputError, match=r"not of the last fields; give rollout\(adjoint=Checkpoint\(\)\)"):
        torch.autograd.grad(last.electric.sum(), unknown["permittivity"])
