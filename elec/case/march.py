"""The runs of a case: each drives one port until all are quiet, and gives one column of the scattering matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from elec.case.model import Model, prepare
from elec.case.tables import TimeTable
from elec.fdtd.step import YeeStep
from elec.fields import Fields
from elec.ports import Scattering, scattering_of
from mindsci.runs import chunks
from mindsci.solvers import rollout
from mindsci.tree import Tree

if TYPE_CHECKING:
    from elec.case.antenna import AntennaCase

CHUNK = 200
"""Steps between two looks at progress, decay and Ctrl-C."""


class Column(Tree):
    """What one run gave: a column of the scattering matrix."""

    records: Float[Tensor, "rows samples"]
    spectra: Float[Tensor, "2 f points"]
    n_steps: int
    rate: float | None = None
    """million cells a second"""


class Solution(Tree):
    """A case that has been run."""

    model: Model
    columns: tuple[Column, ...]
    scattering: Scattering


def march(model: Model, step: YeeStep, fields: Fields, done: int, limits: TimeTable) -> Iterator[tuple[Fields, int]]:
    """Yields the fields and the steps done, chunk by chunk, until the ports are quiet or the steps are used up.

    Raises InputError where the fields grow without bound.
    """
    for first, count in chunks(done, limits.n_steps, CHUNK):
        if model.is_quiet(fields.records, first, limits.decay):
            break
        model.check_finite(fields.records[:, :first])
        fields, _ = rollout(step, fields, n_steps=count, dt=model.dt, start=first)
        yield fields, first + count
    model.check_finite(fields.records)


def solve(case: AntennaCase, device: torch.device | str = "cpu") -> Solution:
    """Returns what the runs of a case give, without a folder."""
    model = prepare(case, device)
    columns = []
    for driven in range(len(model.ports)):
        step, done = model.step(driven), 0
        fields = step.start(case.time.n_steps)
        for now, count in march(model, step, fields, 0, case.time):
            fields, done = now, count
        columns.append(Column(records=fields.records, spectra=fields.spectra, n_steps=done))
    return Solution(model=model, columns=tuple(columns), scattering=scattering(case, model, columns))


def scattering(case: AntennaCase, model: Model, columns: Sequence[Column]) -> Scattering:
    """Returns the S-parameters at the case's frequencies, lumped ports against their resistances, lines against their
    characteristic impedances, other guides against their wave impedances."""
    band = case.frequencies
    frequencies = torch.linspace(band.start, band.stop, band.points, dtype=torch.float64)
    runs = []
    for driven, column in enumerate(columns):
        rows = model.rows(column.records[:, : column.n_steps].cpu())
        found = [
            port.waves(part, model.dt, frequencies, driven=index == driven)
            for index, (port, part) in enumerate(zip(model.ports, rows, strict=True))
        ]
        a, b = zip(*found, strict=True)
        runs.append((torch.stack(a, dim=1), torch.stack(b, dim=1)))
    impedance = [table.reference(port, frequencies) for table, port in zip(case.ports, model.ports, strict=True)]
    return Scattering(
        frequencies=frequencies,
        s=scattering_of(runs),
        impedance=torch.stack(impedance, dim=1).to(torch.complex128),
        beta=torch.stack([port.beta(frequencies) for port in model.ports], dim=1),
    )
