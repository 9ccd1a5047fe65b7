"""Images from scattered waves: a map of permittivity between line sources and receivers, found from their traces.

The fields are those of a plane problem, E along z and nothing changing with z (TM). Between two metal sheets one cell
apart that is what the three-dimensional scheme computes, exactly. One sheet lies between each two layers of cells, and
each layer has a source of its own: the experiments of all sources are one run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from elec.design.minimize import minimize
from elec.fdtd import Media, Probes, Source, absorbing_layers, outer_walls, yee_step
from elec.geometry import edge_average
from elec.grid import Grid
from mindsci.errors import InputError
from mindsci.solvers import Fused, rollout
from mindsci.tree import Tree
from mindsci.units import SPEED_OF_LIGHT

# Slope of the permittivity from cell to cell below which total variation is a square: it is smooth there.
SMOOTH_SLOPE = 0.05
# Weights of the total variation, in shares of the power of the data for each unit of permittivity between two cells: a
# coarse image first, then one that fits the data. Chosen on maps made by this solver, none of them a published case.
WEIGHTS = (1e-5, 1e-7)
LARGEST = 10.0


class Imaging(Tree):
    """Line sources and receivers around a square grid of cells, of which a rectangle is unknown."""

    cell: float
    """[m]"""
    cells: tuple[int, int]
    low: tuple[int, int]
    """the unknown cells: low included, high excluded"""
    high: tuple[int, int]
    sources: tuple[tuple[int, int], ...]
    """nodes"""
    receivers: tuple[tuple[int, int], ...]
    """nodes"""
    waveform: Any
    """current density of a source [A/m^2]"""
    n_steps: int
    courant: float = 0.9
    absorber_cells: int = 10
    absorber: Mapping[str, float] | None = None
    """options of `absorbing_layers` that are not the usual ones"""
    background: float = 1.0

    def __post_init__(self) -> None:
        for node in (*self.sources, *self.receivers):
            if not all(0 < index < count for index, count in zip(node, self.cells, strict=True)):
                raise InputError(f"the source or receiver at node {node} is not inside the {self.cells} cells")
        if not all(0 <= a < b <= n for a, b, n in zip(self.low, self.high, self.cells, strict=True)):
            raise InputError(f"the unknown cells {self.low} to {self.high} are not a part of the {self.cells} cells")

    @property
    def dt(self) -> float:
        """Time step [s]: a share of the Courant limit in the plane."""
        return self.courant * self.cell / (math.sqrt(2.0) * SPEED_OF_LIGHT)

    @property
    def shape(self) -> tuple[int, int]:
        """Unknown cells along each axis."""
        return (self.high[0] - self.low[0], self.high[1] - self.low[1])

    def grid(self, layers: int | None = None) -> Grid:
        """Returns the grid with one layer of cells for each source."""
        x, y, z = (
            self.cell * torch.arange(count + 1, dtype=torch.float64)
            for count in (*self.cells, len(self.sources) if layers is None else layers)
        )
        return Grid(x=x, y=y, z=z)

    def whole(self, unknown: Float[Tensor, "nu nv"]) -> Float[Tensor, "nx ny"]:
        """Returns the map of all cells: the background around the unknown."""
        (a, b), (c, d), (n, m) = self.low, self.high, self.cells
        pads = (b, m - d, a, n - c)
        return torch.nn.functional.pad(unknown, pads, value=self.background)

    def traces(
        self, permittivity: Float[Tensor, "nx ny"], *, adjoint: Any = None, engine: str = "auto"
    ) -> Float[Tensor, "steps sources receivers"]:
        """Returns Ez [V/m] at the receivers after each step, for each source; differentiable in the map of the cells.

        Precision is that of the map.
        """
        grid, count = self.grid(), len(self.sources)
        step = yee_step(
            grid,
            self._media(permittivity, grid),
            absorber=absorbing_layers(grid, ((self.absorber_cells,) * 2,) * 2 + ((0, 0),), **(self.absorber or {})),
            sources=[self._sources()],
            probes=[self._probes()],
            engine=engine,
        )
        start = step.start(self.n_steps)
        if adjoint is None and permittivity.requires_grad and step.fused_cannot(start) is None:
            adjoint = Fused(region=((*self.low, 0), (self.high[0] + 1, self.high[1] + 1, count + 1)))
        found = rollout(step, start, n_steps=self.n_steps, dt=self.dt, adjoint=adjoint)[0].records
        return found.reshape(count, len(self.receivers), self.n_steps).permute(2, 0, 1)

    def _media(self, permittivity: Tensor, grid: Grid) -> Media:
        nodes = [grid.nodes(axis).numel() for axis in range(3)]
        on_edges = edge_average(permittivity[:, :, None], self.grid(layers=1))[2][:, :, 0]
        metal = outer_walls(nodes)
        metal[:2] = True  # the sheets
        one = torch.ones((), dtype=permittivity.dtype).expand(3, *nodes)
        return Media(
            permittivity=on_edges.to(permittivity.dtype)[None, :, :, None].expand(3, *nodes),
            conductivity=torch.zeros_like(one),
            permeability=one,
            metal=metal,
        )

    def _sources(self) -> Source:
        places = [[2, *node, layer] for layer, node in enumerate(self.sources)]
        amplitude = torch.ones(len(places), dtype=torch.float64)
        return Source(places=torch.tensor(places), amplitude=amplitude, waveform=self.waveform)

    def _probes(self) -> Probes:
        edges = [[2, *node, layer] for layer in range(len(self.sources)) for node in self.receivers]
        return Probes(edges=torch.tensor(edges), weights=torch.eye(len(edges), dtype=torch.float64))


class Image(Tree):
    """An image that was found, and the share of the data's power that it left unexplained at each evaluation."""

    permittivity: Float[Tensor, "nx ny"]
    misfits: tuple[float, ...]

    @property
    def evaluations(self) -> int:
        return len(self.misfits)


def total_variation(
    values: Float[Tensor, "n m"], outside: float, smooth_slope: float = SMOOTH_SLOPE
) -> Float[Tensor, ""]:
    """Returns the sum of the steps from cell to cell, rounded below a slope so that it is smooth [Rudin1992]."""
    padded = torch.nn.functional.pad(values, (1, 1, 1, 1), value=outside)
    first, second = padded.diff(dim=0)[:, :-1], padded.diff(dim=1)[:-1]
    return ((first**2 + second**2 + smooth_slope**2).sqrt() - smooth_slope).sum()


def invert(
    imaging: Imaging,
    traces: Float[Tensor, "steps sources receivers"],
    *,
    evaluations: int = 100,
    weights: Sequence[float] = WEIGHTS,
    largest: float = LARGEST,
    adjoint: Any = None,
    engine: str = "auto",
    dtype: torch.dtype = torch.float32,
) -> Image:
    """Returns the map that explains the traces [V/m], starting from the background everywhere.

    Least squares with total variation, by L-BFGS-B between the background and `largest`; each weight of the total
    variation gets its part of the evaluations, each of which is one run and its gradient.
    """
    wanted = traces.to(dtype)
    power = float((wanted.double() ** 2).sum())
    misfits: list[float] = []
    values = torch.full(imaging.shape, imaging.background, dtype=torch.float64)
    bounds = [evaluations * stage // len(weights) for stage in range(len(weights) + 1)]
    for weight, first, last in zip(weights, bounds, bounds[1:], strict=False):

        def objective(unknown: Tensor, weight: float = weight) -> Tensor:
            found = imaging.traces(imaging.whole(unknown.to(dtype)), adjoint=adjoint, engine=engine)
            misfit = ((found - wanted) ** 2).sum().double() / power
            misfits.append(float(misfit.detach()))
            return misfit + weight * total_variation(unknown, imaging.background)

        found = minimize(objective, values, evaluations=last - first, bounds=(imaging.background, largest), memory=30)
        values = found.parameters
    return Image(permittivity=imaging.whole(values), misfits=tuple(misfits))
