"""The figures and the picture of a molecular dynamics run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from sponge.trajectory import BAR, Topology, volume_and_density


def drift(time: NDArray[Any], energy: NDArray[Any]) -> tuple[float, float]:
    """Returns the slope of an energy over time, and the root mean square about that line."""
    if len(time) < 3:
        return 0.0, 0.0
    slope, offset = numpy.polyfit(time - time[0], energy - energy[0], 1)
    rest = energy - energy[0] - (slope * (time - time[0]) + offset)
    return float(slope), float(numpy.sqrt((rest**2).mean()))


def stage_frames(stages: Sequence[Any], frames: NDArray[Any]) -> Iterator[tuple[str, Any, NDArray[Any]]]:
    """Yields (name, stage, its frames) for every stage that has frames."""
    for number, stage in enumerate(stages):
        own = frames[frames["stage"] == number]
        if len(own):
            yield f"stage {number} ({stage.kind})", stage, own


def figures(stages: Sequence[Any], frames: NDArray[Any], topology: Topology) -> dict[str, Any]:
    """Returns what a run found: mean temperature, density and pressure of each stage, how well NVE kept its energy."""
    found: dict[str, Any] = {"steps": sum(stage.n_steps for stage in stages), "frames": len(frames)}
    for name, stage, own in stage_frames(stages, frames):
        found[f"{name} mean temperature [K]"] = float(own["temperature"].mean())
        if getattr(stage, "barostat", None) is not None:
            found[f"{name} mean density [g/cm^3]"] = float(volume_and_density(own, topology)[1].mean())
        if bool(numpy.isfinite(own["pressure"]).all()):
            found[f"{name} mean pressure [bar]"] = float(own["pressure"].mean() / BAR)
        if stage.kind == "nve":
            slope, rms = drift(own["time"], own["potential"] + own["kinetic"])
            found[f"{name} energy drift [meV/ps/atom]"] = 1e6 * slope / len(topology.masses)
            found[f"{name} energy fluctuation, rms [meV]"] = 1e3 * rms
    return found


def summary(replicas: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the figures of one replica, or of several: their mean, its standard error, and each of them."""
    if len(replicas) == 1:
        return dict(replicas[0])
    found: dict[str, Any] = {"replicas": len(replicas)}
    for name, first in replicas[0].items():
        values = [one.get(name) for one in replicas]
        same = all(value == first for value in values)
        if same or not isinstance(first, float):
            found[name] = first if same else values
            continue
        found[f"{name}, mean of replicas"] = float(numpy.mean(values))
        found[f"{name}, standard error of that mean"] = float(numpy.std(values, ddof=1) / len(values) ** 0.5)
        found[f"{name}, of each replica"] = values
    return found


def plot(path: Path, stages: Sequence[Any], replicas: Sequence[NDArray[Any]]) -> None:
    """Draws temperature, energies, and the change of the total energy in each NVE stage, of all replicas over time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 8), layout="constrained")
    FigureCanvasAgg(figure)
    thermal, energies, conserved = figure.subplots(3, 1, sharex=True)
    for axes in (thermal, energies, conserved):
        for _, _, own in stage_frames(stages, replicas[0]):
            axes.axvline(own["time"][0] * 1e-3, color="0.8", lw=0.8, zorder=0)
    for replica, frames in enumerate(replicas):
        time = frames["time"] * 1e-3
        potential = frames["potential"] - (frames["potential"][0] if len(frames) else 0.0)
        thermal.plot(time, frames["temperature"], lw=0.8)
        curves = {"potential, from the start": potential, "kinetic": frames["kinetic"]}
        curves["total"] = potential + frames["kinetic"]
        for number, (name, values) in enumerate(curves.items()):
            label = name if replica == 0 else None
            energies.plot(time, values, color=f"C{number}", label=label, lw=0.8, alpha=len(replicas) ** -0.5)
        for name, stage, own in stage_frames(stages, frames):
            if stage.kind == "nve":
                total = own["potential"] + own["kinetic"]
                label = name if replica == 0 else None
                conserved.plot(own["time"] * 1e-3, 1e3 * (total - total[0]), label=label, lw=0.8)
    thermal.set_ylabel("temperature [K]")
    energies.set_ylabel("energy [eV]")
    energies.legend(loc="best")
    if conserved.get_legend_handles_labels()[0]:
        conserved.legend(loc="best")
    conserved.set_ylabel("change of total energy\nin NVE [meV]")
    conserved.set_xlabel("time [ps]")
    figure.savefig(path, format="png", dpi=120)
