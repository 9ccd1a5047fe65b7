"""A lumped voltage source with an inner impedance, and the reflection it sees.

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

both spectra from samples at the same times: nothing is left to align. With an inductor or a capacitor in series the
impedance is that of `elec.fdtd.lumped`, the source drives the current that its poles make of V_s, and I = Y (V_s - V).
For a port of one edge |S11| = 1 holds for the
scheme itself wherever there is no loss. With more edges V is the mean over the columns, and what the
resistors take from currents that circulate between the edges counts as loss: it falls with (port size / wavelength)^2.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.fdtd.edge_box import EdgeBox
from elec.fdtd.lumped import Circuit
from elec.fdtd.media import BOX, Media
from elec.fdtd.probes import Probes
from elec.fdtd.sources import Source, dual_areas
from elec.fdtd.walls import Walls
from elec.fdtd.waveforms import Samples
from elec.grid import Grid
from elec.numbers import Real, plain_real
from mindsci.errors import InputError
from mindsci.tree import Tree

PIECE = 16384
"""Samples of a record whose Fourier integral is summed up at once."""


class VoltagePort(Tree):
    """A resistive voltage source over the box from `start` to `stop` [m], along one axis.

    The voltage counts from the lower to the higher coordinate. The box may be a line, a rectangle or a block. Values
    may be tensors: gradients pass through them.
    """

    start: tuple[float, float, float]
    """[m]"""
    stop: tuple[float, float, float]
    """[m]"""
    axis: int
    resistance: Real
    """[ohm]"""
    waveform: Any
    amplitude: Real = 1.0
    """[V]"""
    inductance: Real | None = None
    """in series [H]"""
    capacitance: Real | None = None
    """in series [F]"""

    def __post_init__(self) -> None:
        resistance = plain_real(self.resistance)
        if not (math.isfinite(resistance) and resistance > 0):
            raise InputError(f"the port's resistance of {resistance:g} ohm must be positive; 50 ohm is usual")
        _ = self.box  # checks it

    @property
    def box(self) -> EdgeBox:
        return EdgeBox(start=self.start, stop=self.stop, axis=self.axis, what="port")

    @property
    def circuit(self) -> Circuit:
        """What lies in series with the source."""
        return Circuit(resistance=self.resistance, inductance=self.inductance, capacitance=self.capacitance)

    def nodes(self, grid: Grid) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Returns the lowest and highest node of the box. Raises InputError outside the grid or off its lines."""
        return self.box.nodes(grid)

    def place(
        self, grid: Grid, media: Media, *, dt: float | None = None, n_steps: int | None = None, walls: Walls = BOX
    ) -> tuple[Media, Source, Probes]:
        """Returns the media with the port's impedance, its source, and the probe of its voltage [V].

        A port that lies on a magnetic wall, or reaches to it, is the whole model's: its voltage and current are those
        of the whole. A port with an inductor or a capacitor needs the time step [s] and the steps of the run. Raises
        InputError where metal shorts the port.
        """
        found = self.box.open_edges(grid, media.metal, walls)
        edges, areas = found.places, dual_areas(grid, self.axis, found.places[:, 1:])
        media = self.circuit.on_edges(media, edges, found.scale(grid))
        if self._resistive:
            signal, scale = self.waveform, self.amplitude / self.resistance
        else:
            signal, scale = self._filtered(dt, n_steps), 1.0
        source = Source(places=edges, amplitude=-found.shares / areas * scale, waveform=signal)
        return media, source, Probes(edges=edges, weights=found.volts[None])

    @property
    def _resistive(self) -> bool:
        return self.inductance is None and self.capacitance is None

    def _filtered(self, dt: float | None, n_steps: int | None) -> Samples:
        """The current that the open-circuit voltage alone would drive, as the scheme's own poles have it."""
        if dt is None or n_steps is None:
            raise InputError("a port with an inductor or a capacitor needs dt and n_steps when it is placed")
        volts = self.amplitude * self.waveform(dt * torch.arange(n_steps + 1, dtype=torch.float64))
        return Samples(values=self.circuit.current(volts, dt), dt=dt, start=0.5 * dt)

    def voltage(self, record: Float[Tensor, "samples"]) -> Float[Tensor, "samples"]:
        """Returns the voltage [V] at the middle of each step from the recorded one at its end."""
        before = torch.cat([record.new_zeros(1), record[:-1]])
        return 0.5 * (before + record)

    def source_voltage(self, n_samples: int, dt: float) -> Float[Tensor, "samples"]:
        """Returns the open-circuit voltage [V] at the middle of each step."""
        step = torch.arange(n_samples, dtype=torch.float64)
        if self._resistive:
            return self.amplitude * self.waveform((step + 0.5) * dt)
        return 0.5 * self.amplitude * (self.waveform(step * dt) + self.waveform((step + 1.0) * dt))

    def source_spectrum(self, n_samples: int, dt: float, frequencies: Float[Tensor, "f"]) -> Complex[Tensor, "f"]:
        """Returns the Fourier integral of the open-circuit voltage [V s]."""
        return spectrum(self.source_voltage(n_samples, dt), dt, frequencies)

    def reflection(
        self, record: Float[Tensor, "samples"], dt: float, frequencies: Float[Tensor, "f"]
    ) -> Complex[Tensor, "f"]:
        """Returns S11 against the port's own resistance at the frequencies [Hz]; differentiable in the record."""
        voltage = spectrum(self.voltage(record.to(torch.float64)), dt, frequencies)
        source = self.source_spectrum(len(record), dt, frequencies)
        if self._resistive:
            return 2.0 * voltage / source - 1.0
        # What flows through the impedance, at the s that a step makes of j omega.
        s = 2j / dt * torch.tan(math.pi * dt * torch.as_tensor(frequencies, dtype=torch.float64))
        dropped = self.resistance * self.circuit.admittance(s) * (source - voltage)
        return (voltage - dropped) / (voltage + dropped)


def spectrum(signal: Float[Tensor, "samples"], dt: float, frequencies: Float[Tensor, "f"]) -> Complex[Tensor, "f"]:
    """Returns the Fourier integral dt sum x exp(-2 pi i f t) of samples at (n + 1/2) dt."""
    total = torch.zeros(len(frequencies), dtype=torch.complex128)
    omega = 2.0 * math.pi * frequencies.to(torch.float64)[:, None]
    # In pieces: all angles of a long record at once would fill the memory.
    for first in range(0, signal.numel(), PIECE):
        part = signal[first : first + PIECE].to(torch.float64)
        angle = omega * ((torch.arange(first, first + part.numel(), dtype=torch.float64) + 0.5) * dt)
        total = total + torch.complex(angle.cos() @ part, -(angle.sin() @ part))
    return dt * total
