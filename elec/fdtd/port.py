"""A lumped voltage source with an inner resistance, and the reflection it sees.

On an edge of length l whose dual face has the area A, a source of voltage V_s(t) in series with a resistor R adds the
current (V - V_s) / R, with V = E l, to Ampere's law [PiketMay1994]:

    epsilon dE/dt + (l / (R A)) E = curl H + V_s / (R A).

It is an edge with conductivity l / (R A) and an impressed current density -V_s / (R A): the semi-implicit update of a
lossy edge takes the field of the resistor at the middle of the step as the mean of its two ends, which keeps the scheme
second order and stable for every R > 0.

The port fills a box of edges along its direction: edges in series share the resistance by their length, columns in
parallel by the width that each has inside the box. The whole has the resistance R.

Reflection. The current from the source into the structure is I = (V_s - V) / R at t = (n + 1/2) dt, with V there the
mean of the recorded V^n and V^(n+1). With R as the reference impedance the waves are a = (V + R I) / (2 sqrt R) =
V_s / (2 sqrt R) and b = (V - R I) / (2 sqrt R) = (2 V - V_s) / (2 sqrt R) [Pozar2012, sec. 4.3], so

    S11(f) = b / a = 2 V(f) / V_s(f) - 1,

both spectra from samples at the same times: nothing is left to align. For a port of one edge |S11| = 1 holds for the
scheme itself wherever there is no loss. With more edges V is the mean over the columns, and what the
resistors take from currents that circulate between the edges counts as loss: it falls with (port size / wavelength)^2.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.fdtd.media import Media
from elec.fdtd.probes import Probes
from elec.fdtd.sources import Source, dual_areas
from elec.grid import AXES, Grid
from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree


class VoltagePort(Tree):
    """A resistive voltage source over the box from `start` to `stop` [m], along one axis.

    The voltage counts from the lower to the higher coordinate. The box may be a line, a rectangle or a block.
    """

    start: tuple[float, float, float]
    """[m]"""
    stop: tuple[float, float, float]
    """[m]"""
    axis: int
    resistance: float
    """[ohm]"""
    waveform: Any
    amplitude: float = 1.0
    """[V]"""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.resistance) and self.resistance > 0):
            raise InputError(f"the port's resistance of {self.resistance:g} ohm must be positive; 50 ohm is usual")
        if self.start[self.axis] == self.stop[self.axis]:
            raise InputError(
                f"the port has no extent along its direction {AXES[self.axis]}: start and stop are both at "
                f"{self.start[self.axis] * 1e3:g} mm; let it span the gap between two conductors"
            )

    def nodes(self, grid: Grid) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Returns the lowest and highest node of the box. Raises InputError outside the grid or off its lines."""
        low, high = [], []
        for axis, name in enumerate(AXES):
            ends = sorted((self.start[axis], self.stop[axis]))
            line = grid.nodes(axis)
            inside = grid.inner(axis)
            inner = (float(line[inside[0]]), float(line[inside[-1]]))
            slack = grid.on_node_tolerance(axis, 0)
            for end in ends:
                if not inner[0] - slack <= end <= inner[1] + slack:
                    raise InputError(
                        f"the port's corner at {name} = {end * 1e3:.6g} mm is outside the grid inside the absorbing "
                        f"layers, {inner[0] * 1e3:.6g} to {inner[1] * 1e3:.6g} mm; move it or widen the margin"
                    )
            self._check_extent(grid, axis, ends)
            first, last = (grid.node_index(axis, end, what="the port's corner") for end in ends)
            low.append(first)
            high.append(last)
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])

    def _check_extent(self, grid: Grid, axis: int, ends: Sequence[float]) -> None:
        """A port that lies between two neighbouring lines would have no edge and stay silent."""
        line = grid.nodes(axis)
        index = min(int((line <= ends[0]).sum()) - 1, line.numel() - 2)
        cell = float(line[index + 1] - line[index])
        extent = ends[1] - ends[0]
        if 0.0 < extent < cell * (1.0 - 1e-3):
            raise InputError(
                f"the port is smaller than a cell along {AXES[axis]}: {extent * 1e3:.4g} mm against "
                f"{cell * 1e3:.4g} mm; use cells of at most {extent * 1e3:.4g} mm there"
            )

    def place(self, grid: Grid, media: Media) -> tuple[Media, Source, Probes]:
        """Returns the media with the port's resistors, its source, and the probe of its voltage [V].

        Raises InputError where metal shorts the port.
        """
        edges, shares, lengths = self._edges(grid)
        index = tuple(edges.unbind(1))
        if bool(media.metal.cpu()[index].any()):
            count = int(media.metal.cpu()[index].sum())
            raise InputError(
                f"the port is shorted: {count} of its {len(edges)} edges lie in or on metal; "
                "place it in the gap between the conductors"
            )
        total = (shares * lengths).sum()  # the length of one column: the shares of each layer add up to one
        resistance = self.resistance * (lengths / total) / shares
        areas = dual_areas(grid, self.axis, edges[:, 1:])
        conductivity = media.conductivity.clone()
        added = (lengths / (resistance * areas)).to(conductivity)
        conductivity = conductivity.index_put(_on(index, conductivity), added, accumulate=True)
        volts = self.amplitude * lengths / total
        source = Source(places=edges, amplitude=-volts / (resistance * areas), waveform=self.waveform)
        probe = Probes(edges=edges, weights=(shares * lengths)[None])
        return tree.replace(media, conductivity=conductivity), source, probe

    def _edges(self, grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the edges of the box, the share of each one's column, and their lengths [m]."""
        low, high = self.nodes(grid)
        places = [range(low[axis], high[axis] + (axis != self.axis)) for axis in range(3)]
        nodes = torch.tensor(list(itertools.product(*places)))
        shares = torch.ones(len(nodes), dtype=torch.float64)
        for axis in range(3):
            if axis != self.axis:
                width = _inner_widths(grid.nodes(axis).to(torch.float64).cpu()[low[axis] : high[axis] + 1])
                shares = shares * (width / width.sum())[nodes[:, axis] - low[axis]]
        lengths = grid.spacing(self.axis).to(torch.float64).cpu()[nodes[:, self.axis]]
        component = torch.full((len(nodes), 1), self.axis)
        return torch.cat([component, nodes], dim=1), shares, lengths

    def voltage(self, record: Float[Tensor, "samples"]) -> Float[Tensor, "samples"]:
        """Returns the voltage [V] at the middle of each step from the recorded one at its end."""
        before = torch.cat([record.new_zeros(1), record[:-1]])
        return 0.5 * (before + record)

    def source_voltage(self, n_samples: int, dt: float) -> Float[Tensor, "samples"]:
        """Returns the open-circuit voltage [V] at the middle of each step."""
        return self.amplitude * self.waveform((torch.arange(n_samples, dtype=torch.float64) + 0.5) * dt)

    def source_spectrum(self, n_samples: int, dt: float, frequencies: Float[Tensor, "f"]) -> Complex[Tensor, "f"]:
        """Returns the Fourier integral of the open-circuit voltage [V s]."""
        return spectrum(self.source_voltage(n_samples, dt), dt, frequencies)

    def reflection(
        self, record: Float[Tensor, "samples"], dt: float, frequencies: Float[Tensor, "f"]
    ) -> Complex[Tensor, "f"]:
        """Returns S11 against the port's own resistance at the frequencies [Hz]; differentiable in the record."""
        voltage = self.voltage(record.to(torch.float64))
        return 2.0 * spectrum(voltage, dt, frequencies) / self.source_spectrum(len(record), dt, frequencies) - 1.0


def spectrum(signal: Float[Tensor, "samples"], dt: float, frequencies: Float[Tensor, "f"]) -> Complex[Tensor, "f"]:
    """Returns the Fourier integral dt sum x exp(-2 pi i f t) of samples at (n + 1/2) dt."""
    t = (torch.arange(signal.numel(), dtype=torch.float64) + 0.5) * dt
    angle = 2.0 * math.pi * frequencies.to(torch.float64)[:, None] * t
    signal = signal.to(torch.float64)
    return dt * torch.complex(angle.cos() @ signal, -(angle.sin() @ signal))


def _inner_widths(nodes: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Returns the width around each node that lies between the first and the last; 1 where there is one node."""
    if nodes.numel() == 1:
        return torch.ones(1, dtype=torch.float64)
    middle = 0.5 * (nodes[1:] + nodes[:-1])
    return torch.cat([nodes[:1], middle, nodes[-1:]]).diff()


def _on(index: tuple[Tensor, ...], target: Tensor) -> tuple[Tensor, ...]:
    return tuple(part.to(target.device) for part in index)
