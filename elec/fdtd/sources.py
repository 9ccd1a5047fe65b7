"""Sources: impressed electric and magnetic currents, or a field that is held at a given value."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Inexact, Int
from torch import Tensor

from elec.fdtd.media import BOX
from elec.fdtd.walls import Walls
from elec.grid import AXES, Grid
from mindsci.errors import InputError
from mindsci.tree import Tree

Kind = Literal["current", "field", "magnetic current"]


class Source(Tree):
    """Signals on a set of edges or faces; a place may occur many times, and what it gets adds up.

    kind "current": amplitude is an impressed current density along the edge [A/m^2], which enters Ampère's law as
    curl H - J. kind "field": the field of the edge is amplitude [V/m] times the signal, whatever arrives there. kind
    "magnetic current": amplitude is an impressed magnetic current density through the face [V/m^2], which enters
    Faraday's law as -curl E - M.

    The waveform maps times [s] to one signal, or to several as (steps, signals); then `columns` names that of each
    place.
    """

    places: Int[Tensor, "places 4"]
    """component, then the three node indices"""
    amplitude: Inexact[Tensor, "places"]
    """complex beside Bloch-periodic walls"""
    waveform: Any
    kind: Kind = "current"
    columns: Int[Tensor, "places"] | None = None

    def signal(self, step: Int[Tensor, "steps"], dt: float) -> Inexact[Tensor, "steps signals"]:
        """Returns the signals of whole steps: at the middle of what the step does to that field, or at its end."""
        offset = {"current": 0.5, "field": 1.0, "magnetic current": 0.0}[self.kind]
        signal = self.waveform((step.to(torch.float64) + offset) * dt)
        return signal if signal.ndim == 2 else signal[:, None]

    def column(self) -> Int[Tensor, "places"]:
        """Returns the signal that belongs to each place."""
        return torch.zeros(len(self.places), dtype=torch.int64) if self.columns is None else self.columns

    def values(self, step: int, dt: float) -> Tensor:
        """Returns amplitude times signal of every place in one step."""
        signal = self.signal(torch.tensor([step]), dt)[0]
        return self.amplitude * signal[self.column().to(signal.device)].to(self.amplitude.device)


def dipole(
    grid: Grid,
    component: int,
    node: Sequence[int],
    waveform: Any,
    *,
    current: float = 1.0,
    kind: Literal["current", "field"] = "current",
) -> Source:
    """Returns a source on one edge: a current [A] through it, or a voltage gradient [V/m] held along it.

    Raises InputError where there is no such edge.
    """
    place = [int(index) for index in node]
    for axis in range(3):
        last = grid.shape[axis] - (1 if axis == component else 0)
        if not 0 <= place[axis] <= last:
            raise InputError(
                f"no E{AXES[component]} edge at node {place}: {place[axis]} along {AXES[axis]} is not in 0..{last}"
            )
    amplitude = current
    if kind == "current":
        amplitude /= float(dual_areas(grid, component, torch.tensor([place]))[0])
    return Source(
        places=torch.tensor([[component, *place]]),
        amplitude=torch.tensor([amplitude], dtype=torch.float64),
        waveform=waveform,
        kind=kind,
    )


def current_moment(
    grid: Grid, position: Sequence[float], moment: Sequence[float], waveform: Any, *, walls: Walls = BOX
) -> Source:
    """Returns a short current at a position [m], its moment [A m] given along x, y and z.

    It is shared by the edges around the position, so that sum and place are right to second order; on a mirror it is
    the whole model's. Raises InputError outside the grid.
    """
    places, amplitudes = [], []
    for component, value in enumerate(moment):
        if value == 0.0:
            continue
        lines = [grid.centers(axis) if axis == component else grid.nodes(axis) for axis in range(3)]
        shares = [_between(line, at, AXES[axis]) for axis, (line, at) in enumerate(zip(lines, position, strict=True))]
        lengths, duals = grid.spacing(component), [walls.dual_spacing(grid, axis) for axis in range(3)]
        for corner in itertools.product(*shares):
            node = [index for index, _ in corner]
            weight = math.prod(share for _, share in corner)
            sizes = [float((lengths if axis == component else duals[axis])[node[axis]]) for axis in range(3)]
            places.append([component, *node])
            amplitudes.append(value * weight / math.prod(sizes))
    return Source(
        places=torch.tensor(places), amplitude=torch.tensor(amplitudes, dtype=torch.float64), waveform=waveform
    )


def _between(line: Float[Tensor, "n"], at: float, name: str) -> list[tuple[int, float]]:
    """The places on a line next to a coordinate, and the share of each; the nearest alone where it lies on it."""
    last = len(line) - 1
    slack = 1e-6 * float(line[1] - line[0])
    if not float(line[0]) - slack <= at <= float(line[last]) + slack:
        raise InputError(
            f"a source at {name} = {at * 1e3:.6g} mm leaves the edges of the grid, {float(line[0]) * 1e3:.6g} to "
            f"{float(line[last]) * 1e3:.6g} mm; move it inside"
        )
    low = min(max(int((line <= at).sum()) - 1, 0), last - 1)
    share = (at - float(line[low])) / float(line[low + 1] - line[low])
    return [(low + which, part) for which, part in ((0, 1.0 - share), (1, share)) if part > 1e-6]


def dual_areas(grid: Grid, component: int, nodes: Int[Tensor, "edges 3"]) -> Float[Tensor, "edges"]:
    """Returns the area [m^2] of the dual face that each edge pierces."""
    first, second = (axis for axis in range(3) if axis != component)
    return (grid.dual_spacing(first).cpu()[nodes[:, first]] * grid.dual_spacing(second).cpu()[nodes[:, second]]).to(
        torch.float64
    )
