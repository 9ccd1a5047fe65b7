"""Antennas and circuits with published geometry, each on the automatic mesh as it stands: no case has a setting of its
own beyond its air.

Patch: 32 x 40 mm, the recorded run of openEMS: its resonance is the pole of the port's voltage, 2.4221 GHz with a Q of
20.1, and its directivity 6.79 dBi. Inverted-F: the minima of |S11| that MindElec publishes. Open stub: the notch of the
finite-element reference. The files of the cases are those of docs/examples; the figures do not depend on the parts of
them that say what to draw.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch

from elec.case import AntennaCase, Solution, solve
from elec.case.pattern import patterns
from elec.network import decibels, lowest
from elec.network import resonances as dips
from elec.observables.resonances import resonances
from elec.validation.inverted_f import PUBLISHED
from elec.validation.rows import Size, against, below, near, size
from mindsci.config import load_case
from mindsci.errors import InputError
from mindsci.report import Row

EXAMPLES = Path("docs/examples")
PATCH_POLE, PATCH_DIRECTIVITY = 2.4221, 6.79
"""[GHz], [dBi]: openEMS, Simple_Patch_Antenna, the run of 2026-07-11."""
NOTCH = 3.631
"""[GHz]: Palace, second order, 376,802 tetrahedra."""
PASSIVE = 1e-3
"""Allowance on the largest singular value of S."""
SKIPPED = 0.2
"""Share of the record that is left out before its poles are sought: the pulse must be over."""


def _solved(name: str, *overrides: str) -> tuple[AntennaCase, Solution, Size]:
    path = EXAMPLES / name
    if not path.exists():
        raise InputError(f"'{path}' is not there; run this from a checkout of mindsci")
    started = time.perf_counter()
    case: AntennaCase = load_case(path, list(overrides))  # type: ignore[assignment]
    made = solve(case)
    return case, made, size(made.model.grid, time.perf_counter() - started)


def patch() -> list[Row]:
    """Pole and directivity of the patch antenna, half of it solved."""
    case, made, spent = _solved("patch_antenna.toml", "fields.frequencies=[]")
    column, model = made.columns[0], made.model
    voltage = model.ports[0].port.voltage(column.records[0, : column.n_steps].cpu().to(torch.float64))
    ringing = voltage[round(SKIPPED * len(voltage)) :]
    pole = float(resonances(ringing, model.dt, (1.0e9, 3.5e9)).frequency[0])
    pattern = patterns(case, model, column, 0)[0]
    dip = dips(made.scattering.frequencies.numpy(), made.scattering.s[:, 0, 0].numpy())[0]
    return [
        against("patch, resonance", pole / 1e9, PATCH_POLE, percent=1.0, unit="GHz", **spent),
        against("patch, minimum of |S11|", dip.frequency / 1e9, 2.43, percent=1.0, unit="GHz", **spent),
        near("patch, directivity", pattern.directivity, PATCH_DIRECTIVITY, within=0.3, unit="dBi", **spent),
        below("patch, radiation efficiency", pattern.efficiency, 1.0, **spent),
    ]


def inverted_f() -> list[Row]:
    """The two minima of |S11| of the printed inverted-F antenna."""
    grid = 'grid={mode="auto", margin="12 mm"}'
    _, made, spent = _solved("inverted_f_antenna.toml", grid, "fields.frequencies=[]", 'time.decay="-50 dB"')
    found = dips(made.scattering.frequencies.numpy(), made.scattering.s[:, 0, 0].numpy())
    rows = []
    for number, published in enumerate(PUBLISHED):
        measured = found[number].frequency / 1e9 if number < len(found) else float("nan")
        rows.append(
            against(f"inverted-F, resonance {number + 1}", measured, published, percent=1.0, unit="GHz", **spent)
        )
    return rows


def notch() -> list[Row]:
    """The notch of |S21| of a microstrip line with an open stub, between two mode ports."""
    _, made, spent = _solved("microstrip_notch.toml", "fields.frequencies=[]")
    found = made.scattering
    transfer = decibels(found.s[:, 1, 0].numpy())
    place = lowest(found.frequencies.numpy(), transfer) / 1e9
    return [
        against("microstrip stub, notch", place, NOTCH, percent=2.0, unit="GHz", **spent),
        below("microstrip stub, |S21| in the notch", float(transfer.min()), -30.0, unit="dB", **spent),
        below("microstrip stub, largest singular value of S less one", found.passivity(), PASSIVE, **spent),
        below("microstrip stub, |S21 - S12|", found.reciprocity(), 1e-2, **spent),
    ]


def line_fed_patch() -> list[Row]:
    """Sheen's patch: no figure of its resonance is exact, but the one found must not depend on the grid."""
    found = []
    for across, rim in ((3, 1.5), (4, 2.0)):
        cells = (f"grid.cells_across={across}", f"grid.cells_at_rim={rim}")
        _, made, spent = _solved("sheen_patch.toml", *cells)
        found.append(dips(made.scattering.frequencies.numpy(), made.scattering.s[:, 0, 0].numpy())[0].frequency)
    shift = 100.0 * abs(found[1] / found[0] - 1.0)
    return [
        Row(case="Sheen's patch, operating resonance", measured=found[1] / 1e9, unit="GHz", extra={**spent}),
        below("Sheen's patch, shift of the resonance from a coarser grid", shift, 0.5, unit="%", **spent),
        below("Sheen's patch, largest |S11| less one", made.scattering.passivity(), PASSIVE, **spent),
    ]


def validations() -> list[Row]:
    """Returns the rows of all cases, two to three minutes on two cores."""
    return [*patch(), *inverted_f(), *notch(), *line_fed_patch()]
