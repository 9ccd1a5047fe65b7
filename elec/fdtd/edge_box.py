"""A box of grid edges along one axis, over which a lumped element or a port lies."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from elec.grid import AXES, Grid
from mindsci.errors import InputError
from mindsci.tree import Tree


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

    def edges(self, grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the edges of the box, the share of each one's column, and their lengths [m]."""
        low, high = self.nodes(grid)
        places = [range(low[axis], high[axis] + (axis != self.axis)) for axis in range(3)]
        nodes = torch.tensor(list(itertools.product(*places)))
        shares = torch.ones(len(nodes), dtype=torch.float64)
        for axis in range(3):
            if axis != self.axis:
                width = _inner_widths(grid.nodes(axis).to(torch.float64).cpu()[low[axis] : high[axis] + 1])
                shares = shares * (width / width.sum())[nodes[:, axis] - low[axis]]
        lengths = grid.spacing(self.axis).to(torch.float64).cpu()[nodes[:, self.axis]]
        component = torch.full((len(nodes), 1), self.axis)
        return torch.cat([component, nodes], dim=1), shares, lengths

    def open_edges(self, grid: Grid, metal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns `edges`; InputError where metal shorts some of them."""
        edges, shares, lengths = self.edges(grid)
        shorted = metal.cpu()[tuple(edges.unbind(1))]
        if bool(shorted.any()):
            raise InputError(
                f"the {self.what} is shorted: {int(shorted.sum())} of its {len(edges)} edges lie in or on metal; "
                "place it in the gap between the conductors"
            )
        return edges, shares, lengths


def _inner_widths(nodes: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Returns the width around each node that lies between the first and the last; 1 where there is one node."""
    if nodes.numel() == 1:
        return torch.ones(1, dtype=torch.float64)
    middle = 0.5 * (nodes[1:] + nodes[:-1])
    return torch.cat([nodes[:1], middle, nodes[-1:]]).diff()
