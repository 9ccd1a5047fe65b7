"""The coefficients of the reference flows over the grid as plain arrays: what the fused kernels of every device read.

What acts at single places is in `elec.fdtd.places`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from elec.fdtd.absorber import Absorber, Stretch
from elec.fdtd.media import BOX
from elec.fdtd.rows import distinct_rows, padded_rows
from elec.fdtd.walls import Walls
from mindsci.units import VACUUM_PERMEABILITY, VACUUM_PERMITTIVITY

if TYPE_CHECKING:
    from elec.fdtd.step import YeeStep


class Turn(NamedTuple):
    """A cyclic change of the axes: axis a of the kernel is axis (a + by) % 3 of the fields.

    Curls keep their form and components their place; only the order in memory changes. Rows want to be long.
    """

    by: int = 0

    def axes(self, values: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Returns what belongs to the axes, in the kernel's order."""
        return values[self.by % 3], values[(self.by + 1) % 3], values[(self.by + 2) % 3]

    def field(self, tensor: Tensor) -> Tensor:
        """Returns a view of a field (component, x, y, z) with the kernel's axes."""
        return tensor.permute(0, *(1 + axis for axis in self.axes((0, 1, 2))))

    def back(self, tensor: Tensor) -> Tensor:
        """Returns the view of a kernel's field with the axes of the fields."""
        return Turn(-self.by % 3).field(tensor)


UNTURNED = Turn()


def best_turn(nodes: Sequence[int], walls: Walls = BOX) -> Turn:
    """Returns the turn with the longest rows, and with the most planes among those: planes are what threads share.

    Planes along a periodic axis cannot carry several steps at once, so another axis is preferred.
    """

    def merit(turn: Turn) -> tuple[bool, int, int, int]:
        along = turn.axes((0, 1, 2))[0]
        return not walls.periodic(along), turn.axes(nodes)[2], turn.axes(nodes)[0], -turn.by

    return max((Turn(by) for by in range(3)), key=merit)


class Coefficients(NamedTuple):
    """Row tables, and 1 / spacing divided by the stretch of the absorbing layers.

    damped says of each row of magnetic media whether its decay differs from one anywhere; empty where none does.
    """

    rows_e: np.ndarray
    decay: np.ndarray
    drive: np.ndarray
    rows_h: np.ndarray
    damped: np.ndarray
    decay_h: np.ndarray
    gain: np.ndarray
    inverse_e: tuple[np.ndarray, np.ndarray, np.ndarray]
    inverse_h: tuple[np.ndarray, np.ndarray, np.ndarray]

    def padded(self) -> Coefficients:
        """Returns the same with rows along z padded with zeros like the fields of the CPU kernel."""
        tables = {name: padded_rows(getattr(self, name)) for name in ("decay", "drive", "decay_h", "gain")}
        along = {
            name: (*getattr(self, name)[:2], padded_rows(getattr(self, name)[2][None])[0])
            for name in ("inverse_e", "inverse_h")
        }
        return self._replace(**tables, **along)


class Layers(NamedTuple):
    """Absorbing layers: place of each index in the memory of its axis (-1 outside), cells and thickness along z, and
    the recursion (b, c / spacing) in the layers of each axis. ends is for the CPU kernel, see `RowEnds`.
    """

    slab_x: np.ndarray
    slab_y: np.ndarray
    slab_z: np.ndarray
    cells_z: int
    low_z: int
    high_z: int
    b_e: tuple[np.ndarray, np.ndarray, np.ndarray]
    c_e: tuple[np.ndarray, np.ndarray, np.ndarray]
    b_h: tuple[np.ndarray, np.ndarray, np.ndarray]
    c_h: tuple[np.ndarray, np.ndarray, np.ndarray]
    ends: tuple[int, int, int, int] = (0, 0, 0, 0)


class Around(NamedTuple):
    """The walls: before[a] is the index that stands for the one before the first along axis a, whose magnetic field is
    that of the other side or, for walls, zero; periodic[a] whether the last node is the first.
    """

    before: tuple[int, int, int]
    periodic: tuple[bool, bool, bool]


class Pairs(NamedTuple):
    """`elec.fdtd.coupling.Coupling` for a kernel: edges, of each its pairs, and room for the changes of one step."""

    edges: np.ndarray
    start: np.ndarray
    column: np.ndarray
    weight: np.ndarray
    change: np.ndarray


def coefficients(step: YeeStep, dt: float, dtype: Any, turn: Turn = UNTURNED) -> Coefficients:
    """Row tables of the update coefficients, computed in float64."""
    media = step.ampere.media
    parts = [media.permittivity, media.conductivity, media.metal]
    if media.poles is not None:
        parts += media.poles.admittance(dt, media.metal.shape, torch.float64)
    electric = distinct_rows(*(turn.field(part) for part in parts))
    permittivity, conductivity, metal, *poles = electric.tables
    scale = 0.5 * dt / (permittivity.astype(np.float64) * VACUUM_PERMITTIVITY)
    new = old = conductivity.astype(np.float64)
    if poles:
        new, old = new + poles[0], old + poles[1]
    rows_h, decay_h, gain = _magnetic(step, dt, turn)
    damped = (decay_h != 1.0).any(axis=1)
    absorber = step.ampere.absorber
    inverse_e = _inverse(step.ampere.spacing, absorber.nodes if absorber else None, dtype)
    inverse_h = _inverse(_with_padding(step.faraday.spacing), absorber.centers if absorber else None, dtype)
    return Coefficients(
        rows_e=electric.index,
        decay=np.where(metal, 0.0, (1.0 - scale * old) / (1.0 + scale * new)).astype(dtype),
        drive=np.where(metal, 0.0, 2.0 * scale / (1.0 + scale * new)).astype(dtype),
        rows_h=rows_h,
        damped=damped if damped.any() else damped[:0],
        decay_h=decay_h.astype(dtype),
        gain=gain.astype(dtype),
        inverse_e=turn.axes(_mirrored(inverse_e, step.ampere.walls, 1.0)),
        inverse_h=turn.axes(inverse_h),
    )


def _magnetic(step: YeeStep, dt: float, turn: Turn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows of Faraday's law: their index, decay and gain."""
    faraday = step.faraday
    parts = [faraday.permeability]
    if faraday.conductivity is not None:
        parts.append(faraday.conductivity)
    if faraday.poles is not None:
        parts += faraday.poles.admittance(dt, faraday.permeability.shape, torch.float64)
    rows = distinct_rows(*(turn.field(part) for part in parts))
    permeability, *rest = (table.astype(np.float64) for table in rows.tables)
    scale = 0.5 * dt / (VACUUM_PERMEABILITY * permeability)
    new = old = rest.pop(0) if faraday.conductivity is not None else np.zeros_like(scale)
    if faraday.poles is not None:
        new, old = new + rest[0], old + rest[1]
    gain = -2.0 * scale / (1.0 + scale * new)
    gain[:, -1] = 0.0  # no face lies above the last node
    return rows.index, (1.0 - scale * old) / (1.0 + scale * new), gain


def _mirrored(along: Sequence[np.ndarray], walls: Walls, conductor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Factors of the difference at the first node, where the kernel takes the field beyond it as zero.

    Beyond a magnetic wall it is the image with the other sign: the difference doubles. `conductor` is what it is
    multiplied by at a conducting wall, where nothing depends on it.
    """
    for axis, values in enumerate(along):
        if len(values):
            values[0] *= {"pec": conductor, "pmc": 2.0, "periodic": 1.0}[walls.sides(axis)[0]]
    return along[0], along[1], along[2]


def around(nodes: Sequence[int], walls: Walls, turn: Turn, outside: Sequence[int] = ()) -> Around:
    """The walls for the kernel; of the axes `outside` others make the images (`elec.fdtd.cpu_images`)."""
    periodic = [walls.periodic(axis) and axis not in outside for axis in range(3)]
    before = [size - (2 if periodic[axis] else 1) for axis, size in enumerate(nodes)]
    return Around(before=turn.axes(before), periodic=turn.axes(periodic))


def edge_pairs(step: YeeStep, dt: float, dtype: Any, turn: Turn = UNTURNED) -> Pairs | None:
    """The edges that act on one another, with what a change of one adds to the other; None without any."""
    coupling = step.ampere.media.coupling
    if coupling is None:
        return None
    with torch.no_grad():
        _, drive = step.ampere.coefficients(dt)
        weight = coupling.weights(drive.to(torch.float64), dt)
    component, *index = coupling.edges.cpu().numpy().T
    return Pairs(
        edges=np.ascontiguousarray(np.stack([component, *turn.axes(index)], axis=1), dtype=np.int32),
        start=np.searchsorted(coupling.rows.cpu().numpy(), np.arange(len(component) + 1)).astype(np.int32),
        column=coupling.columns.cpu().numpy().astype(np.int32),
        weight=weight.cpu().numpy().astype(dtype),
        change=np.zeros(len(component), dtype=dtype),
    )


def _with_padding(spacing: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Cell sizes as long as the nodes; nothing reads the last one."""
    x, y, z = (torch.cat([sizes, sizes[-1:]]) for sizes in spacing)
    return x, y, z


def _inverse(spacing: tuple[Tensor, ...], stretch: tuple[Stretch, ...] | None, dtype: Any) -> tuple[Any, ...]:
    """1 / (kappa spacing) along each axis."""
    scales = [part.scale for part in stretch] if stretch is not None else [torch.ones(()) for _ in spacing]
    inverse = [
        (1.0 / (sizes.to(torch.float64) * scale)).cpu().numpy().astype(dtype)
        for sizes, scale in zip(spacing, scales, strict=True)
    ]
    return inverse[0], inverse[1], inverse[2]


def layers(step: YeeStep, dt: float, dtype: Any, nodes: Sequence[int], turn: Turn = UNTURNED) -> Layers:
    """The absorbing layers; without an absorber, layers of no thickness."""
    absorber = step.ampere.absorber
    if absorber is None:
        none, empty = [np.full(size, -1, dtype=np.int32) for size in turn.axes(nodes)], (np.zeros(0, dtype=dtype),) * 3
        return Layers(none[0], none[1], none[2], turn.axes(nodes)[2] - 1, 0, 0, empty, empty, empty, empty)
    b_e, c_e = _recursion(absorber, absorber.nodes, step.ampere.spacing, dt, dtype)
    b_h, c_h = _recursion(absorber, absorber.centers, _with_padding(step.faraday.spacing), dt, dtype)
    for axis, (low, _) in enumerate(absorber.layers):
        if low:
            _mirrored([c if other == axis else c[:0] for other, c in enumerate(c_e)], step.ampere.walls, 0.0)
    x, y, z = turn.axes([_slab_index(nodes[axis], absorber.layers[axis]) for axis in range(3)])
    low, high = turn.axes(absorber.layers)[2]
    return Layers(
        slab_x=x,
        slab_y=y,
        slab_z=z,
        cells_z=len(z) - 1,
        low_z=low,
        high_z=high,
        b_e=turn.axes(b_e),
        c_e=turn.axes(c_e),
        b_h=turn.axes(b_h),
        c_h=turn.axes(c_h),
    )


def _slab_index(size: int, layers: tuple[int, int]) -> np.ndarray:
    """Position of each index in the memory of its axis, or -1 outside the layers."""
    low, high = layers
    index = np.full(size, -1, dtype=np.int32)
    index[:low] = np.arange(low)
    index[size - 1 - high : size - 1] = low + np.arange(high)
    return index


def _recursion(
    absorber: Absorber, stretch: tuple[Stretch, ...], spacing: tuple[Tensor, ...], dt: float, dtype: Any
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """(b, c / spacing) in the layers of each axis."""
    b_all, c_all = [], []
    for axis in range(3):
        b, c = stretch[axis].recursion(dt)
        scaled = c / spacing[axis].to(c)
        b_all.append(absorber.slabs(b, axis, 0).cpu().numpy().astype(dtype))
        c_all.append(absorber.slabs(scaled, axis, 0).cpu().numpy().astype(dtype))
    return tuple(b_all), tuple(c_all)
