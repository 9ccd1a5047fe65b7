"""The box of cells that is designed: from the numbers a search moves to the density of solid in each cell."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from elec.design.filters import Kernel, filter_density
from elec.design.lengths import length_constraints
from elec.design.projection import project, project_smoothly
from elec.grid import AXES, Grid
from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree

Symmetry = Literal["x", "y", "z", "xy", "yz", "zx"]


class Region(Tree):
    """Cells `low` to `high` (excluded) of a grid that are designed, and how.

    latent -> symmetry -> fixed cells -> filter -> projection -> fixed cells: the density, 0 for void and 1 for solid.
    """

    grid: Grid
    low: tuple[int, int, int]
    high: tuple[int, int, int]
    filter_radius: float
    """[m]"""
    kernel: Kernel = "conic"
    uniform: tuple[int, ...] = ()
    """axes along which the density does not change"""
    symmetry: tuple[Symmetry, ...] = ()
    """"x" is the mirror image in the middle plane across x, "xy" the exchange of x and y"""
    solid: Bool[Tensor, "nx ny nz"] | None = None
    """cells that are solid whatever the latent says"""
    void: Bool[Tensor, "nx ny nz"] | None = None
    eta: float = 0.5
    smooth: bool = True
    """average the projection over cells that the contour crosses, so that beta may be inf"""

    def __post_init__(self) -> None:
        for axis, name in enumerate(AXES):
            if not 0 <= self.low[axis] < self.high[axis] <= self.grid.shape[axis]:
                raise InputError(
                    f"the design spans the cells {self.low[axis]} to {self.high[axis]} along {name} of a grid with "
                    f"{self.grid.shape[axis]}; give 0 <= low < high <= {self.grid.shape[axis]}"
                )
        for exchange in self.symmetry:
            first, second = AXES.index(exchange[0]), AXES.index(exchange[-1])
            if self.cells[first] != self.cells[second]:
                raise InputError(f"symmetry '{exchange}' needs as many cells along both axes, not {self.cells}")
        for mask in (self.solid, self.void):
            if mask is not None and tuple(mask.shape) != self.cells:
                raise InputError(f"a mask of shape {list(mask.shape)} for a design of {list(self.cells)} cells")
            if mask is not None and any(bool((mask != mask.narrow(axis, 0, 1)).any()) for axis in self.uniform):
                raise InputError(
                    f"a mask changes along an axis of {list(self.uniform)}, along which the design is uniform"
                )
        if self.solid is not None and self.void is not None and bool((self.solid & self.void).any()):
            raise InputError("some cells are fixed as solid and as void; give each one of them")

    @property
    def cells(self) -> tuple[int, int, int]:
        """Cells of the box along each axis."""
        x, y, z = (after - before for before, after in zip(self.low, self.high, strict=True))
        return (x, y, z)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the latent: the cells, one along the axes on which it is uniform."""
        x, y, z = (1 if axis in self.uniform else count for axis, count in enumerate(self.cells))
        return (x, y, z)

    @property
    def spacing(self) -> list[Tensor]:
        """Sizes of the latent's cells along each axis [m]."""
        return [
            self.grid.spacing(axis)[self.low[axis] : self.low[axis] + count] for axis, count in enumerate(self.shape)
        ]

    def box(self) -> Grid:
        """Returns the grid of the box alone."""
        x, y, z = (self.grid.nodes(axis)[self.low[axis] : self.high[axis] + 1] for axis in range(3))
        return Grid(x=x, y=y, z=z)

    def start(self, value: float = 0.5, *, dtype: torch.dtype = torch.float64) -> Float[Tensor, "nx ny nz"]:
        """Returns a latent of one value."""
        return torch.full(self.shape, value, dtype=dtype, device=self.grid.x.device)

    def filtered(self, latent: Float[Tensor, "nx ny nz"]) -> Float[Tensor, "nx ny nz"]:
        """Returns the filtered density."""
        if tuple(latent.shape) != self.shape:
            raise InputError(f"a latent of shape {list(latent.shape)}; this design needs {list(self.shape)}")
        density = latent.clamp(0.0, 1.0)
        for exchange in self.symmetry:
            other = density.flip(AXES.index(exchange)) if len(exchange) == 1 else _exchanged(density, exchange)
            density = 0.5 * (density + other)
        return filter_density(self._fixed(density), self.spacing, self.filter_radius, kernel=self.kernel)

    def density(self, latent: Float[Tensor, "nx ny nz"], beta: float) -> Float[Tensor, "bx by bz"]:
        """Returns the density of solid in each cell of the box."""
        return self._fixed(self._projected(self.filtered(latent), beta)).expand(self.cells)

    def binary(self, latent: Float[Tensor, "nx ny nz"]) -> Bool[Tensor, "bx by bz"]:
        """Returns the finished pattern: what lies above the threshold."""
        return self._fixed((self.filtered(latent.detach()) > self.eta).to(torch.float64)).bool().expand(self.cells)

    def length_constraints(
        self, latent: Float[Tensor, "nx ny nz"], beta: float, length: float
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Returns how far solid, and void, fall short of a minimum length [m]; zero where they keep it."""
        filtered = self.filtered(latent)
        return length_constraints(
            filtered, project(filtered, beta, self.eta), self.spacing, length=length, radius=self.filter_radius
        )

    def insert(self, cells: Float[Tensor, "nx ny nz"], values: Float[Tensor, "bx by bz"]) -> Float[Tensor, "nx ny nz"]:
        """Returns values of all cells of the grid, those of the box replaced."""
        places = torch.meshgrid(
            *(torch.arange(a, b, device=cells.device) for a, b in zip(self.low, self.high, strict=True)), indexing="ij"
        )
        return cells.index_put(places, values.to(cells))

    def _projected(self, filtered: Tensor, beta: float) -> Tensor:
        if self.smooth:
            return project_smoothly(filtered, self.spacing, beta, self.eta)
        return project(filtered, beta, self.eta)

    def _fixed(self, density: Tensor) -> Tensor:
        for mask, value in ((self.solid, 1.0), (self.void, 0.0)):
            if mask is not None:
                cut = tuple(slice(0, count) for count in density.shape)
                density = torch.where(mask[cut].to(density.device), torch.full_like(density, value), density)
        return density

    def refined(self, factor: int) -> Region:
        """Returns the same box on a grid of which each cell is divided by a factor along the axes it changes on."""
        lines, low, high = [], list(self.low), list(self.high)
        for axis in range(3):
            nodes, parts = self.grid.nodes(axis), 1 if axis in self.uniform else factor
            share = torch.arange(parts, dtype=nodes.dtype) / parts
            inner = nodes[:-1, None] + nodes.diff()[:, None] * share
            lines.append(torch.cat([inner.reshape(-1), nodes[-1:]]))
            low[axis], high[axis] = parts * low[axis], parts * high[axis]
        x, y, z = lines
        grid = tree.replace(self.grid, x=x, y=y, z=z, absorber_cells=factor * self.grid.absorber_cells)
        masks = {
            name: None if mask is None else self.refine(mask, factor)
            for name, mask in (("solid", self.solid), ("void", self.void))
        }
        return tree.replace(self, grid=grid, low=(low[0], low[1], low[2]), high=(high[0], high[1], high[2]), **masks)

    def refine(self, values: Tensor, factor: int) -> Tensor:
        """Returns values of cells on the refined grid."""
        for axis in range(3):
            if axis not in self.uniform:
                values = values.repeat_interleave(factor, dim=axis)
        return values


def _exchanged(density: Tensor, exchange: str) -> Tensor:
    return density.transpose(AXES.index(exchange[0]), AXES.index(exchange[1]))
