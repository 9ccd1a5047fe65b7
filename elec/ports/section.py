"""The cross-section of a guide that runs along an axis of the grid: the media on its edges and faces, and its walls.

The guide runs along the axis n, with u and v the next two axes in cyclic order; `elec.ports.modes` finds its modes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sparse
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from elec.fdtd import Media, Walls
from elec.fdtd.media import BOX
from elec.grid import AXES, Grid
from mindsci.errors import InputError
from mindsci.tree import Tree

Window = tuple[tuple[int, int], tuple[int, int]]


class Section(Tree):
    """The cross-section of a guide at a node of its axis: coefficients on edges and faces, u then v, both node counts.

    Component order is u, v, n. Entries with no edge behind them count as metal.
    """

    axis: int
    node: int
    low: tuple[int, int]
    """the grid's node at the lower corner"""
    spacing: tuple[Tensor, Tensor]
    """cells along u and v [m], one a cell"""
    dual: tuple[Tensor, Tensor]
    """distances of cell centres [m], one a node"""
    step: float
    """cell along the guide [m]"""
    mirror: tuple[bool, bool]
    """whether the low side of u and v is a magnetic wall"""
    permittivity: Float[Tensor, "3 u v"]
    conductivity: Float[Tensor, "3 u v"]
    """[S/m]"""
    permeability: Float[Tensor, "3 u v"]
    metal: Bool[Tensor, "3 u v"]

    @property
    def transverse(self) -> tuple[int, int]:
        """The axes u and v."""
        return (self.axis + 1) % 3, (self.axis + 2) % 3

    @functools.cached_property
    def areas(self) -> Float[Tensor, "2 u v"]:
        """Areas [m^2] that belong to E_u with H_v, and to E_v with H_u; halved on a magnetic wall."""
        (du, dv), (u, v) = self.spacing, [dual.clone() for dual in self.dual]
        for line, mirror in ((u, self.mirror[0]), (v, self.mirror[1])):
            if mirror:
                line[0] *= 0.5
        zero = du.new_zeros(1)
        return torch.stack([torch.outer(torch.cat([du, zero]), v), torch.outer(u, torch.cat([dv, zero]))])

    @functools.cached_property
    def conductors(self) -> Tensor:
        """Number of the conductor at each node, 0 where there is none; 1 is the one that holds the outer wall.

        Nodes belong to one conductor where a metal edge joins them.
        """
        from scipy.sparse.csgraph import connected_components

        metal = self.metal.numpy()
        size = metal[2].shape
        number = np.arange(metal[2].size).reshape(size)
        pairs = []
        for component, shift in ((0, (1, 0)), (1, (0, 1))):
            rows, columns = size[0] - shift[0], size[1] - shift[1]
            first, second = number[:rows, :columns], number[shift[0] :, shift[1] :]
            joined = metal[component, :rows, :columns]
            pairs.append(np.stack([first[joined], second[joined]]))
        first, second = np.concatenate(pairs, axis=1)
        graph = sparse.coo_matrix((np.ones(len(first)), (first, second)), shape=(metal[2].size,) * 2)
        _, label = connected_components(graph, directed=False)
        label = label.reshape(size)
        found = np.zeros(size, dtype=np.int64)
        wall = label[-1, -1]  # the high sides are conductor always
        others = [one for one in np.unique(label[metal[2]]) if one != wall]
        for index, one in enumerate([wall, *others], start=1):
            found[(label == one) & metal[2]] = index
        return torch.from_numpy(found)

    def places(self, component: int, node: int) -> Tensor:
        """Returns grid places (component, i, j, k) of the window, at a node of the axis; component in u, v, n order."""
        shape = self.metal.shape[1:]
        u, v = torch.meshgrid(torch.arange(shape[0]), torch.arange(shape[1]), indexing="ij")
        places = torch.empty(u.numel(), 4, dtype=torch.int64)
        places[:, 0] = (self.axis + 1 + component) % 3
        places[:, 1 + self.transverse[0]] = u.reshape(-1) + self.low[0]
        places[:, 1 + self.transverse[1]] = v.reshape(-1) + self.low[1]
        places[:, 1 + self.axis] = node
        return places


def cross_section(
    grid: Grid, media: Media, axis: int, node: int, *, window: Window | None = None, walls: Walls = BOX
) -> Section:
    """Returns the section of a guide at a node of its axis; `window` are node ranges along u and v, walls around it.

    Raises InputError where the guide changes across the plane, for dispersive media and for periodic side walls.
    """
    u, v = (axis + 1) % 3, (axis + 2) % 3
    last = grid.shape[axis]
    if not 1 <= node <= last - 1:
        raise InputError(f"a section at node {node} along {AXES[axis]} needs a cell on each side: use 1 to {last - 1}")
    for side in (u, v):
        if walls.periodic(side):
            raise InputError(f"modes need walls at the sides, and those along {AXES[side]} are periodic")
    whole = ((0, grid.shape[u]), (0, grid.shape[v]))
    limits = whole if window is None else window
    for side, (low, high), (first, end) in zip((u, v), limits, whole, strict=True):
        if not first <= low < high <= end:
            raise InputError(f"the window from node {low} to {high} along {AXES[side]} is not within {first} to {end}")
    _check_uniform(grid, media, axis, node)

    def cut(values: Tensor, at: int = node) -> Tensor:
        plane = torch.stack([values[(axis + 1 + c) % 3].select(axis, at) for c in range(3)]).detach().cpu()
        plane = plane.transpose(1, 2) if axis == 1 else plane  # the remaining axes come as x, z there
        (a, b), (c, d) = limits
        return plane[:, a : b + 1, c : d + 1].clone()

    for side, (_, high) in zip((u, v), limits, strict=True):
        if walls.sides(side)[1] == "pmc" and high == grid.shape[side]:
            raise InputError(
                f"the port reaches the magnetic wall on the high side of {AXES[side]}, which mode ports do not know; "
                "turn the model round to have that wall on the low side"
            )
    mirror = tuple(walls.sides(side)[0] == "pmc" and low == 0 for side, (low, _) in zip((u, v), limits, strict=True))
    metal = _with_walls(cut(media.metal), mirror)
    _check_poles(media, axis, node, limits)
    lines = [
        (
            grid.spacing(side).to("cpu", torch.float64)[low:high],
            grid.dual_spacing(side).to("cpu", torch.float64)[low : high + 1],
        )
        for side, (low, high) in zip((u, v), limits, strict=True)
    ]
    return Section(
        axis=axis,
        node=node,
        low=(limits[0][0], limits[1][0]),
        spacing=(lines[0][0], lines[1][0]),
        dual=(lines[0][1], lines[1][1]),
        step=float(grid.spacing(axis)[node]),
        mirror=(mirror[0], mirror[1]),
        permittivity=cut(media.permittivity).to(torch.float64),
        conductivity=cut(media.conductivity).to(torch.float64),
        permeability=cut(media.permeability).to(torch.float64),
        metal=metal,
    )


def _with_walls(metal: Tensor, mirror: Sequence[bool]) -> Tensor:
    """Marks the edges on the border of the window, and the padding, as metal."""
    for component in range(3):
        for side in range(2):
            metal[component].select(side, -1).fill_(True)
            if component != side and not mirror[side]:
                metal[component].select(side, 0).fill_(True)
    return metal


def _check_uniform(grid: Grid, media: Media, axis: int, node: int) -> None:
    spacing = grid.spacing(axis)
    name, place = AXES[axis], float(grid.nodes(axis)[node]) * 1e3
    if abs(float(spacing[node] / spacing[node - 1]) - 1.0) > 1e-6:
        raise InputError(f"the cells along {name} change at {place:.6g} mm; keep them equal around a port's planes")
    for what in ("permittivity", "conductivity", "permeability", "metal"):
        values = getattr(media, what).detach()
        here, before = values.select(axis + 1, node), values.select(axis + 1, node - 1)
        # Rounding of single precision apart: fill fractions come out of other operations in every plane.
        same = torch.equal(here, before) if what == "metal" else torch.allclose(here, before, rtol=1e-4, atol=0.0)
        if not same:
            raise InputError(
                f"the {what} changes along {name} at {place:.6g} mm; put the port's planes in a uniform guide"
            )


def _check_poles(media: Media, axis: int, node: int, limits: Window) -> None:
    if media.poles is None:
        return
    edges = media.poles.edges.cpu()
    inside = edges[:, 1 + axis] == node
    for side, (low, high) in zip(((axis + 1) % 3, (axis + 2) % 3), limits, strict=True):
        inside &= (edges[:, 1 + side] >= low) & (edges[:, 1 + side] <= high)
    if bool(inside.any()):
        raise InputError(
            "the guide's section has dispersive media or lumped elements; put the port where there are none"
        )
