"""A closed box on whose surface the running Fourier sums of E and H are kept: near-to-far fields and power start there.

On a Yee grid the box has two skins: the tangential E of the nodes that bound it, and the tangential H of the faces half
a cell outside. The currents that stand for all that is inside are then exact for the scheme itself: J = n x H at the
edges of the inner skin, M = -n x E at the faces of the outer one [Schelkunoff1936]. No field is interpolated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.fdtd.probes import Box
from elec.grid import AXES, Grid
from mindsci.errors import InputError
from mindsci.tree import Tree

SIDES = tuple(f"{axis} {side}" for axis in AXES for side in ("low", "high"))
Wall = Literal["pec", "pmc", "ground"]
Node = tuple[int, int, int]


class Side(NamedTuple):
    """One side of a box: its normal axis, whether it is the high one, the nodes of its two skins."""

    axis: int
    high: bool
    node: int
    outside: int


class Pair(NamedTuple):
    """Tangential E along one axis and the H across it that together carry power through a side, with their area."""

    side: Side
    along: int
    other: int
    sign: float
    """of J along `along` in n x H, and of M along `other` in -n x E"""
    along_cells: slice
    other_nodes: slice
    weight: Float[Tensor, "a b"]
    """[m^2], cells of `along` first"""
    electric: Complex[Tensor, "f a b"]
    """[V s/m]"""
    magnetic: Complex[Tensor, "f a b"]
    """[A s/m]"""


class Surface(Tree):
    """A box of nodes low .. high of a grid, closed by walls on some of its sides.

    walls names the sides ("x low", ...) that lie on a plane of symmetry, which carry no skin: "pec" and "pmc" are
    mirrors with the field of the image on the other side, "ground" is a perfectly conducting plane without end, with no
    field behind it. A mirror may be the wall of the grid or metal across all of it.
    """

    grid: Grid
    low: Node
    high: Node
    walls: Mapping[str, Wall] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for side, wall in self.walls.items():
            if side not in SIDES or wall not in ("pec", "pmc", "ground"):
                raise InputError(
                    f"the wall {wall!r} at {side!r} is not known; use 'pec', 'pmc' or 'ground' at some of "
                    f"{', '.join(SIDES)}"
                )
        for axis, name in enumerate(AXES):
            size, layers = self.grid.shape[axis], self.grid.layers[axis]
            sides = self._on_wall(axis)
            if all(sides):
                raise InputError(f"both sides of the surface along {name} are walls; one of them must be open space")
            least = 0 if sides[0] else layers[0] + 1
            most = size if sides[1] else size - layers[1] - 1
            if not least <= self.low[axis] < self.high[axis] <= most:
                raise InputError(
                    f"the surface from node {self.low[axis]} to {self.high[axis]} along {name} must lie within "
                    f"{least} .. {most}: inside the grid of {size} cells and clear of its {layers} absorbing cells; "
                    "move it, or name the wall that it lies on"
                )

    def _on_wall(self, axis: int) -> tuple[bool, bool]:
        return f"{AXES[axis]} low" in self.walls, f"{AXES[axis]} high" in self.walls

    def wall(self, axis: int) -> tuple[Wall, int] | None:
        """Returns the wall that closes the box along an axis, and its node; None where there is none."""
        for side, node in (("low", self.low[axis]), ("high", self.high[axis])):
            kind = self.walls.get(f"{AXES[axis]} {side}")
            if kind is not None:
                return kind, node
        return None

    @property
    def copies(self) -> int:
        """How many times the box occurs, its mirror images counted."""
        return 2 ** sum(wall != "ground" for wall in self.walls.values())

    @property
    def sides(self) -> list[Side]:
        """The sides that carry skins."""
        return [
            Side(axis, high, node, node if high else node - 1)
            for axis in range(3)
            for high, node in ((False, self.low[axis]), (True, self.high[axis]))
            if not self._on_wall(axis)[high]
        ]

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes to monitor: for each side E on the inner skin, then H on the outer one."""
        found = []
        for side in self.sides:
            for node, field in ((side.node, "electric"), (side.outside, "magnetic")):
                low, high = list(self.low), [end + 1 for end in self.high]
                low[side.axis], high[side.axis] = node, node + 1
                found.append(Box(low=(low[0], low[1], low[2]), high=(high[0], high[1], high[2]), field=field))
        return tuple(found)

    def pairs(self, spectra: Sequence[Complex[Tensor, "f 3 _ _ _"]]) -> Iterator[Pair]:
        """Yields what the spectra of `boxes` say, side by side; two pairs a side.

        Raises InputError where they are not those of this surface.
        """
        boxes = self.boxes
        if len(spectra) != len(boxes) or any(
            part.shape[1:] != box.shape for part, box in zip(spectra, boxes, strict=True)
        ):
            raise InputError(
                f"{len(spectra)} spectra were given for the {len(boxes)} boxes of the surface, or of other shapes; "
                "give those of Surface.boxes, in their order"
            )
        for index, side in enumerate(self.sides):
            electric, magnetic = (part.to(torch.complex128) for part in spectra[2 * index : 2 * index + 2])
            direction = 1.0 if side.high else -1.0
            for step, curl in ((2, 1.0), (1, -1.0)):
                along, other = (side.axis + step) % 3, (side.axis - step) % 3
                yield Pair(
                    side,
                    along,
                    other,
                    curl * direction,
                    slice(self.low[along], self.high[along]),
                    slice(self.low[other], self.high[other] + 1),
                    self._weight(along, other).to(electric.device),
                    _plane(electric, along, side.axis, along),
                    _plane(magnetic, other, side.axis, along),
                )

    def _weight(self, along: int, other: int) -> Float[Tensor, "a b"]:
        """Length of the edges times the distance between them; half of it on a mirror, of which the image has half."""
        lengths = self.grid.spacing(along)[self.low[along] : self.high[along]]
        widths = self.grid.dual_spacing(other)[self.low[other] : self.high[other] + 1].clone()
        for side, place in enumerate((0, -1)):
            if self._on_wall(other)[side]:
                spacing = self.grid.spacing(other)
                widths[place] = 0.5 * (spacing[self.low[other]] if side == 0 else spacing[self.high[other] - 1])
        return (lengths[:, None] * widths).to(torch.float64)


def _plane(field: Tensor, component: int, normal: int, along: int) -> Tensor:
    """One component on a skin, nodes along `along` (without the last, which is no edge) first."""
    plane = field[:, component].squeeze(normal + 1)
    first = along < 3 - normal - along
    plane = plane if first else plane.transpose(1, 2)
    return plane[:, :-1]


def centred_surface(grid: Grid, *, clearance: int = 2, walls: Mapping[str, Wall] | None = None) -> Surface:
    """Returns the surface that stays `clearance` cells clear of the absorbing layers, and lies on the given walls."""
    walls = {} if walls is None else walls
    low, high = [], []
    for axis, (name, size) in enumerate(zip(AXES, grid.shape, strict=True)):
        below, above = grid.layers[axis]
        low.append(0 if f"{name} low" in walls else below + clearance)
        high.append(size if f"{name} high" in walls else size - above - clearance)
    return Surface(grid=grid, low=(low[0], low[1], low[2]), high=(high[0], high[1], high[2]), walls=walls)
