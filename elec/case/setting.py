"""What the runs of a case start from, whatever drives them: parts, mesh, walls, time step, media, and what is kept of
the fields; with what is to be said about each before a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from elec.case.mesh import build_mesh
from elec.fdtd.conformal import cut_scene_media
from elec.fdtd.media import Media, scene_media
from elec.fdtd.probes import Box, Monitors
from elec.fdtd.walls import Walls
from elec.geometry import Scene
from elec.grid import AXES, Grid
from elec.mesh import Mesh, Station
from elec.observables import Surface, centred_surface
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
from mindsci.errors import InputError
from mindsci.runs import process_count
from mindsci.tree import Tree

if TYPE_CHECKING:
    from elec.case.base import FieldCase


class Drive(Tree):
    """What that which drives a run asks of its grid and its length."""

    frequency_max: float
    """the highest that matters [Hz]"""
    duration: float
    """of the signal [s]"""
    band: tuple[float, float]
    """of the figures that are wanted [Hz]"""
    comb: tuple[float, ...]
    """frequencies at which the plane's fields are summed where the case names none [Hz]"""
    stations: tuple[tuple[Station, ...], ...]
    """lines that it calls for on each axis"""
    period: float | None = None
    """of a signal that goes on; the time step is then a whole part of it [s]"""


class Setting(Tree):
    """The grid of a case, and what is kept of its fields."""

    scene: Scene
    mesh: Mesh
    walls: Walls
    dt: float
    """[s]"""
    plane: tuple[int, int]
    """normal axis of the picture, and its cell along that axis"""
    surface: Surface | None
    """of the far field"""
    monitors: Monitors
    """the box of the pictures, then those of the surface"""

    @property
    def grid(self) -> Grid:
        return self.mesh.grid


def set_out(case: FieldCase, drive: Drive, findings: list[Finding]) -> Setting:
    """Returns the setting of a case; findings are added. What is wrong with one thing hides nothing of the others:
    something usual stands in for it."""
    scene = case.geometry.scene(case.materials)
    layers = case.boundaries.layers(case.grid.absorber_cells)
    mesh = build_mesh(case.grid, scene, drive.frequency_max, layers, drive.stations)
    grid = mesh.grid
    findings += [Finding(severity="note", text=line) for line in (*_notes(case, scene), mesh.report())]
    findings += [*check_resolution(scene, grid, drive.frequency_max), *check_smallest(mesh)]
    for name, table in case.materials.items():
        if (stated := getattr(table, "loss_tangent_frequency", None)) is not None:
            findings += check_band(name, stated, *drive.band)
    dt, every = _time_step(case, grid, drive, findings)
    plane = tried(findings, lambda: _plane(case, scene, grid)) or (2, grid.inner(2).start)
    surface = tried(findings, lambda: _surface(case, grid))
    return Setting(
        scene=scene,
        mesh=mesh,
        walls=case.boundaries.walls(),
        dt=dt,
        plane=plane,
        surface=surface,
        monitors=_monitors(case, grid, plane, every, surface, drive),
    )


def check_room(case: FieldCase, setting: Setting, device: torch.device | str) -> list[Finding]:
    """Returns an error where the fields and their Fourier sums would not fit into memory."""
    monitors = setting.monitors
    # Fourier sums are pairs of numbers in single precision, 8 bytes.
    return check_memory(
        setting.grid,
        8 * monitors.n_points * monitors.n_frequencies,
        dtype=getattr(torch, case.precision),
        device=device,
        processes=process_count(),
    )


def media_of(case: FieldCase, setting: Setting, findings: list[Finding]) -> Media:
    """Returns the media of the parts with the case's lumped elements, in double precision."""
    scene, grid, walls = setting.scene, setting.grid, setting.walls
    # Sheets lie on lines: only metal with a volume cuts cells.
    cut = any(part.kind == "solid" and scene.material(part).is_metal for part in scene.parts)
    media = cut_scene_media(scene, grid, dt=setting.dt, walls=walls) if cut else scene_media(scene, grid, walls=walls)
    findings += check_media(media)
    for number, table in enumerate(case.elements, start=1):
        name = table.name or f"element {number}"
        try:
            element = table.build(setting.mesh)
            findings += check_lumped_box(name, element.box, grid, media.metal)
            media = element.place(grid, media, walls=walls)
            findings.append(Finding(severity="note", text=f"{name}: {table.note()}"))
        except InputError as fault:
            findings.append(error(f"{name}: {fault}"))
    return media


def tried(findings: list[Finding], made: Callable[[], Any]) -> Any:
    """What is made, or None where it cannot be, and then the reason among the findings."""
    try:
        return made()
    except InputError as fault:
        findings.append(error(str(fault)))
        return None


def as_lines(findings: Sequence[Finding]) -> list[str]:
    """Returns findings in words."""
    return [f"{'' if one.severity == 'note' else one.severity + ': '}{one.text}" for one in findings]


def time_note(case: FieldCase, setting: Setting) -> Finding:
    """Returns the time step in words."""
    share = setting.dt / setting.grid.courant_limit()
    return Finding(
        severity="note",
        text=f"time step {setting.dt:.6g} s ({share:.3g} of the Courant limit), at most {case.time.n_steps} steps",
    )


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


def _time_step(case: FieldCase, grid: Grid, drive: Drive, findings: list[Finding]) -> tuple[float, int]:
    """The time step [s], and the steps from one sample of the Fourier sums to the next.

    A pulse is 20 dB down at frequency_max and 60 dB at twice that: four samples a period leave nothing to alias. A
    period of a signal that goes on holds a whole number of samples.
    """
    dt = tried(findings, lambda: time_step(grid, step=case.time.step, courant=case.time.courant))
    dt = 0.9 * grid.courant_limit() if dt is None else dt
    every = max(1, int(1.0 / (4.0 * drive.frequency_max * dt)))
    if drive.period is not None:
        dt = drive.period / (every * math.ceil(drive.period / (every * dt)))
    if case.time.n_steps * dt < drive.duration:
        findings.append(
            error(
                f"time.n_steps = {case.time.n_steps} steps of {dt:.4g} s are shorter than the pulse, "
                f"{drive.duration:.4g} s; give at least {math.ceil(10 * drive.duration / dt)} steps"
            )
        )
    return dt, every


def _notes(case: FieldCase, scene: Scene) -> list[str]:
    notes = [note for name, table in case.materials.items() if (note := table.note(name))]
    for part in scene.parts:
        low, high = (part.bounds() * 1e3).tolist()
        extent = ", ".join(f"{name} {a:g} to {b:g}" for name, a, b in zip(AXES, low, high, strict=True))
        notes.append(f"part '{part.name}' ({part.kind}, {part.material}): {extent} mm")
    return notes


def _plane(case: FieldCase, scene: Scene, grid: Grid) -> tuple[int, int]:
    """Normal axis and cell of the picture."""
    spans = [grid.inner(axis) for axis in range(3)]
    inner = [grid.nodes(axis)[span.start : span.stop] for axis, span in enumerate(spans)]
    bounds = scene.bounds() if scene.parts else [(float(nodes[0]), float(nodes[-1])) for nodes in inner]
    sizes = [high - low for low, high in bounds]
    axis = AXES.index(case.fields.normal) if case.fields.normal else sizes.index(min(sizes))
    at = case.fields.at if case.fields.at is not None else 0.5 * sum(bounds[axis])
    nodes = inner[axis]
    if not float(nodes[0]) <= at <= float(nodes[-1]):
        raise InputError(
            f"fields.at = {at * 1e3:.6g} mm lies outside the grid inside the absorbing layers, "
            f"{float(nodes[0]) * 1e3:.6g} to {float(nodes[-1]) * 1e3:.6g} mm along {AXES[axis]}; "
            "choose a plane inside the grid"
        )
    return axis, spans[axis].start + min(int((nodes <= at).sum()) - 1, nodes.numel() - 2)


def _surface(case: FieldCase, grid: Grid) -> Surface | None:
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


def _monitors(
    case: FieldCase, grid: Grid, plane: tuple[int, int], every: int, surface: Surface | None, drive: Drive
) -> Monitors:
    """Fourier sums of E inside the absorbing layers: of the volume at the asked frequencies, else of the layer."""
    axis, cell = plane
    spans = [grid.inner(other) for other in range(3)]
    low, high = [span.start for span in spans], [span.stop for span in spans]
    frequencies = list(case.fields.frequencies)
    if not frequencies:
        low[axis], high[axis] = cell, cell + 2
        frequencies = list(drive.comb)
    box = Box(low=(low[0], low[1], low[2]), high=(high[0], high[1], high[2]))
    frequencies = list(dict.fromkeys([*frequencies, *case.far_field.frequencies]))
    boxes = (box, *(surface.boxes if surface is not None else ()))
    return Monitors(boxes=boxes, frequencies=tuple(frequencies), every=every)
