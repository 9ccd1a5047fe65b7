"""`mindsci validate potentials`: what is missing or trained on other data was not run, and never counts as met."""

from __future__ import annotations

from pathlib import Path

import pytest

from mindsci.errors import InputError
from sponge import validate_potentials
from sponge.validate_potentials import Paper, potentials


def test_a_model_that_is_not_shipped_was_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    paper = Paper(data="rmd17_ethanol", energy=1.0, force=1.0, source="made up")
    monkeypatch.setattr(validate_potentials, "SHIPPED", {"not_there": paper})
    report = potentials(only="not_there")
    assert [row.ok for row in report.rows] == [None, None, None]
    assert not report.complete
    with pytest.raises(InputError, match="no shipped potential"):
        potentials(only="nor_this")


@pytest.mark.data
def test_a_model_of_other_labels_is_not_held_against_the_paper(
    data_mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper = Paper(data="rmd17_ethanol", energy=9.0, force=9.0, source="made up")
    monkeypatch.setattr(validate_potentials, "SHIPPED", {"schnet_ethanol": paper})
    report = potentials(only="schnet_ethanol")
    assert {row.ok for row in report.rows if "paper" in row.case} == {None}
    assert all(row.ok for row in report.rows if "card" in row.case)
