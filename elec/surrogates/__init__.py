"""Learned models that answer for a solver: reflection of a family of designs over frequency."""

from __future__ import annotations

from elec.surrogates.curves import Curves, CurveSplits
from elec.surrogates.dense import DenseReflection, SeriesReflection
from elec.surrogates.rational import RationalReflection
from elec.surrogates.surrogate import Surrogate, load_surrogate
from elec.surrogates.swept import read_sweep, split_sweep

__all__ = [
    "CurveSplits",
    "Curves",
    "DenseReflection",
    "RationalReflection",
    "SeriesReflection",
    "Surrogate",
    "load_surrogate",
    "read_sweep",
    "split_sweep",
]
