"""A sweep as a data set of reflection curves."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch

from elec.surrogates import read_sweep, split_sweep
from elec.surrogates.case import CurvesTable
from mindsci.config import validate
from mindsci.errors import InputError
from mindsci.sweep import Column, SweepData
from mindsci.sweep.data import write

FREQUENCY = numpy.linspace(1e9, 3e9, 5)
CURVES = -numpy.arange(50.0).reshape(10, 5)


def stored(path: Path, *, lengths: Column | None = None, axis: numpy.ndarray = FREQUENCY) -> Path:
    """A sweep of ten points over two parameters, the last of which failed."""
    finished = numpy.arange(10) < 9
    curves = numpy.where(finished[:, None], CURVES, numpy.nan)
    parameters = {
        "length": lengths or Column(values=numpy.linspace(28.0, 36.0, 10), unit="mm"),
        "feed": Column(values=numpy.linspace(9.0, 4.0, 10), unit="mm"),
    }
    pattern = {
        "theta": Column(values=numpy.zeros(3), unit="deg"),
        "gain": Column(values=numpy.zeros((10, 3)), unit="dBi"),
    }
    s11 = {"frequency": Column(values=axis, unit="Hz"), "|S11|": Column(values=curves, unit="dB")}
    tables = {"pattern_2_GHz": pattern, "s11": s11}
    write(path, SweepData(finished=finished, parameters=parameters, results={}, tables=tables))
    return path


def test_the_finished_points_are_designs_with_their_curves(tmp_path: Path) -> None:
    curves = read_sweep(stored(tmp_path / "sweep.h5"))
    assert len(curves) == 9
    assert curves.parameters[:, 0].tolist() == pytest.approx(numpy.linspace(28.0, 36.0, 10)[:9].tolist())
    assert torch.equal(curves.reflection, torch.as_tensor(CURVES[:9]).float())
    assert torch.equal(curves.frequency, torch.as_tensor(FREQUENCY))


def test_designs_are_divided_once_and_for_good(tmp_path: Path) -> None:
    path = stored(tmp_path / "sweep.h5")
    table = validate(CurvesTable, {"sweep": "sweep.h5", "test": 0.2, "validation": 0.2}, folder=tmp_path, source="x")
    splits, again = table.load(), table.load()
    sizes = [len(part) for part in (splits.train, splits.validation, splits.test)]
    assert sizes == [5, 2, 2]
    every = torch.cat([part.parameters[:, 0] for part in (splits.train, splits.validation, splits.test)])
    assert torch.equal(every.sort().values, read_sweep(path).parameters[:, 0])
    assert torch.equal(splits.test.parameters, again.test.parameters)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lengths": Column(values=numpy.array(["a"] * 10, dtype=object))}, "'length' are no numbers"),
        ({"lengths": Column(values=numpy.ones(10), unit="mm")}, "'length' has the same value"),
        ({"axis": numpy.ones((10, 5))}, "frequencies differ from point to point"),
    ],
)
def test_a_sweep_that_is_no_family_of_curves_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_sweep(stored(tmp_path / "sweep.h5", **change))


def test_shares_that_leave_nothing_and_other_files_are_refused(tmp_path: Path) -> None:
    curves = read_sweep(stored(tmp_path / "sweep.h5"))
    with pytest.raises(InputError, match="0 test, 4 validation of 9 finished points"):
        split_sweep(curves, validation=0.5, test=0.01, seed=0)
    with pytest.raises(OSError, match="is not there"):
        read_sweep(tmp_path / "none.h5")
    (tmp_path / "other.h5").write_text("text")
    with pytest.raises(InputError, match="is no file of a sweep"):
        read_sweep(tmp_path / "other.h5")
    with pytest.raises(InputError, match="give one of dataset"):
        validate(CurvesTable, {}, folder=tmp_path, source="x")
