"""SAR averaged over cubes of tissue of a given mass, 1 g or 10 g, in the manner of IEC/IEEE 62704-1 [Iec2017, sec. 6].

A cube grows about each cell of tissue until it holds the mass. It is valid if no more than a tenth of it is without
tissue and none of its faces lies outside the tissue altogether. A cell that is no valid cube's centre takes the highest
average among the valid cubes that hold all of it: it is used. A cell in none is unused, and takes the highest of six
cubes that have it in the middle of a face and grow to one side, among those no more than 5 % larger than the smallest.

The standard knows cells that are all tissue or none. Here a cell at the surface counts with the share of it that is
tissue, and what is tissue lies on the side of its fuller neighbour: there faces of cubes meet it, and cubes that grow
to one side begin. Sums over cubes are differences of the running sums over the grid, which are linear within a cell:
cubes end anywhere.
"""

from __future__ import annotations

import itertools
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree

MOST_AIR = 0.1
LARGER_ALLOWED = 1.05
BISECTIONS = 45
# Ends of cubes this close to a line of the grid, as a fraction of its extent, lie on it.
ROUNDING = 1e-9
# A face that lies this much of a cell beyond the last one is outside the grid.
SLACK = 1e-4
# Cells of which less than this is tissue have no average of their own: what they hold counts in cubes about others.
LEAST_TISSUE = 0.1


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
    tissue: Float[Tensor, "cx cy cz"] | None = None,
) -> MassAverage:
    """Returns the averages of a rate [W/kg] over cubes of a mass [kg], around every cell of tissue.

    density [kg/m^3] is the mass in a cell over its volume, zero where there is no tissue; tissue is the share of each
    cell's volume that is tissue (`elec.geometry.fill_fractions`), one wherever there is density unless given; nodes
    bound the cells [m].
    Not differentiable: a gradient goes through `cube_average` with the cubes held.

    Raises InputError where the tissue is lighter than the mass.
    """
    rate, density = rate.detach().to(torch.float64).cpu(), density.detach().to(torch.float64).cpu()
    share = _share(density, tissue)
    lines = cast("tuple[Tensor, Tensor, Tensor]", tuple(line.to(torch.float64).cpu() for line in nodes))
    sums = _Sums.of(lines, torch.stack([density, density * rate, share]))
    whole = float(sums.running[0, -1, -1, -1])
    if whole < mass:
        raise InputError(f"the tissue of {whole * 1e3:.4g} g is lighter than the {mass * 1e3:.4g} g to average over")
    cells = torch.nonzero(share >= LEAST_TISSUE)
    middle = torch.stack([0.5 * (line[1:] + line[:-1])[cells[:, axis]] for axis, line in enumerate(lines)], dim=1)
    low, high, reached = _grown(sums, middle, mass, (-0.5,) * 3)
    average, valid = _judged(sums, low, high, share)
    valid = valid & reached
    found = torch.where(valid, average, 0.0)
    found, used = _highest_around(found, valid, low, high, cells, lines, density.shape)
    alone = ~used & ~valid
    if bool(alone.any()):
        found[alone] = _one_sided(sums, middle[alone], cells[alone], share, mass)
    values, centred, side = torch.zeros_like(rate), torch.zeros_like(rate, dtype=torch.bool), torch.zeros_like(rate)
    place = cells.unbind(1)
    values[place], centred[place], side[place] = found, valid, high[:, 0] - low[:, 0]
    return MassAverage(rate=values, centred=centred, side=side)


def _share(density: Tensor, tissue: Tensor | None) -> Float[Tensor, "cx cy cz"]:
    if tissue is None:
        return (density > 0).to(torch.float64)
    share = tissue.detach().to(torch.float64).cpu()
    if share.shape != density.shape or float(share.min()) < 0.0 or float(share.max()) > 1.0 + 1e-9:
        raise InputError(
            f"tissue {list(share.shape)} from {float(share.min()):g} to {float(share.max()):g} must be the share of "
            f"each of the {list(density.shape)} cells that is tissue, 0 to 1"
        )
    if not bool((share >= LEAST_TISSUE).any()):
        raise InputError(f"no cell holds {100 * LEAST_TISSUE:g} % of tissue; use smaller cells")
    return share


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
    held = tree.replace(sums, running=sums.running[:1])
    for _ in range(BISECTIONS):
        side = 0.5 * (small + large)
        low = at + side[:, None] * offset
        enough = held.within(low, low + side[:, None])[0] >= mass
        small, large = torch.where(enough, small, side), torch.where(enough, side, large)
    low = at + large[:, None] * offset
    return low, low + large[:, None], large < 0.999 * span


def _judged(sums: _Sums, low: Tensor, high: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """The average rate of each cube, and whether it is valid."""
    from elec.observables.cube_kernels import meets_tissue

    held, power, tissue = sums.within(low, high)
    valid = tissue >= (1.0 - MOST_AIR) * (high - low).prod(dim=1)
    first, last = (
        torch.stack([_cell(sums.nodes[axis], end[:, axis], upper=end is high) for axis in range(3)], dim=1)
        for end in (low, high)
    )
    for axis in range(3):
        order = [axis, (axis + 1) % 3, (axis + 2) % 3]
        turned, line = share.permute(order).contiguous().numpy(), sums.nodes[axis]
        for cell, end in ((first[:, axis], low[:, axis]), (last[:, axis], high[:, axis])):
            place = (end - line[cell]) / (line[cell + 1] - line[cell])
            within = (place > -SLACK) & (place < 1.0 + SLACK)
            across = (first[:, order[1:]].contiguous().numpy(), last[:, order[1:]].contiguous().numpy())
            meets = meets_tissue(turned, cell.numpy(), place.numpy(), *across)
            valid = valid & within & torch.from_numpy(meets)
    return power / held.clamp(min=1e-300), valid


def _cell(nodes: Tensor, x: Tensor, *, upper: bool) -> Tensor:
    """The cell that holds each coordinate; on a node the one within the box of which it is an end."""
    slack = ROUNDING * float(nodes[-1] - nodes[0])
    return (torch.searchsorted(nodes, x + (-slack if upper else slack), right=True) - 1).clamp(0, len(nodes) - 2)


def _highest_around(
    found: Tensor,
    valid: Tensor,
    low: Tensor,
    high: Tensor,
    cells: Tensor,
    nodes: tuple[Tensor, ...],
    shape: tuple[int, ...],
) -> tuple[Tensor, Tensor]:
    """For cells that are no centre: the highest average of the cubes that hold all of them, if there are any."""
    from elec.observables.cube_kernels import spread_highest

    first, last = [], []
    for axis, line in enumerate(nodes):
        slack = ROUNDING * float(line[-1] - line[0])
        first.append(torch.searchsorted(line, low[:, axis] - slack))
        last.append(torch.searchsorted(line, high[:, axis] + slack, right=True) - 1)
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
    sums: _Sums, middle: Tensor, cells: Tensor, share: Float[Tensor, "cx cy cz"], mass: float
) -> Float[Tensor, "n"]:
    """The highest average of the six cubes with the cell in the middle of a face, the larger ones left out."""
    sizes, rates = [], []
    for axis in range(3):
        begin, end = _tissue_ends(share, cells, axis)
        line = sums.nodes[axis]
        bottom, length = line[cells[:, axis]], line.diff()[cells[:, axis]]
        for towards_high in (True, False):
            at, start = middle.clone(), [-0.5, -0.5, -0.5]
            start[axis] = 0.0 if towards_high else -1.0
            at[:, axis] = bottom + length * (begin if towards_high else end)
            low, high, reached = _grown(sums, at, mass, (start[0], start[1], start[2]))
            held, power, _ = sums.within(low, high)
            sizes.append(torch.where(reached, (high - low).prod(dim=1), torch.inf))
            rates.append(power / held.clamp(min=1e-300))
    size, rate = torch.stack(sizes), torch.stack(rates)
    return torch.where(size <= LARGER_ALLOWED * size.amin(dim=0), rate, 0.0).amax(dim=0)


def _tissue_ends(share: Tensor, cells: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Where the tissue of each cell begins and ends along an axis, as fractions of the cell."""
    padded = torch.nn.functional.pad(share, (1, 1, 1, 1, 1, 1))
    places = []
    for step in (-1, 0, 1):
        place = cells + 1
        place[:, axis] += step
        places.append(padded[place.unbind(1)])
    below, here, above = places
    rises, falls = above > below, above < below
    return torch.where(rises, 1.0 - here, 0.0), torch.where(falls, here, 1.0)
