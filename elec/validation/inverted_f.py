"""`mindsci validate inverted_f`: the printed antenna on three grids that are given cell by cell, metal ending on lines.

The group `antennas` solves the same antenna on the automatic mesh.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy import ndarray

from elec.case import solve
from elec.network import decibels, resonances
from mindsci.config import load_case
from mindsci.errors import InputError
from mindsci.report import Report, Row

PUBLISHED = (2.431, 5.735)
"""Minima of |S11| [GHz], digitised by MindElec (mindspore-ai/mindscience, AD_FDTD)."""
GRIDS = {"0.8 mm": ("0.8 mm", 0.262), "0.6 mm": ("0.6 mm", 0.197), "0.4 mm": ("0.4 mm", 0.158)}
"""Largest cell in the board's plane, and the cell through the board [mm]: three, four and five cells."""


def inverted_f(
    case: str = "docs/examples/inverted_f_antenna.toml", finest: str = "0.6 mm", reference: str = ""
) -> Report:
    """Returns the two resonances on successively finer grids, each against 2 % of the published ones.

    reference: a file of the published curve, frequency [GHz] and |S11| [dB] separated by commas; with it, the mean
    difference over 1 to 9 GHz is reported too.
    """
    if finest not in GRIDS:
        raise InputError(f"--finest '{finest}': choose one of {', '.join(GRIDS)}")
    if not Path(case).exists():
        raise InputError(f"--case '{case}' is not there; run this from a checkout of mindsci, or name the case file")
    rows = []
    for name in list(GRIDS)[: list(GRIDS).index(finest) + 1]:
        cell, through = GRIDS[name]
        loaded = load_case(case, [f'grid.cell=["{cell}", "{cell}", "{through} mm"]', 'fields.frequencies=["1 GHz"]'])
        made = solve(loaded)  # type: ignore[arg-type]
        frequencies, reflection = made.scattering.frequencies.numpy(), made.scattering.s[:, 0, 0].numpy()
        note = {"cells": made.model.grid.n_cells, "steps": made.columns[0].n_steps}
        rows += _rows(name, frequencies, reflection, note, reference)
    return Report(name="inverted_f", rows=rows)


def _rows(name: str, frequencies: ndarray, reflection: ndarray, note: dict[str, int], reference: str) -> list[Row]:
    found = resonances(frequencies, reflection)
    rows = []
    for number, published in enumerate(PUBLISHED):
        if number >= len(found):
            rows.append(Row(case=f"cells of {name}: resonance {number + 1}", measured=None, ok=False, gate="2 %"))
            continue
        measured = found[number].frequency / 1e9
        error = 100 * (measured / published - 1)
        extra = {"error %": error, "|S11| dB": found[number].level} | note
        rows.append(
            Row(
                case=f"cells of {name}: resonance {number + 1}",
                measured=measured,
                unit="GHz",
                reference=published,
                gate="2 %",
                ok=abs(error) <= 2.0,
                extra=extra,
            )
        )
    if reference:
        curve = np.loadtxt(reference, delimiter=",")
        curve = curve[(curve[:, 0] > 1) & (curve[:, 0] < 9)]
        level = np.interp(curve[:, 0], frequencies / 1e9, decibels(reflection))
        difference = float(np.abs(level - curve[:, 1]).mean())
        rows.append(
            Row(
                case=f"cells of {name}: mean |S11| difference",
                measured=difference,
                unit="dB",
                gate="< 1.5 dB",
                ok=difference < 1.5,
            )
        )
    return rows
