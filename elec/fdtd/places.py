"""What acts or is read at single places, as plain arrays for the fused kernels, in the order of their planes.

Poles of the media, sources, probes, and the boxes of monitors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from elec.fdtd.arrays import UNTURNED, Coefficients, Turn

if TYPE_CHECKING:
    from elec.fdtd.poles import Poles
    from elec.fdtd.sources import Source
    from elec.fdtd.step import YeeStep


class Edges(NamedTuple):
    """Places sorted by plane: those of plane i are place[start[i]:start[i + 1]], rows of (component, j, k, column)."""

    start: np.ndarray
    place: np.ndarray
    weight: np.ndarray


class Boxes(NamedTuple):
    """Monitors: rows of (field, low x, y, z, high x, y, z, first point, strides of component, x, y, z in the sums)."""

    place: np.ndarray
    phases: np.ndarray


class Terms(NamedTuple):
    """The media's poles by plane, like `Edges`: J' = keep J + after E' + before E; drive share J acts on E."""

    start: np.ndarray
    place: np.ndarray
    keep: np.ndarray
    after: np.ndarray
    before: np.ndarray
    force: np.ndarray


def pole_terms(
    poles: Poles | None, rows: np.ndarray, drive: np.ndarray, planes: int, dt: float, turn: Turn
) -> tuple[Terms, np.ndarray]:
    """The poles in the order of the kernel's planes, and the place of each in the order of the media's poles.

    rows and drive: of the law that they act in, by what a curl is multiplied.
    """
    real = drive.dtype
    if poles is None:
        none = np.zeros((0, 2), dtype=real)
        empty = Edges(np.zeros(planes + 1, dtype=np.int32), np.zeros((0, 4), dtype=np.int32), none)
        return Terms(empty.start, empty.place, none, none, none, none), np.zeros(0, dtype=np.int64)
    edges = poles.edges.cpu().numpy()
    i, j, k = turn.axes(edges[:, 1:].T)
    own = drive[rows[edges[:, 0], i, j], k].astype(np.float64)
    sorted_ = _by_plane(edges, np.arange(len(edges)), np.zeros(len(edges)), planes, turn)
    order = sorted_.place[:, 3].astype(np.int64)

    def parts(values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.stack([values.real, values.imag], axis=1)[order].astype(real))

    keep, after, before, share = (part.detach().cpu().numpy() for part in poles.recursion(dt))
    return Terms(sorted_.start, sorted_.place, parts(keep), parts(after), parts(before), parts(-own * share)), order


def _by_plane(edges: np.ndarray, columns: np.ndarray, weight: np.ndarray, planes: int, turn: Turn) -> Edges:
    """Edges in the order of the kernel's planes; the order within a plane stays as given."""
    i, j, k = turn.axes(edges[:, 1:].T)
    order = np.argsort(i, kind="stable")
    start = np.searchsorted(i[order], np.arange(planes + 1)).astype(np.int32)
    place = np.stack([edges[:, 0], j, k, columns], axis=1)[order].astype(np.int32)
    return Edges(start=start, place=np.ascontiguousarray(place), weight=weight[order])


def source_weights(step: YeeStep, tables: Coefficients, turn: Turn = UNTURNED) -> tuple[list[np.ndarray], ...]:
    """What each source adds to its places for a signal of one: the electric sources, then the magnetic ones."""

    def at(table: np.ndarray, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
        i, j, k = turn.axes(places[:, 1:].T)
        return table[rows[places[:, 0], i, j], k].astype(np.float64)

    def amplitude_of(source: Source) -> np.ndarray:
        amplitude = source.amplitude.detach().cpu()
        return amplitude.to(torch.complex128 if amplitude.is_complex() else torch.float64).numpy()

    electric, magnetic = [], []
    for source in step.ampere.sources:
        amplitude = amplitude_of(source)
        held = source.kind == "field"
        electric.append(
            amplitude if held else -amplitude * at(tables.drive, tables.rows_e, source.places.cpu().numpy())
        )
    for source in step.faraday.sources:
        amplitude = amplitude_of(source)
        magnetic.append(amplitude * at(tables.gain, tables.rows_h, source.places.cpu().numpy()))
    return electric, magnetic


def source_places(sources: Sequence[Source], dt: float) -> tuple[np.ndarray, np.ndarray]:
    """The places of all sources and the column of each: sources have their signals one after the other."""
    places, columns, first = [np.zeros((0, 4), dtype=np.int64)], [np.zeros(0, dtype=np.int64)], 0
    for source in sources:
        places.append(source.places.cpu().numpy())
        columns.append(first + source.column().cpu().numpy())
        first += source.signal(torch.zeros(0, dtype=torch.int64), dt).shape[1]
    return np.concatenate(places), np.concatenate(columns)


def source_signals(
    sources: Sequence[Source], first: int, n_steps: int, dt: float, dtype: Any = np.float64
) -> np.ndarray:
    """The signals of all sources, (steps, columns)."""
    steps = torch.arange(first, first + n_steps)
    signals = [source.signal(steps, dt).detach().cpu().numpy().astype(dtype, copy=False) for source in sources]
    return np.concatenate([np.zeros((n_steps, 0), dtype=dtype), *signals], axis=1)


def source_edges(step: YeeStep, tables: Coefficients, planes: int, turn: Turn, dt: float) -> tuple[Edges, Edges]:
    """The places of the electric sources, and those of the magnetic ones; complex amplitudes give complex weights."""
    found = []
    for sources, weights in zip(
        (step.ampere.sources, step.faraday.sources), source_weights(step, tables, turn), strict=True
    ):
        places, columns = source_places(sources, dt)
        weight = np.concatenate([np.zeros(0), *weights])
        weight = weight if np.iscomplexobj(weight) else weight.astype(tables.drive.dtype)
        found.append(_by_plane(places, columns, weight, planes, turn))
    return found[0], found[1]


def probe_edges(step: YeeStep, planes: int, turn: Turn) -> Edges:
    """The places that probes read; the column of a place is its position in the list of the probes."""
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
