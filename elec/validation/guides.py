"""Guides and their ports against closed forms: rectangular waveguide, a dielectric slab in it, coax, microstrip."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.fdtd import Media, ModulatedGaussian, Probes, absorbing_layers, uniform_media, yee_step
from elec.grid import Grid
from elec.ports import (
    ModePort,
    Scattering,
    characteristic_impedance,
    cross_section,
    guide_modes,
    measured_beta,
    measured_impedance,
    scattering_matrix,
)
from elec.ports.waveguide import PlacedModePort
from elec.validation.rows import against, below, size
from mindsci.report import Row
from mindsci.solvers import rollout
from mindsci.units import SPEED_OF_LIGHT, VACUUM_IMPEDANCE

WR90 = (22.86e-3, 10.16e-3)
COAX = (0.635e-3, 2.055e-3, 2.1)
SHEEN = (2.413e-3, 0.794e-3, 2.2)
# Cells along the strip [m]. Three planes give beta from 1 - cos(beta d), and what else is on them (box modes below
# their cut-off, rounding of a record that ends) counts 1 / (beta d)^2 times: at 2 GHz 3 mm were too near, 12 are not.
ALONG_STRIP = 0.5e-3
LAYERS = 12
COURANT = 0.95


def _line(length: float, cells: int) -> Float[Tensor, "nodes"]:
    return torch.linspace(0.0, length, cells + 1, dtype=torch.float64)


def _end_layers(grid: Grid) -> Any:
    return absorbing_layers(grid, ((0, 0), (0, 0), (LAYERS, LAYERS)))


def _port_pair(grid: Grid, waveform: Any, *, band: tuple[float, float], planes: Sequence[float]) -> list[ModePort]:
    """Ports at both ends along z, 4 cells before the layers, that measure 5 cells on; planes are their references."""
    z = grid.z
    ports = []
    for direction, reference in zip((1, -1), planes, strict=True):
        source = LAYERS + 4 if direction > 0 else len(z) - 1 - LAYERS - 4
        ports.append(
            ModePort(
                axis=2,
                direction=direction,
                source=float(z[source]),
                probe=float(z[source + 5 * direction]),
                reference=reference,
                frequency=0.5 * (band[0] + band[1]),
                band=band,
                waveform=waveform,
            )
        )
    return ports


def wr90_line(cells: int = 24) -> list[Row]:
    """Propagation constant and wave impedance of TE10 from the fields of a run [Pozar2012, sec. 3.3], and S11."""
    started = time.perf_counter()
    (a, b), frequencies = WR90, torch.tensor([8.2e9, 10.0e9, 12.4e9], dtype=torch.float64)
    cell = a / cells
    grid = Grid(x=_line(a, cells), y=_line(b, round(b / cell)), z=cell * torch.arange(101, dtype=torch.float64))
    media = uniform_media(grid)
    pulse = ModulatedGaussian(frequency=10.3e9, bandwidth=6e9)
    ports = _port_pair(grid, pulse, band=(8.2e9, 12.4e9), planes=(float(grid.z[30]), float(grid.z[70])))
    dt = COURANT * grid.courant_limit()
    spacing = 10
    placed, records = _on_planes(grid, media, ports[0], (30, 30 + spacing, 30 + 2 * spacing), dt, n_steps=6_000)
    both = [port.amplitudes(part, dt, frequencies) for port, part in zip(placed, records, strict=True)]
    beta = measured_beta(both[0][0], both[1][0], both[2][0], spacing * cell).real
    impedance = (both[1][0] / both[1][1]).real
    wavenumber = 2.0 * math.pi * frequencies / SPEED_OF_LIGHT
    exact = (wavenumber**2 - (math.pi / a) ** 2).sqrt()
    rows = []
    seconds = time.perf_counter() - started
    for i, frequency in enumerate(frequencies.tolist()):
        name = f"{frequency / 1e9:.1f} GHz"
        z_exact = VACUUM_IMPEDANCE * float(wavenumber[i] / exact[i])
        for what, unit, found, wanted in (
            ("beta", "rad/m", float(beta[i]), float(exact[i])),
            ("wave impedance", "ohm", float(impedance[i]), z_exact),
        ):
            rows.append(against(f"WR-90 {what}, {name}", found, wanted, percent=0.5, unit=unit, **size(grid, seconds)))
    started = time.perf_counter()
    swept = torch.linspace(8.2e9, 12.4e9, 43, dtype=torch.float64)
    s = scattering_matrix(grid, media, ports, swept, n_steps=6_000, dt=dt, absorber=_end_layers(grid), decay=80.0)
    rows += _matched("WR-90 line", s, grid, time.perf_counter() - started)
    return rows


def _on_planes(
    grid: Grid, media: Media, port: ModePort, nodes: Sequence[int], dt: float, *, n_steps: int
) -> tuple[list[PlacedModePort], Sequence[Tensor]]:
    """Runs a port and returns its mode's records on planes: the placed ports that read them, and the records."""
    from mindsci import tree

    placed = [tree.replace(port, probe=float(grid.z[node]), reference=None).place(grid, media, dt) for node in nodes]
    records = _driven(grid, placed[0], [one.probes for one in placed], dt, n_steps)
    return placed, records


def _driven(grid: Grid, port: PlacedModePort, probes: Sequence[Probes], dt: float, n_steps: int) -> Sequence[Tensor]:
    step = yee_step(grid, port.media, absorber=_end_layers(grid), sources=port.sources, probes=probes)
    fields, _ = rollout(step, step.start(n_steps), n_steps=n_steps, dt=dt)
    return fields.records.split([one.weights.shape[0] for one in probes])


def _matched(name: str, scattering: Scattering, grid: Grid, seconds: float) -> list[Row]:
    reflection = 20.0 * math.log10(float(scattering.s[:, 0, 0].abs().max()))
    lost = float(scattering.lost_power().abs().max())
    return [
        below(f"{name}, largest |S11|", reflection, -40.0, unit="dB", **size(grid, seconds)),
        below(f"{name}, | |S11|^2 + |S21|^2 - 1 |", lost, 1e-3, **size(grid, seconds)),
    ]


def slab_in_wr90(
    frequencies: Float[Tensor, "f"], permittivity: float, length: float, width: float = WR90[0]
) -> tuple[Complex[Tensor, "f"], Complex[Tensor, "f"]]:
    """Returns S11 and S21 of a slab that fills a rectangular guide [m], at its faces: a line of another beta."""
    wavenumber, cut_off = 2.0 * math.pi * frequencies / SPEED_OF_LIGHT, math.pi / width
    outside = (wavenumber**2 - cut_off**2).sqrt()
    inside = (permittivity * wavenumber**2 - cut_off**2).sqrt()
    step, turn = (outside - inside) / (outside + inside), torch.exp(-1j * inside * length)
    below = 1.0 - step**2 * turn**2
    return step * (1.0 - turn**2) / below, (1.0 - step**2) * turn / below


def filled_wr90(cells: int, *, permittivity: float = 4.0, length: float = 8e-3) -> tuple[Grid, Media, list[ModePort]]:
    """Returns the grid, the media and the ports of a WR-90 guide with a slab, the reference planes at its faces.

    `cells` along the slab; the cells across the guide are of about that size.
    """
    a, b = WR90
    cell = length / cells
    before = LAYERS + 15
    n_z = 2 * before + cells
    grid = Grid(
        x=_line(a, math.ceil(a / cell)), y=_line(b, math.ceil(b / cell)), z=cell * torch.arange(n_z + 1).double()
    )
    along = torch.ones(n_z + 1, dtype=torch.float64)
    along[before : before + cells] = permittivity
    across = along.clone()  # edges in the face lie half in the slab
    across[before] = across[before + cells] = 0.5 * (1.0 + permittivity)
    filling = torch.stack([across, across, along])[:, None, None, :]
    media = uniform_media(grid, permittivity=filling)
    pulse = ModulatedGaussian(frequency=10.3e9, bandwidth=6e9)
    planes = (float(grid.z[before]), float(grid.z[before + cells]))
    return grid, media, _port_pair(grid, pulse, band=(8.2e9, 12.4e9), planes=planes)


def wr90_slab() -> list[Row]:
    """S-parameters of a slab of permittivity 4, 8 mm long, that fills the guide, on two grids."""
    frequencies = torch.linspace(8.2e9, 12.4e9, 43, dtype=torch.float64)
    exact = slab_in_wr90(frequencies, 4.0, 8e-3)
    errors, rows = [], []
    for cells in (8, 16):
        started = time.perf_counter()
        grid, media, ports = filled_wr90(cells)
        dt = COURANT * grid.courant_limit()
        steps = round(16e-9 / dt)
        s = scattering_matrix(
            grid, media, ports, frequencies, n_steps=steps, dt=dt, absorber=_end_layers(grid), decay=100.0
        )
        errors.append(max(float((s.s[:, i, 0] - exact[i]).abs().max()) for i in (0, 1)))
        seconds = time.perf_counter() - started
        last = cells == 16
        extra = {"cells": grid.n_cells, "seconds": seconds}
        rows.append(
            Row(
                case=f"WR-90 with a slab, {cells} cells along it: largest error of S",
                measured=errors[-1],
                gate="below 0.01" if last else None,
                ok=errors[-1] < 0.01 if last else None,
                extra=extra,
            )
        )
        if last:
            lost = float(s.lost_power().abs().max())
            rows.append(below("WR-90 with a slab, | |S11|^2 + |S21|^2 - 1 |", lost, 1e-3, **size(grid, seconds)))
            rows.append(below("WR-90 with a slab, |S21 - S12|", s.reciprocity(), 1e-3, **size(grid, seconds)))
    order = math.log2(errors[0] / errors[1])
    rows.append(
        Row(case="WR-90 with a slab, order in the cell", measured=order, reference=2.0, gate=">= 1.8", ok=order >= 1.8)
    )
    return rows


def coax_case(cells: int, n_z: int) -> tuple[Grid, Media]:
    """Returns a coaxial line along z with `cells` across its gap, its metal conformal."""
    from elec.fdtd.conformal import cut_scene_media
    from elec.geometry import Scene, box, cylinder
    from elec.geometry.scene import Body
    from elec.materials import Material

    inner, outer, permittivity = COAX
    cell = (outer - inner) / cells
    n = 2 * (math.ceil(outer / cell) + 1)
    across = cell * (torch.arange(n + 1, dtype=torch.float64) - n / 2)
    grid = Grid(x=across, y=across.clone(), z=cell * torch.arange(n_z + 1, dtype=torch.float64))
    low, high, wide = -cell, (n_z + 1) * cell, n * cell
    shield = box((-wide, -wide, low), (wide, wide, high)) - cylinder((0, 0, 2 * low), (0, 0, high - low), outer)
    wire = cylinder((0, 0, low), (0, 0, high), inner)
    scene = Scene(
        parts=(Body(name="shield", solid=shield), Body(name="wire", solid=wire)),
        materials={"filling": Material(name="filling", relative_permittivity=permittivity)},
        background="filling",
    )
    return grid, cut_scene_media(scene, grid)


def coax_line(cells: int = 8) -> list[Row]:
    """Z0 = eta ln(outer / inner) / (2 pi sqrt eps) [Pozar2012, sec. 2.2], and the reflection of a matched line."""
    started = time.perf_counter()
    grid, media = coax_case(cells, 70)
    inner, outer, permittivity = COAX
    exact = VACUUM_IMPEDANCE / (2.0 * math.pi * math.sqrt(permittivity)) * math.log(outer / inner)
    dt = COURANT * grid.courant_limit()
    mode = guide_modes(cross_section(grid, media, 2, 35), 5e9, dt=dt)[0]
    seconds = time.perf_counter() - started
    z0 = characteristic_impedance(mode).real
    rows = [against("coax Z0", z0, exact, percent=1.0, unit="ohm", **size(grid, seconds))]
    started = time.perf_counter()
    pulse = ModulatedGaussian(frequency=8e9, bandwidth=14e9)
    ports = _port_pair(grid, pulse, band=(2e9, 14e9), planes=(float(grid.z[25]), float(grid.z[45])))
    frequencies = torch.linspace(2e9, 14e9, 25, dtype=torch.float64)
    s = scattering_matrix(grid, media, ports, frequencies, n_steps=6_000, dt=dt, absorber=_end_layers(grid), decay=80.0)
    return rows + _matched("coax line", s, grid, time.perf_counter() - started)


def microstrip_case(cells: int, n_z: int, air: float = 8e-3) -> tuple[Grid, Media, tuple[range, int]]:
    """Returns Sheen's line along z in a box, and the nodes of its strip; `cells` through the substrate.

    The strip's edges lie a third of a cell outside its last metal nodes: near an edge the field goes as the square root
    of the distance, and a plain grid makes a strip look wider by about that much on each side.
    """
    width, height, permittivity = SHEEN
    cell = height / cells
    count = round(width / cell)
    pitch = width / (count + 2.0 / 3.0)
    strip = [pitch * (i - count / 2) for i in range(count + 1)]
    side = _outward(strip[-1], pitch, air)
    x = torch.tensor([*(-value for value in reversed(side)), *strip, *side], dtype=torch.float64)
    y = torch.tensor([*(i * cell for i in range(cells + 1)), *_outward(height, cell, air)], dtype=torch.float64)
    grid = Grid(x=x, y=y, z=ALONG_STRIP * torch.arange(n_z + 1, dtype=torch.float64))
    shape = (3, len(x), len(y), n_z + 1)
    filling = torch.ones(3, 1, len(y), 1, dtype=torch.float64)
    filling[:, :, :cells] = permittivity
    filling[[0, 2], :, cells] = 0.5 * (1.0 + permittivity)  # edges in the interface lie half in the substrate
    metal = torch.zeros(shape, dtype=torch.bool)
    nodes = range(len(side), len(side) + count + 1)
    metal[0, nodes.start : nodes.stop - 1, cells] = True
    metal[2, nodes.start : nodes.stop, cells] = True
    return grid, uniform_media(grid, permittivity=filling, metal=metal), (nodes, cells)


def _outward(start: float, cell: float, distance: float, growth: float = 1.15, even: int = 4) -> list[float]:
    """Nodes that follow `start`: some even cells, then growing ones."""
    found, step = [start], cell
    while found[-1] < start + distance:
        found.append(found[-1] + step)
        if len(found) > even:
            step = min(step * growth, distance / 8)
    return found[1:]


def microstrip_line(cells: int = 6) -> list[Row]:
    """Z0 and effective permittivity of Sheen's line from voltages and currents on three planes of a run."""
    started = time.perf_counter()
    grid, media, (strip, height) = microstrip_case(cells, 110)
    dt = COURANT * grid.courant_limit()
    pulse = ModulatedGaussian(frequency=6e9, bandwidth=11e9)
    ports = _port_pair(grid, pulse, band=(2e9, 10e9), planes=(float(grid.z[30]), float(grid.z[80])))
    port = ports[0].place(grid, media, dt)
    spacing = 25
    probes = [_volts_and_amperes(grid, strip, height, node) for node in (30, 30 + spacing, 30 + 2 * spacing)]
    records = _driven(grid, port, probes, dt, 6_000)
    frequencies = torch.tensor([2e9, 3e9], dtype=torch.float64)
    v, i = zip(*(_line_waves(part, dt, frequencies) for part in records), strict=True)
    beta = measured_beta(v[0], v[1], v[2], spacing * float(grid.spacing(2)[0])).real
    effective = (beta * SPEED_OF_LIGHT / (2.0 * math.pi * frequencies)) ** 2
    z0 = measured_impedance(v, i).real * torch.cos(0.5 * beta * float(grid.spacing(2)[0]))
    seconds = time.perf_counter() - started
    rows = [
        against("microstrip Z0, 2 GHz", float(z0[0]), 50.48, percent=1.5, unit="ohm", **size(grid, seconds)),
        against(
            "microstrip effective permittivity, 2 GHz", float(effective[0]), 1.8797, percent=1.5, **size(grid, seconds)
        ),
    ]
    started = time.perf_counter()
    swept = torch.linspace(2e9, 10e9, 17, dtype=torch.float64)
    s = scattering_matrix(grid, media, ports, swept, n_steps=6_000, dt=dt, absorber=_end_layers(grid), decay=80.0)
    return rows + _matched("microstrip line", s, grid, time.perf_counter() - started)


def _volts_and_amperes(grid: Grid, strip: range, height: int, node: int) -> Probes:
    """Rows: the voltage from the ground to the middle of the strip, and the loop sum of H around the strip after and
    before the node plane."""
    middle, low, high = strip[len(strip) // 2], strip.start, strip.stop - 1
    places = [[1, middle, j, node] for j in range(height)]
    weights = [[float(-grid.spacing(1)[j]), 0.0, 0.0] for j in range(height)]
    for row, at in ((1, node), (2, node - 1)):
        loop = [(3, i, height - 1, float(grid.dual_spacing(0)[i])) for i in range(low, high + 1)]
        loop += [(3, i, height, -float(grid.dual_spacing(0)[i])) for i in range(low, high + 1)]
        loop += [(4, high, height, float(grid.dual_spacing(1)[height]))]
        loop += [(4, low - 1, height, -float(grid.dual_spacing(1)[height]))]
        for component, i, j, length in loop:
            places.append([component, i, j, at])
            weights.append([length if row == which else 0.0 for which in range(3)])
    return Probes(edges=torch.tensor(places), weights=torch.tensor(weights, dtype=torch.float64).T)


def _line_waves(records: Tensor, dt: float, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Spectra of voltage and current at one plane; the records of E come half a step after those of H."""
    from elec.fdtd import spectrum

    volts, after, before = (spectrum(record, dt, frequencies) for record in records)
    return volts * torch.exp(-1j * math.pi * frequencies * dt), 0.5 * (after + before)


def validations() -> list[Row]:
    """Returns the rows of all cases, about half a minute on two cores."""
    return [*wr90_line(), *wr90_slab(), *coax_line(), *microstrip_line()]
