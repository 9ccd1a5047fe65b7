"""MindElec's inverse scattering case: the labels that its authors publish, and the set-up that made them.

Source: mindspore-ai/mindscience, MindElec/examples/AD_FDTD/fdtd_inverse. Its absorbing layers are graded with the
fourth power, 1.5 times the usual conductivity, a stretch of up to 11 and no shift.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import torch
from jaxtyping import Float
from torch import Tensor

from elec.design.imaging import Imaging
from elec.fdtd import Gaussian
from mindsci.errors import InputError, StorageError
from mindsci.tree import Tree

ABSORBER = {"order": 4.0, "strength": 1.5, "scale": 11.0, "shift": 0.0}
STEPS = 350


def mindelec_pulse(frequency_max: float) -> Gaussian:
    """Returns exp(-((t - 4.5 w) / w)^2) with the width w = 0.5 / frequency_max [Hz]."""
    width = 0.5 / frequency_max
    return Gaussian.of_width(width / math.sqrt(2.0), delay=4.5 * width)


def mindelec_imaging(**changes: Any) -> Imaging:
    """Returns the set-up: 1 m by 1 m in cells of 10 mm, four sources, eight receivers, 40 x 40 unknown cells."""
    lines = (25, 50, 75)
    options: dict[str, Any] = {
        "cell": 1e-2,
        "cells": (100, 100),
        "low": (30, 30),
        "high": (70, 70),
        "sources": ((20, 50), (50, 20), (80, 50), (50, 80)),
        "receivers": tuple((i, j) for i in lines for j in lines if (i, j) != (50, 50)),
        "waveform": mindelec_pulse(1.4e9),
        "n_steps": STEPS,
        "absorber": ABSORBER,
    }
    return Imaging(**(options | changes))


class Labels(Tree):
    """Traces and the map that they belong to."""

    traces: Float[Tensor, "steps 4 8"]
    """Ez [V/m] after each step, by source and receiver"""
    permittivity: Float[Tensor, "100 100"]
    """relative"""


def read(paths: Mapping[str, Path], card: Any, *, n_steps: int = STEPS) -> Labels:
    """Returns the labels of the card's files, the first n_steps of the traces."""
    arrays = []
    for name in ("ez_labels.npy", "epsr_labels.npy"):
        try:
            arrays.append(torch.from_numpy(numpy.load(paths[name], allow_pickle=False)).to(torch.float64))
        except OSError as error:
            raise StorageError(f"cannot read '{paths[name]}': {error}") from None
        except ValueError as error:
            raise InputError(f"'{paths[name]}' is not a file of this data set ({error}); fetch it again") from None
    traces, permittivity = arrays
    if traces.shape[1:] != (4, 8) or permittivity.shape != (100, 100):
        raise InputError(
            f"the files of '{card.name}' hold arrays of shape {list(traces.shape)} and {list(permittivity.shape)}, "
            "not traces of 4 sources and 8 receivers and a map of 100 x 100; fetch them again"
        )
    if not 1 <= n_steps <= len(traces):
        raise InputError(f"n_steps = {n_steps}; the traces have {len(traces)} steps")
    return Labels(traces=traces[:n_steps], permittivity=permittivity)
