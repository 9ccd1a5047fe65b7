"""What lies behind the outermost nodes of each axis: a perfect conductor, a mirror for symmetry, or the other side."""

from __future__ import annotations

import cmath
import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from elec.fields import Widths
from elec.grid import AXES, Grid
from mindsci.errors import InputError
from mindsci.tree import Tree

Wall = Literal["pec", "pmc", "periodic"]


class Walls(Tree):
    """The walls of the three axes, low side and high side; absorbing layers, where there are any, lie before them.

    "pec" holds the tangential electric field at zero. "pmc" is a plane of symmetry for the electric field: the magnetic
    field beyond it is the mirror image with the other sign, so half the model is enough. On a low side every engine has
    it; on a high side the reference flows alone, for the kernels leave the last nodes out. "periodic", on both sides,
    makes the last node the first one; a phase [rad] makes it Bloch-periodic: what is at the high side is exp(j phase)
    times what is at the low side, and the fields are complex.
    """

    x: tuple[Wall, Wall] = ("pec", "pec")
    y: tuple[Wall, Wall] = ("pec", "pec")
    z: tuple[Wall, Wall] = ("pec", "pec")
    phase: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        for axis, name in enumerate(AXES):
            low, high = self.sides(axis)
            if not {low, high} <= {"pec", "pmc", "periodic"}:
                raise InputError(f"walls {(low, high)} along {name}: each must be 'pec', 'pmc' or 'periodic'")
            if (low == "periodic") != (high == "periodic"):
                raise InputError(f"walls {(low, high)} along {name}: both sides must be 'periodic', or neither")
            if self.phase[axis] and low != "periodic":
                raise InputError(
                    f"a phase along {name} needs periodic walls there; set {name} = ('periodic', 'periodic')"
                )

    def sides(self, axis: int) -> tuple[Wall, Wall]:
        """Returns the walls at the low and the high side of an axis."""
        return (self.x, self.y, self.z)[axis]

    def periodic(self, axis: int) -> bool:
        return self.sides(axis)[0] == "periodic"

    @property
    def magnetic_above(self) -> bool:
        """Whether a high side is magnetic."""
        return any(self.sides(axis)[1] == "pmc" for axis in range(3))

    def halved(self, sizes: Float[Tensor, "nodes"], axis: int) -> Float[Tensor, "nodes"]:
        """Returns sizes at the nodes of an axis, those on magnetic walls cut in half."""
        low, high = (0.5 if side == "pmc" else 1.0 for side in self.sides(axis))
        return torch.cat([low * sizes[:1], sizes[1:-1], high * sizes[-1:]])

    @property
    def complex(self) -> bool:
        """Whether the fields are complex."""
        return any(math.remainder(phase, 2.0 * math.pi) != 0.0 for phase in self.phase)

    def factor(self, axis: int) -> complex | float:
        """Returns the field at the high side over that at the low side of a periodic axis."""
        return cmath.exp(1j * self.phase[axis]) if self.complex else 1.0

    def dual_spacing(self, grid: Grid, axis: int) -> Float[Tensor, "nodes"]:
        """Returns the distances between neighbouring cell centres [m], one a node, across a periodic wall too."""
        dual = grid.dual_spacing(axis)
        if not self.periodic(axis):
            return dual
        spacing = grid.spacing(axis)
        around = 0.5 * (spacing[:1] + spacing[-1:])
        return torch.cat([around, dual[1:-1], around])

    def widths(self, grid: Grid, *, images: bool = True) -> Widths:
        """Returns the widths of the edges and faces of a grid; magnetic walls cut the outermost dual cells in half.

        Without images the last node of a periodic axis, which is the first one again, has no width: for sums.
        """
        cells, duals = [], []
        for axis in range(3):
            spacing, dual = grid.spacing(axis), self.halved(self.dual_spacing(grid, axis), axis)
            cells.append(torch.cat([spacing, spacing[-1:]]))
            duals.append(torch.cat([dual[:-1], 0.0 * dual[-1:]]) if self.periodic(axis) and not images else dual)
        return Widths(tuple(cells), tuple(duals))
