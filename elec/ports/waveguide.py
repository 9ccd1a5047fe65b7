"""A mode port: launches one mode of a guide in one direction, and measures its waves in both.

Launch. Beyond a node plane the field is the mode, before it there is none: the difference in each equation that reaches
across the plane is made up by an electric current on the plane, n x H of the half cell before it over the cell's
length, and a magnetic one in that half cell, -n x E over the same length (the equivalence principle on the grid,
[Taflove2005, ch. 5]). Waves that come back pass through.

Waves. Sums of E x h and e x H over a node plane and the half cells on both sides of it give the amplitudes V and I of
the mode alone, since modes of the scheme are orthogonal in these sums (`elec.ports.modes`). The mean of the two
magnetic sums belongs to the node plane and is smaller than I by cos(beta d / 2). The Fourier sums take E at (n + 1) dt
and H at (n + 1/2) dt, so nothing is left to align. With Z the wave impedance the waves towards the device and back are

    a, b = (V +- Z I) sqrt(cos(beta d / 2) / (8 Z)),

so that |a|^2 - |b|^2 is the power [W] that the scheme carries through the plane, exactly where nothing is lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.fdtd import Media, Probes, Source, Walls, join_probes, spectrum
from elec.fdtd.media import BOX
from elec.grid import AXES, Grid
from elec.ports.family import ModeFamily, mode_family
from elec.ports.section import Window, cross_section
from mindsci.errors import InputError
from mindsci.tree import Tree

# Entries of a profile below this fraction of its largest are rounding: they would be sources on every edge.
FAINTEST = 1e-12


class Advanced(Tree):
    """A waveform that comes earlier by a time [s]."""

    waveform: Any
    by: float

    def __call__(self, t: Tensor) -> Tensor:
        return self.waveform(t + self.by)


class ModePort(Tree):
    """A port on a mode of a uniform guide that runs along an axis.

    The launched profile is that of `frequency`; away from it a guide with dispersion also launches a weak wave
    backwards, which the measured waves do not count as incident. The guide must be uniform from `source` to `probe`,
    and end behind the source in absorbing layers.
    """

    axis: int
    direction: int
    """1 where the device lies towards larger coordinates, -1 towards smaller ones"""
    source: float
    """plane of the launch [m], on a node"""
    probe: float
    """plane where the waves are measured [m], on a node, between the source and the device"""
    frequency: float
    """[Hz]"""
    band: tuple[float, float]
    """lowest and highest frequency of interest [Hz]"""
    waveform: Any
    reference: float | None = None
    """plane to which the waves are referred [m]; that of the probe unless given"""
    mode: int = 0
    """0 has the largest propagation constant"""
    window: Window | None = None
    """nodes of the guide's section along the next two axes in cyclic order; the whole grid unless given"""

    def __post_init__(self) -> None:
        if self.axis not in (0, 1, 2) or self.direction not in (1, -1):
            raise InputError(f"a port along axis {self.axis} with direction {self.direction}: use 0 to 2, and 1 or -1")
        if (self.probe - self.source) * self.direction <= 0:
            raise InputError(
                f"the port's probe plane at {self.probe * 1e3:g} mm is not beyond its source at "
                f"{self.source * 1e3:g} mm in the port's direction; put it between the source and the device"
            )
        if not 0 < self.band[0] < self.band[1] or not self.band[0] <= self.frequency <= self.band[1]:
            raise InputError(
                f"the port's band {self.band[0] / 1e9:g} to {self.band[1] / 1e9:g} GHz must hold its frequency "
                f"{self.frequency / 1e9:g} GHz"
            )

    def family(self, grid: Grid, media: Media, dt: float, *, walls: Walls = BOX) -> ModeFamily:
        """Returns the port's mode over its band, as the scheme with the time step dt [s] carries it."""
        node = grid.node_index(self.axis, self.probe, what="the port's probe plane")
        section = cross_section(grid, media, self.axis, node, window=self.window, walls=walls)
        low, high = self.band
        frequencies = list(dict.fromkeys([self.frequency, low, high]))
        return mode_family(section, frequencies, index=self.mode, dt=dt)

    def place(self, grid: Grid, media: Media, dt: float, *, walls: Walls = BOX) -> PlacedModePort:
        """Returns the port on a grid. Raises InputError for planes off the nodes, in absorbing layers or too close."""
        first = grid.node_index(self.axis, self.source, what="the port's source plane")
        node = grid.node_index(self.axis, self.probe, what="the port's probe plane")
        if abs(node - first) < 2:
            raise InputError(
                f"the port's source and probe planes along {AXES[self.axis]} are {abs(node - first)} cells apart; "
                "leave at least 2"
            )
        start = cross_section(grid, media, self.axis, first, window=self.window, walls=walls)
        family = self.family(grid, media, dt, walls=walls)
        same = all(
            torch.allclose(getattr(start, what).double(), getattr(family.section, what).double(), rtol=1e-4)
            for what in ("permittivity", "conductivity", "permeability", "metal")
        )
        if not same or abs(start.step / family.section.step - 1.0) > 1e-6:
            raise InputError("the guide changes between the port's source and probe planes; keep it uniform there")
        return PlacedModePort(
            port=self, family=family, media=media, sources=_launch(self, family, first), probes=_sums(family, node)
        )


class PlacedModePort(Tree):
    """A mode port on a grid: what to drive, what to record, and what the records mean."""

    port: ModePort
    family: ModeFamily
    media: Media
    sources: tuple[Source, ...]
    probes: Probes

    def waves(
        self, records: Float[Tensor, "rows samples"], dt: float, frequencies: Float[Tensor, "f"], *, driven: bool
    ) -> tuple[Complex[Tensor, "f"], Complex[Tensor, "f"]]:
        """Returns the waves towards the device and back [sqrt(W) s] at the reference plane; differentiable."""
        voltage, current = self.amplitudes(records, dt, frequencies)
        family, port = self.family, self.port
        z, beta = family.wave_impedance(frequencies), family.beta(frequencies)
        current = current * port.direction
        scale = (torch.cos(0.5 * beta * family.section.step) / (8.0 * z)).sqrt()
        a, b = scale * (voltage + z * current), scale * (voltage - z * current)
        reference = port.probe if port.reference is None else port.reference
        turn = torch.exp(-1j * beta * (reference - port.probe) * port.direction)
        return a * turn, b / turn

    def amplitudes(
        self, records: Float[Tensor, "rows samples"], dt: float, frequencies: Float[Tensor, "f"]
    ) -> tuple[Complex[Tensor, "f"], Complex[Tensor, "f"]]:
        """Returns V and I of the mode along +axis at the probe's plane: E = V e, H = I h with sum e x h = 1."""
        family = self.family
        mix, beta = family.mix(frequencies), family.beta(frequencies)
        omega = 2.0 * math.pi * frequencies.to(torch.float64)
        rows = torch.stack([spectrum(record, dt, frequencies) for record in records]).reshape(3, 2, -1, len(omega))
        sums = torch.einsum("spf,fp->sf", rows[:, 0] + 1j * rows[:, 1], mix)
        # Records are read at the end of a step: the electric ones half a step later than `spectrum` takes them.
        voltage = sums[0] * torch.exp(-0.5j * omega * dt)
        return voltage, 0.5 * (sums[1] + sums[2]) / torch.cos(0.5 * beta * family.section.step)

    def impedance(self, frequencies: Float[Tensor, "f"]) -> Complex[Tensor, "f"]:
        """Returns the wave impedance [ohm], the reference of the port's waves."""
        return self.family.wave_impedance(frequencies)

    def copies(self, grid: Grid, mirrors: Mapping[str, str]) -> int:
        """Returns how often the port's power counts in the whole: a mirror cuts the guide's section, or doubles it."""
        return 2 ** sum(kind != "ground" for kind in mirrors.values())

    def beta(self, frequencies: Float[Tensor, "f"]) -> Complex[Tensor, "f"]:
        """Returns the propagation constant [rad/m]."""
        return self.family.beta(frequencies)


def _launch(port: ModePort, family: ModeFamily, node: int) -> tuple[Source, Source]:
    """The electric currents on the node plane, and the magnetic ones in the half cell before it."""
    mode, section = family.modes[0], family.section
    e, h = mode.electric.real, mode.magnetic.real
    before = node - 1 if port.direction > 0 else node
    # Half a cell before the plane the mode is ahead of the plane in phase.
    ahead = mode.beta.real * 0.5 * section.step / (2.0 * math.pi * mode.frequency)
    electric = [(0, -h[1] / section.step), (1, h[0] / section.step)]
    magnetic = [(0, port.direction * e[1] / section.step), (1, -port.direction * e[0] / section.step)]
    open_edges = ~section.metal
    return (
        _source(family, electric, node, Advanced(waveform=port.waveform, by=ahead), "current", open_edges),
        _source(family, magnetic, before, port.waveform, "magnetic current", torch.ones_like(open_edges)),
    )


def _source(
    family: ModeFamily, parts: list[tuple[int, Tensor]], node: int, waveform: Any, kind: Any, allowed: Tensor
) -> Source:
    largest = max(float(amplitude.abs().max()) for _, amplitude in parts)
    places, amplitudes = [], []
    for component, amplitude in parts:
        used = ((amplitude.abs() > FAINTEST * largest) & allowed[component]).reshape(-1)
        places.append(family.section.places(component, node)[used])
        amplitudes.append(amplitude.reshape(-1)[used])
    return Source(places=torch.cat(places), amplitude=torch.cat(amplitudes), waveform=waveform, kind=kind)


def _sums(family: ModeFamily, node: int) -> Probes:
    """Rows: E x h at the node, e x H after and before it; of each the real and imaginary part, for each profile."""
    section = family.section
    first, second = section.areas
    probes = []
    for kind, at in (("electric", node), ("magnetic", node), ("magnetic", node - 1)):
        if kind == "electric":  # E_u h_v - E_v h_u
            weights = [first * family.magnetic[:, 1], -second * family.magnetic[:, 0]]
        else:  # -e_v H_u + e_u H_v
            weights = [-second * family.electric[:, 1], first * family.electric[:, 0]]
        flat = torch.cat([weight.flatten(1) for weight in weights], dim=1)
        places = torch.cat([section.places(component, at) for component in (0, 1)])
        if kind == "magnetic":
            places[:, 0] += 3
        used = (flat.abs() > FAINTEST * flat.abs().max()).any(dim=0)
        probes.append(Probes(edges=places[used], weights=torch.cat([flat.real, flat.imag])[:, used]))
    return join_probes(probes)
