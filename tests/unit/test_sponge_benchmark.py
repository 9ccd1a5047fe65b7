"""The benchmark measures something, whatever it is."""

from __future__ import annotations

from sponge.bench_neighbors import neighbors
from sponge.benchmark import schnet_forces


def test_the_benchmark_reports_a_time_and_a_rate() -> None:
    report = schnet_forces(features=8, interactions=1, gaussians=8, molecules=2, repeats=2)
    assert [row.unit for row in report.rows] == ["ms", "steps/s"]
    assert all(row.measured > 0 for row in report.rows)


def test_the_neighbour_benchmark_counts_the_edges_of_each_size() -> None:
    report = neighbors(smallest=50, largest=200, repeats=1)
    assert [row.case for row in report.rows] == ["50 atoms", "158 atoms", "200 atoms"]
    assert all(row.measured > 0 and row.ok is not False for row in report.rows)
