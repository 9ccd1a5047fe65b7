"""From a case of ports to its model: the ports in their media and the step of each run; every check before the run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from elec.case.ports import all_stations
from elec.case.setting import Drive, Setting, as_lines, check_room, media_of, set_out, time_note, tried
from elec.case.tables import TimeTable
from elec.fdtd.absorber import absorbing_layers
from elec.fdtd.media import Media, in_precision
from elec.fdtd.probes import Monitors
from elec.fdtd.step import YeeStep, engine_note, yee_step
from elec.fdtd.walls import Walls
from elec.fields import Fields
from elec.geometry import Scene
from elec.grid import Grid
from elec.mesh import Mesh
from elec.observables import Surface
from elec.ports.ringing import level, march, rows_of
from elec.preflight import Finding, check_lumped_box, error
from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree

if TYPE_CHECKING:
    from elec.case.antenna import AntennaCase

COMB = 40
"""Frequencies at which the plane's fields are summed when the case names none: the resonances are not known before."""


class Model(Tree):
    """All that the runs of a case need, checked."""

    scene: Scene
    mesh: Mesh
    walls: Walls
    media: Media
    ports: tuple[Any, ...]
    """placed ports, in the order of the case"""
    monitors: Monitors
    """the box of the pictures, then those of the far field's surface"""
    surface: Surface | None
    dt: float
    """[s]"""
    plane: tuple[int, int]
    """normal axis of the picture, and its cell along that axis"""
    duration: float
    """of the pulse [s]"""
    engine: str
    notes: tuple[str, ...]

    @property
    def grid(self) -> Grid:
        return self.mesh.grid

    def step(self, driven: int = 0) -> YeeStep:
        """Returns the step of the run in which one port is driven."""
        return yee_step(
            self.grid,
            self.media,
            absorber=absorbing_layers(self.grid),
            walls=self.walls,
            sources=self.ports[driven].sources,
            probes=[port.probes for port in self.ports],
            monitors=self.monitors,
            engine=self.engine,
        )

    def rows(self, records: Tensor) -> list[Tensor]:
        """Returns the rows of the records [rows, samples] that belong to each port."""
        return rows_of(self.ports, records)

    def level(self, records: Tensor, done: int) -> float:
        """Returns how far what the ports record of late lies below its peak [dB], at the loudest kind of port."""
        return level(self.ports, records, done, self.dt)

    def march(self, step: Any, fields: Fields, limits: TimeTable, done: int = 0) -> Iterator[tuple[Fields, int]]:
        """Yields the fields and the steps done, piece by piece, until the ports are quiet or the steps are used up."""
        return march(step, self.ports, fields, dt=self.dt, n_steps=limits.n_steps, decay=limits.decay, done=done)

    def in_media(self, media: Media) -> Model:
        """Returns the model with other media, such as those that one process of several keeps."""
        return tree.replace(self, media=media, ports=tuple(tree.replace(port, media=media) for port in self.ports))


def prepare(case: AntennaCase, device: torch.device | str = "cpu") -> Model:
    """Returns the model of a case. Raises InputError with the fix for anything that cannot work."""
    model, findings = assemble(case, device)
    faults = [finding.text for finding in findings if finding.severity == "error"]
    if faults or model is None:
        raise InputError("\n".join(faults))
    return model


def assemble(case: AntennaCase, device: torch.device | str = "cpu") -> tuple[Model | None, list[Finding]]:
    """Returns the model, or None where a port does not fit, and what is to be said about it before a run."""
    findings: list[Finding] = []
    waveform, band = case.excitation.waveform(), case.frequencies
    drive = Drive(
        frequency_max=case.excitation.frequency_max,
        duration=waveform.duration,
        band=(band.start, band.stop),
        comb=tuple(torch.linspace(band.start, band.stop, COMB, dtype=torch.float64).tolist()),
        stations=tuple(tuple(axis) for axis in all_stations([*case.ports, *case.elements])),
    )
    setting = set_out(case, drive, findings)
    if faults := check_room(case, setting, device):
        return None, [*findings, *faults]
    placed, media = _placed(case, setting, media_of(case, setting, findings), waveform, findings)
    pulse = f"pulse up to {drive.frequency_max / 1e9:g} GHz, {drive.duration * 1e9:.3g} ns long"
    findings += [time_note(case, setting), Finding(severity="note", text=pulse)]
    if placed is None:
        return None, findings
    model = Model(
        scene=setting.scene,
        mesh=setting.mesh,
        walls=setting.walls,
        media=tree.to(in_precision(media, getattr(torch, case.precision)), device=device),
        ports=placed,
        monitors=setting.monitors,
        surface=setting.surface,
        dt=setting.dt,
        plane=setting.plane,
        duration=waveform.duration,
        engine=case.engine,
        notes=(),
    )
    for driven in range(len(placed)):  # an engine that cannot serve, a source on metal
        step = tried(findings, lambda driven=driven: model.step(driven))
        if step is None:
            break
        findings += [Finding(severity="note", text=engine_note(step))] if driven == 0 else []
    return tree.replace(model, notes=tuple(as_lines(findings))), findings


def _placed(
    case: AntennaCase, setting: Setting, media: Media, waveform: Any, findings: list[Finding]
) -> tuple[tuple[Any, ...] | None, Media]:
    """The ports on the grid, each in the media of those before it; what is wrong with any is added to the findings."""
    mesh, dt, walls = setting.mesh, setting.dt, setting.walls
    placed: list[Any] = []
    band = (case.frequencies.start, case.frequencies.stop)
    for number, table in enumerate(case.ports, start=1):
        try:
            port = table.build(mesh, waveform, case.excitation.amplitude, band)
            if table.kind == "lumped":
                findings += check_lumped_box(f"port {number}", port.port.box, mesh.grid, media.metal)
            placed.append(port.place(mesh.grid, media, dt, walls=walls))
            media = placed[-1].media
            edges = sum(len(source.places) for source in placed[-1].sources)
            findings.append(Finding(severity="note", text=f"port {number}: {table.note()}, {edges} places"))
        except InputError as fault:
            findings.append(error(f"port {number}: {fault}"))
    return (tuple(placed) if len(placed) == len(case.ports) else None), media
