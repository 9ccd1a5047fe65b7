"""Thin wires along grid lines: a radius below the cell as effective media around the edges of the wire.

On a square lattice of cells d a row of metal edges acts as a wire of radius a0 = d e^-gamma / (2 sqrt 2) = 0.1985 d;
for cells d_p, d_q across it a0 = (e^-gamma / 4) sqrt(d_p^2 + d_q^2) [Peaceman1983]: the potential of a charged node of
Laplace's difference equation, far away, is that of such a wire. Another radius a changes the potential between the wire
and all that is around it by the same q ln(a0 / a) / (2 pi epsilon). The four edges that leave the wire at a node carry
the shares i_p = arctan(d_q / d_p) / pi and i_q of the flux, so all of the change is brought about where

    1 / m = 1 + (d_q / d_p) ln(a0 / a) / (2 arctan(d_q / d_p))

divides their permittivity: epsilon -> m epsilon, and likewise along q. The magnetic problem is the dual one:
mu -> mu / m in the four faces that the field lines around the wire pierce. So charge and current of a straight wire are
exact on even cells, and their product, the speed along the wire, is that of light. Noda and Yokoyama [Noda2002] chose
these media too, with a0 = 0.23 d and m = ln(d / a0) / ln(d / a), from a mean over a circle.

A node holds the charge of the wire half a cell to each side: a free end lies in the middle of a cell. From the last
node a fifth edge leads on along the axis. The change of potential is then shared out by the flux of the five, which a
solution of Laplace's difference equation around the end of a row of metal edges gives (`end_shares`).

Other faces beside these edges get the permeability that the ordinary time step calls for, the mean of 1 / m over their
edges: the four along the wire, where a straight wire has no field, and those beyond its ends, where no current is left.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from elec.fdtd.media import Media
from elec.fdtd.poles import Poles
from elec.grid import Grid
from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree

EULER = 0.5772156649015329
# At this 1 / m the faces around the wire are as fast as those of a whole cell: a = 0.43 d on square cells.
LEAST_INVERSE = 0.5
END_BOX = 25


class ThinWire(Tree):
    """A straight wire of perfect metal along a line of the grid, with gaps for ports.

    An end on a node joins what is there: a metal plane, another wire. A free end lies in the middle of a cell; on a
    node it acts as half a cell longer. Radii up to a fifth of a cell are what it is for: the ends of thicker wires are
    less well represented. Nor has a free end a face of its own to hold charge, so the wire must be thin against the
    wavelength too: half-wave dipoles of radius 1e-3 and 5e-3 wavelengths resonate at lengths 0.05 % and 0.83 % off
    (`mindsci validate elec --only dipole`). A thicker wire is a solid cylinder whose metal cuts cells.
    """

    start: tuple[float, float, float]
    """[m]"""
    stop: tuple[float, float, float]
    """[m]"""
    radius: float
    """[m]"""
    gaps: tuple[tuple[float, float], ...] = ()
    """coordinates along the wire [m] between which its edges stay open: a port continues the wire there"""

    def __post_init__(self) -> None:
        across = [axis for axis in range(3) if self.start[axis] != self.stop[axis]]
        if len(across) != 1:
            raise InputError(f"the wire from {self.start} to {self.stop} m must run along one axis of the grid")
        if not (math.isfinite(self.radius) and self.radius > 0):
            raise InputError(f"the wire's radius of {self.radius:g} m must be positive")

    @property
    def axis(self) -> int:
        return next(axis for axis in range(3) if self.start[axis] != self.stop[axis])

    def place(self, grid: Grid, media: Media) -> Media:
        """Returns the media with the wire.

        Raises InputError off the grid's lines, at its border, and for a radius that the cells are too small for.
        """
        low, high, free = self._nodes(grid)
        w = self.axis
        permittivity, permeability = torch.ones_like(media.permittivity), torch.ones_like(media.permeability)
        metal = media.metal.clone()
        self._metal(metal, grid, low, high)
        for p in ((w + 1) % 3, (w + 2) % 3):
            for side in (-1, 0):
                inverse = self._inverse(grid, low, p, side)
                self._edges(permittivity, p, side, low, high)[:] = 1.0 / inverse
                self._faces(permeability, p, side, low, high)[:] = inverse
        for place, end in ((low, -1), (high, 0)):
            if free[end]:
                self._weaken_end(permittivity, grid, place, end)
        needed = _needed(permittivity, metal)
        return tree.replace(
            media,
            permittivity=media.permittivity * permittivity,
            conductivity=media.conductivity * permittivity,
            poles=_scaled(media.poles, permittivity),
            permeability=media.permeability * torch.maximum(permeability, needed),
            metal=metal,
        )

    def _nodes(self, grid: Grid) -> tuple[list[int], list[int], tuple[bool, bool]]:
        """The first and the last node, and whether each is the last before a free end."""
        w = self.axis
        others = [axis for axis in range(3) if axis != w]
        across = [grid.node_index(axis, self.start[axis], what="the wire") for axis in others]
        if any(not 1 <= node < grid.shape[axis] for node, axis in zip(across, others, strict=True)):
            raise InputError("the wire lies on the border of the grid; widen the margin")
        places, free = [], []
        for end, coordinate in enumerate(sorted((self.start[w], self.stop[w]))):
            centers = grid.centers(w)
            cell = int((centers - coordinate).abs().argmin())
            middle = abs(float(centers[cell]) - coordinate) <= grid.on_node_tolerance(w, cell)
            node = cell + 1 - end if middle else grid.node_index(w, coordinate, what="the end of the wire")
            place = list(across)
            place.insert(w, node)
            places.append(place)
            free.append(middle)
        if places[0][w] >= places[1][w]:
            raise InputError("the wire is shorter than two cells; use finer cells along it")
        return places[0], places[1], (free[0], free[1])

    def _metal(self, metal: Tensor, grid: Grid, low: Sequence[int], high: Sequence[int]) -> None:
        line = self._line(metal[self.axis], low)
        line[low[self.axis] : high[self.axis]] = True
        for gap in self.gaps:
            first, last = (grid.node_index(self.axis, end, what="the wire's gap") for end in sorted(gap))
            if not low[self.axis] < first < last < high[self.axis]:
                raise InputError(f"the gap {gap} m does not lie inside the wire, which runs from {self.start} m")
            line[first:last] = False

    def _weaken_end(self, permittivity: Tensor, grid: Grid, place: Sequence[int], end: int) -> None:
        """The five edges that leave the last node before a free end; end is -1 at the lower one, 0 at the upper."""
        w = self.axis
        sizes = [float(grid.dual_spacing(axis)[place[axis]]) for axis in range(3)]
        p, q = (w + 1) % 3, (w + 2) % 3
        shares = end_shares(sizes[p], sizes[q], sizes[w])
        ratio = bare_radius(sizes[p], sizes[q]) / self.radius
        for axis, share, sides in ((p, shares[0], (-1, 0)), (q, shares[1], (-1, 0)), (w, shares[2], (end,))):
            # The drop along a plain edge for unit flux, times epsilon and the cell's length along the wire.
            drop = share * sizes[axis] ** 2 / (sizes[p] * sizes[q])
            for side in sides:
                edge = list(place)
                edge[axis] += side
                permittivity[(axis, *edge)] = 1.0 / (1.0 + math.log(ratio) / (2.0 * math.pi * drop))

    def _line(self, component: Tensor, low: Sequence[int]) -> Tensor:
        """The entries along the axis of the wire at its place across."""
        index = tuple(slice(None) if axis == self.axis else low[axis] for axis in range(3))
        return component[index]

    def _edges(self, values: Tensor, p: int, side: int, low: Sequence[int], high: Sequence[int]) -> Tensor:
        """The edges that leave the wire along p on one side, one a node of the wire."""
        place = [index + side if axis == p else index for axis, index in enumerate(low)]
        return self._line(values[p], place)[low[self.axis] : high[self.axis] + 1]

    def _faces(self, values: Tensor, p: int, side: int, low: Sequence[int], high: Sequence[int]) -> Tensor:
        """The faces between the wire and its neighbour along p, one an edge of the wire."""
        normal = 3 - self.axis - p
        place = [index + side if axis == p else index for axis, index in enumerate(low)]
        return self._line(values[normal], place)[low[self.axis] : high[self.axis]]

    def _inverse(self, grid: Grid, low: Sequence[int], p: int, side: int) -> float:
        """1 / m of the edges along p on one side."""
        q = 3 - self.axis - p
        d_p, d_q = (float(grid.dual_spacing(axis)[low[axis]]) for axis in (p, q))
        length = float(grid.spacing(p)[low[p] + side])
        ratio = bare_radius(d_p, d_q) / self.radius
        inverse = 1.0 + d_q / length * math.log(ratio) / (2.0 * math.atan2(d_q, d_p))
        if inverse < LEAST_INVERSE:
            raise InputError(
                f"the wire's radius of {self.radius * 1e3:.4g} mm is too large for cells of {length * 1e3:.4g} mm; use "
                f"cells of at least {2.3 * self.radius * 1e3:.4g} mm, or a cylinder of conformal metal"
            )
        return inverse


def bare_radius(first: float, second: float) -> float:
    """Returns the radius [m] as which a row of metal edges acts in cells of two sizes [m] across it."""
    return 0.25 * math.exp(-EULER) * math.hypot(first, second)


@functools.lru_cache(maxsize=64)
def end_shares(first: float, second: float, along: float) -> tuple[float, float, float]:
    """Returns the shares of the flux from the last node of a row of metal edges: each radial edge of the two axes
    across, and the edge along the axis, for cells of these sizes [m]. On cubes 0.195, 0.195, 0.221.
    """
    import numpy as np
    from scipy import sparse
    from scipy.sparse.linalg import cg

    n = END_BOX
    line = sparse.diags([-np.ones(n - 1), 2.0 * np.ones(n), -np.ones(n - 1)], [-1, 0, 1])
    one = sparse.identity(n)
    conductance = (second * along / first, first * along / second, first * second / along)
    parts = ((line, one, one), (one, line, one), (one, one, line))
    matrix = sum(g * sparse.kron(sparse.kron(a, b), c) for g, (a, b, c) in zip(conductance, parts, strict=True)).tocsr()
    index = np.arange(n**3).reshape(n, n, n)
    middle = n // 2
    metal = np.zeros(n**3, dtype=bool)
    metal[index[middle, middle, : middle + 1]] = True
    free = np.flatnonzero(~metal)
    right = -np.asarray(matrix[free][:, np.flatnonzero(metal)].sum(axis=1)).ravel()
    potential = np.ones(n**3)
    potential[free], failed = cg(matrix[free][:, free], right, rtol=1e-8)
    if failed:
        raise RuntimeError("the potential around the end of a wire did not converge")
    potential = potential.reshape(n, n, n)
    neighbours = ((middle + 1, middle, middle), (middle, middle + 1, middle), (middle, middle, middle + 1))
    flux = [g * (1.0 - float(potential[place])) for g, place in zip(conductance, neighbours, strict=True)]
    total = 2.0 * flux[0] + 2.0 * flux[1] + flux[2]
    return flux[0] / total, flux[1] / total, flux[2] / total


def _scaled(poles: Poles | None, factor: Tensor) -> Poles | None:
    """The poles of the medium around the wire: what multiplies its permittivity multiplies them too."""
    if poles is None:
        return None
    here = factor[poles.index()]
    return tree.replace(poles, jump=poles.jump * here, drive=poles.drive * here)


def _needed(permittivity: Tensor, metal: Tensor) -> Tensor:
    """The permeability of each face that keeps its row of curl curl no larger than a whole cell's: the mean of
    1 / epsilon over its edges, those of metal counting nothing. At most 1 where nothing has changed."""
    inverse = torch.where(metal, 0.0, 1.0 / permittivity)
    needed = torch.zeros_like(permittivity)
    for normal in range(3):
        for component, across in (((normal + 1) % 3, (normal + 2) % 3), ((normal + 2) % 3, (normal + 1) % 3)):
            here = inverse[component]
            needed[normal] += 0.25 * (here + here.roll(-1, across))
    return needed
