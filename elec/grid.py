"""The rectilinear Yee grid: three lists of node coordinates, and the builder that fits them to the parts.

Node i and node i + 1 bound cell i. Electric components live on the edges between nodes, magnetic ones on the faces of
cells [Yee1966]. Lengths are in metres throughout.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import BeforeValidator, PlainSerializer, model_validator
from torch import Tensor

from mindsci.config import Quantity, Table
from mindsci.errors import InputError
from mindsci.tree import Tree
from mindsci.units import SPEED_OF_LIGHT, parse

AXES = ("x", "y", "z")

# Planes closer than this fraction of the largest cell are one plane: float32 files repeat a plane with rounding errors.
MERGE_FRACTION = 1e-4
# A coordinate within this fraction of the neighbouring cell lies on a node.
ON_NODE_FRACTION = 1e-3
# More lines than this on one axis, or cells in all, is a mistyped unit, not a grid.
MOST_LINES = 100_000
MOST_CELLS = 10**10
# Six field components, six update coefficients of each kind, in single precision, and the index of each cell.
BYTES_PER_CELL = 4 * (6 + 12)


Layers = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


class Grid(Tree):
    """Node coordinates of a rectilinear grid, the outer cells of which are absorbing layers."""

    x: Float[Tensor, "nodes_x"]
    """[m]"""
    y: Float[Tensor, "nodes_y"]
    """[m]"""
    z: Float[Tensor, "nodes_z"]
    """[m]"""
    absorber_cells: int | Layers = 0
    """cells of the absorbing layers: on every side, or on the low and the high side of each axis"""

    def __post_init__(self) -> None:
        for name, nodes in zip(AXES, (self.x, self.y, self.z), strict=True):
            if nodes.ndim != 1 or nodes.numel() < 2:
                raise InputError(f"grid axis {name} needs at least 2 nodes in one list, got shape {list(nodes.shape)}")
            if not bool((nodes.diff() > 0).all()):
                raise InputError(f"grid axis {name}: the nodes must increase from each to the next")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Cells along x, y and z."""
        return (self.x.numel() - 1, self.y.numel() - 1, self.z.numel() - 1)

    @property
    def n_cells(self) -> int:
        return math.prod(self.shape)

    @property
    def layers(self) -> Layers:
        """Cells of the absorbing layers on the low and the high side of each axis."""
        counts = self.absorber_cells
        return ((counts, counts),) * 3 if isinstance(counts, int) else counts

    def inner(self, axis: int) -> range:
        """Nodes of an axis inside the absorbing layers, their inner faces included."""
        low, high = self.layers[axis]
        return range(low, self.shape[axis] + 1 - high)

    def nodes(self, axis: int) -> Float[Tensor, "nodes"]:
        """Node coordinates along an axis [m]."""
        return (self.x, self.y, self.z)[axis]

    def centers(self, axis: int) -> Float[Tensor, "cells"]:
        """Cell centres along an axis [m]."""
        nodes = self.nodes(axis)
        return 0.5 * (nodes[1:] + nodes[:-1])

    def spacing(self, axis: int) -> Float[Tensor, "cells"]:
        """Cell sizes along an axis [m]: lengths of the electric edges."""
        return self.nodes(axis).diff()

    def dual_spacing(self, axis: int) -> Float[Tensor, "nodes"]:
        """Distances between neighbouring cell centres along an axis [m], one a node: lengths of the magnetic edges.

        At the two outermost nodes the outer neighbour is the mirror image of the border cell.
        """
        spacing = self.spacing(axis)
        padded = torch.cat([spacing[:1], spacing, spacing[-1:]])
        return 0.5 * (padded[1:] + padded[:-1])

    def smallest_cell(self) -> tuple[float, float, float]:
        """The smallest cell size along each axis [m]."""
        x, y, z = (float(self.spacing(axis).min()) for axis in range(3))
        return (x, y, z)

    def courant_limit(self) -> float:
        """The largest stable time step [s] in vacuum, taken from the smallest cells [Taflove2005, ch. 4]."""
        return 1.0 / (SPEED_OF_LIGHT * math.sqrt(sum(1.0 / cell**2 for cell in self.smallest_cell())))

    def neighbour_ratio(self, axis: int) -> float:
        """The largest ratio of two neighbouring cell sizes along an axis; 1 on a uniform grid."""
        spacing = self.spacing(axis)
        if spacing.numel() < 2:
            return 1.0
        ratio = spacing[1:] / spacing[:-1]
        return float(torch.maximum(ratio, 1.0 / ratio).max())

    def node_index(self, axis: int, coordinate: float, *, what: str = "the coordinate") -> int:
        """Returns the node at a coordinate [m]; InputError, naming the nearest node, where none lies there."""
        nodes = self.nodes(axis)
        index = int((nodes - coordinate).abs().argmin())
        if abs(float(nodes[index]) - coordinate) > self.on_node_tolerance(axis, index):
            raise InputError(
                f"{what} at {AXES[axis]} = {coordinate * 1e3:.6g} mm lies off the grid lines; the nearest is at "
                f"{float(nodes[index]) * 1e3:.6g} mm: move it there, or give the grid a plane at this coordinate"
            )
        return index

    def on_node_tolerance(self, axis: int, index: int) -> float:
        """How far [m] from a node a coordinate still counts as on it: a thousandth of the larger neighbouring cell."""
        spacing = self.spacing(axis)
        return ON_NODE_FRACTION * float(spacing[max(index - 1, 0) : index + 1].max())

    def locate(self, point: Sequence[float]) -> tuple[int, int, int]:
        """Returns the cell that holds a point [m]; InputError outside the grid."""
        cell = []
        for axis, coordinate in enumerate(point):
            nodes = self.nodes(axis)
            if not float(nodes[0]) <= coordinate <= float(nodes[-1]):
                raise InputError(
                    f"the point at {AXES[axis]} = {coordinate * 1e3:.6g} mm is outside the grid, which spans "
                    f"{float(nodes[0]) * 1e3:.6g} to {float(nodes[-1]) * 1e3:.6g} mm; move it or widen the margin"
                )
            index = int(torch.searchsorted(nodes, torch.tensor(coordinate, dtype=nodes.dtype), right=True)) - 1
            cell.append(min(index, nodes.numel() - 2))
        return (cell[0], cell[1], cell[2])

    def _layers_in_words(self) -> str:
        if isinstance(self.absorber_cells, int):
            return f"{self.absorber_cells} cells on each side"
        sides = (f"{name} {low} and {high}" for name, (low, high) in zip(AXES, self.layers, strict=True))
        return ", ".join(sides) + " cells, low and high side"

    def report(self) -> str:
        """A few lines for the log: cells, extent, smallest cell, time step limit, memory."""
        lines = [f"grid {' x '.join(map(str, self.shape))} = {self.n_cells:,} cells"]
        for axis, name in enumerate(AXES):
            nodes, spacing = self.nodes(axis), self.spacing(axis)
            lines.append(
                f"  {name}: {float(nodes[0]) * 1e3:.4g} to {float(nodes[-1]) * 1e3:.4g} mm, cells "
                f"{float(spacing.min()) * 1e3:.4g} to {float(spacing.max()) * 1e3:.4g} mm, "
                f"neighbours differ by a factor of up to {self.neighbour_ratio(axis):.3g}"
            )
        lines.append(f"  absorbing layers: {self._layers_in_words()}")
        lines.append(f"  time step limit {self.courant_limit() * 1e12:.4g} ps")
        lines.append(f"  memory of a run in single precision: about {self.n_cells * BYTES_PER_CELL / 2**20:.0f} MiB")
        return "\n".join(lines)


def rectilinear(
    bounds: Sequence[Sequence[float]],
    planes: Sequence[Sequence[float]],
    *,
    max_cell: Sequence[float],
    margin: Sequence[float] | float,
    growth: float = 1.2,
    air_cell: float | None = None,
    absorber_cells: int | Layers = 10,
) -> Grid:
    """Returns a grid whose lines meet every plane of the parts.

    Arguments: bounds, the lowest and highest coordinate of the parts for each axis [m]; planes, the coordinates to snap
    to for each axis [m]; max_cell, the largest cell in the parts for each axis [m]; margin, air between the parts and
    the absorbing layers [m], one for all axes or one each; growth, the ratio at which neighbouring cells of the margin
    may grow, up to air_cell [m] (default: the largest max_cell); absorber_cells, the uniform cells added on each side,
    one number or low and high side of each axis.

    Planes closer than 1e-4 of max_cell are one. Each interval between planes is divided evenly.
    """
    margins = [margin] * 3 if isinstance(margin, (int, float)) else list(margin)
    _check_sizes(max_cell, margins, growth, air_cell, absorber_cells)
    largest = max(max_cell) if air_cell is None else air_cell
    layers: Layers = ((absorber_cells,) * 2,) * 3 if isinstance(absorber_cells, int) else absorber_cells
    axes = []
    for axis, name in enumerate(AXES):
        low, high = float(bounds[axis][0]), float(bounds[axis][1])
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise InputError(f"bounds along {name} are {low:g} to {high:g} m; give two finite numbers in order")
        core = _core_nodes(name, (low, high), planes[axis], max_cell[axis])
        axes.append(_with_air(name, core, max_cell[axis], margins[axis], growth, largest, layers[axis]))
    n_cells = math.prod(len(nodes) - 1 for nodes in axes)
    if n_cells > MOST_CELLS:
        raise InputError(
            f"the grid would have {n_cells:.3g} cells and need {n_cells * BYTES_PER_CELL / 2**30:.3g} GiB; "
            "use larger cells or a smaller margin"
        )
    x, y, z = (torch.tensor(nodes, dtype=torch.float64) for nodes in axes)
    return Grid(x=x, y=y, z=z, absorber_cells=absorber_cells)


def _check_sizes(
    max_cell: Sequence[float],
    margins: Sequence[float],
    growth: float,
    air_cell: float | None,
    absorber_cells: int | Layers,
) -> None:
    if len(max_cell) != 3 or not all(math.isfinite(cell) and cell > 0 for cell in max_cell):
        raise InputError(f"cell sizes {list(max_cell)} m: give three positive lengths")
    if len(margins) != 3 or not all(math.isfinite(margin) and margin >= 0 for margin in margins):
        raise InputError(f"margins {list(margins)} m: give one length or three, none of them negative")
    if not 1.0 <= growth <= 2.0:
        raise InputError(f"growth = {growth:g} must lie between 1 (even cells) and 2; 1.2 is usual")
    if air_cell is not None and not (math.isfinite(air_cell) and air_cell > 0):
        raise InputError(f"air_cell = {air_cell:g} m must be a positive length")
    if isinstance(absorber_cells, int) and absorber_cells < 0:
        raise InputError(f"absorber_cells = {absorber_cells} must not be negative; 10 is usual, 0 leaves a metal wall")


def _core_nodes(name: str, bounds: tuple[float, float], planes: Sequence[float], max_cell: float) -> list[float]:
    """Nodes along one axis within the parts; a single one where they have no extent."""
    n_cells = (bounds[1] - bounds[0]) / max_cell
    if n_cells > MOST_LINES:
        raise InputError(
            f"cells of {max_cell * 1e3:g} mm along {name} would be {n_cells:.3g}; use larger cells or check the units"
        )
    tolerance = MERGE_FRACTION * max_cell
    # The bounds themselves are kept exactly: they give way to no plane that lies next to them.
    inner = [plane for plane in planes if bounds[0] + tolerance < plane < bounds[1] - tolerance]
    return _fill([bounds[0], *_merge(inner, tolerance), *([bounds[1]] if n_cells > 0 else [])], max_cell)


def _with_air(
    name: str,
    core: list[float],
    max_cell: float,
    margin: float,
    growth: float,
    air_cell: float,
    layers: tuple[int, int],
) -> list[float]:
    """Nodes along one axis: absorber, margin, parts, margin, absorber."""
    if margin / max_cell > MOST_LINES:
        raise InputError(f"a margin of {margin * 1e3:g} mm along {name} is far too wide for the cells; check the units")
    first, last = (core[1] - core[0], core[-1] - core[-2]) if len(core) > 1 else (max_cell, max_cell)
    below, above = (_margin_cells(cell, margin, growth, air_cell) for cell in (first, last))
    if len(core) + len(below) + len(above) + sum(layers) < 2:
        raise InputError(f"the parts have no extent along {name} and there is no margin; set a margin")
    below += [below[-1] if below else first] * layers[0]
    above += [above[-1] if above else last] * layers[1]
    before = [core[0] - offset for offset in itertools.accumulate(below)]
    after = [core[-1] + offset for offset in itertools.accumulate(above)]
    return [*reversed(before), *core, *after]


def _merge(values: Sequence[float], tolerance: float) -> list[float]:
    """Returns the values in order, each run of values closer than the tolerance replaced by its first."""
    merged: list[float] = []
    for value in sorted(values):
        if not merged or value - merged[-1] > tolerance:
            merged.append(value)
    return merged


def _fill(planes: list[float], max_cell: float) -> list[float]:
    """Divides each interval evenly into cells no larger than max_cell; the planes themselves stay exact."""
    nodes = [planes[0]]
    for low, high in itertools.pairwise(planes):
        # The small allowance keeps 16 mm / 0.4 mm at 40 cells although the quotient rounds to a little more.
        n_cells = max(1, math.ceil((high - low) / max_cell - 1e-6))
        nodes += [low + (high - low) * (i / n_cells) for i in range(1, n_cells)] + [high]
    return nodes


def _margin_cells(first: float, margin: float, growth: float, air_cell: float) -> list[float]:
    """Cells from the parts outward that fill the margin exactly, growing from `first` by at most `growth`."""
    if margin == 0:
        return []
    largest = max(air_cell, first)

    def cells(ratio: float) -> Iterator[float]:
        cell = first
        while True:
            cell = min(cell * ratio, largest)
            yield cell

    # The small allowance keeps 1.2 mm / 0.4 mm at 3 cells although their sum rounds to a little less.
    totals = itertools.islice(itertools.accumulate(cells(growth)), MOST_LINES)
    count = next((k for k, total in enumerate(totals, start=1) if total >= margin * (1 - 1e-9)), None)
    if count is None:
        raise InputError(
            f"a margin of {margin * 1e3:g} mm would take more than {MOST_LINES} cells, since the outermost cell of the "
            f"parts is {first * 1e3:.3g} mm and may grow by {growth:g} only; set growth = 1.2, or move planes apart"
        )
    low, high = 0.0, growth
    for _ in range(60):  # bisection to the last bit: the sum rises with the ratio
        middle = 0.5 * (low + high)
        low, high = (middle, high) if sum(itertools.islice(cells(middle), count)) < margin else (low, middle)
    found = list(itertools.islice(cells(high), count))
    total = sum(found)
    return [cell * (margin / total) for cell in found]


def _read_lengths(value: Any, count: int) -> tuple[float, ...]:
    if isinstance(value, str) and "," in value:
        *numbers, last = value.split(",")
        number, _, unit = last.strip().partition(" ")
        value = [f"{entry.strip()} {unit}" for entry in (*numbers, number)]
    if isinstance(value, (list, tuple)):
        if len(value) != count:
            one = "one for all axes or three, for x, y and z" if count == 3 else f"{count}"
            raise InputError(f"{list(value)} has {len(value)} lengths; give {one}")
        return tuple(parse(entry, "m") for entry in value)
    if count != 3:
        raise InputError(f'{value!r} is one length; give {count}, as in "1, 2 mm"')
    return (parse(value, "m"),) * count


def _write_lengths(value: tuple[float, ...]) -> list[str]:
    return [f"{length!r} m" for length in value]


def _three(value: Any) -> tuple[float, ...]:
    return _read_lengths(value, 3)


def _two(value: Any) -> tuple[float, ...]:
    return _read_lengths(value, 2)


ThreeLengths = Annotated[tuple[float, float, float], BeforeValidator(_three), PlainSerializer(_write_lengths)]
"""Three lengths [m] that a case writes as "1, 2, 3 mm", as three strings, or as one length for all."""
TwoLengths = Annotated[tuple[float, float], BeforeValidator(_two), PlainSerializer(_write_lengths)]
"""Two lengths [m] that a case writes as "1, 2 mm" or as two strings."""


class GridTable(Table):
    """The table `[grid]` of a case file, its cells given one by one."""

    mode: Literal["explicit"] = "explicit"
    cell: ThreeLengths
    """largest cell in the parts, for each axis [m]"""
    margin: ThreeLengths
    """air between the parts and the absorbing layers, for each axis [m]"""
    growth: float = 1.2
    air_cell: Quantity("m") | None = None
    """largest cell in the air [m]"""
    absorber_cells: int = 10

    @model_validator(mode="after")
    def _possible(self) -> GridTable:
        _check_sizes(self.cell, self.margin, self.growth, self.air_cell, self.absorber_cells)
        return self

    def build(
        self,
        bounds: Sequence[Sequence[float]],
        planes: Sequence[Sequence[float]],
        *,
        air_cell: float | None = None,
        layers: Layers | None = None,
    ) -> Grid:
        """Returns the grid around parts; air_cell [m] applies where the table gives none (a fifteenth of the
        shortest wavelength, say); layers, the absorbing cells of each side, absorber_cells on all unless given."""
        return rectilinear(
            bounds,
            planes,
            max_cell=self.cell,
            margin=self.margin,
            growth=self.growth,
            air_cell=self.air_cell if self.air_cell is not None else air_cell,
            absorber_cells=self.absorber_cells if layers is None else layers,
        )
