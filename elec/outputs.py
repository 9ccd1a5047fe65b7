"""What a run of ports leaves behind: Touchstone, tables, pictures, time signals, VTK."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from elec.case.march import Column, scattering
from elec.case.model import Model
from elec.case.pattern import patterns
from elec.fdtd import Box, Media, spectrum
from elec.fields import cell_average
from elec.geometry import Scene, write_parts, write_rectilinear
from elec.grid import Grid
from elec.mesh import Mesh
from elec.mesh.features import mesh_of
from elec.network import Resonance, decibels, lowest, plot_reflection, resonances
from elec.pictures import plot_layer, plot_mesh, plot_pattern
from elec.ports import Scattering, plot_scattering, smith_chart

if TYPE_CHECKING:
    from elec.case import AntennaCase
    from mindsci.runs import Run

PASSIVE = 1e-3
"""Excess of the largest singular value of S over one from which a run is told to be no passive device."""


def write_geometry(run: Run, scene: Scene, mesh: Mesh, media: Media) -> None:
    """Writes the parts' triangles, the mesh over them and the material of each cell, before fields are computed."""
    if scene.parts:
        write_parts(run.path("geometry.vtu"), [mesh_of(part) for part in scene.parts])
    with run.writing("mesh.png") as path:
        plot_mesh(path, mesh, scene)
    cells = scene.cell_materials(mesh.grid)
    fields = {
        "relative_permittivity": cells.relative_permittivity.to(torch.float32),
        "conductivity": cells.conductivity.to(torch.float32),
        "metal": metal_share(media.metal),
    }
    write_rectilinear(run.path("materials.vtr"), mesh.grid, fields)


def write_results(run: Run, case: AntennaCase, model: Model, columns: Sequence[Column]) -> None:
    """Writes everything that follows from the fields and the ports' records."""
    found = scattering(case, model, columns)
    n_ports = len(model.ports)
    dips = {port: resonances(found.frequencies.numpy(), found.s[:, port, port].numpy()) for port in found.known}
    if found.left_out:
        missing = ", ".join(f"'{name}'" for name in found.left_out)
        run.log(f"no Touchstone file: {missing} was not driven, and the format has no place for unknown columns")
    else:
        with run.writing(f"antenna.s{n_ports}p") as path:
            found.write_touchstone(path, impedance=_touchstone_impedance(found))
    run.table("s11.csv" if n_ports == 1 else "scattering.csv", _columns(found))
    with run.writing("s11.png" if n_ports == 1 else "scattering.png") as path:
        if n_ports == 1:
            plot_reflection(path, found.frequencies.numpy(), found.s[:, 0, 0].numpy(), dips[0])
        else:
            plot_scattering(path, found)
    with run.writing("smith.png") as path:
        smith_chart(path, found, title=run.folder.name)
    with run.writing("port.h5") as path:
        _write_ports(path, model, columns)
    figures: dict[str, Any] = {}
    for column in columns:
        driven = column.driven
        suffix = "" if n_ports == 1 else f"_port_{driven + 1}"
        _write_fields(run, model, column, driven, dips[driven], suffix, asked=bool(case.fields.frequencies))
        figures |= _write_far_field(run, case, model, column, driven, suffix)
    levels = [model.level(column.records, column.records.shape[1]) for column in columns]
    for level, column in zip(levels, columns, strict=True):
        # A continued record ends where its slowest oscillation has faded, to rounding.
        if level > case.time.decay + 0.5:
            run.log(
                f"warning: after {column.n_steps} steps port {column.driven + 1}'s run is at {level:.1f} dB, above "
                f"{case.time.decay:g} dB: sharp resonances are smeared; raise time.n_steps, or set time.ring_out"
            )
    if found.passivity() > PASSIVE:
        run.log(f"warning: the largest singular value of S is {1 + found.passivity():.6g}, above 1: power from nowhere")
    run.results(_summary(model, found, dips, columns, max(levels)) | figures)


def _touchstone_impedance(found: Scattering) -> float:
    """The one impedance of a Touchstone file: that of the ports where they agree on a real one, else 50 ohm."""
    first = found.impedance[0, 0]
    return float(first.real) if bool((found.impedance == first).all()) and float(first.imag) == 0.0 else 50.0


def _columns(found: Scattering) -> dict[str, Any]:
    columns: dict[str, Any] = {"frequency [Hz]": found.frequencies.numpy()}
    for to in range(found.s.shape[1]):
        for driven in found.known:
            one, name = found.s[:, to, driven].numpy(), f"S{to + 1}{driven + 1}"
            columns |= {f"{name} real": one.real, f"{name} imaginary": one.imag, f"|{name}| [dB]": decibels(one)}
    return columns


def _summary(
    model: Model, found: Scattering, dips: dict[int, list[Resonance]], columns: Sequence[Column], level: float
) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    n_ports = found.s.shape[1]
    for port, its in dips.items():
        of = "" if n_ports == 1 else f" of port {port + 1}"
        for number, one in enumerate(its, start=1):
            figures[f"resonance {number}{of} [GHz]"] = one.frequency / 1e9
            figures[f"|S{port + 1}{port + 1}| at resonance {number} [dB]"] = one.level
    first = found.known[0]
    for to in range(n_ports):
        if to == first:
            continue
        transfer, name = decibels(found.s[:, to, first].numpy()), f"|S{to + 1}{first + 1}|"
        figures[f"{name} is lowest at [GHz]"] = lowest(found.frequencies.numpy(), transfer) / 1e9
        figures[f"lowest {name} [dB]"] = float(transfer.min())
    figures |= {
        "largest singular value of S": 1.0 + found.passivity(),
        "cells": model.grid.n_cells,
        "steps": columns[0].n_steps if len(columns) == 1 else [column.n_steps for column in columns],
        "time step [ps]": model.dt * 1e12,
        "port at the end [dB]": level,
        "engine": model.step(columns[0].driven).engine,
    }
    if n_ports == 1:
        figures["largest |S11|"] = float(found.s.abs().max())
    if columns[-1].rate is not None:
        figures["Mcells/s"] = columns[-1].rate
    return figures


def _write_ports(path: Any, model: Model, columns: Sequence[Column]) -> None:
    """Voltage and current of lumped ports at the middle of each step, what mode ports recorded at its end; a group for
    each driven and each observed port where there are several."""
    import h5py

    with h5py.File(path, "w") as file:
        for column in columns:
            driven, rows = column.driven, model.rows(column.records.cpu().to(torch.float64))
            for index, (port, part) in enumerate(zip(model.ports, rows, strict=True)):
                group = file if len(model.ports) == 1 else file.create_group(f"driven_{driven + 1}/port_{index + 1}")
                signals = _signals(port, part, model.dt, driven=index == driven)
                for name, (values, unit) in signals.items():
                    group.create_dataset(name, data=values.numpy()).attrs["unit"] = unit
                if hasattr(port.port, "resistance"):
                    group.attrs["resistance_ohm"] = port.port.resistance


def _signals(port: Any, rows: Tensor, dt: float, *, driven: bool) -> dict[str, tuple[Tensor, str]]:
    steps = torch.arange(rows.shape[1], dtype=torch.float64)
    if not hasattr(port.port, "resistance"):
        return {"time": ((steps + 1.0) * dt, "s"), "overlaps": (rows, "V, A")}
    voltage = port.port.voltage(rows[0])
    source = port.port.source_voltage(rows.shape[1], dt) * float(driven)
    return {
        "time": ((steps + 0.5) * dt, "s"),
        "voltage": (voltage, "V"),
        "source_voltage": (source, "V"),
        "current": ((source - voltage) / port.port.resistance, "A"),
    }


def source_spectrum(case_port: Any, n_samples: int, dt: float, frequencies: Tensor) -> Complex[Tensor, "f"]:
    """Returns the Fourier integral of what drives a port: volts of a lumped one, the waveform itself of a mode port."""
    if hasattr(case_port.port, "source_spectrum"):
        found: Tensor = case_port.port.source_spectrum(n_samples, dt, frequencies)
        return found
    t = (torch.arange(n_samples, dtype=torch.float64) + 0.5) * dt
    return spectrum(case_port.port.waveform(t), dt, frequencies)


def _write_fields(
    run: Run, model: Model, column: Column, driven: int, found: list[Resonance], suffix: str, *, asked: bool
) -> None:
    """Writes E as VTK and |E| in the plane as PNG: at the asked frequencies, or at those nearest to the resonances."""
    monitors = model.monitors
    edges = monitors.unpack(column.spectra.cpu())[0]
    known = torch.tensor(monitors.frequencies, dtype=torch.float64)
    nearest = {int((known - one.frequency).abs().argmin()) for one in found}
    source = source_spectrum(model.ports[driven], column.records.shape[1], model.dt, known)
    chosen = range(len(known)) if asked else sorted(nearest)
    fields = {float(known[index]): edges[index] / source[index] for index in chosen}
    write_volume(run, model, monitors.boxes[0], fields, suffix=suffix, of="1 V of the source")


def write_volume(
    run: Run,
    place: Any,
    box: Box,
    fields: Mapping[float, Complex[Tensor, "3 x y z"]],
    *,
    suffix: str = "",
    of: str,
) -> None:
    """Writes E [V/m] in a box, by frequency [Hz], as VTK and |E| in the plane of the pictures as PNG.

    place has the grid, the scene and the plane; of says in words to what the field belongs.
    """
    x, y, z = (place.grid.nodes(axis)[box.low[axis] : box.high[axis]] for axis in range(3))
    grid = Grid(x=x, y=y, z=z)
    axis, cell = place.plane
    cells: dict[str, Tensor] = {}
    for frequency, edges in fields.items():
        label = f"{frequency / 1e9:.4g}_GHz"
        field = cell_average(edges)
        cells |= {f"electric_{label}_real": field.real.float(), f"electric_{label}_imaginary": field.imag.float()}
        magnitude = field.abs().square().sum(0).sqrt()
        layer = magnitude.select(axis, cell - box.low[axis])
        with run.writing(f"field_{label}{suffix}.png") as path:
            plot_layer(
                path,
                place.grid,
                grid,
                layer,
                place.plane,
                [mesh_of(part) for part in place.scene.parts],
                frequency=frequency,
                of=of,
            )
    if cells:
        write_rectilinear(run.path(f"fields{suffix}.vtr"), grid, cells)


def _write_far_field(
    run: Run, case: AntennaCase, model: Model, column: Column, driven: int, suffix: str
) -> dict[str, Any]:
    """Writes cuts of the pattern as PNG and CSV; returns its figures."""
    figures: dict[str, Any] = {}
    of = "" if not suffix else f" of port {driven + 1}"
    for pattern in patterns(case, model, column, driven):
        label = f"{pattern.frequency / 1e9:.4g}_GHz"
        with run.writing(f"pattern_{label}{suffix}.png") as path:
            plot_pattern(path, pattern)
        names = (f"directivity at phi {angle:g} deg [dBi]" for angle in pattern.phi)
        cuts = dict(zip(names, pattern.cuts, strict=True))
        run.table(f"pattern_{label}{suffix}.csv", {"theta [deg]": pattern.theta} | cuts, digits=6)
        if math.isnan(pattern.efficiency):
            run.log(
                f"warning: no gain at {pattern.frequency / 1e9:.4g} GHz: the radiated power does not fit what the "
                "ports accept; a port beside a mirror is fed once for each of its images, and a run cut short tells "
                "too little"
            )
        at = f"at {pattern.frequency / 1e9:.4g} GHz{of}"
        figures |= {
            f"directivity {at} [dBi]": pattern.directivity,
            f"gain {at} [dBi]": pattern.gain,
            f"realised gain {at} [dBi]": pattern.realised_gain,
            f"radiation efficiency {at}": pattern.efficiency,
        }
    return figures


def metal_share(metal: Bool[Tensor, "3 x y z"]) -> Float[Tensor, "cx cy cz"]:
    """Returns the share of the twelve edges of each cell that is metal: a sheet shows in the cells on both sides."""
    return cell_average(metal.cpu().to(torch.complex64)).real.mean(0)
