"""The benchmark of points against a surface: its rows at a small size, and what it refuses."""

from __future__ import annotations

import pytest

from elec.bench_geometry import geometry
from mindsci.errors import InputError


def test_a_small_run_has_its_rows_and_no_gate():
    report = geometry(points=2000, triangles=300)
    assert [row.unit for row in report.rows] == ["s", *["Mpoints/s"] * 3]
    assert all(row.ok is None and float(row.measured) > 0 for row in report.rows)


def test_too_few_points_are_refused():
    with pytest.raises(InputError, match="use at least 1000 and 200"):
        geometry(points=10)
