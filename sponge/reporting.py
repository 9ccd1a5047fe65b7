"""The figures and the picture of a molecular dynamics run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray


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


def figures(stages: Sequence[Any], frames: NDArray[Any], n_atoms: int) -> dict[str, Any]:
    """Returns what a run found: mean temperature of each stage, and how well NVE kept its energy."""
    found: dict[str, Any] = {"steps": sum(stage.n_steps for stage in stages), "frames": len(frames)}
    for name, stage, own in stage_frames(stages, frames):
        found[f"{name} mean temperature [K]"] = float(own["temperature"].mean())
        if stage.kind == "nve":
            slope, rms = drift(own["time"], own["potential"] + own["kinetic"])
            found[f"{name} energy drift [meV/ps/atom]"] = 1e6 * slope / n_atoms
            found[f"{name} energy fluctuation, rms [meV]"] = 1e3 * rms
    return found


def plot(path: Path, stages: Sequence[Any], frames: NDArray[Any]) -> None:
    """Draws temperature, energies, and the change of the total energy in each NVE stage, over time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 8), layout="constrained")
    FigureCanvasAgg(figure)
    thermal, energies, conserved = figure.subplots(3, 1, sharex=True)
    time = frames["time"] * 1e-3
    zero = frames["potential"][0] if len(frames) else 0.0
    thermal.plot(time, frames["temperature"], lw=0.8)
    thermal.set_ylabel("temperature [K]")
    energies.plot(time, frames["potential"] - zero, label="potential, from the start", lw=0.8)
    energies.plot(time, frames["kinetic"], label="kinetic", lw=0.8)
    energies.plot(time, frames["potential"] - zero + frames["kinetic"], label="total", lw=0.8)
    energies.set_ylabel("energy [eV]")
    energies.legend(loc="best")
    for name, stage, own in stage_frames(stages, frames):
        for axes in (thermal, energies, conserved):
            axes.axvline(own["time"][0] * 1e-3, color="0.8", lw=0.8, zorder=0)
        if stage.kind == "nve":
            total = own["potential"] + own["kinetic"]
            conserved.plot(own["time"] * 1e-3, 1e3 * (total - total[0]), label=name, lw=0.8)
    if conserved.lines and any(not line.get_label().startswith("_") for line in conserved.lines):
        conserved.legend(loc="best")
    conserved.set_ylabel("change of total energy\nin NVE [meV]")
    conserved.set_xlabel("time [ps]")
    figure.savefig(path, format="png", dpi=120)
