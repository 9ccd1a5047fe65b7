"""Reflection curves of the points of a sweep: what `mindsci sweep` writes is a data set to train on."""

from __future__ import annotations

from pathlib import Path

import numpy
import torch

from elec.surrogates.curves import Curves, CurveSplits
from mindsci.errors import InputError
from mindsci.sweep import SweepData, read
from mindsci.train.indices import set_aside

REFLECTION = "|S11|"


def read_sweep(path: Path | str, dtype: torch.dtype = torch.float32) -> Curves:
    """Returns |S11| of the finished points of a sweep.h5; the parameters are in the units of the sweep, in its order.

    Raises InputError where the sweep has no such curves, a parameter is no number or does not vary, or the frequencies
    differ from point to point.
    """
    data = read(path)
    words = [name for name, column in data.parameters.items() if not column.numeric]
    if words:
        raise InputError(f"'{path}': the values of '{words[0]}' are no numbers; sweep each of them on its own")
    parameters = numpy.stack([column.values for column in data.parameters.values()], axis=1)
    for name, values in zip(data.parameters, parameters.T, strict=True):
        if not (values != values[0]).any():
            raise InputError(f"'{path}': '{name}' has the same value in all points; leave it out of the sweep")
    frequency, reflection = _curves(data, path)
    known = data.finished & numpy.isfinite(reflection).all(axis=1)
    if not known.any():
        raise InputError(f"'{path}': no point is finished; continue the sweep with --resume")
    return Curves(
        parameters=torch.as_tensor(parameters[known]).to(dtype),
        frequency=torch.as_tensor(frequency),
        reflection=torch.as_tensor(reflection[known]).to(dtype),
    )


def split_sweep(curves: Curves, *, validation: float, test: float, seed: int) -> CurveSplits:
    """Returns the designs drawn by a seed into those that train, and shares that validate and test."""
    count = len(curves)
    others = {"test": round(test * count), "validation": round(validation * count)}
    if min(others.values()) < 1 or sum(others.values()) >= count:
        told = ", ".join(f"{number} {name}" for name, number in others.items())
        raise InputError(f"{told} of {count} finished points; run more points, or choose other shares in [data]")
    kept, tested = set_aside(count, others["test"], seed, "test")
    train, validated = set_aside(len(kept), others["validation"], seed + 1)
    chosen = {"train": kept[train], "validation": kept[validated], "test": tested}
    return CurveSplits(**{name: curves.select(designs) for name, designs in chosen.items()})


def _curves(data: SweepData, path: Path | str) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Frequencies [Hz] and |S11| [dB] of all points."""
    for name, columns in data.tables.items():
        label, axis = data.axis(name)
        if label != "frequency" or REFLECTION not in columns:
            continue
        if axis.values.ndim != 1:
            raise InputError(f"'{path}': the frequencies differ from point to point; give all the same [frequencies]")
        return axis.values, columns[REFLECTION].values
    raise InputError(
        f"'{path}' has no {REFLECTION} over frequency that all points share; sweep a case of task \"elec/antenna\""
    )
