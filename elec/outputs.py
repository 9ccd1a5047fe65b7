"""What an antenna run leaves behind: Touchstone, tables, pictures, time signals, VTK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from elec.antenna import Antenna
from elec.fields import Fields
from elec.geometry import write_parts, write_rectilinear
from elec.grid import Grid
from elec.network import Resonance, decibels, network, plot_reflection, resonances, write_touchstone
from elec.pictures import plot_layer

if TYPE_CHECKING:
    from elec.case import AntennaCase
    from mindsci.runs import Run


def write_geometry(run: Run, antenna: Antenna) -> None:
    """Writes the parts' triangles and the material of each cell as VTK, before the fields are computed."""
    write_parts(run.path("geometry.vtu"), antenna.scene.parts)
    cells = antenna.scene.cell_materials(antenna.grid)
    fields = {
        "relative_permittivity": cells.relative_permittivity.to(torch.float32),
        "conductivity": cells.conductivity.to(torch.float32),
        "metal": metal_share(antenna.step.ampere.media.metal),
    }
    write_rectilinear(run.path("materials.vtr"), antenna.grid, fields)


def write_results(
    run: Run, case: AntennaCase, antenna: Antenna, fields: Fields, n_steps: int, rate: float | None
) -> None:
    """Writes everything that follows from the fields and the port's record."""
    frequencies = torch.linspace(
        case.frequencies.start, case.frequencies.stop, case.frequencies.points, dtype=torch.float64
    )
    record = fields.records[0, :n_steps]
    reflection = antenna.reflection(record, frequencies)
    found = resonances(frequencies.numpy(), reflection.numpy())
    with run.writing("antenna.s1p") as path:
        write_touchstone(
            path, network(frequencies, reflection[:, None, None], impedance=case.port.resistance, name="antenna")
        )
    with run.writing("s11.csv") as path:
        table = np.stack([frequencies, reflection.real, reflection.imag, decibels(reflection.numpy())], axis=1)
        header = "frequency [Hz],S11 real,S11 imaginary,|S11| [dB]"
        np.savetxt(path, table, fmt="%.9g", delimiter=",", header=header, comments="")
    with run.writing("s11.png") as path:
        plot_reflection(path, frequencies.numpy(), reflection.numpy(), found)
    with run.writing("port.h5") as path:
        _write_port(path, antenna, record)
    _write_fields(run, antenna, fields, found, asked=bool(case.fields.frequencies))
    level = antenna.level(record, n_steps)
    if level > case.time.decay:
        run.log(
            f"warning: after {n_steps} steps the port's voltage is at {level:.1f} dB, above {case.time.decay:g} dB: "
            "sharp resonances are smeared; raise time.n_steps"
        )
    run.results(_summary(antenna, reflection, found, n_steps, rate, level))


def _summary(
    antenna: Antenna, reflection: Tensor, found: list[Resonance], n_steps: int, rate: float | None, level: float
) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for number, one in enumerate(found, start=1):
        figures[f"resonance {number} [GHz]"] = one.frequency / 1e9
        figures[f"|S11| at resonance {number} [dB]"] = one.level
    figures |= {
        "largest |S11|": float(reflection.abs().max()),
        "cells": antenna.grid.n_cells,
        "steps": n_steps,
        "time step [ps]": antenna.dt * 1e12,
        "port at the end [dB]": level,
        "engine": antenna.step.engine,
    }
    if rate is not None:
        figures["Mcells/s"] = rate
    return figures


def _write_port(path: Any, antenna: Antenna, record: Float[Tensor, "samples"]) -> None:
    """Voltage and current at the middle of each step."""
    import h5py

    record = record.cpu().to(torch.float64)
    voltage = antenna.port.voltage(record)
    source = antenna.port.source_voltage(len(record), antenna.dt)
    signals = {
        "time": ((torch.arange(len(record), dtype=torch.float64) + 0.5) * antenna.dt, "s"),
        "voltage": (voltage, "V"),
        "source_voltage": (source, "V"),
        "current": ((source - voltage) / antenna.port.resistance, "A"),
    }
    with h5py.File(path, "w") as file:
        for name, (values, unit) in signals.items():
            file.create_dataset(name, data=values.numpy()).attrs["unit"] = unit
        file.attrs["resistance_ohm"] = antenna.port.resistance


def _write_fields(run: Run, antenna: Antenna, fields: Fields, found: list[Resonance], *, asked: bool) -> None:
    """Writes E as VTK and |E| in the plane as PNG: at the asked frequencies, or at those nearest to the resonances."""
    monitors = antenna.step.probe.monitors
    box = monitors.boxes[0]
    edges = monitors.unpack(fields.spectra.cpu())[0]
    known = torch.tensor(monitors.frequencies, dtype=torch.float64)
    nearest = {int((known - one.frequency).abs().argmin()) for one in found}
    source = antenna.port.source_spectrum(fields.records.shape[1], antenna.dt, known)
    x, y, z = (antenna.grid.nodes(axis)[box.low[axis] : box.high[axis]] for axis in range(3))
    grid = Grid(x=x, y=y, z=z)
    axis, cell = antenna.plane
    cells: dict[str, Tensor] = {}
    for index in range(len(known)) if asked else sorted(nearest):
        label = f"{float(known[index]) / 1e9:.4g}_GHz"
        field = cell_average(edges[index] / source[index])
        cells |= {f"electric_{label}_real": field.real.float(), f"electric_{label}_imaginary": field.imag.float()}
        magnitude = field.abs().square().sum(0).sqrt()
        layer = magnitude.select(axis, cell - box.low[axis])
        with run.writing(f"field_{label}.png") as path:
            plot_layer(
                path, antenna.grid, grid, layer, antenna.plane, antenna.scene.parts, frequency=float(known[index])
            )
    if cells:
        write_rectilinear(run.path("fields.vtr"), grid, cells)


def cell_average(edges: Complex[Tensor, "3 x y z"]) -> Complex[Tensor, "3 cx cy cz"]:
    """Returns a field of edges at the cell centres: the mean of the four edges around a cell, for each component."""
    parts = []
    for component in range(3):
        values = edges[component]
        for axis in range(3):
            size = values.shape[axis]
            low = values.narrow(axis, 0, size - 1)
            values = low if axis == component else 0.5 * (low + values.narrow(axis, 1, size - 1))
        parts.append(values)
    return torch.stack(parts)


def metal_share(metal: Bool[Tensor, "3 x y z"]) -> Float[Tensor, "cx cy cz"]:
    """Returns the share of the twelve edges of each cell that is metal: a sheet shows in the cells on both sides."""
    return cell_average(metal.cpu().to(torch.complex64)).real.mean(0)
