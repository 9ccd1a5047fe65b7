"""The benchmark of classical dynamics counts steps, and says which peer is missing."""

from __future__ import annotations

from pathlib import Path

from sponge.bench_md import lammps, md


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
