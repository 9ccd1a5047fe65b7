"""Sources: impressed electric and magnetic currents, or a field that is held at a given value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Inexact, Int
from torch import Tensor

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


def dual_areas(grid: Grid, component: int, nodes: Int[Tensor, "edges 3"]) -> Float[Tensor, "edges"]:
    """Returns the area [m^2] of the dual face that each edge pierces."""
    first, second = (axis for axis in range(3) if axis != component)
    return (grid.dual_spacing(first).cpu()[nodes[:, first]] * grid.dual_spacing(second).cpu()[nodes[:, second]]).to(
        torch.float64
    )
