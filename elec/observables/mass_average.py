"""SAR averaged over cubes of tissue of a given mass, 1 g or 10 g, in the manner of IEC/IEEE 62704-1 [Iec2017, sec. 6].

A cube grows about each cell of tissue until it holds the mass. It is valid if no more than a tenth of it is without
tissue and none of its faces lies outside the tissue altogether. A cell that is no valid cube's centre takes the highest
average among the valid cubes that contain it. A cell in none takes the highest of six cubes that have it in the middle
of a face and grow to one side, among those no more than 5 % larger than the smallest.

Sums over cubes are differences of the running sums over the grid, which are linear within a cell: cubes end anywhere.
"""

from __future__ import annotations

import itertools
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mindsci.errors import InputError
from mindsci.tree import Tree

MOST_AIR = 0.1
LARGER_ALLOWED = 1.05
BISECTIONS = 45
# A face is a layer this thin, as a fraction of the cube.
SKIN = 1e-6


class MassAverage(Tree):
    """Averages over cubes of one mass, a number a cell."""

    rate: Float[Tensor, "cx cy cz"]
    """[W/kg]; zero where there is no tissue"""
    centred: Bool[Tensor, "cx cy cz"]
    """cells that are the centre of a valid cube"""
    side: Float[Tensor, "cx cy cz"]
    """of the cube about each cell [m]"""


class _Sums(Tree):
    """Running sums from the grid's corner."""

    nodes: tuple[Tensor, Tensor, Tensor]
    running: Float[Tensor, "kinds nx ny nz"]

    @classmethod
    def of(cls, nodes: tuple[Tensor, Tensor, Tensor], densities: Float[Tensor, "kinds cx cy cz"]) -> _Sums:
        sizes = [line.diff() for line in nodes]
        amounts = densities * sizes[0][:, None, None] * sizes[1][:, None] * sizes[2]
        for axis in (1, 2, 3):
            amounts = amounts.cumsum(dim=axis)
        return cls(nodes=nodes, running=torch.nn.functional.pad(amounts, (1, 0, 1, 0, 1, 0)))

    def within(self, low: Float[Tensor, "n 3"], high: Float[Tensor, "n 3"]) -> Float[Tensor, "kinds n"]:
        """Returns the amounts in boxes [m]; outside the grid there is nothing."""
        ends = [[self._place(axis, end[:, axis]) for axis in range(3)] for end in (low, high)]
        total = torch.zeros(len(self.running), len(low), dtype=self.running.dtype)
        for corner in itertools.product((0, 1), repeat=3):
            sign = -1.0 if (3 - sum(corner)) % 2 else 1.0
            places = [ends[side][axis] for axis, side in enumerate(corner)]
            for shift in itertools.product((0, 1), repeat=3):
                weight = torch.ones(len(low), dtype=torch.float64)
                index = []
                for (cell, part), step in zip(places, shift, strict=True):
                    weight = weight * (part if step else 1.0 - part)
                    index.append(cell + step)
                total = total + sign * weight * self.running[:, index[0], index[1], index[2]]
        return total

    def _place(self, axis: int, x: Tensor) -> tuple[Tensor, Tensor]:
        nodes = self.nodes[axis]
        cell = (torch.searchsorted(nodes, x.contiguous(), right=True) - 1).clamp(0, len(nodes) - 2)
        return cell, ((x - nodes[cell]) / (nodes[cell + 1] - nodes[cell])).clamp(0.0, 1.0)


def mass_average(
    rate: Float[Tensor, "cx cy cz"],
    density: Float[Tensor, "cx cy cz"],
    nodes: tuple[Float[Tensor, "nx"], Float[Tensor, "ny"], Float[Tensor, "nz"]],
    *,
    mass: float,
) -> MassAverage:
    """Returns the averages of a rate [W/kg] over cubes of a mass [kg], around every cell of tissue.

    density [kg/m^3] is zero where there is no tissue; nodes bound the cells [m]. Not differentiable: a gradient goes
    through `cube_average` with the cubes held.

    Raises InputError where the tissue is lighter than the mass.
    """
    rate, density = rate.detach().to(torch.float64).cpu(), density.detach().to(torch.float64).cpu()
    lines = cast("tuple[Tensor, Tensor, Tensor]", tuple(line.to(torch.float64).cpu() for line in nodes))
    sums = _Sums.of(lines, torch.stack([density, density * rate, (density > 0).to(torch.float64)]))
    whole = float(sums.running[0, -1, -1, -1])
    if whole < mass:
        raise InputError(f"the tissue of {whole * 1e3:.4g} g is lighter than the {mass * 1e3:.4g} g to average over")
    cells = torch.nonzero(density > 0)
    middle = torch.stack([0.5 * (line[1:] + line[:-1])[cells[:, axis]] for axis, line in enumerate(lines)], dim=1)
    low, high, reached = _grown(sums, middle, mass, (-0.5,) * 3)
    average, valid = _judged(sums, low, high, mass)
    valid = valid & reached
    found = torch.where(valid, average, 0.0)
    found, used = _highest_around(found, valid, low, high, cells, lines, density.shape)
    alone = ~used & ~valid
    if bool(alone.any()):
        found[alone] = _one_sided(sums, middle[alone], cells[alone], lines, mass)
    values, centred, side = torch.zeros_like(rate), torch.zeros_like(rate, dtype=torch.bool), torch.zeros_like(rate)
    place = cells.unbind(1)
    values[place], centred[place], side[place] = found, valid, high[:, 0] - low[:, 0]
    return MassAverage(rate=values, centred=centred, side=side)


def cube_average(
    rate: Float[Tensor, "cx cy cz"],
    density: Float[Tensor, "cx cy cz"],
    nodes: tuple[Float[Tensor, "nx"], Float[Tensor, "ny"], Float[Tensor, "nz"]],
    low: Float[Tensor, "n 3"],
    high: Float[Tensor, "n 3"],
) -> Float[Tensor, "n"]:
    """Returns the average rate by mass in given boxes [m], differentiable in the rate and the density."""
    lines = cast("tuple[Tensor, Tensor, Tensor]", tuple(line.to(torch.float64) for line in nodes))
    mass, power = _Sums.of(lines, torch.stack([density, density * rate])).within(low, high)
    return power / mass


def _grown(
    sums: _Sums, at: Float[Tensor, "n 3"], mass: float, start: tuple[float, float, float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Cubes that hold the mass, from at + start * side on; and whether the tissue was enough for it."""
    offset = torch.tensor(start, dtype=torch.float64)
    span = 2.0 * max(float(line[-1] - line[0]) for line in sums.nodes)
    small, large = torch.zeros(len(at), dtype=torch.float64), torch.full((len(at),), span, dtype=torch.float64)
    for _ in range(BISECTIONS):
        side = 0.5 * (small + large)
        low = at + side[:, None] * offset
        enough = sums.within(low, low + side[:, None])[0] >= mass
        small, large = torch.where(enough, small, side), torch.where(enough, side, large)
    low = at + large[:, None] * offset
    return low, low + large[:, None], large < 0.999 * span


def _judged(sums: _Sums, low: Tensor, high: Tensor, mass: float) -> tuple[Tensor, Tensor]:
    """The average rate of each cube, and whether it is valid."""
    held, power, tissue = sums.within(low, high)
    side = high - low
    valid = tissue >= (1.0 - MOST_AIR) * side.prod(dim=1)
    for axis in range(3):
        for at_high in (False, True):
            first, last = low.clone(), high.clone()
            if at_high:
                first[:, axis] = high[:, axis] - SKIN * side[:, axis]
            else:
                last[:, axis] = low[:, axis] + SKIN * side[:, axis]
            filled = sums.within(first, last)[2]
            valid = valid & (filled > 1e-3 * SKIN * side.prod(dim=1))
    return power / held.clamp(min=1e-300), valid


def _highest_around(
    found: Tensor,
    valid: Tensor,
    low: Tensor,
    high: Tensor,
    cells: Tensor,
    nodes: tuple[Tensor, ...],
    shape: tuple[int, ...],
) -> tuple[Tensor, Tensor]:
    """For cells that are no centre: the highest average of the cubes that contain their middle, if there are any."""
    from elec.observables.cube_kernels import spread_highest

    first, last = [], []
    for axis, line in enumerate(nodes):
        middle = 0.5 * (line[1:] + line[:-1])
        first.append(torch.searchsorted(middle, low[:, axis].contiguous()))
        last.append(torch.searchsorted(middle, high[:, axis].contiguous(), right=True))
    highest = torch.zeros(shape, dtype=torch.float64)
    chosen = torch.nonzero(valid)[:, 0]
    spread_highest(
        highest.numpy(),
        found[chosen].numpy(),
        torch.stack(first, dim=1)[chosen].numpy(),
        torch.stack(last, dim=1)[chosen].numpy(),
    )
    here = highest[cells.unbind(1)]
    return torch.where(valid, found, here), valid | (here > 0)


def _one_sided(
    sums: _Sums, middle: Tensor, cells: Tensor, nodes: tuple[Tensor, ...], mass: float
) -> Float[Tensor, "n"]:
    """The highest average of the six cubes with the cell in the middle of a face, the larger ones left out."""
    sizes, rates = [], []
    for axis in range(3):
        for towards_high in (True, False):
            at, start = middle.clone(), [-0.5, -0.5, -0.5]
            start[axis] = 0.0 if towards_high else -1.0
            at[:, axis] = nodes[axis][cells[:, axis] + (0 if towards_high else 1)]
            low, high, reached = _grown(sums, at, mass, (start[0], start[1], start[2]))
            held, power, _ = sums.within(low, high)
            sizes.append(torch.where(reached, (high - low).prod(dim=1), torch.inf))
            rates.append(power / held.clamp(min=1e-300))
    size, rate = torch.stack(sizes), torch.stack(rates)
    return torch.where(size <= LARGER_ALLOWED * size.amin(dim=0), rate, 0.0).amax(dim=0)
