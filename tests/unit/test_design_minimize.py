"""The search: what it finds, its bounds, and that a stopped one goes on to the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from elec.design import minimize
from elec.design.minimize import METHODS
from mindsci.errors import InputError, UnknownNameError
from mindsci.runs import Interrupted
from mindsci.train.workspace import Quiet

START = {"x": torch.zeros(4, dtype=torch.float64)}


def valley(parameters: dict[str, Tensor]) -> Tensor:
    """Rosenbrock's function: least at x = 1, where it is 0."""
    x = parameters["x"]
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def test_lbfgs_finds_the_bottom_of_a_valley() -> None:
    found = minimize(valley, START, evaluations=80)
    assert found.value < 1e-12
    torch.testing.assert_close(found.parameters["x"], torch.ones(4, dtype=torch.float64))


def test_adam_goes_down_through_the_trainer() -> None:
    found = minimize(valley, START, method="adam", evaluations=40, learning_rate=0.05)
    assert found.value < 1.5 < found.values[0] and found.evaluations == 40


@pytest.mark.parametrize("method", METHODS)
def test_bounds_hold_and_no_evaluation_is_made_beyond_the_number_asked_for(method: str) -> None:
    count = 0

    def counted(parameters: dict[str, Tensor]) -> Tensor:
        nonlocal count
        count += 1
        assert float(parameters["x"].detach().max()) <= 0.5
        return valley(parameters)

    found = minimize(counted, START, method=method, evaluations=13, bounds=(None, 0.5), learning_rate=0.3)
    assert count == found.evaluations == 13
    assert found.value == min(found.values)
    assert float(valley(found.parameters)) == pytest.approx(found.value)


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_search_keeps_its_best_and_goes_on_to_the_same_bits(method: str, tmp_path: Path) -> None:
    left = 8

    def stopped(parameters: dict[str, Tensor]) -> Tensor:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return valley(parameters)

    whole = minimize(valley, START, method=method, evaluations=15)
    first = minimize(stopped, START, method=method, evaluations=15, run=Quiet(tmp_path))
    assert first.reason == "interrupted" and first.values == whole.values[:8]
    second = minimize(valley, START, method=method, evaluations=15, run=Quiet(tmp_path, resuming=True))
    assert second.values == whole.values
    assert torch.equal(second.parameters["x"], whole.parameters["x"])


def test_a_request_to_stop_leaves_a_record_from_which_nothing_is_computed_again(tmp_path: Path) -> None:
    run = Quiet(tmp_path)

    def stopping(parameters: dict[str, Tensor]) -> Tensor:
        run.stop_requested = True
        return valley(parameters)

    with pytest.raises(Interrupted):
        minimize(stopping, START, evaluations=5, run=run)

    def never(parameters: dict[str, Tensor]) -> Tensor:
        raise AssertionError("this evaluation is in the record")

    assert minimize(never, START, evaluations=1, run=Quiet(tmp_path, resuming=True)).evaluations == 1


def test_a_folder_with_another_search_is_refused(tmp_path: Path) -> None:
    minimize(valley, START, evaluations=3, run=Quiet(tmp_path))
    with pytest.raises(InputError, match="another search"):
        minimize(valley, START, evaluations=3, run=Quiet(tmp_path))
    with pytest.raises(InputError, match="other parameters"):
        minimize(valley, {"x": START["x"] + 1.0}, evaluations=3, run=Quiet(tmp_path, resuming=True))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(UnknownNameError, match="l-bfgs-b"):
        minimize(valley, START, method="lbfgs")
    with pytest.raises(InputError, match="wrong order"):
        minimize(valley, START, bounds=(1.0, 0.0))


def test_an_objective_that_forgets_its_parameters_is_refused() -> None:
    with pytest.raises(InputError, match="does not depend on its parameters"):
        minimize(lambda p: p.detach().sum(), torch.ones(2, dtype=torch.float64))
