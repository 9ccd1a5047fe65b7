"""The automatic mesh: from parts, ports and the shortest wavelength to a grid that says why its cells are so small."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from elec.geometry import Scene
from elec.grid import AXES, BYTES_PER_CELL, MOST_CELLS, Grid, Layers
from elec.mesh.features import Demand, stations_and_limits
from elec.mesh.lines import Lines, Station, place_lines
from mindsci.errors import InputError
from mindsci.tree import Tree

APART = 1e-3
"""Lines closer than this fraction of the largest cell are one."""
# A coordinate this close to a station, as a fraction of the largest cell, means that station.
SAME = 1e-3


class Mesh(Tree):
    """A grid, and the lines that stand for the coordinates of the model: rims of metal lie between lines."""

    grid: Grid
    axes: tuple[Lines, Lines, Lines] | None = None

    def line_of(self, axis: int, coordinate: float) -> float:
        """Returns the line that stands for a coordinate [m]: for a rim the last one that is metal."""
        if self.axes is None:
            return coordinate
        return self.axes[axis].line_of(coordinate, SAME * float(self.grid.spacing(axis).max()))

    def corner(self, point: Sequence[float]) -> tuple[float, float, float]:
        """Returns a corner of a port [m] moved to the lines that stand for its coordinates."""
        x, y, z = (self.line_of(axis, coordinate) for axis, coordinate in enumerate(point))
        return (x, y, z)

    def report(self) -> str:
        """Returns the grid's report, and for each axis what called for its smallest cell."""
        lines = [self.grid.report()]
        for axis, name in enumerate(AXES):
            if self.axes is not None:
                cell, why = self.axes[axis].why_smallest()
                lines.append(f"  smallest cell along {name}: {cell * 1e3:.4g} mm, by {why}")
        return "\n".join(lines)


def automatic(
    scene: Scene,
    demand: Demand,
    extent: Sequence[tuple[float, float]],
    *,
    growth: float,
    layers: Layers,
    stations: Sequence[Sequence[Station]] = ((), (), ()),
    smallest: float | None = None,
) -> Mesh:
    """Returns the mesh of a scene inside an extent [m], absorbing layers added outside it.

    Arguments: growth, the largest ratio of neighbouring cells, everywhere; stations, lines that ports call for on each
    axis; smallest [m], the distance below which two lines are one (a thousandth of the largest cell unless given).

    Raises InputError where the grid would be too large.
    """
    of_parts, limits = stations_and_limits(scene, demand)
    axes = []
    for axis, name in enumerate(AXES):
        apart = APART * max(limit.size for limit in limits[axis]) if smallest is None else smallest
        wanted = [*of_parts[axis], *stations[axis]]
        axes.append(
            place_lines(
                name, extent[axis], wanted, limits[axis], growth=growth, apart=apart, across=demand.cells_across
            )
        )
    n_cells = math.prod(len(lines.nodes) + sum(layers[axis]) - 1 for axis, lines in enumerate(axes))
    if n_cells > MOST_CELLS:
        raise InputError(
            f"the grid would have {n_cells:.3g} cells and need {n_cells * BYTES_PER_CELL / 2**30:.3g} GiB; "
            "use fewer cells per wavelength or a smaller margin"
        )
    x, y, z = (
        torch.tensor(_with_layers(lines.nodes, layers[axis]), dtype=torch.float64) for axis, lines in enumerate(axes)
    )
    even = {count for sides in layers for count in sides}
    grid = Grid(x=x, y=y, z=z, absorber_cells=even.pop() if len(even) == 1 else layers)
    return Mesh(grid=grid, axes=(axes[0], axes[1], axes[2]))


def _with_layers(nodes: Sequence[float], layers: tuple[int, int]) -> list[float]:
    """The nodes with even cells added on both sides, as large as the outermost one there."""
    first, last = nodes[1] - nodes[0], nodes[-1] - nodes[-2]
    before = [nodes[0] - first * count for count in range(layers[0], 0, -1)]
    return [*before, *nodes, *(nodes[-1] + last * count for count in range(1, layers[1] + 1))]


def whole_block(at: float, first: int, last: int, why: str) -> Station:
    """Returns a station of even cells from `first` to `last` cells beside a coordinate [m], with a line on it."""
    return Station(at=at, offsets=tuple(float(step) for step in range(first, last + 1)), why=why, rank=8)
