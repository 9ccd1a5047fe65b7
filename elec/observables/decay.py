"""Runs that stop once the energy has left: any measure of what is still there, looked at between pieces of the loop."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from elec.fdtd.energy import held_energy
from elec.fdtd.media import BOX, Media
from elec.fdtd.walls import Walls
from elec.fields import Fields
from elec.grid import Grid
from mindsci.errors import InputError
from mindsci.runs import chunks
from mindsci.solvers import rollout
from mindsci.units import VACUUM_PERMEABILITY, VACUUM_PERMITTIVITY

if TYPE_CHECKING:
    from mindsci.distributed.halo import Slab

logger = logging.getLogger(__name__)

Measure = Callable[[Fields, int, int], float]
"""(fields, first, last) -> what is left after these steps, as a power or an energy"""


def field_energy(grid: Grid, media: Media, *, walls: Walls = BOX, slab: Slab | None = None) -> Measure:
    """Returns the measure of the energy in the fields and the media's poles [J], up to the half step between E and H.

    slab: the planes across x that media and fields are of; only what it owns counts.

    Raises InputError for poles of which it is not known what they hold (`elec.fdtd.energy.held_energy`).
    """
    widths = walls.widths(grid, images=False)
    low, high = (0, None) if slab is None else (slab.first, slab.end)
    edges, faces = (
        widths.volumes(magnetic=magnetic, low=(low, 0, 0), high=(high, None, None)).to(media.permittivity)
        for magnetic in (False, True)
    )
    if slab is not None:
        for volumes in (edges, faces):
            volumes[:, : slab.low - slab.first] = 0.0
            volumes[:, slab.high - slab.first :] = 0.0

    def measure(fields: Fields, first: int, last: int) -> float:
        electric = media.permittivity * fields.electric.abs() ** 2 * edges
        magnetic = media.permeability * fields.magnetic.abs() ** 2 * faces
        total = 0.5 * VACUUM_PERMITTIVITY * float(electric.sum()) + 0.5 * VACUUM_PERMEABILITY * float(magnetic.sum())
        for poles, field, current, volume in (
            (media.poles, fields.electric, fields.polarization, edges),
            (media.magnetic_poles, fields.magnetic, fields.magnetization, faces),
        ):
            if poles is not None:
                total += float((held_energy(poles, field, current) * volume[poles.index()]).sum())
        return total

    return measure


def record_level(fields: Fields, first: int, last: int) -> float:
    """The measure of the probes: the largest square of all records in these steps, each against its own peak.

    Records that hold rounding only, on a plane of symmetry, say, never decay; they are left out.
    """
    records = fields.records.detach()
    peak = records.abs().amax(dim=1)
    heard = peak > 16.0 * torch.finfo(peak.dtype).eps * peak.max()
    if not bool(heard.any()):
        return 0.0
    records, peak = records[heard], peak[heard]
    return float((records[:, first:last].abs().amax(dim=1) / peak).max()) ** 2


def pieces(
    step: Any,
    fields: Fields,
    *,
    dt: float,
    n_steps: int,
    quiet: Callable[[Fields, int, int], bool],
    every: int,
    done: int = 0,
) -> Iterator[tuple[Fields, int]]:
    """Yields the fields and the steps done, every so many steps, until n_steps are done or nothing is left.

    That is what quiet(fields, first, last) says of the last piece. A run that was stopped goes on from `done` with the
    same pieces.
    """
    if done and quiet(fields, max(0, done - every), done):
        return
    for first, count in chunks(done, n_steps, every):
        fields, _ = rollout(step, fields, n_steps=count, dt=dt, start=first)
        yield fields, first + count
        if quiet(fields, first, first + count):
            logger.info("quiet after %d of %d steps", first + count, n_steps)
            return


def run_until_decayed(
    step: Any,
    fields: Fields,
    *,
    dt: float,
    n_steps: int,
    measure: Measure,
    decay: float = 60.0,
    not_before: int = 0,
    every: int | None = None,
) -> tuple[Fields, int]:
    """Runs until what the measure sees lies `decay` [dB] below its highest, at most n_steps; returns steps taken too.

    Looked at every `every` steps (a fiftieth of the run unless given), and never before step `not_before`: the end of
    the pulse, or of its way to the probes. Through a run that stops no gradient should be taken with another length.
    """
    if decay <= 0 or n_steps < 1:
        raise InputError(f"decay = {decay:g} dB and n_steps = {n_steps} must be positive")
    highest, done = 0.0, 0

    def quiet(now: Fields, first: int, last: int) -> bool:
        nonlocal highest
        level = measure(now, first, last)
        highest = max(highest, level)
        return last >= not_before and highest > 0.0 and level <= highest * 10.0 ** (-decay / 10.0)

    piece = max(1, math.ceil(n_steps / 50)) if every is None else every
    for now, last in pieces(step, fields, dt=dt, n_steps=n_steps, quiet=quiet, every=piece):
        fields, done = now, last
    return fields, done
