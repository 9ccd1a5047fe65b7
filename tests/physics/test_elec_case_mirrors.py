"""A dipole cut by a mirror is the dipole: impedance, directivity, gain and efficiency.

A square rod of metal, 60 mm long and 4 mm thick, fed over a gap of 4 mm by a block of columns of edges. The lines of
each half are those of the whole, so that its scheme is that of the whole by symmetry: what differs is single precision
and the rounding of the mesh; 0.01 in S11 and 0.05 dB leave room for those. With z = 0 a conductor the half has half the
impedance, and half the resistance in its port, so that S11 is the same; with x = 0 a magnetic wall the port is written
with its whole resistance. No loss: the radiated power is the accepted one, to what the surface and the cut records
leave out, 2 %.
"""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from elec.case import AntennaCase, Solution, solve
from elec.case.pattern import Pattern, patterns
from mindsci.config import validate


@functools.cache
def dipole(mirror: str) -> tuple[Solution, Pattern]:
    x, z = (0 if mirror == "pmc" else -2), (0 if mirror == "pec" else -2)
    # Two boxes side by side: the mesh of the whole has the lines of the half.
    arms = [
        {"name": f"arm {i} {j}", "box": {"low": f"{i}, -2, {j} mm", "high": f"{i + 2}, 2, {j + 28} mm"}}
        for i in ((0,) if mirror == "pmc" else (-2, 0))
        for j in ((2,) if mirror == "pec" else (-30, 2))
    ]
    extent = {"x": f"{-26 if x else 0}, 26 mm", "y": "-26, 26 mm", "z": f"{-54 if z else 0}, 54 mm"}
    boundaries = {"pmc": {"x": ["pmc", "absorbing"]}, "pec": {"z": ["pec", "absorbing"]}}
    table = {
        "task": "elec/antenna",
        "geometry": {"parts": arms},
        "grid": {
            "mode": "auto", "extent": extent, "cells_per_wavelength": 10, "cells_across": 2, "absorber_cells": 6,
            "smallest_cell": "0.5 mm",
        },
        "boundaries": boundaries.get(mirror, {}),
        "ports": [
            {
                "start": f"{x}, -2, {z} mm", "stop": "2, 2, 2 mm", "direction": "z",
                "resistance": "36 ohm" if mirror == "pec" else "72 ohm",
            }
        ],
        "excitation": {"frequency_max": "4 GHz"},
        "frequencies": {"start": "1.5 GHz", "stop": "3 GHz", "points": 16},
        "time": {"n_steps": 2500, "decay": "-50 dB"},
        "far_field": {"frequencies": ["2.2 GHz"], "pec": "mirror"},
    }  # fmt: skip
    case: AntennaCase = validate(AntennaCase, table, folder=Path(), source="dipole")
    found = solve(case)
    return found, patterns(case, found.model, found.columns[0], 0)[0]


@pytest.mark.parametrize("mirror", ["pec", "pmc"])
def test_half_a_dipole_on_a_mirror_is_the_whole_dipole(mirror: str) -> None:
    (half, part), (whole, all_) = dipole(mirror), dipole("none")
    assert half.model.grid.n_cells < 0.7 * whole.model.grid.n_cells
    assert float((half.scattering.s - whole.scattering.s).abs().max()) < 0.01
    assert part.directivity == pytest.approx(all_.directivity, abs=0.05)
    assert part.gain == pytest.approx(all_.gain, abs=0.05)
    assert part.realised_gain == pytest.approx(all_.realised_gain, abs=0.05)
    assert part.efficiency == pytest.approx(1.0, abs=0.02)
