"""What lies behind the outermost nodes of each axis: a perfect conductor, a mirror for symmetry, or the other side."""

from __future__ import annotations

import cmath
import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from elec.grid import AXES, Grid
from mindsci.errors import InputError
from mindsci.tree import Tree

Low = Literal["pec", "pmc", "periodic"]
High = Literal["pec", "periodic"]


class Walls(Tree):
    """The walls of the three axes, low side and high side; absorbing layers, where there are any, lie before them.

    "pec" holds the tangential electric field at zero. "pmc", on a low side, is a plane of symmetry for the electric
    field: the magnetic field beyond it is the mirror image with the other sign, so half the model is enough.
    "periodic", on both sides, makes the last node the first one; a phase [rad] makes it Bloch-periodic: what is at the
    high side is exp(j phase) times what is at the low side, and the fields are complex.
    """

    x: tuple[Low, High] = ("pec", "pec")
    y: tuple[Low, High] = ("pec", "pec")
    z: tuple[Low, High] = ("pec", "pec")
    phase: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        for axis, name in enumerate(AXES):
            low, high = self.sides(axis)
            if low not in ("pec", "pmc", "periodic") or high not in ("pec", "periodic"):
                raise InputError(
                    f"walls {(low, high)} along {name}: the low side may be 'pec', 'pmc' or 'periodic', the high side "
                    "'pec' or 'periodic'; turn the model round to have a magnetic wall on the low side"
                )
            if (low == "periodic") != (high == "periodic"):
                raise InputError(f"walls {(low, high)} along {name}: both sides must be 'periodic', or neither")
            if self.phase[axis] and low != "periodic":
                raise InputError(
                    f"a phase along {name} needs periodic walls there; set {name} = ('periodic', 'periodic')"
                )

    def sides(self, axis: int) -> tuple[Low, High]:
        """Returns the walls at the low and the high side of an axis."""
        return (self.x, self.y, self.z)[axis]

    def periodic(self, axis: int) -> bool:
        return self.sides(axis)[0] == "periodic"

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
