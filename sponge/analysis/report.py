"""Tables, pictures and figures of an analysis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mindsci.runs import Folder
from sponge.analysis.motion import SQUARE_CM_PER_SECOND, Displacement
from sponge.analysis.radial import Radial
from sponge.analysis.spectrum import Spectrum, peaks


def write_radial(folder: Folder, found: Radial) -> dict[str, Any]:
    """Writes radial.csv and radial.png; returns the place and height of the first and highest peak of each pair."""
    names = found.names()
    columns = {"r [angstrom]": found.r}
    for k, name in enumerate(names):
        columns |= {f"g {name}": found.g[k], f"error {name}": found.error[k]}
        columns[f"coordination {name}"] = found.coordination[k]
    folder.table("radial.csv", columns, digits=10)
    with figure(folder, "radial.png", 2) as (structure, number):
        for k, name in enumerate(names):
            (line,) = structure.plot(found.r, found.g[k], label=name, lw=1.2)
            low, high = found.g[k] - found.error[k], found.g[k] + found.error[k]
            structure.fill_between(found.r, low, high, color=line.get_color(), alpha=0.3, lw=0)
            number.plot(found.r, found.coordination[k], label=name, lw=1.2)
        structure.set_ylabel("g(r)")
        number.set(ylabel="neighbours within r", xlabel="r [Å]")
        structure.legend(loc="best")
    figures = {}
    for k, name in enumerate(names):
        top = int(found.g[k].argmax())
        figures[f"g({name}) highest at [angstrom]"] = float(found.r[top])
        figures[f"g({name}) there"] = float(found.g[k, top])
    return figures


def write_displacement(folder: Folder, found: Displacement) -> dict[str, Any]:
    """Writes displacement.csv and displacement.png; returns the diffusion coefficients."""
    squared = {f"{name} [angstrom^2]": values for name, values in zip(found.groups, found.squared, strict=True)}
    folder.table("displacement.csv", {"lag [fs]": found.time} | squared, digits=10)
    with figure(folder, "displacement.png", 1) as (axes,):
        for k, name in enumerate(found.groups):
            axes.plot(1e-3 * found.time, found.squared[k], label=name, lw=1.2)
        axes.axvspan(1e-3 * found.fit[0], 1e-3 * found.fit[1], color="0.92", zorder=0, label="fitted")
        axes.set(xlabel="lag [ps]", ylabel="mean square displacement [Å²]")
        axes.legend(loc="best")
    figures = {}
    for k, name in enumerate(found.groups):
        figures[f"D({name}) [cm^2/s]"] = SQUARE_CM_PER_SECOND * float(found.diffusion[k])
        figures[f"D({name}) standard error [cm^2/s]"] = SQUARE_CM_PER_SECOND * float(found.error[k])
    return figures


def write_spectrum(folder: Folder, found: Spectrum) -> dict[str, Any]:
    """Writes spectrum.csv and spectrum.png; returns the peaks."""
    density = {f"{name} [cm]": values for name, values in zip(found.groups, found.density, strict=True)}
    folder.table("spectrum.csv", {"wavenumber [1/cm]": found.wavenumber} | density, digits=10)
    with figure(folder, "spectrum.png", 1) as (axes,):
        for k, name in enumerate(found.groups):
            axes.plot(found.wavenumber, found.density[k], label=name, lw=1.0)
        axes.set(xlabel="wavenumber [1/cm]", ylabel="density of vibrations [cm]", xlim=(0, 4500))
        axes.legend(loc="best")
    return {
        "resolution [1/cm]": found.resolution,
        "peaks [1/cm]": [round(place, 1) for place in peaks(found).tolist()],
    }


@contextmanager
def figure(folder: Folder, name: str, rows: int, *, sharex: bool = True) -> Iterator[Any]:
    """Gives the axes of a picture, one above the other, and writes it when the block ends."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(7, 2 + 2.5 * rows), layout="constrained")
    FigureCanvasAgg(drawn)
    yield drawn.subplots(rows, 1, sharex=sharex, squeeze=False)[:, 0]
    with folder.writing(name) as temporary:
        drawn.savefig(temporary, format="png", dpi=120)
