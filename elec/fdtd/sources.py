"""Sources on edges: an impressed current, or a field that is held at a given value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from elec.grid import AXES, Grid
from mindsci.errors import InputError
from mindsci.tree import Tree


class EdgeSource(Tree):
    """The same signal on a set of edges.

    kind "current": amplitude is an impressed current density along the edge [A/m^2], which enters Ampere's law as
    curl H - J. kind "field": the field of the edge is amplitude [V/m] times the signal, whatever arrives there.
    """

    edges: Int[Tensor, "edges 4"]
    """component, then the three node indices"""
    amplitude: Float[Tensor, "edges"]
    waveform: Any
    """maps times [s] to values"""
    kind: Literal["current", "field"] = "current"

    def signal(self, step: Tensor, dt: float) -> Float[Tensor, "steps"]:
        """Returns the signal of whole steps: a current acts at their middle, a held field at their end."""
        return self.waveform((step.to(torch.float64) + (0.5 if self.kind == "current" else 1.0)) * dt)


def dipole(
    grid: Grid,
    component: int,
    node: Sequence[int],
    waveform: Any,
    *,
    current: float = 1.0,
    kind: Literal["current", "field"] = "current",
) -> EdgeSource:
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
    return EdgeSource(
        edges=torch.tensor([[component, *place]]),
        amplitude=torch.tensor([amplitude], dtype=torch.float64),
        waveform=waveform,
        kind=kind,
    )


def dual_areas(grid: Grid, component: int, nodes: Int[Tensor, "edges 3"]) -> Float[Tensor, "edges"]:
    """Returns the area [m^2] of the dual face that each edge pierces."""
    first, second = (axis for axis in range(3) if axis != component)
    return (grid.dual_spacing(first).cpu()[nodes[:, first]] * grid.dual_spacing(second).cpu()[nodes[:, second]]).to(
        torch.float64
    )
