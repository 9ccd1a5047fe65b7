"""From an antenna's case to the step, the fields' grid and the port; every check that can be made before the run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.fdtd.absorber import absorbing_layers
from elec.fdtd.media import scene_media
from elec.fdtd.port import VoltagePort
from elec.fdtd.probes import Box, Monitors
from elec.fdtd.step import YeeStep, engine_note, yee_step
from elec.fdtd.waveforms import GaussianDerivative
from elec.geometry import Scene, read_part
from elec.grid import AXES, Grid
from elec.materials import find_material, material_library
from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree
from mindsci.units import SPEED_OF_LIGHT

if TYPE_CHECKING:
    from elec.case import AntennaCase

CELLS_PER_WAVELENGTH = 15
"""Largest cell of the air around the parts, at the highest frequency of the pulse."""
COARSE = 10
"""Fewer cells per wavelength than this are reported."""
COMB = 40
"""Frequencies at which the plane's fields are summed when the case names none: the resonances are not known before."""
QUIET = -400.0
"""[dB] of a port without any signal."""


class Antenna(Tree):
    """All that a run needs, checked."""

    scene: Scene
    grid: Grid
    port: VoltagePort
    step: YeeStep
    dt: float
    """[s]"""
    plane: tuple[int, int]
    """normal axis of the picture, and its cell along that axis"""
    notes: tuple[str, ...]

    def level(self, record: Float[Tensor, "samples"], done: int) -> float:
        """Returns how far the port's voltage of late lies below its peak [dB]."""
        window = max(1, round(self.port.waveform.duration / self.dt))
        seen = record[:done].abs()
        peak = float(seen.max()) if done else 0.0
        late = float(seen[-window:].max()) if done else 0.0
        return 20.0 * math.log10(late / peak) if late > 0 else QUIET

    def is_quiet(self, record: Float[Tensor, "samples"], done: int, decay: float) -> bool:
        """Whether the pulse is over and the port's voltage below `decay` [dB]."""
        # Twice the pulse: its whole window must be past, or its silent beginning would count as quiet.
        return done * self.dt > 2.0 * self.port.waveform.duration and self.level(record, done) < decay

    def check_finite(self, record: Float[Tensor, "samples"]) -> None:
        if not bool(record.isfinite().all()):
            step = int(record.isfinite().logical_not().nonzero()[0])
            raise InputError(f"the fields grew without bound at step {step}; use a smaller time.courant")

    def reflection(self, record: Float[Tensor, "samples"], frequencies: Float[Tensor, "f"]) -> Complex[Tensor, "f"]:
        """Returns S11 against the port's resistance."""
        return self.port.reflection(record.cpu(), self.dt, frequencies)


def prepare(case: AntennaCase, device: torch.device | str = "cpu") -> Antenna:
    """Returns the antenna of a case. Raises InputError with the fix for anything that cannot work."""
    scene, notes = _scene(case)
    frequency_max = case.excitation.frequency_max
    grid = case.grid.build(
        scene.bounds(), scene.planes(), air_cell=SPEED_OF_LIGHT / frequency_max / CELLS_PER_WAVELENGTH
    )
    notes += [grid.report(), *_coarse_cells(grid, scene, frequency_max)]
    dt = time_step(grid, step=case.time.step, courant=case.time.courant)
    port = VoltagePort(
        start=case.port.start,
        stop=case.port.stop,
        axis=AXES.index(case.port.direction),
        resistance=case.port.resistance,
        waveform=GaussianDerivative(frequency_max=frequency_max),
        amplitude=case.excitation.amplitude,
    )
    if case.time.n_steps * dt < port.waveform.duration:
        raise InputError(
            f"time.n_steps = {case.time.n_steps} steps of {dt:.4g} s are shorter than the pulse, "
            f"{port.waveform.duration:.4g} s; give at least {math.ceil(10 * port.waveform.duration / dt)} steps"
        )
    media, source, probe = port.place(grid, scene_media(scene, grid, dtype=getattr(torch, case.precision)))
    _check_connected(port, grid, media.metal)
    plane = _plane(case, scene, grid)
    monitors = _monitors(case, grid, plane, dt)
    step = yee_step(
        grid,
        tree.to(media, device=device),
        absorber=absorbing_layers(grid),
        sources=[source],
        probes=[probe],
        monitors=monitors,
        engine=case.engine,
    )
    limit = grid.courant_limit()
    notes += [
        f"time step {dt:.6g} s ({dt / limit:.3g} of the Courant limit), at most {case.time.n_steps} steps",
        f"port of {len(source.places)} edges, {port.resistance:g} ohm; pulse up to {frequency_max / 1e9:g} GHz",
        engine_note(step),
    ]
    return Antenna(scene=scene, grid=grid, port=port, step=step, dt=dt, plane=plane, notes=tuple(notes))


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


def _scene(case: AntennaCase) -> tuple[Scene, list[str]]:
    parts = [
        read_part(
            part.file,
            unit=part.unit or (None if part.file.suffix.lower() in (".step", ".stp") else case.geometry.unit),
            kind=part.kind,
            name=part.name,
            material=part.material,
        )
        for part in case.geometry.parts
    ]
    materials = material_library(case.materials)
    scene = Scene(parts=tuple(parts), materials=materials, background=case.geometry.background)
    notes = [note for name, table in case.materials.items() if (note := table.note(name))]
    for part in parts:
        low, high = (part.bounds() * 1e3).tolist()
        extent = ", ".join(f"{name} {a:g} to {b:g}" for name, a, b in zip(AXES, low, high, strict=True))
        notes.append(f"part '{part.name}' ({part.kind}, {part.material}): {extent} mm")
    return scene, notes


def _coarse_cells(grid: Grid, scene: Scene, frequency: float) -> list[str]:
    """A warning where the cells are large against the wavelength in the densest material."""
    densest = max(
        scene.material(part).relative_permittivity * scene.material(part).relative_permeability for part in scene.parts
    )
    densest = max(densest, find_material(scene.background, scene.materials).relative_permittivity)
    wavelength = SPEED_OF_LIGHT / frequency / math.sqrt(densest)
    largest = max(float(grid.spacing(axis).max()) for axis in range(3))
    if largest * COARSE <= wavelength:
        return []
    return [
        f"warning: cells of {largest * 1e3:.3g} mm are coarse for a wavelength of {wavelength * 1e3:.3g} mm in the "
        f"densest material at {frequency / 1e9:g} GHz; {COARSE} cells per wavelength are the least to rely on"
    ]


def _check_connected(port: VoltagePort, grid: Grid, metal: Tensor) -> None:
    """Raises InputError where an end of the port touches no metal: the source would drive a current into nothing."""
    low, high = port.nodes(grid)
    across = [axis for axis in range(3) if axis != port.axis]
    for end, side in ((low, "lower"), (high, "upper")):
        box = [slice(max(a - 1, 0), b + 1) for a, b in zip(low, high, strict=True)]
        box[port.axis] = slice(end[port.axis], end[port.axis] + 1)
        if not any(bool(metal[axis][tuple(box)].any()) for axis in across):
            raise InputError(
                f"the {side} end of the port, at {AXES[port.axis]} = "
                f"{float(grid.nodes(port.axis)[end[port.axis]]) * 1e3:.6g} mm, touches no metal; "
                "let the port span the gap from one conductor to the other"
            )


def _plane(case: AntennaCase, scene: Scene, grid: Grid) -> tuple[int, int]:
    """Normal axis and cell of the picture."""
    bounds = scene.bounds()
    sizes = [high - low for low, high in bounds]
    axis = AXES.index(case.fields.normal) if case.fields.normal else sizes.index(min(sizes))
    at = case.fields.at if case.fields.at is not None else 0.5 * sum(bounds[axis])
    inner = grid.nodes(axis)[grid.absorber_cells : grid.shape[axis] + 1 - grid.absorber_cells]
    if not float(inner[0]) <= at <= float(inner[-1]):
        raise InputError(
            f"fields.at = {at * 1e3:.6g} mm lies outside the grid inside the absorbing layers, "
            f"{float(inner[0]) * 1e3:.6g} to {float(inner[-1]) * 1e3:.6g} mm along {AXES[axis]}; "
            "choose a plane inside the grid"
        )
    return axis, grid.absorber_cells + min(int((inner <= at).sum()) - 1, inner.numel() - 2)


def _monitors(case: AntennaCase, grid: Grid, plane: tuple[int, int], dt: float) -> Monitors:
    """Fourier sums of E inside the absorbing layers: of the volume at the asked frequencies, else of the layer."""
    axis, cell = plane
    low, high = [grid.absorber_cells] * 3, [size + 1 - grid.absorber_cells for size in grid.shape]
    frequencies = case.fields.frequencies
    if not frequencies:
        low[axis], high[axis] = cell, cell + 2
        band = case.frequencies
        frequencies = torch.linspace(band.start, band.stop, COMB, dtype=torch.float64).tolist()
    # The pulse is 20 dB down at frequency_max and 60 dB at twice that: four samples a period leave nothing to alias.
    every = max(1, int(1.0 / (4.0 * case.excitation.frequency_max * dt)))
    box = Box(low=(low[0], low[1], low[2]), high=(high[0], high[1], high[2]))
    return Monitors(boxes=(box,), frequencies=tuple(frequencies), every=every)
