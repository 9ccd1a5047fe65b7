"""Gradients of whole runs against finite differences: S11, gain, radar cross-section, SAR and a trace.

The gradient in float64 is that of the reference flows, the one in float32 that of the fused adjoint. Differences are
taken in float64 by the fused engine, which agrees with the reference to rounding: those of float32 would carry its
rounding over the step. They are central ones with Richardson's extrapolation, at a step that they choose themselves.
"""

from __future__ import annotations

import logging
import time

import torch
from torch import Tensor

from elec.validation.gradient_cases import CASES, Case, How, numbers
from elec.validation.rows import below
from mindsci.report import Row
from mindsci.solvers import Checkpoint, Fused

logger = logging.getLogger(__name__)

# Steps of the differences, relative to the parameter: the next where two derivatives of one, whose errors go with h^4
# and h^2, do not agree within SETTLED; of all, the best agreed. The balance of cut cells bends where a face begins to
# need what its neighbours can spare, so that steps across such a bend never agree, and turns coefficients within
# thousandths of a radian. The rounding of a run over these steps is some 1e-9, 1e-8 and 1e-7.
STEPS, SETTLED = (2e-5, 2e-6, 2e-7), 3e-6
GATES = (("float64, reference", 1e-6), ("float32, fused adjoint", 1e-3))
HOW = (How(engine="reference", adjoint=Checkpoint()), How(dtype=torch.float32, adjoint=Fused()))


def gradients(case: Case, how: How) -> dict[str, dict[str, float]]:
    """Returns the derivative of each objective by each parameter."""
    unknown = numbers(case.values, grad=True)
    found = case.evaluate(unknown, how)
    return {
        name: _named(unknown, torch.autograd.grad(found[name], list(unknown.values()), retain_graph=True))
        for name in case.objectives
    }


def _named(unknown: dict[str, Tensor], values: tuple[Tensor, ...]) -> dict[str, float]:
    return {name: float(value) for name, value in zip(unknown, values, strict=True)}


def differences(case: Case, parameter: str) -> dict[str, float]:
    """Returns the derivative of each objective by one parameter."""
    best: dict[str, tuple[float, float]] = {}
    for step in STEPS:
        for name, (slope, near) in _differences(case, parameter, step).items():
            change = abs(near / slope - 1.0)
            logger.info("%s by %s, step %g: %.9g, changed by %.1g", name, parameter, step, slope, change)
            if name not in best or change < best[name][0]:
                best[name] = (change, slope)
        if max(change for change, _ in best.values()) < SETTLED:
            break
    return {name: slope for name, (_, slope) in best.items()}


def _differences(case: Case, parameter: str, step: float) -> dict[str, tuple[float, float]]:
    """The derivative by Richardson's extrapolation of two central differences, and by the nearer of them alone."""
    value, ends = case.values[parameter], []
    for multiple in (1, -1, 2, -2):
        moved = dict(case.values) | {parameter: value * (1.0 + multiple * step)}
        with torch.no_grad():
            ends.append(case.evaluate(numbers(moved), How()))
    found = {}
    for name in case.objectives:
        near, far = (float(ends[k][name] - ends[k + 1][name]) / (k + 2) / (step * value) for k in (0, 2))
        found[name] = ((4.0 * near - far) / 3.0, near)
    return found


def case_rows(case: Case) -> list[Row]:
    """Returns the error of the worst parameter of each objective, and of each parameter."""
    started = time.perf_counter()
    reference = {parameter: differences(case, parameter) for parameter in case.values}
    found = [gradients(case, how) for how in HOW]
    spent = time.perf_counter() - started
    rows = []
    for objective in case.objectives:
        for (label, gate), slopes in zip(GATES, found, strict=True):
            for parameter in case.values:
                error = abs(slopes[objective][parameter] / reference[parameter][objective] - 1.0)
                name = f"{case.name}: d {objective} / d {parameter}, {label}"
                rows.append(below(name, error, gate, cells=case.cells, seconds=spent))
    return rows


def validations() -> list[Row]:
    """Returns the rows of all cases."""
    return [row for make in CASES for row in case_rows(make())]
