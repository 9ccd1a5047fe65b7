"""Field sources through a case file end on what theory says of them.

Plane wave: monostatic and scattering cross-sections of a conducting sphere against the Mie series, a quarter of it
between an electric and a magnetic wall, 14 cells a radius: the conformal scheme is within 0.1 dB there (a third of the
project's gate of 0.3 dB, for k a of 2.5 at most).

Dipole: directivity 3/2 and power eta (k I l)^2 / (12 pi) [Balanis2016, sec. 4.2]. The scheme is second order: with N
cells a wavelength the power is off by about 4 / N^2, and no more than twice that is allowed. The dipole lies off the
lines, so that eight edges share it, and turned from the axes.

Beam: the width sqrt(2 <r^2>) of |E|^2, taken over the section of the grid, is that of the beam's angular spectrum in
the continuum (`GaussianBeam.field`, tested on its own) at the focus and a Rayleigh length on. At 12 cells a wavelength
the scheme's k is off by up to (pi / 12)^2 / 6 = 1.1 %, and so is the far width; the sheet's rim may add as much again.
A continuous wave must give that too.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from elec.case import FieldsCase, cross_sections, profiles, radiated, solve_sources
from elec.case.source_model import SourceModel
from elec.validation.mie import efficiencies
from mindsci.config import validate
from mindsci.units import SPEED_OF_LIGHT, VACUUM_IMPEDANCE


def case_of(table: dict[str, Any]) -> FieldsCase:
    return validate(FieldsCase, {"task": "elec/fields", **table}, folder=Path(), source="sources")


def test_cross_sections_of_a_sphere_are_those_of_mie() -> None:
    radius, sizes = 0.05, [1.0, 2.0, 2.5]
    frequencies = [x * SPEED_OF_LIGHT / (2.0 * math.pi * radius) for x in sizes]
    case = case_of(
        {
            "geometry": {"parts": [{"name": "sphere", "sphere": {"center": "0 mm", "radius": "50 mm"}}]},
            "grid": {
                "mode": "auto", "cells_per_wavelength": 32,
                "extent": {"x": "0, 76 mm", "y": "0, 76 mm", "z": "-76, 76 mm"},
            },
            "boundaries": {"x": ["pec", "absorbing"], "y": ["pmc", "absorbing"]},
            "sources": [{"kind": "plane_wave", "direction": "+z", "polarisation": "x", "amplitude": "3 V/m"}],
            "excitation": {"frequency_max": "2.6 GHz"},
            "time": {"n_steps": 2000},
            "far_field": {"frequencies": [f"{f} Hz" for f in frequencies], "pec": "mirror"},
        }
    )  # fmt: skip
    model, sums = solve_sources(case)
    found = cross_sections(case, model, sums.unpacked(case, model))
    for x, one in zip(sizes, found, strict=True):
        exact = efficiencies(x, None)
        area = math.pi * radius**2
        assert abs(10.0 * math.log10(one.back / (exact["back"] * area))) < 0.1
        assert one.scattering == pytest.approx(exact["scattering"] * area, rel=0.02)


def test_a_short_dipole_between_the_lines_has_its_directivity_and_power() -> None:
    frequency, cells = 3e9, 18.0
    case = case_of(
        {
            "grid": {
                "mode": "auto", "cells_per_wavelength": cells, "absorber_cells": 8,
                "extent": {axis: "-35, 35 mm" for axis in "xyz"},
            },
            "sources": [{"kind": "dipole", "position": "0 mm", "direction": [1, 2, 2], "amplitude": "2 A m"}],
            "excitation": {"frequency_max": "3 GHz"},
            "time": {"n_steps": 600},
            "far_field": {"frequencies": ["3 GHz"]},
        }
    )  # fmt: skip
    model, sums = solve_sources(case)
    (one,) = radiated(case, model, sums.unpacked(case, model))
    power = VACUUM_IMPEDANCE * (2.0 * 2.0 * math.pi * frequency / SPEED_OF_LIGHT) ** 2 / (12.0 * math.pi)
    assert one.power == pytest.approx(power, rel=8.0 / cells**2)
    assert 10.0 ** (0.1 * one.pattern.directivity) == pytest.approx(1.5, rel=8.0 / cells**2)


@functools.cache
def beam(waveform: str) -> tuple[FieldsCase, SourceModel, Any]:
    """A quarter of a beam of waist one wavelength, 30 mm, from a sheet two wavelengths before the focus."""
    signal = {"frequency_min": "8 GHz", "frequency_max": "12 GHz"} if waveform == "pulse" else {"frequency": "10 GHz"}
    case = case_of(
        {
            "grid": {
                "mode": "auto", "cells_per_wavelength": 10 if waveform == "pulse" else 12, "absorber_cells": 8,
                "extent": {"x": "0, 90 mm", "y": "0, 90 mm", "z": "-24, 100 mm"},
            },
            "boundaries": {"x": ["pec", "absorbing"], "y": ["pmc", "absorbing"]},
            "sources": [
                {
                    "kind": "gaussian_beam", "waist": "30 mm", "focus": "0 mm", "direction": "+z", "polarisation": "x",
                    "amplitude": "2 V/m",
                }
            ],
            "excitation": {"waveform": waveform} | signal,
            "time": {"n_steps": 900, "decay": "-50 dB"},
            "fields": {"frequencies": ["10 GHz"]},
        }
    )  # fmt: skip
    model, sums = solve_sources(case)
    return case, model, sums


def exact_width(model: SourceModel, distance: float) -> float:
    """Of the beam in the continuum, summed over the centres of the cells of the fields' box."""
    box = model.setting.monitors.boxes[0]
    x, y = (model.grid.centers(axis)[box.low[axis] : box.high[axis] - 1] for axis in (0, 1))
    points = torch.cartesian_prod(x, y, torch.tensor([distance], dtype=torch.float64))
    intensity = model.sources[0].beam.field(points, 10e9).abs().square().sum(1)
    return math.sqrt(2.0 * float((intensity * points[:, :2].square().sum(1)).sum() / intensity.sum()))


@pytest.mark.parametrize("waveform", ["pulse", "cw"])
def test_a_beam_is_as_wide_at_its_focus_and_a_rayleigh_length_on_as_its_spectrum_says(waveform: str) -> None:
    case, model, sums = beam(waveform)
    boxes = sums.unpacked(case, model)
    (profile,) = profiles(case, model, model.sources[0], boxes)
    for at in (0.0, model.sources[0].beam.rayleigh_length(10e9)):
        place = abs(profile.distance - at).argmin()
        assert profile.radius[place] == pytest.approx(exact_width(model, float(profile.distance[place])), rel=0.023)
    # The field at the focus is the amplitude.
    low, z = model.setting.monitors.boxes[0].low, model.grid.z
    middle = int((z - 0.0).abs().argmin()) - low[2]
    assert float(boxes[0][0, 0, 0, 0, middle].abs()) == pytest.approx(2.0, rel=0.02)


def test_a_continuous_wave_repeats_itself_before_its_steps_are_used_up() -> None:
    case, model, sums = beam("cw")
    assert sums.level < case.time.decay and sums.steps[1] < case.time.n_steps
    assert (sums.steps[1] - sums.steps[0]) % model.setting.monitors.every == 0
    period = 1.0 / (10e9 * model.setting.dt)
    assert period == pytest.approx(round(period))
    assert torch.isfinite(sums.spectra).all()
