"""The benchmark measures something, whatever it is."""

from __future__ import annotations

from sponge.benchmark import schnet_forces


def test_the_benchmark_reports_a_time_and_a_rate() -> None:
    report = schnet_forces(features=8, interactions=1, gaussians=8, molecules=2, repeats=2)
    assert [row.unit for row in report.rows] == ["ms", "steps/s"]
    assert all(row.measured > 0 for row in report.rows)
