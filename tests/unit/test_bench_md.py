"""The benchmark of classical dynamics counts steps, and says which peer is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sponge.bench_md import cases, lammps, md, scaling


def test_it_measures_without_peers_and_calls_the_gates_untried(tmp_path: Path) -> None:
    report = md(only="argon_864,water", structures=str(tmp_path), threads=1, repeats=1, effort=0.005)
    argon, water = report.rows
    assert isinstance(argon.measured, float) and argon.measured > 0
    assert argon.ok is None and not report.complete
    assert water.measured is None and "OpenMM" in water.extra["missing"]


def test_lammps_rates_leave_out_the_first_run() -> None:
    printed = (
        "Performance: 1 ns/day, 2 hours/ns, 10.5 timesteps/s, 3\nPerformance: 1 ns/day, 2 hours/ns, 20.5 timesteps/s"
    )
    assert lammps.rates(printed) == [20.5]


def test_boxes_side_by_side_are_copies() -> None:
    rows = np.array([[0.0, 1.0, 2.5]])
    one = cases.argon(1) | {"bonds": rows, "exclusions": np.array([[0, 3]]), "forces": np.zeros((4, 3))}
    found = scaling.replicated(one, 2)
    assert len(found["positions"]) == len(found["masses"]) == 32 and "forces" not in found
    assert found["bonds"][[1, 7]].tolist() == [[4.0, 5.0, 2.5], [28.0, 29.0, 2.5]]
    assert found["exclusions"][1].tolist() == [4, 7]
    assert np.allclose(found["positions"][4:8] - one["positions"], [0.0, 0.0, cases.EDGE])
    assert np.allclose(found["cell"], 2 * cases.EDGE * np.eye(3))


def test_a_line_is_found_again() -> None:
    found = scaling.fitted([1000, 10_000, 100_000], [2e-3, 11e-3, 101e-3])
    assert found["ns an atom"] == pytest.approx(1000.0)
    assert found["start [us]"] == pytest.approx(1000.0)
    assert found["off the line"] < 1e-12 and found["exponent"] < 1.0
