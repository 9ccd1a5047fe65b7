"""The task "elec/antenna": CAD parts and a port in a case file, S-parameters and field pictures out."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from elec.grid import GridTable, ThreeLengths
from elec.materials import MaterialTable
from mindsci.config import Case, InputFile, Quantity, Table
from mindsci.errors import InputError

if TYPE_CHECKING:
    from elec.antenna import Antenna
    from elec.fields import Fields
    from mindsci.runs import Run

CHUNK = 200
"""Steps between two looks at progress, decay and Ctrl-C."""
SAVE_EVERY = 30.0
"""Seconds between two restart files."""


def _read_decibels(value: Any) -> float:
    found = re.fullmatch(r"\s*(-?\d+(?:\.\d*)?)\s*dB\s*", value) if isinstance(value, str) else None
    if found is None:
        raise InputError(f'{value!r} is not a level in dB; write it as "-50 dB"')
    return float(found.group(1))


Decibels = Annotated[float, BeforeValidator(_read_decibels), PlainSerializer(lambda value: f"{value:g} dB")]


class PartTable(Table):
    """One entry of `[[geometry.parts]]`."""

    file: InputFile
    material: str = "pec"
    kind: Literal["solid", "sheet"] = "solid"
    name: str | None = None
    unit: str | None = None
    """length unit of this file, where it differs from the geometry's"""


class GeometryTable(Table):
    """The table `[geometry]`."""

    parts: list[PartTable] = Field(min_length=1)
    unit: str | None = None
    """length unit of the STL, PLY, OBJ and OFF files; a STEP file records its own"""
    background: str = "vacuum"


class PortTable(Table):
    """The table `[port]`: a voltage source with an inner resistance, over a box of grid edges."""

    start: ThreeLengths
    stop: ThreeLengths
    direction: Literal["x", "y", "z"]
    resistance: Quantity("ohm") = "50 ohm"  # type: ignore[valid-type]


class ExcitationTable(Table):
    """The table `[excitation]`: a pulse without a DC part, 20 dB down at frequency_max."""

    frequency_max: Quantity("Hz")  # type: ignore[valid-type]
    amplitude: Quantity("V") = "1 V"  # type: ignore[valid-type]


class FrequencyTable(Table):
    """The table `[frequencies]`: where S-parameters are given."""

    start: Quantity("Hz")  # type: ignore[valid-type]
    stop: Quantity("Hz")  # type: ignore[valid-type]
    points: int = Field(default=501, ge=3)

    @model_validator(mode="after")
    def _in_order(self) -> FrequencyTable:
        if not 0 < self.start < self.stop:
            raise InputError(
                f"start = {self.start:g} Hz, stop = {self.stop:g} Hz: give 0 < start < stop (the pulse has no DC part)"
            )
        return self


class TimeTable(Table):
    """The table `[time]`: the step, and when to stop."""

    courant: float = Field(default=0.9, gt=0)
    """step as a fraction of the Courant limit"""
    step: Quantity("s") | None = None  # type: ignore[valid-type]
    """step itself; overrides courant"""
    n_steps: int = Field(default=20_000, ge=1)
    """most steps"""
    decay: Decibels = "-60 dB"  # type: ignore[assignment]
    """the run ends once the port's voltage has fallen this far below its peak"""

    @model_validator(mode="after")
    def _possible(self) -> TimeTable:
        if self.courant > 1.0 and self.step is None:
            raise InputError(f"courant = {self.courant:g} is above the Courant limit, 1; use at most 0.99")
        if self.decay >= 0:
            raise InputError(f"decay = {self.decay:g} dB must be negative; -50 dB is usual")
        return self


class FieldTable(Table):
    """The table `[fields]`: frequencies at which E is kept, and the layer of cells of the pictures."""

    frequencies: list[Quantity("Hz")] = []  # type: ignore[valid-type]
    """where the volume is kept and pictured; without any, the picture's layer near the resonances"""
    normal: Literal["x", "y", "z"] | None = None
    """normal of the plane; the thinnest direction of the parts unless given"""
    at: Quantity("m") | None = None  # type: ignore[valid-type]
    """position of the plane; the middle of the parts unless given"""


class AntennaCase(Case):
    """An antenna or a one-port circuit: S11 from its CAD parts by FDTD."""

    geometry: GeometryTable
    materials: dict[str, MaterialTable] = {}
    grid: GridTable
    port: PortTable
    excitation: ExcitationTable
    frequencies: FrequencyTable
    time: TimeTable = TimeTable()
    fields: FieldTable = FieldTable()
    engine: Literal["auto", "reference", "numba", "triton"] = "auto"
    precision: Literal["float32", "float64"] = "float32"

    @model_validator(mode="after")
    def _band(self) -> AntennaCase:
        highest = max([self.frequencies.stop, *self.fields.frequencies])
        if highest > 1.5 * self.excitation.frequency_max:
            raise InputError(
                f"frequencies up to {highest / 1e9:g} GHz are asked for, but the pulse ends at "
                f"frequency_max = {self.excitation.frequency_max / 1e9:g} GHz; raise excitation.frequency_max"
            )
        return self

    def run(self, run: Run) -> None:
        """Computes the fields and writes what is known of them into the run's folder."""
        from elec.antenna import prepare
        from elec.outputs import write_geometry, write_results

        antenna = prepare(self, run.device)
        for line in antenna.notes:
            run.log(line)
        write_geometry(run, antenna)
        fields, n_steps, rate = self._march(run, antenna)
        write_results(run, self, antenna, fields, n_steps, rate)

    def _march(self, run: Run, antenna: Antenna) -> tuple[Fields, int, float | None]:
        """Advances the fields until the port is quiet. Returns them, the steps taken, and million cells a second."""
        from mindsci import tree
        from mindsci.runs import chunks
        from mindsci.solvers import rollout

        fields, done = antenna.step.start(self.time.n_steps), 0
        stored = run.load_restart()
        if stored is not None:
            tensors, meta = stored
            fields, done = tree.with_named_leaves(fields, tensors), int(meta["step"])
            run.log(f"continuing at step {done}")
        saved, clock = time.monotonic(), _Clock(antenna.grid.n_cells)
        with run.progress(self.time.n_steps, "FDTD", done=done) as progress:
            for first, count in chunks(done, self.time.n_steps, CHUNK):
                record = fields.records[0]
                if antenna.is_quiet(record, first, self.time.decay):
                    break
                antenna.check_finite(record[:first])
                fields, _ = rollout(antenna.step, fields, n_steps=count, dt=antenna.dt, start=first)
                done = first + count
                rate = clock.rate(count)
                level = antenna.level(fields.records[0], done)
                progress.advance(count, **{"Mcells/s": rate or 0.0, "port dB": level})
                if run.stop_requested or time.monotonic() - saved > SAVE_EVERY:
                    run.save_restart(dict(tree.named_leaves(fields)), {"step": done})
                    saved = time.monotonic()
                if run.stop_requested:
                    run.stop()
        antenna.check_finite(fields.records[0, :done])
        run.save_restart(dict(tree.named_leaves(fields)), {"step": done})
        return fields, done, clock.rate(0)


class _Clock:
    """Million cells a second, the first chunk left out: it compiles the kernel."""

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self.steps = 0
        self.began: float | None = None

    def rate(self, steps: int) -> float | None:
        """Counts steps that have just been taken; None until there is something to go by."""
        if self.began is None:
            self.began = time.monotonic() if steps else None
            return None
        self.steps += steps
        return 1e-6 * self.cells * self.steps / max(time.monotonic() - self.began, 1e-9) if self.steps else None
