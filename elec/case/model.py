"""From a case to its model: parts, mesh, ports in their media, the step of each run; every check before the run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from elec.case.mesh import build_mesh
from elec.case.ports import all_stations
from elec.case.tables import TimeTable
from elec.fdtd.absorber import absorbing_layers
from elec.fdtd.conformal import cut_scene_media
from elec.fdtd.media import Media, in_precision, scene_media
from elec.fdtd.probes import Box, Monitors
from elec.fdtd.step import YeeStep, engine_note, yee_step
from elec.fdtd.walls import Walls
from elec.fields import Fields
from elec.geometry import Scene
from elec.grid import AXES, Grid
from elec.mesh import Mesh
from elec.observables import Surface, centred_surface
from elec.ports.ringing import level, march, rows_of
from elec.preflight import (
    Finding,
    check_band,
    check_lumped_box,
    check_media,
    check_memory,
    check_resolution,
    check_smallest,
    error,
)
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

    def march(self, driven: int, fields: Fields, limits: TimeTable, done: int = 0) -> Iterator[tuple[Fields, int]]:
        """Yields the fields and the steps done, piece by piece, until the ports are quiet or the steps are used up."""
        return march(
            self.step(driven), self.ports, fields, dt=self.dt, n_steps=limits.n_steps, decay=limits.decay, done=done
        )


def prepare(case: AntennaCase, device: torch.device | str = "cpu") -> Model:
    """Returns the model of a case. Raises InputError with the fix for anything that cannot work."""
    model, findings = assemble(case, device)
    faults = [finding.text for finding in findings if finding.severity == "error"]
    if faults or model is None:
        raise InputError("\n".join(faults))
    return model


def assemble(case: AntennaCase, device: torch.device | str = "cpu") -> tuple[Model | None, list[Finding]]:
    """Returns the model, or None where a port does not fit, and what is to be said about it before a run."""
    scene = case.geometry.scene(case.materials)
    frequency_max = case.excitation.frequency_max
    layers = case.boundaries.layers(case.grid.absorber_cells)
    mesh = build_mesh(case.grid, scene, frequency_max, layers, all_stations([*case.ports, *case.elements]))
    grid, walls = mesh.grid, case.boundaries.walls()
    findings = [Finding(severity="note", text=line) for line in (*_notes(case, scene), mesh.report())]
    findings += [*check_resolution(scene, grid, frequency_max), *check_smallest(mesh)]
    for name, table in case.materials.items():
        if (stated := getattr(table, "loss_tangent_frequency", None)) is not None:
            findings += check_band(name, stated, case.frequencies.start, case.frequencies.stop)
    # What is wrong with one thing hides nothing of the others: something usual stands in for it.
    dt = _tried(findings, lambda: time_step(grid, step=case.time.step, courant=case.time.courant))
    dt = 0.9 * grid.courant_limit() if dt is None else dt
    waveform = case.excitation.waveform()
    if case.time.n_steps * dt < waveform.duration:
        findings.append(
            error(
                f"time.n_steps = {case.time.n_steps} steps of {dt:.4g} s are shorter than the pulse, "
                f"{waveform.duration:.4g} s; give at least {math.ceil(10 * waveform.duration / dt)} steps"
            )
        )
    plane = _tried(findings, lambda: _plane(case, scene, grid)) or (2, grid.inner(2).start)
    surface = _tried(findings, lambda: _surface(case, grid))
    monitors = _monitors(case, grid, plane, dt, surface)
    # Fourier sums are pairs of numbers in single precision, 8 bytes.
    if faults := check_memory(
        grid, 8 * monitors.n_points * monitors.n_frequencies, dtype=getattr(torch, case.precision), device=device
    ):
        return None, [*findings, *faults]
    # Sheets lie on lines: only metal with a volume cuts cells.
    cut = any(part.kind == "solid" and scene.material(part).is_metal for part in scene.parts)
    media = cut_scene_media(scene, grid, dt=dt, walls=walls) if cut else scene_media(scene, grid, walls=walls)
    findings += check_media(media)
    media = _with_elements(case, mesh, media, walls, findings)
    placed, media = _placed(case, mesh, media, dt, walls, waveform, findings)
    findings += [
        Finding(severity="note", text=line)
        for line in (
            f"time step {dt:.6g} s ({dt / grid.courant_limit():.3g} of the Courant limit), "
            f"at most {case.time.n_steps} steps",
            f"pulse up to {frequency_max / 1e9:g} GHz, {waveform.duration * 1e9:.3g} ns long",
        )
    ]
    if placed is None:
        return None, findings
    model = Model(
        scene=scene,
        mesh=mesh,
        walls=walls,
        media=tree.to(in_precision(media, getattr(torch, case.precision)), device=device),
        ports=placed,
        monitors=monitors,
        surface=surface,
        dt=dt,
        plane=plane,
        duration=waveform.duration,
        engine=case.engine,
        notes=(),
    )
    try:  # an engine that cannot serve, a source on metal
        findings += [Finding(severity="note", text=engine_note(model.step(driven))) for driven in range(len(placed))][
            :1
        ]
    except InputError as fault:
        findings.append(error(str(fault)))
    return tree.replace(model, notes=tuple(as_lines(findings))), findings


def _tried(findings: list[Finding], made: Callable[[], Any]) -> Any:
    """What is made, or None where it cannot be, and then the reason among the findings."""
    try:
        return made()
    except InputError as fault:
        findings.append(error(str(fault)))
        return None


def as_lines(findings: Sequence[Finding]) -> list[str]:
    """Returns findings in words."""
    return [f"{'' if one.severity == 'note' else one.severity + ': '}{one.text}" for one in findings]


def _with_elements(case: AntennaCase, mesh: Mesh, media: Media, walls: Walls, findings: list[Finding]) -> Media:
    """The media with the case's lumped elements; what is wrong with any is added to the findings."""
    for number, table in enumerate(case.elements, start=1):
        name = table.name or f"element {number}"
        try:
            element = table.build(mesh)
            findings += check_lumped_box(name, element.box, mesh.grid, media.metal)
            media = element.place(mesh.grid, media, walls=walls)
            findings.append(Finding(severity="note", text=f"{name}: {table.note()}"))
        except InputError as fault:
            findings.append(error(f"{name}: {fault}"))
    return media


def _placed(
    case: AntennaCase, mesh: Mesh, media: Media, dt: float, walls: Walls, waveform: Any, findings: list[Finding]
) -> tuple[tuple[Any, ...] | None, Media]:
    """The ports on the grid, each in the media of those before it; what is wrong with any is added to the findings."""
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


def time_step(grid: Grid, *, step: float | None, courant: float) -> float:
    """Returns the time step [s]. Raises InputError above the Courant limit of the smallest cells."""
    limit = grid.courant_limit()
    if step is None:
        return courant * limit
    if not 0 < step <= limit:
        cells = " x ".join(f"{cell * 1e3:.4g}" for cell in grid.smallest_cell())
        raise InputError(
            f"dt = {step:.6g} s is above the Courant limit {limit:.6g} s for cells down to {cells} mm; "
            f'use time.step <= "{limit * 1e12:.4f} ps", leave it out (courant = 0.9 is then taken), or use larger cells'
            if step > limit
            else f"dt = {step:.6g} s must be positive; the Courant limit of this grid is {limit:.6g} s"
        )
    return step


def _notes(case: AntennaCase, scene: Scene) -> list[str]:
    notes = [note for name, table in case.materials.items() if (note := table.note(name))]
    for part in scene.parts:
        low, high = (part.bounds() * 1e3).tolist()
        extent = ", ".join(f"{name} {a:g} to {b:g}" for name, a, b in zip(AXES, low, high, strict=True))
        notes.append(f"part '{part.name}' ({part.kind}, {part.material}): {extent} mm")
    return notes


def _plane(case: AntennaCase, scene: Scene, grid: Grid) -> tuple[int, int]:
    """Normal axis and cell of the picture."""
    bounds = scene.bounds()
    sizes = [high - low for low, high in bounds]
    axis = AXES.index(case.fields.normal) if case.fields.normal else sizes.index(min(sizes))
    at = case.fields.at if case.fields.at is not None else 0.5 * sum(bounds[axis])
    span = grid.inner(axis)
    inner = grid.nodes(axis)[span.start : span.stop]
    if not float(inner[0]) <= at <= float(inner[-1]):
        raise InputError(
            f"fields.at = {at * 1e3:.6g} mm lies outside the grid inside the absorbing layers, "
            f"{float(inner[0]) * 1e3:.6g} to {float(inner[-1]) * 1e3:.6g} mm along {AXES[axis]}; "
            "choose a plane inside the grid"
        )
    return axis, span.start + min(int((inner <= at).sum()) - 1, inner.numel() - 2)


def _surface(case: AntennaCase, grid: Grid) -> Surface | None:
    """The closed surface of the far field: clear of the absorbing layers, closed by walls where there are none."""
    if not case.far_field.frequencies:
        return None
    walls: dict[str, Any] = {}
    for name in AXES:
        for word, boundary in zip(("low", "high"), case.boundaries.sides(name), strict=True):
            if boundary == "periodic":
                raise InputError(f"a far field needs a finite antenna, and {name} is periodic; leave [far_field] out")
            if boundary != "absorbing":
                ground = boundary == "pec" and case.far_field.pec == "ground"
                walls[f"{name} {word}"] = "ground" if ground else boundary
    return centred_surface(grid, walls=walls)


def _monitors(case: AntennaCase, grid: Grid, plane: tuple[int, int], dt: float, surface: Surface | None) -> Monitors:
    """Fourier sums of E inside the absorbing layers: of the volume at the asked frequencies, else of the layer."""
    axis, cell = plane
    spans = [grid.inner(other) for other in range(3)]
    low, high = [span.start for span in spans], [span.stop for span in spans]
    frequencies = list(case.fields.frequencies)
    if not frequencies:
        low[axis], high[axis] = cell, cell + 2
        band = case.frequencies
        frequencies = torch.linspace(band.start, band.stop, COMB, dtype=torch.float64).tolist()
    # The pulse is 20 dB down at frequency_max and 60 dB at twice that: four samples a period leave nothing to alias.
    every = max(1, int(1.0 / (4.0 * case.excitation.frequency_max * dt)))
    box = Box(low=(low[0], low[1], low[2]), high=(high[0], high[1], high[2]))
    frequencies = list(dict.fromkeys([*frequencies, *case.far_field.frequencies]))
    boxes = (box, *(surface.boxes if surface is not None else ()))
    return Monitors(boxes=boxes, frequencies=tuple(frequencies), every=every)
