"""Material of each edge and face from what fills the box around it, second order at interfaces of any slant.

Across an interface D is continuous along its normal n and E along its plane, so the fields of a box that holds several
materials see the tensor with <1/epsilon>^-1 along n and <epsilon> across [Farjadpour2006], [Kottke2008]. On the Yee
grid the component E_e has the diagonal of its inverse as an ordinary coefficient [Mohammadi2005],

    1/epsilon_e = n_e^2 <1/epsilon> + (1 - n_e^2) / <epsilon>.

At flat interfaces along the grid that is all. At slanted and curved ones it is first order: the entries beside the
diagonal, n_c n_e (<1/epsilon> - 1 / <epsilon>), couple neighbouring edges (`elec.fdtd.coupling`).

Conductivity follows from the same formula for epsilon - j sigma / omega at first order in sigma / (omega epsilon):
sigma_e = epsilon_e^2 (n_e^2 <sigma/epsilon^2> + (1 - n_e^2) <sigma> / <epsilon>^2). Along an interface that is exact
for any loss; across one it is good while the displacement current is the larger. Permeability and magnetic
conductivity are the duals, on the boxes of the faces. Where there is loss, dispersion or contrast in permeability the
diagonal stands alone.

Volumes are taken on the eighths of the cells: the boxes of edges and faces all are made of eight of these. Metal counts
in no mean: what lies beside it is what the open part of the box holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from elec.geometry.cuts import Components, Shape
from elec.geometry.fill import soft_fill
from elec.geometry.part import Part
from elec.geometry.voxels import fill_fractions
from elec.grid import Grid
from elec.numbers import Real, along
from mindsci.tree import Tree

# Eighths of cells held at a time: some twenty numbers of 8 bytes each.
EIGHTHS_AT_ONCE = 1 << 22
# Means of two halves that differ by less than rounding belong to one material.
SAME = 1e-9


Values = Mapping[str, Any]
"""The numbers of a material by name, as `elec.numbers` has them; one that has three is diagonal."""


class Filling(Tree):
    """A solid and the numbers of its material, or None for metal."""

    shape: Shape
    values: Values | None


def fill(shape: Shape, grid: Grid, *, subsamples: int) -> Float[Tensor, "nx ny nz"]:
    """Returns the fraction of each cell that a closed part or a constructive solid fills."""
    if isinstance(shape, Part):
        return fill_fractions(shape, grid, subsamples=subsamples)
    return soft_fill(shape, grid)


def effective_materials(
    fillings: Sequence[Filling],
    background: Values,
    grid: Grid,
    combine: Callable[[Boxes], tuple[Tensor, ...]],
    *,
    on: str,
    subsamples: int = 4,
) -> list[Components]:
    """Returns what `combine` makes of the boxes around all edges (on = "edges") or faces, one list a result.

    Later solids replace earlier ones. Solid by solid and slab by slab along x, so that memory is bounded.
    """
    pieces: list[list[list[Tensor]]] = []
    for slab, first, count in _slabs(grid):
        volumes = _Volumes.of(fillings, background, slab, subsamples=max(1, -(-subsamples // 2)))
        results = []
        for component in range(3):
            boxes = Boxes(volumes=volumes, component=component, on=on)
            nodal = (component != 0) == (on == "edges")
            last = first + count + (nodal and first + count == slab.shape[0])
            results.append([value[first:last] for value in combine(boxes)])
        pieces.append(results)
    n_results = len(pieces[0][0])
    return [
        tuple(torch.cat([piece[component][k] for piece in pieces]) for component in range(3))  # type: ignore[misc]
        for k in range(n_results)
    ]


def _slabs(grid: Grid) -> Iterator[tuple[Grid, int, int]]:
    """Pieces of the grid along x with one cell more on each side, and which of their cells are meant."""
    n_x, n_y, n_z = grid.shape
    size = max(1, EIGHTHS_AT_ONCE // (8 * n_y * n_z))
    for start in range(0, n_x, size):
        stop = min(start + size, n_x)
        low, high = max(start - 1, 0), min(stop + 1, n_x)
        yield Grid(x=grid.x[low : high + 1], y=grid.y, z=grid.z), start - low, stop - start


class _Volumes(Tree):
    """Volumes [m^3] on the eighths of cells, and the ends of these [m]."""

    shares: list[tuple[Values, Tensor]]
    """of each material that is no metal"""
    open: Tensor
    ends: tuple[Tensor, Tensor, Tensor]

    @classmethod
    def of(cls, fillings: Sequence[Filling], background: Values, grid: Grid, *, subsamples: int) -> _Volumes:
        x, y, z = (_with_centers(grid, axis) for axis in range(3))
        eighths = Grid(x=x, y=y, z=z)
        sizes = [eighths.spacing(axis) for axis in range(3)]
        volume = sizes[0][:, None, None] * sizes[1][:, None] * sizes[2]
        left = torch.ones_like(volume)
        shares, opened = [], torch.ones_like(volume)
        for filling in reversed(fillings):
            # Where two solids meet in one eighth they are taken side by side, as parts that touch are.
            share = torch.minimum(fill(filling.shape, eighths, subsamples=subsamples), left)
            left = left - share
            if filling.values is None:
                opened = opened - share
            else:
                shares.append((filling.values, share * volume))
        shares.append((background, left * volume))
        return cls(shares=shares, open=opened * volume, ends=(x, y, z))

    def sum(self, function: Callable[[Values], Real]) -> Tensor:
        total = torch.zeros_like(self.open)
        for values, share in self.shares:
            total = total + function(values) * share
        return total


def _with_centers(grid: Grid, axis: int) -> Tensor:
    nodes = grid.nodes(axis)
    return torch.cat([torch.stack([nodes[:-1], grid.centers(axis)], dim=1).reshape(-1), nodes[-1:]])


class Boxes(Tree):
    """The boxes around the edges or faces of one component; each is two eighths wide along each axis.

    Boxes along an axis of cells hold the two halves of a cell, those of nodes the halves beside the node.
    """

    volumes: _Volumes
    component: int
    on: str

    def value(self, values: Values, name: str) -> Real:
        """A number of a material as this component sees it."""
        return along(values[name], self.component)

    def mean(self, function: Callable[[Values], Real]) -> Tensor:
        """Mean over the part of each box that is not metal; over nothing, the value of the background."""
        total, opened = self._pooled(self.volumes.sum(function)), self._pooled(self.volumes.open)
        background = function(self.volumes.shares[-1][0])
        return torch.where(opened > 0, total / torch.where(opened > 0, opened, 1.0), background)

    def normal_products(self, function: Callable[[Values], Real]) -> tuple[Tensor, Tensor, Tensor]:
        """n_c times n_x, n_y and n_z, with c the component: n is the direction in which a property's mean changes.

        An axis along which the box itself does not change takes no part: its neighbours may, at the end of a solid.
        """
        total, opened = self.volumes.sum(function), self.volumes.open
        x, y, z = (self._change(total, opened, axis) for axis in range(3))
        whole = x**2 + y**2 + z**2
        own = (x, y, z)[self.component] / torch.where(whole > 0, whole, 1.0)
        return own * x, own * y, own * z

    def beside_metal(self) -> Tensor:
        """Marks the boxes that hold any metal."""
        x, y, z = (ends.diff() for ends in self.volumes.ends)
        whole = self._pooled(x[:, None, None] * y[:, None] * z)
        return self._pooled(self.volumes.open) < (1.0 - SAME) * whole

    def _change(self, total: Tensor, opened: Tensor, axis: int) -> Tensor:
        across = [other for other in range(3) if other != axis]
        for other in across:
            total, opened = self._pool(total, other), self._pool(opened, other)
        first, second = (self._ratio(*(self._pick(v, axis, side) for v in (total, opened))) for side in (0, 1))
        below, above = (self._ratio(*(self._pool(v, axis, side) for v in (total, opened))) for side in (-1, 1))
        known = (first[1] & second[1]) & (below[1] & above[1])
        varied = known & ((second[0] - first[0]).abs() > SAME * (second[0].abs() + first[0].abs()))
        ends = self.volumes.ends[axis]
        # Beyond a wall lies the mirror image of what is before it.
        below_first, above_last = 2.0 * ends[0] - ends[1:3].flip(0), 2.0 * ends[-1] - ends[-3:-1].flip(0)
        padded = torch.cat([below_first, ends, above_last])
        start = self._start(axis) - 1
        distance = 0.5 * (padded[start + 4 :: 2] - padded[start:-4:2])[: total.shape[axis] // 2 + self._nodal(axis)]
        shape = [-1 if other == axis else 1 for other in range(3)]
        return torch.where(varied, (above[0] - below[0]) / distance.reshape(shape), 0.0)

    @staticmethod
    def _ratio(total: Tensor, opened: Tensor) -> tuple[Tensor, Tensor]:
        some = opened > 0
        return total / torch.where(some, opened, 1.0), some

    def _nodal(self, axis: int) -> bool:
        return (axis == self.component) == (self.on == "faces")

    def _start(self, axis: int) -> int:
        """Place of the first box's first eighth after two entries of padding."""
        return 1 if self._nodal(axis) else 2

    def _pick(self, values: Tensor, axis: int, which: int) -> Tensor:
        """One of the two eighths of each box along an axis."""
        count = values.shape[axis] // 2 + self._nodal(axis)
        padded = _padded(values, axis)
        first = self._start(axis) + which
        return padded[_strided(axis, first, count)]

    def _pool(self, values: Tensor, axis: int, shift: int = 0) -> Tensor:
        """Sum of the two eighths of each box along an axis, or of the two that begin one further on."""
        count = values.shape[axis] // 2 + self._nodal(axis)
        padded = _padded(values, axis)
        first = self._start(axis) + shift
        return padded[_strided(axis, first, count)] + padded[_strided(axis, first + 1, count)]

    def _pooled(self, values: Tensor) -> Tensor:
        for axis in range(3):
            values = self._pool(values, axis)
        return values


def _padded(values: Tensor, axis: int) -> Tensor:
    shape = list(values.shape)
    shape[axis] = 2
    zeros = torch.zeros(shape, dtype=values.dtype, device=values.device)
    return torch.cat([zeros, values, zeros], dim=axis)


def _strided(axis: int, first: int, count: int) -> tuple[slice, ...]:
    return tuple(slice(first, first + 2 * count - 1, 2) if other == axis else slice(None) for other in range(3))


def permittivity_and_conductivity(boxes: Boxes) -> tuple[Tensor, Tensor]:
    """Returns relative permittivity and conductivity [S/m] of a component."""
    permittivity, weighted = _effective(boxes)
    return permittivity, weighted(lambda values: boxes.value(values, "conductivity"))


def permittivity_conductivity_and_cross_terms(boxes: Boxes) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns relative permittivity and conductivity [S/m] of component c, and the rest of its row of the tensor.

    That are the entries (c, c + 1) and (c, c + 2) of the inverse relative permittivity; none beside metal.
    """

    def value(values: Values) -> Real:
        return boxes.value(values, "relative_permittivity")

    products = boxes.normal_products(value)
    across, parallel = boxes.mean(lambda values: 1.0 / value(values)), 1.0 / boxes.mean(value)
    slanted = torch.where(boxes.beside_metal(), 0.0, across - parallel)
    first, second = (products[(boxes.component + step) % 3] * slanted for step in (1, 2))
    return (*permittivity_and_conductivity(boxes), first, second)


def permeability_and_conductivity(boxes: Boxes) -> tuple[Tensor, Tensor]:
    """Returns relative permeability and magnetic conductivity [ohm/m] of a component."""
    permeability, weighted = _effective(boxes, "relative_permeability")
    return permeability, weighted(lambda values: boxes.value(values, "magnetic_conductivity"))


def response_of(name: str) -> Callable[[Boxes], tuple[Tensor]]:
    """Returns the combination that gives the weight of a material's own loss or dispersion in each component.

    It is what a conductivity of 1 in this material alone would be.
    """

    def combine(boxes: Boxes) -> tuple[Tensor]:
        return (_effective(boxes)[1](lambda values: float(values.get("name") == name)),)

    return combine


def _series_and_parallel(boxes: Boxes, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """The effective value of a property, n^2 along the component, and the plain mean."""

    def value(values: Values) -> Real:
        return boxes.value(values, name)

    share, mean = boxes.normal_products(value)[boxes.component], boxes.mean(value)
    return 1.0 / (share * boxes.mean(lambda values: 1.0 / value(values)) + (1.0 - share) / mean), share, mean


def _effective(
    boxes: Boxes, name: str = "relative_permittivity"
) -> tuple[Tensor, Callable[[Callable[[Values], Real]], Tensor]]:
    effective, share, mean = _series_and_parallel(boxes, name)

    def weighted(strength: Callable[[Values], Real]) -> Tensor:
        across = boxes.mean(lambda values: strength(values) / boxes.value(values, name) ** 2)
        return effective**2 * (share * across + (1.0 - share) * boxes.mean(strength) / mean**2)

    return effective, weighted
