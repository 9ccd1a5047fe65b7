"""Grid lines along one axis: what they must meet, how large cells may be where, and lines that obey both.

Cells may be no larger than a size that rises away from each limit as a geometric row does: where neighbours grow by
the factor g, the size gains log(g) for each length travelled. Between two fixed lines the nodes lie at equal steps of
the integral of dx / size, so their number is the next whole one and all cells shrink alike. Where that leaves two
neighbours further apart than g, the smaller one becomes a limit of its own and the lines are placed again.

A rim of thin metal lies between two lines, a third of a cell outside the last one that is metal. Next to the rim the
field goes as the square root of the distance, and a scheme that takes it as even in a cell sees the metal end about a
third of a cell beyond its last line, whatever the case: with the line there, the error of first order is gone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from elec.grid import MOST_LINES
from mindsci.errors import InputError
from mindsci.tree import Tree

RIM_INSIDE, RIM_OUTSIDE = 1.0 / 3.0, 2.0 / 3.0
"""Distances [cells] of a rim from the last line in the metal and the first one outside."""
ROUNDS = 200
SAMPLES = 400
# What quadrature and rounding may add to a ratio of neighbours.
RATIO_SLACK = 1e-3


class Station(Tree):
    """A coordinate and the lines that it calls for, at offsets in units of the cell there: (0,) is a line on it."""

    at: float
    """[m]"""
    offsets: tuple[float, ...] = (0.0,)
    why: str = ""
    rank: int = 0
    """the higher one stays where two stations are too close"""

    @property
    def metal_line(self) -> float:
        """Offset of the line that stands for this coordinate: that inside the metal, for a rim."""
        return min(self.offsets, key=abs)


def rim(at: float, side: int, why: str, *, rank: int = 2) -> Station:
    """Returns the station of a rim of thin metal that lies on its side 1 (larger coordinates) or -1."""
    inside, outside = side * RIM_INSIDE, -side * RIM_OUTSIDE
    return Station(at=at, offsets=(outside, inside) if side > 0 else (inside, outside), why=why, rank=rank)


class Limit(Tree):
    """The largest cell between two coordinates."""

    low: float
    """[m]"""
    high: float
    """[m]"""
    size: float
    """[m]"""
    why: str = ""


class Lines(Tree):
    """The nodes of an axis, and the line that stands for each station."""

    nodes: tuple[float, ...]
    """[m]"""
    places: tuple[tuple[float, float], ...]
    """coordinate of each station and of its line [m]"""
    limits: tuple[Limit, ...]

    def line_of(self, coordinate: float, tolerance: float) -> float:
        """Returns the line that stands for a coordinate [m], the coordinate itself where no station is near."""
        near = min(self.places, key=lambda place: abs(place[0] - coordinate), default=None)
        return near[1] if near is not None and abs(near[0] - coordinate) <= tolerance else coordinate

    def why_smallest(self) -> tuple[float, str]:
        """Returns the smallest cell [m] and what called for it."""
        nodes = np.array(self.nodes)
        index = int(np.diff(nodes).argmin())
        middle = 0.5 * (nodes[index] + nodes[index + 1])
        told = [limit for limit in self.limits if limit.why and math.isfinite(limit.low)]
        size = float(nodes[index + 1] - nodes[index])
        near = [limit for limit in told if limit.low - size <= middle <= limit.high + size]
        return size, min(near or self.limits, key=lambda limit: limit.size).why


def place_lines(
    name: str,
    ends: tuple[float, float],
    stations: Sequence[Station],
    limits: Sequence[Limit],
    *,
    growth: float,
    apart: float,
    across: int,
) -> Lines:
    """Returns lines from end to end [m] that obey stations and limits, neighbours within the factor `growth`.

    Stations closer than `apart` [m] are one. Between rims and planes that face one another with metal, or with a gap,
    there are at least `across` cells; Raises InputError where an axis would take too many.
    """
    rate = math.log(growth)
    kept = merged([*stations, *(Station(at=end, why="end of the grid", rank=9) for end in ends)], ends, apart)
    bounds = [*limits, *_between(kept, across)]
    smallest = min(limit.size for limit in bounds)
    if (ends[1] - ends[0]) / smallest > MOST_LINES:
        raise InputError(
            f"cells of {smallest * 1e3:.3g} mm along {name} for {(ends[1] - ends[0]) * 1e3:.4g} mm are too many; "
            "check the units, or use fewer cells per wavelength"
        )
    for _ in range(ROUNDS):
        fixed = _fixed_lines(kept, bounds, rate, ends)
        nodes = _filled(fixed, bounds, rate)
        tight = _too_steep(nodes, growth)
        if not tight:
            break
        bounds += tight
    places = tuple((station.at, line) for station, line in zip(kept, _own_lines(kept, bounds, rate), strict=True))
    return Lines(nodes=tuple(nodes.tolist()), places=places, limits=tuple(bounds))


def merged(stations: Sequence[Station], ends: tuple[float, float], apart: float) -> list[Station]:
    """Returns the stations inside the ends in order; of two closer than `apart` [m], the one of the higher rank."""
    slack = 1e-9 * (ends[1] - ends[0])
    inside = [station for station in stations if ends[0] - slack <= station.at <= ends[1] + slack]
    kept: list[Station] = []
    for station in sorted(inside, key=lambda one: (-one.rank, one.at)):
        near = [index for index, other in enumerate(kept) if abs(other.at - station.at) <= apart]
        if not near:
            kept.append(station)
        elif station.rank == kept[near[0]].rank and station.offsets != kept[near[0]].offsets:
            # Metal ends here and begins there: the line itself is the best that serves both.
            kept[near[0]] = Station(at=kept[near[0]].at, why=station.why, rank=station.rank)
    return sorted(kept, key=lambda one: one.at)


def _between(stations: Sequence[Station], across: int) -> list[Limit]:
    """The largest cell with which whole cells fit between neighbouring stations."""
    limits = []
    for first, second in itertools.pairwise(stations):
        taken = max(first.offsets[-1], 0.0) - min(second.offsets[0], 0.0)
        facing = _is_rim(first) and _is_rim(second) and first.offsets != second.offsets
        count = across if facing else 1
        length = second.at - first.at
        what = f"{count} cells between {first.why} and {second.why}" if first.why or second.why else ""
        limits.append(Limit(low=first.at, high=second.at, size=length / (count + taken), why=what))
    return limits


def _is_rim(station: Station) -> bool:
    return len(station.offsets) == 2


def sizes(x: Float[ndarray, "points"], limits: Sequence[Limit], rate: float) -> Float[ndarray, "points"]:
    """Returns the largest cell at each coordinate [m]."""
    low, high, size = (np.array([getattr(limit, what) for limit in limits]) for what in ("low", "high", "size"))
    distance = np.maximum(np.maximum(low[:, None] - x, x - high[:, None]), 0.0)
    return (size[:, None] + rate * distance).min(axis=0)


def _own_cells(stations: Sequence[Station], limits: Sequence[Limit], rate: float) -> list[float]:
    """The cell at each station: the smallest that is allowed over the lines it calls for."""
    cells = []
    for station in stations:
        cell = float(sizes(np.array([station.at]), limits, rate)[0])
        if len(station.offsets) > 1:
            reach = np.array([station.at + offset * cell for offset in station.offsets])
            cell = float(sizes(np.linspace(reach.min(), reach.max(), 9), limits, rate).min())
        cells.append(cell)
    return cells


def _own_lines(stations: Sequence[Station], limits: Sequence[Limit], rate: float) -> list[float]:
    cells = _own_cells(stations, limits, rate)
    return [station.at + station.metal_line * cell for station, cell in zip(stations, cells, strict=True)]


def _fixed_lines(
    stations: Sequence[Station], limits: Sequence[Limit], rate: float, ends: tuple[float, float]
) -> list[list[float]]:
    """Groups of lines whose inner intervals are single cells."""
    groups = []
    for station, cell in zip(stations, _own_cells(stations, limits, rate), strict=True):
        group = [station.at + offset * cell for offset in station.offsets]
        groups.append([line for line in group if ends[0] <= line <= ends[1]] or [station.at])
    return groups


def _filled(groups: list[list[float]], limits: Sequence[Limit], rate: float) -> Float[ndarray, "nodes"]:
    nodes = list(groups[0])
    for first, second in itertools.pairwise(groups):
        low, high = first[-1], second[0]
        x = np.linspace(low, high, SAMPLES + 1)
        density = 1.0 / sizes(x, limits, rate)
        total = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(x))])
        # The small allowance keeps 16 mm / 0.4 mm at 40 cells although the sum rounds to a little more.
        count = max(1, math.ceil(total[-1] - 1e-6))
        inner = np.interp(np.arange(1, count) * (total[-1] / count), total, x)
        nodes += [*inner.tolist(), *second]
    return np.array(nodes)


def _too_steep(nodes: Float[ndarray, "nodes"], growth: float) -> list[Limit]:
    """The smaller of every two neighbours whose ratio is above the growth, as a limit where it lies."""
    cells = np.diff(nodes)
    found = []
    for index in range(len(cells) - 1):
        small = index if cells[index] < cells[index + 1] else index + 1
        ratio = cells[index : index + 2].max() / cells[small]
        if ratio > growth * (1.0 + RATIO_SLACK):
            # The size is that of the cell's middle: at its borders it may already be larger by half a step.
            middle = 0.5 * (nodes[small] + nodes[small + 1])
            found.append(Limit(low=middle, high=middle, size=float(cells[small])))
    return found
