"""The runs of a case: each drives one port until all are quiet, and gives one column of the scattering matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from elec.case.model import Model, prepare
from elec.fields import Fields
from elec.ports import Scattering, rung_out, scattering_of, waves_of
from elec.ports.scattering import BAND_EDGE
from mindsci.tree import Tree

if TYPE_CHECKING:
    from elec.case.antenna import AntennaCase


class Column(Tree):
    """What one run gave: a column of the scattering matrix."""

    driven: int
    """number of the port, from 0"""
    records: Float[Tensor, "rows samples"]
    """of the steps that were run, or continued beyond them"""
    spectra: Float[Tensor, "2 f points"]
    n_steps: int
    rate: float | None = None
    """million cells a second"""


class Solution(Tree):
    """A case that has been run."""

    model: Model
    columns: tuple[Column, ...]
    scattering: Scattering


def column_of(case: AntennaCase, model: Model, driven: int, fields: Fields, done: int) -> tuple[Column, float | None]:
    """Returns what a run of `done` steps gave, and how well its records could be foretold where they are continued.

    They are where the case asks for it and they still ring.
    """
    records, foretold = fields.records[:, :done], None
    if case.time.ring_out and model.level(records, done) > case.time.decay:
        top = BAND_EDGE * case.frequencies.stop
        records, foretold = rung_out(
            model.ports, records.cpu().to(torch.float64), model.dt, frequency_max=top, decay=case.time.decay
        )
    return Column(driven=driven, records=records, spectra=fields.spectra, n_steps=done), foretold


def solve(case: AntennaCase, device: torch.device | str = "cpu") -> Solution:
    """Returns what the runs of a case give, without a folder."""
    model = prepare(case, device)
    columns = []
    for driven in case.driven:
        step = model.step(driven)
        fields, done = step.start(case.time.n_steps), 0
        for now, count in model.march(step, fields, case.time):
            fields, done = now, count
        columns.append(column_of(case, model, driven, fields, done)[0])
    return Solution(model=model, columns=tuple(columns), scattering=scattering(case, model, columns))


def scattering(case: AntennaCase, model: Model, columns: Sequence[Column]) -> Scattering:
    """Returns the S-parameters at the case's frequencies, lumped ports against their resistances, lines against their
    characteristic impedances, other guides against their wave impedances."""
    band = case.frequencies
    frequencies = torch.linspace(band.start, band.stop, band.points, dtype=torch.float64)
    runs = [waves_of(model.ports, column.records.cpu(), model.dt, frequencies, column.driven) for column in columns]
    impedance = [table.reference(port, frequencies) for table, port in zip(case.ports, model.ports, strict=True)]
    return Scattering(
        frequencies=frequencies,
        s=scattering_of(runs, [column.driven for column in columns]),
        impedance=torch.stack(impedance, dim=1).to(torch.complex128),
        beta=torch.stack([port.beta(frequencies) for port in model.ports], dim=1),
        names=case.port_names,
    )
