"""What is said about a case before it runs: what cannot work, what will be inaccurate, what it will cost; each with
its fix."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from elec.fdtd import GaussianDerivative, absorbing_layers, dipole, uniform_media, yee_step
from elec.fdtd.edge_box import EdgeBox
from elec.fdtd.media import Media
from elec.fdtd.room import lack_of_room
from elec.geometry import Scene
from elec.grid import AXES, BYTES_PER_CELL, Grid
from elec.materials import find_material
from elec.mesh.automatic import Mesh
from elec.mesh.features import Face, mesh_of, metal_faces, refractive_index, rims
from mindsci import tree
from mindsci.tree import Tree
from mindsci.units import SPEED_OF_LIGHT

COARSE = 10
"""Fewer cells per wavelength than this are reported."""
FEWEST_ACROSS = 2
"""Fewer cells than this across a gap between metal are reported."""
STEEPEST = 2.0
"""Neighbouring cells that differ by more reflect waves and lose second order."""
SLIVER = 8.0
"""Cells smaller than the usual one by more than this factor are reported."""
RATE_SIZE, RATE_STEPS = 56, 12
"""Cells along each edge of the box, and steps, of the short run that measures the speed."""


class Finding(Tree):
    """One thing to know before a run."""

    severity: Literal["error", "warning", "note"]
    text: str


def error(text: str) -> Finding:
    return Finding(severity="error", text=text)


def warning(text: str) -> Finding:
    return Finding(severity="warning", text=text)


def check_resolution(scene: Scene, grid: Grid, frequency: float) -> list[Finding]:
    """Returns warnings about cells too large for the wavelength [Hz], gaps with too few, and neighbours too unlike."""
    found = _wavelengths(scene, grid, frequency)
    for finding in (*_gaps_between_faces(scene, grid), *_gaps_between_rims(scene, grid)):
        if finding not in found:
            found.append(finding)
    for axis, name in enumerate(AXES):
        ratio = grid.neighbour_ratio(axis)
        if ratio > STEEPEST:
            found.append(
                warning(
                    f"neighbouring cells along {name} differ by a factor of {ratio:.3g}; a wave is reflected there and "
                    f'the scheme is of first order: keep it below {STEEPEST:g} (grid.growth, or grid.mode = "auto")'
                )
            )
    return found


def _wavelengths(scene: Scene, grid: Grid, frequency: float) -> list[Finding]:
    found = []
    background = find_material(scene.background, scene.materials)
    everywhere = [tuple(float(grid.nodes(axis)[end]) for axis in range(3)) for end in (0, -1)]
    places = [(f"background '{background.name}'", background, everywhere)]
    for part in scene.parts:
        if not scene.material(part).is_metal:
            places.append((f"part '{part.name}'", scene.material(part), mesh_of(part).bounds().tolist()))
    for what, material, (low, high) in places:
        wavelength = SPEED_OF_LIGHT / frequency / refractive_index(material, frequency)
        largest, where = max((_largest_between(grid, axis, low[axis], high[axis]), axis) for axis in range(3))
        if largest * COARSE > wavelength * (1 + 1e-9):
            found.append(
                warning(
                    f"{what}: cells of {largest * 1e3:.3g} mm along {AXES[where]} are coarse for a wavelength of "
                    f"{wavelength * 1e3:.3g} mm at {frequency / 1e9:g} GHz, {wavelength / largest:.3g} a wavelength; "
                    f"{COARSE} are the least to rely on: use smaller cells or a lower excitation.frequency_max"
                )
            )
    return found


def _largest_between(grid: Grid, axis: int, low: float, high: float) -> float:
    """The largest cell that reaches into an interval."""
    nodes = grid.nodes(axis)
    cells = grid.spacing(axis)[(nodes[1:] > low) & (nodes[:-1] < high)]
    return float(cells.max()) if cells.numel() else 0.0


def _cells_between(grid: Grid, axis: int, low: float, high: float) -> int:
    """Cells whose middle lies between two coordinates."""
    middle = grid.centers(axis)
    return int(((middle > low) & (middle < high)).sum())


def _gaps_between_faces(scene: Scene, grid: Grid) -> list[Finding]:
    faces = sorted(metal_faces(scene), key=lambda face: face.level)
    found = []
    for normal in range(3):
        for first, second in itertools.combinations([face for face in faces if face.normal == normal], 2):
            gap = second.level - first.level
            between = _hides(faces, first, second)
            count = _cells_between(grid, normal, first.level, second.level)
            if gap > 0 and first.overlaps(second) and not between and count < FEWEST_ACROSS:
                found.append(
                    warning(
                        f"the gap of {gap * 1e3:.4g} mm between metal at {AXES[normal]} = {first.level * 1e3:.6g} and "
                        f"{second.level * 1e3:.6g} mm ({_owners(scene, first, second)}) holds {count} cells; give it "
                        f"at least {FEWEST_ACROSS}: cells of {gap / FEWEST_ACROSS * 1e3:.3g} mm there"
                    )
                )
    return found


def _hides(faces: Sequence[Face], first: Face, second: Face) -> bool:
    return any(
        face.normal == first.normal and first.level < face.level < second.level and face.overlaps(first)
        for face in faces
    )


def _owners(scene: Scene, first: Face, second: Face) -> str:
    names = []
    for face in (first, second):
        for part in scene.parts:
            low, high = mesh_of(part).bounds().tolist()
            inside = all(low[a] <= face.low[a] + 1e-9 and face.high[a] <= high[a] + 1e-9 for a in range(3))
            if scene.material(part).is_metal and inside and part.name not in names:
                names.append(part.name)
                break
    return " and ".join(f"'{name}'" for name in names)


def _gaps_between_rims(scene: Scene, grid: Grid) -> list[Finding]:
    found = []
    borders = sorted(rims(scene), key=lambda one: one.at)
    for axis in range(3):
        here = [one for one in borders if one.across == axis]
        for first, second in itertools.pairwise(here):
            same_plane = (first.normal, first.level) == (second.normal, second.level)
            opposite = first.side * second.side == -1
            count = _cells_between(grid, axis, first.at, second.at)
            if same_plane and opposite and count < FEWEST_ACROSS:
                what = "gap" if first.side < 0 else "strip"
                width = second.at - first.at
                found.append(
                    warning(
                        f"the {what} of {width * 1e3:.4g} mm between {AXES[axis]} = {first.at * 1e3:.6g} and "
                        f"{second.at * 1e3:.6g} mm ('{first.part}' and '{second.part}') holds {count} cells; give it "
                        f"at least {FEWEST_ACROSS}: cells of {width / FEWEST_ACROSS * 1e3:.3g} mm there"
                    )
                )
    return found


def check_smallest(mesh: Mesh) -> list[Finding]:
    """Returns warnings about cells that are far below the usual one of their axis: each shortens every time step."""
    found = []
    for axis, lines in enumerate(mesh.axes or ()):
        cell, why = lines.why_smallest()
        usual = float(mesh.grid.spacing(axis).median())
        if cell * SLIVER < usual:
            found.append(
                warning(
                    f"the smallest cell along {AXES[axis]}, {cell * 1e3:.3g} mm by {why}, is far below the usual "
                    f"{usual * 1e3:.3g} mm and makes the time step short; move what stands too close, or set "
                    "grid.smallest_cell to a length below which two lines are one"
                )
            )
    return found


def check_media(media: Media) -> list[Finding]:
    """Returns an error where no edge is left to carry a field."""
    return [error("metal fills the whole grid; give it a margin of air")] if bool(media.metal.all()) else []


def check_lumped_box(name: str, port: EdgeBox, grid: Grid, metal: Tensor) -> list[Finding]:
    """Returns what is wrong with where a lumped port or element lies: an end on no metal is an error, a gap that it
    spans with one cell only a warning.

    Raises InputError for a box off the lines or smaller than a cell.
    """
    low, high = port.nodes(grid)
    across = [axis for axis in range(3) if axis != port.axis]
    found = []
    count = high[port.axis] - low[port.axis]
    if count < FEWEST_ACROSS:
        length = float(grid.spacing(port.axis)[low[port.axis] : high[port.axis]].sum())
        found.append(
            warning(
                f"{name}: the gap of {length * 1e3:.4g} mm along {AXES[port.axis]} that the {port.what} spans holds "
                f"{count} cell; give it at least {FEWEST_ACROSS}: cells of {length / FEWEST_ACROSS * 1e3:.3g} mm there"
            )
        )
    for end, side in ((low, "lower"), (high, "upper")):
        box = [slice(max(a - 1, 0), b + 1) for a, b in zip(low, high, strict=True)]
        box[port.axis] = slice(end[port.axis], end[port.axis] + 1)
        if not any(bool(metal[axis][tuple(box)].any()) for axis in across):
            found.append(
                error(
                    f"{name}: the {side} end of the {port.what}, at {AXES[port.axis]} = "
                    f"{float(grid.nodes(port.axis)[end[port.axis]]) * 1e3:.6g} mm, touches no metal; "
                    "let it span the gap from one conductor to the other"
                )
            )
    return found


def check_band(name: str, frequency: float, start: float, stop: float) -> list[Finding]:
    """Returns a warning where a material's figure at one frequency [Hz] is used far from it."""
    if start / 2.0 <= frequency <= 2.0 * stop:
        return []
    return [
        warning(
            f"material '{name}': its loss tangent is given at {frequency / 1e9:g} GHz, outside the band of "
            f"{start / 1e9:g} to {stop / 1e9:g} GHz; as a conductivity it falls as 1 / f: give it in the band"
        )
    ]


def check_memory(
    grid: Grid,
    other_bytes: int = 0,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    processes: int = 1,
) -> list[Finding]:
    """Returns an error where the run would not fit into the memory that is free on its device.

    processes: among which it is shared, of this machine or of others.
    """
    # BYTES_PER_CELL are those of single precision.
    needed = grid.n_cells * BYTES_PER_CELL * dtype.itemsize // 4 + other_bytes
    needed //= processes
    fix = "fewer cells per wavelength, a smaller margin, symmetry planes, or fewer frequencies of the fields"
    told = lack_of_room(needed, device, what="the run needs", fix=fix)
    return [error(told)] if told is not None else []


def measured_rate(engine: str, dtype: torch.dtype, device: torch.device | str) -> float:
    """Returns the cells that one second advances, from a short run of a small box with absorbing layers."""
    nodes = torch.linspace(0.0, 1.0, RATE_SIZE + 1, dtype=torch.float64)
    grid = Grid(x=nodes, y=nodes, z=nodes, absorber_cells=8)
    media = tree.to(uniform_media(grid, dtype=dtype), device=device)
    source = dipole(grid, 2, (RATE_SIZE // 2,) * 3, GaussianDerivative(frequency_max=1e9))
    step = yee_step(grid, media, absorber=absorbing_layers(grid), sources=[source], engine=engine)
    dt = 0.9 * grid.courant_limit()
    fields = step.advance(step.start(), 0.0, dt, 2)  # compiles
    began = time.perf_counter()
    step.advance(fields, 2 * dt, dt, RATE_STEPS)
    return grid.n_cells * RATE_STEPS / max(time.perf_counter() - began, 1e-9)


def cost(grid: Grid, n_steps: int, n_runs: int, rate: float) -> Finding:
    """Returns what the runs take at a rate [cells/s]."""
    seconds = grid.n_cells * n_steps * n_runs / rate
    told = (
        f"{seconds:.0f} s"
        if seconds < 180
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )
    runs = f"{n_runs} runs of " if n_runs > 1 else ""
    return Finding(
        severity="note",
        text=f"expected run time: at most {told} for {runs}{n_steps} steps at {rate / 1e6:.0f} Mcells/s, measured on "
        "a small box",
    )
