"""`mindsci validate md`: what can be run is judged, what cannot says why."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from mindsci.errors import InputError
from sponge.validation import md
from sponge.validation.derivatives import derivative


def test_without_the_data_nothing_is_judged(tmp_path: Path) -> None:
    report = md(only="nist,references,solvent,derivatives,openmm,glycopeptide", data=str(tmp_path))
    assert report.ok and not report.complete
    assert all(row.ok is None and "lacks" in row.extra["not run"] for row in report.rows)


def test_without_a_mirror_the_crystals_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINDSCI_MIRROR", raising=False)
    report = md(only="lattices")
    judged = [row for row in report.rows if row.ok is not None]
    assert len(judged) == 6 and all(row.ok for row in judged) and not report.complete


def test_a_part_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"--only nits.*nist"):
        md(only="nits")
    with pytest.raises(InputError, match="is not a folder"):
        md(data="/no/such/folder")


def test_differences_are_of_the_fourth_order() -> None:
    assert derivative(lambda x: 1.0 + 2.0 * x - x**2 + x**3 - x**4, 0.1) == pytest.approx(2.0, rel=1e-12)


@pytest.mark.data
def test_without_openmm_its_gates_are_not_tried(data_mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    report = md(only="openmm")
    assert report.ok and not report.complete
    with pytest.raises(InputError, match=r"--peer-python /no/python does not run"):
        md(only="openmm", peer_python="/no/python")


@pytest.mark.data
def test_molecules_have_the_terms_that_other_programs_print(data_mirror: Path) -> None:
    report = md(only="references")
    assert report.complete
    assert [row.case for row in report.rows if not row.ok] == []
