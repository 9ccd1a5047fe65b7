"""The coefficients of the reference flows as plain arrays: what the fused kernels of every device read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from elec.fdtd.absorber import Absorber, Stretch
from elec.fdtd.rows import distinct_rows, padded_rows
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


def best_turn(nodes: Sequence[int]) -> Turn:
    """Returns the turn with the longest rows, and with the most planes among those: planes are what threads share."""
    return max((Turn(by) for by in range(3)), key=lambda turn: (turn.axes(nodes)[2], turn.axes(nodes)[0], -turn.by))


class Coefficients(NamedTuple):
    """Row tables, and 1 / spacing divided by the stretch of the absorbing layers."""

    rows_e: np.ndarray
    decay: np.ndarray
    drive: np.ndarray
    rows_h: np.ndarray
    gain: np.ndarray
    inverse_e: tuple[np.ndarray, np.ndarray, np.ndarray]
    inverse_h: tuple[np.ndarray, np.ndarray, np.ndarray]

    def padded(self) -> Coefficients:
        """Returns the same with rows along z padded with zeros like the fields of the CPU kernel."""
        tables = {name: padded_rows(getattr(self, name)) for name in ("decay", "drive", "gain")}
        along = {
            name: (*getattr(self, name)[:2], padded_rows(getattr(self, name)[2][None])[0])
            for name in ("inverse_e", "inverse_h")
        }
        return self._replace(**tables, **along)


class Layers(NamedTuple):
    """Absorbing layers: place of each index in the memory of its axis (-1 outside), cells and thickness along z, and
    the recursion (b, c / spacing) in the layers of each axis.
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


class Edges(NamedTuple):
    """Edges sorted by plane: those of plane i are place[start[i]:start[i + 1]], rows of (component, j, k, column)."""

    start: np.ndarray
    place: np.ndarray
    weight: np.ndarray


class Boxes(NamedTuple):
    """Monitors: rows of (field, low x, y, z, high x, y, z, first point, strides of component, x, y, z in the sums)."""

    place: np.ndarray
    phases: np.ndarray


def coefficients(step: YeeStep, dt: float, dtype: Any, turn: Turn = UNTURNED) -> Coefficients:
    """Row tables of the update coefficients, computed in float64."""
    media = step.ampere.media
    electric = distinct_rows(*(turn.field(part) for part in (media.permittivity, media.conductivity, media.metal)))
    permittivity, conductivity, metal = electric.tables
    permittivity = permittivity.astype(np.float64) * VACUUM_PERMITTIVITY
    loss = 0.5 * dt * conductivity.astype(np.float64) / permittivity
    magnetic = distinct_rows(turn.field(step.faraday.permeability))
    gain = -dt / (VACUUM_PERMEABILITY * magnetic.tables[0].astype(np.float64))
    gain[:, -1] = 0.0  # no face lies above the last node
    absorber = step.ampere.absorber
    return Coefficients(
        rows_e=electric.index,
        decay=np.where(metal, 0.0, (1.0 - loss) / (1.0 + loss)).astype(dtype),
        drive=np.where(metal, 0.0, dt / permittivity / (1.0 + loss)).astype(dtype),
        rows_h=magnetic.index,
        gain=gain.astype(dtype),
        inverse_e=turn.axes(_inverse(step.ampere.spacing, absorber.nodes if absorber else None, dtype)),
        inverse_h=turn.axes(
            _inverse(_with_padding(step.faraday.spacing), absorber.centers if absorber else None, dtype)
        ),
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


def _by_plane(edges: np.ndarray, columns: np.ndarray, weight: np.ndarray, planes: int, turn: Turn) -> Edges:
    """Edges in the order of the kernel's planes; the order within a plane stays as given."""
    i, j, k = turn.axes(edges[:, 1:].T)
    order = np.argsort(i, kind="stable")
    start = np.searchsorted(i[order], np.arange(planes + 1)).astype(np.int32)
    place = np.stack([edges[:, 0], j, k, columns], axis=1)[order].astype(np.int32)
    return Edges(start=start, place=np.ascontiguousarray(place), weight=weight[order])


def source_weights(step: YeeStep, tables: Coefficients, turn: Turn = UNTURNED) -> list[np.ndarray]:
    """What each source adds to the field of its edges for a signal of one."""
    weights = []
    for source in step.ampere.sources:
        edges = source.edges.cpu().numpy()
        i, j, k = turn.axes(edges[:, 1:].T)
        amplitude = source.amplitude.detach().cpu().to(torch.float64).numpy()
        drive = tables.drive[tables.rows_e[edges[:, 0], i, j], k].astype(np.float64)
        weights.append(amplitude if source.kind == "field" else -amplitude * drive)
    return weights


def source_edges(step: YeeStep, tables: Coefficients, planes: int, turn: Turn) -> Edges:
    """The edges of all sources; the column of an edge is the number of its source."""
    sources = step.ampere.sources
    edges = [np.zeros((0, 4), dtype=np.int64), *(source.edges.cpu().numpy() for source in sources)]
    columns = [number for number, source in enumerate(sources) for _ in source.edges]
    weights = np.concatenate([np.zeros(0), *source_weights(step, tables, turn)]).astype(tables.drive.dtype)
    return _by_plane(np.concatenate(edges), np.array(columns, dtype=np.int64), weights, planes, turn)


def probe_edges(step: YeeStep, planes: int, turn: Turn) -> Edges:
    """The edges that probes read; the column of an edge is its place in the list of the probes."""
    edges = step.probe.probes.edges.cpu().numpy()
    return _by_plane(edges, np.arange(len(edges)), np.zeros(len(edges)), planes, turn)


def box_rows(step: YeeStep, turn: Turn) -> np.ndarray:
    """The boxes of the monitors, for `Boxes`."""
    monitors = step.probe.monitors
    rows, first = [], 0
    for box in monitors.boxes if monitors.n_points else ():
        _, x, y, z = box.shape
        strides = (x * y * z, *turn.axes((y * z, z, 1)))
        field = 0 if box.field == "electric" else 1
        rows.append([field, *turn.axes(box.low), *turn.axes(box.high), first, *strides])
        first += int(np.prod(box.shape))
    return np.array(rows, dtype=np.int64).reshape(-1, 12)
