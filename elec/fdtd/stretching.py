"""The stretch s of absorbing layers and its inverse as filters along time: what the adjoint fields there are made of.

A layer divides the derivative along its axis by s; as a filter on a series x, y = x / s is psi <- b psi + c x,
y = x / kappa + psi [Roden2000]. Undone step by step, with g = 1 / kappa + c, it is w <- (x + b w' / kappa) / g,
y = w - b w', where w' is the w of the step before: stable, for b / kappa <= g.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from elec.fdtd.arrays import Turn, layers

if TYPE_CHECKING:
    from elec.fdtd.step import YeeStep


class Along(NamedTuple):
    """The recursion at each node and each centre of one axis, (2, nodes): b, c and 1 / kappa; b = 0 outside layers."""

    b: Tensor
    c: Tensor
    flat: Tensor

    def at(self, places: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
        """Returns (b, c, 1 / kappa) of places (component, i, j, k); components 3 to 5 are magnetic."""
        component = places[:, 0]
        centre = ((component % 3 == axis) == (component < 3)).to(torch.int64)
        index = places[:, 1 + axis]
        return self.b[centre, index], self.c[centre, index], self.flat[centre, index]


def along_axes(step: YeeStep, dt: float) -> tuple[Along, Along, Along] | None:
    """Returns the recursion of the three axes in float64; None without layers."""
    absorber = step.ampere.absorber
    if absorber is None:
        return None
    found = []
    for nodes, centers in zip(absorber.nodes, absorber.centers, strict=True):
        parts = []
        for stretch in (nodes, centers):
            b, c = (part.to(torch.float64).cpu() for part in stretch.recursion(dt))
            flat = 1.0 / stretch.scale.to(torch.float64).cpu()
            parts.append((torch.where((c == 0) & (flat == 1), torch.zeros_like(b), b), c, flat))
        found.append(Along(*(torch.stack(both) for both in zip(*parts, strict=True))))
    return found[0], found[1], found[2]


def in_layers(along: Sequence[Along] | None, places: Tensor) -> Tensor:
    """Returns which places (component, i, j, k) lie where some axis is stretched."""
    inside = torch.zeros(len(places), dtype=torch.bool)
    for axis, one in enumerate(along or ()):
        _, c, flat = one.at(places, axis)
        inside |= (c != 0) | (flat != 1)
    return inside


def stretched_series(series: Tensor, along: Sequence[Along], places: Tensor) -> Tensor:
    """Returns series (steps, places) of the adjoint run times the stretch of all three axes."""
    for axis, one in enumerate(along):
        b, c, flat = one.at(places, axis)
        inverse, result, w = 1.0 / (flat + c), torch.empty_like(series), series.new_zeros(len(places))
        for step, x in enumerate(series):
            new = x * inverse + b * flat * inverse * w
            result[step] = new - b * w
            w = new
        series = result
    return series


def shrunk_series(series: Tensor, along: Sequence[Along], places: Tensor) -> Tensor:
    """Returns series (steps, places) divided by the stretch of all three axes."""
    for axis, one in enumerate(along):
        b, c, flat = one.at(places, axis)
        result, psi = torch.empty_like(series), series.new_zeros(len(places))
        for step, x in enumerate(series):
            psi = b * psi + c * x
            result[step] = x * flat + psi
        series = result
    return series


class Filters:
    """The stretch of one field in the layers, axis by axis in the order of an engine; `state` keeps w.

    The tables have one row for each component, one column for each place in the layers of that axis.
    """

    def __init__(
        self, state: Sequence[Tensor], tables: Sequence[tuple[Tensor, Tensor, Tensor]], index: Sequence[Tensor]
    ) -> None:
        self.state, self.tables, self.index = tuple(state), tuple(tables), tuple(index)

    def stretched(self, field: Tensor) -> Tensor:
        """Returns the field of one step times the stretch."""
        field = field.clone()
        for axis, ((b, pole, inverse), w) in enumerate(zip(self.tables, self.state, strict=True)):
            if not w.numel():
                continue
            shape = [1, 1, 1]
            shape[axis] = -1
            b, pole, inverse = (part.reshape(3, *shape) for part in (b, pole, inverse))
            new = inverse * field.index_select(axis + 1, self.index[axis]) + pole * w
            field.index_copy_(axis + 1, self.index[axis], new - b * w)
            w.copy_(new)
        return field


def filters(
    step: YeeStep, dt: float, nodes: Sequence[int], turn: Turn, dtype: torch.dtype, device: Any
) -> tuple[Filters, Filters]:
    """Returns the filters of the electric and of the magnetic adjoint field."""
    along = along_axes(step, dt)
    assert along is not None
    real = torch.empty(0, dtype=dtype).numpy().dtype
    slabs = layers(step, dt, real, nodes, turn)
    sizes, order = turn.axes(nodes), turn.axes((0, 1, 2))
    index = [np.flatnonzero(slab >= 0) for slab in (slabs.slab_x, slabs.slab_y, slabs.slab_z)]
    found = []
    for magnetic in (False, True):
        state, tables = [], []
        for axis in range(3):
            shape = list(sizes)
            shape[axis] = len(index[axis])
            state.append(torch.zeros(3, *shape, dtype=dtype, device=device))
            rows = []
            for component in range(3):
                centre = int((component == order[axis]) != magnetic)
                b, c, flat = (part[centre, index[axis]] for part in along[order[axis]])
                rows.append(torch.stack([b, b * flat / (flat + c), 1.0 / (flat + c)]))
            b, pole, inverse = torch.stack(rows, dim=1).to(dtype=dtype, device=device).contiguous().unbind(0)
            tables.append((b, pole, inverse))
        places = [torch.from_numpy(one).to(device) for one in index]
        found.append(Filters(state, tables, places))
    return found[0], found[1]
