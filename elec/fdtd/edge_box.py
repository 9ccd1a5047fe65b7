"""A box of grid edges along one axis, over which a lumped element or a port lies."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from elec.fdtd.media import BOX
from elec.fdtd.sources import dual_areas
from elec.fdtd.walls import Walls
from elec.grid import AXES, Grid
from mindsci.errors import InputError
from mindsci.tree import Tree


class BoxEdges(NamedTuple):
    """The edges of a box: of a column, the shares of a layer add up to one, each counted with its images."""

    places: Int[Tensor, "edges 4"]
    shares: Float[Tensor, "edges"]
    """part of the current of the whole that each carries in an even field"""
    images: Float[Tensor, "edges"]
    """how often each occurs in the whole"""
    lengths: Float[Tensor, "edges"]
    """[m]"""

    @property
    def volts(self) -> Float[Tensor, "edges"]:
        """What the voltage over the box takes of the field of each edge [m]."""
        return self.shares * self.images * self.lengths

    def scale(self, grid: Grid) -> Float[Tensor, "edges"]:
        """Returns admittivity over admittance of the whole [1/m]."""
        return self.shares * self.volts.sum() / dual_areas(grid, int(self.places[0, 0]), self.places[:, 1:])


class EdgeBox(Tree):
    """The edges along an axis in the box from `start` to `stop` [m]; a line, a rectangle or a block."""

    start: tuple[float, float, float]
    """[m]"""
    stop: tuple[float, float, float]
    """[m]"""
    axis: int
    what: str = "box"
    """its name in messages"""

    def __post_init__(self) -> None:
        if self.start[self.axis] == self.stop[self.axis]:
            raise InputError(
                f"the {self.what} has no extent along its direction {AXES[self.axis]}: start and stop are both at "
                f"{self.start[self.axis] * 1e3:g} mm; let it span the gap between two conductors"
            )

    def nodes(self, grid: Grid) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Returns the lowest and highest node of the box. Raises InputError outside the grid or off its lines."""
        low, high = [], []
        for axis, name in enumerate(AXES):
            ends = sorted((self.start[axis], self.stop[axis]))
            line = grid.nodes(axis)
            inside = grid.inner(axis)
            inner = (float(line[inside[0]]), float(line[inside[-1]]))
            slack = grid.on_node_tolerance(axis, 0)
            for end in ends:
                if not inner[0] - slack <= end <= inner[1] + slack:
                    raise InputError(
                        f"the {self.what}'s corner at {name} = {end * 1e3:.6g} mm is outside the grid inside the "
                        f"absorbing layers, {inner[0] * 1e3:.6g} to {inner[1] * 1e3:.6g} mm; move it or widen the "
                        "margin"
                    )
            self._check_extent(grid, axis, ends)
            first, last = (grid.node_index(axis, end, what=f"the {self.what}'s corner") for end in ends)
            low.append(first)
            high.append(last)
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])

    def _check_extent(self, grid: Grid, axis: int, ends: Sequence[float]) -> None:
        """A box that lies between two neighbouring lines would have no edge and stay silent."""
        line = grid.nodes(axis)
        index = min(int((line <= ends[0]).sum()) - 1, line.numel() - 2)
        cell = float(line[index + 1] - line[index])
        extent = ends[1] - ends[0]
        if 0.0 < extent < cell * (1.0 - 1e-3):
            raise InputError(
                f"the {self.what} is smaller than a cell along {AXES[axis]}: {extent * 1e3:.4g} mm against "
                f"{cell * 1e3:.4g} mm; use cells of at most {extent * 1e3:.4g} mm there"
            )

    def edges(self, grid: Grid, walls: Walls = BOX) -> BoxEdges:
        """Returns the edges of the box with what each is of it.

        A box that reaches to a magnetic wall is half of one that goes on beyond it, whose images count too.
        """
        low, high = self.nodes(grid)
        places = [range(low[axis], high[axis] + (axis != self.axis)) for axis in range(3)]
        nodes = torch.tensor(list(itertools.product(*places)))
        shares, images = torch.ones(2, len(nodes), dtype=torch.float64)
        for axis in range(3):
            if axis != self.axis:
                width = _inner_widths(grid.nodes(axis).to(torch.float64).cpu()[low[axis] : high[axis] + 1])
                count = torch.ones_like(width)
                if low[axis] == 0 and high[axis] > 0 and walls.sides(axis)[0] == "pmc":
                    width[0] *= 2.0  # half of its width lies beyond the wall
                    count[1:] = 2.0
                place = nodes[:, axis] - low[axis]
                shares, images = shares * (width / (width * count).sum())[place], images * count[place]
        lengths = grid.spacing(self.axis).to(torch.float64).cpu()[nodes[:, self.axis]]
        component = torch.full((len(nodes), 1), self.axis)
        return BoxEdges(torch.cat([component, nodes], dim=1), shares, images, lengths)

    def open_edges(self, grid: Grid, metal: Tensor, walls: Walls = BOX) -> BoxEdges:
        """Returns `edges`; InputError where metal shorts some of them."""
        found = self.edges(grid, walls)
        shorted = metal.cpu()[tuple(found.places.unbind(1))]
        if bool(shorted.any()):
            raise InputError(
                f"the {self.what} is shorted: {int(shorted.sum())} of its {len(shorted)} edges lie in or on metal; "
                "place it in the gap between the conductors"
            )
        return found

    def copies(self, grid: Grid, mirrors: Mapping[str, str]) -> int:
        """Returns how often the box occurs in the whole of which mirrors show a part.

        mirrors: "pec" or "pmc" at some of "x low", "x high", ... A box that lies on a magnetic one, or reaches to it,
        is its own image.
        """
        low, high = self.nodes(grid)
        count = 1
        for side, kind in mirrors.items():
            axis = AXES.index(side[0])
            at_wall = low[axis] == 0 if side.endswith("low") else high[axis] == grid.shape[axis]
            if kind != "ground" and not (kind == "pmc" and at_wall):
                count *= 2
        return count


def _inner_widths(nodes: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Returns the width around each node that lies between the first and the last; 1 where there is one node."""
    if nodes.numel() == 1:
        return torch.ones(1, dtype=torch.float64)
    middle = 0.5 * (nodes[1:] + nodes[:-1])
    return torch.cat([nodes[:1], middle, nodes[-1:]]).diff()
