"""A dielectric that carries a WR-90 guide around a sharp corner, found from a faint uniform filling by its gradients.

    python docs/examples/inverse_design.py [FOLDER]

A right-angled corner in the plane of H reflects most of what arrives at some frequencies. Rexolite (permittivity 2.53)
may fill any part of the corner, in full height, so nothing changes along the narrow side: one cell there is exact. The
search maximises the least power that goes around over 9 to 11 GHz; symmetry about the diagonal, parts and gaps of
3 mm to within a cell. Known answer: nothing is lost, so the power that goes around tends to 1, and what is missing is
what comes back. The finished pattern is run again on cells of half the size, by a full scattering matrix.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch
from torch import Tensor

from elec.design import Device, Region, cell_media, design_media, gray_level, minimize, minimum_lengths, mixture
from elec.design.media import pattern_part
from elec.fdtd import ModulatedGaussian, absorbing_layers
from elec.geometry import write_rectilinear, write_stl
from elec.grid import Grid
from elec.materials import VACUUM, Material
from elec.ports import ModePort, Scattering, scattering_matrix
from mindsci.units import SPEED_OF_LIGHT

WIDTH, ACROSS = 22.86e-3, 24
"""of the guide [m], and cells across it"""
CELL = WIDTH / ACROSS
ARM, LAYERS = 34, 10
"""cells of each arm, the absorbing ones among them"""
REXOLITE = Material(name="rexolite", relative_permittivity=2.53)
LENGTH = 3e-3
"""least width of parts and gaps [m]"""
BAND = torch.linspace(9e9, 11e9, 5, dtype=torch.float64)
TIME = 4e-9
PULSE = ModulatedGaussian(frequency=10e9, bandwidth=6e9)
STAGES = ((4.0, 12, 0.0), (12.0, 8, 3.0), (math.inf, 10, 30.0))
"""steepness of the projection, evaluations, weight of the minimum length"""


def corner() -> Region:
    """The guide comes from large x along y < WIDTH, and leaves to large y along x < WIDTH; the corner is designed."""
    line = CELL * torch.arange(ACROSS + ARM + 1, dtype=torch.float64)
    grid = Grid(x=line, y=line.clone(), z=torch.tensor([0.0, CELL], dtype=torch.float64))
    size = ACROSS
    return Region(
        grid=grid, low=(0, 0, 0), high=(size, size, 1), filter_radius=1.2 * LENGTH, uniform=(2,), symmetry=("xy",)
    )


def walls_of(region: Region) -> Tensor:
    """The metal beyond both arms: every edge in it or on its border."""
    x, y = (region.grid.nodes(axis) / CELL for axis in (0, 1))
    outside = (x[:, None] > ACROSS - 1e-6) & (y[None, :] > ACROSS - 1e-6)
    return outside[None, :, :, None].expand(3, -1, -1, len(region.grid.z)).clone()


def ports_of(region: Region) -> list[ModePort]:
    """Ports in both arms, looking into the corner; their waves are referred to the mouth of the corner."""
    cells = len(region.grid.x) - 1
    per = cells // (ACROSS + ARM)
    ports = []
    for axis in (0, 1):
        nodes = region.grid.nodes(axis)
        source, probe = cells - (LAYERS + 4) * per, cells - (LAYERS + 8) * per
        opening, whole = (0, ACROSS * per), (0, len(region.grid.z) - 1)
        ports.append(
            ModePort(
                axis=axis, direction=-1, source=float(nodes[source]), probe=float(nodes[probe]), frequency=10e9,
                band=(8.5e9, 11.5e9), waveform=PULSE, reference=float(nodes[ACROSS * per]),
                window=(opening, whole) if axis == 0 else (whole, opening),
            )
        )  # fmt: skip
    return ports


def options_of(region: Region) -> dict:
    """How a region is run: the time step is that of a plane, in which nothing changes along z."""
    cell = float(region.grid.x[1])
    dt = 0.9 * cell / (math.sqrt(2.0) * SPEED_OF_LIGHT)
    layers = LAYERS * round(CELL / cell)
    absorber = absorbing_layers(region.grid, ((0, layers), (0, layers), (0, 0)))
    return {"n_steps": math.ceil(TIME / dt), "dt": dt, "absorber": absorber}


def search(region: Region, device: Device, metal: Tensor) -> tuple[Tensor, list[float]]:
    """Returns the latent density that was found, and the objective at each evaluation."""
    latent, history = region.start(0.2), []
    for beta, evaluations, weight in STAGES:

        def objective(unknown: Tensor, beta: float = beta, weight: float = weight) -> Tensor:
            media = design_media(region, region.density(unknown, beta), mixture(VACUUM, REXOLITE), metal=metal)
            missing = 1.0 - device.column(media, 0)[:, 1].abs().square()
            # The mean of the fourth powers leans towards the worst frequency.
            worst = missing.pow(4).mean().pow(0.25)
            short = sum(region.length_constraints(unknown, min(beta, 32.0), LENGTH)) if weight else 0.0
            return worst + weight * short

        found = minimize(objective, latent, evaluations=evaluations, bounds=(0.0, 1.0))
        latent = found.parameters
        history += found.values
        print(
            f"beta {beta:4g}: {found.values[0]:.4f} -> {found.value:.4f} in {found.evaluations} evaluations", flush=True
        )
    return latent, history


def check(region: Region, pattern: Tensor, metal: Tensor) -> Scattering:
    """Returns the scattering matrix of a finished pattern."""
    media = design_media(region, pattern.to(torch.float64), mixture(VACUUM, REXOLITE), metal=metal)
    swept = torch.linspace(8.6e9, 11.4e9, 57, dtype=torch.float64)
    return scattering_matrix(region.grid, media, ports_of(region), swept, **options_of(region))


def draw(path: Path, region: Region, patterns: dict[str, Tensor], results: dict[str, Scattering]) -> None:
    """Draws the patterns and |S11|, |S21| of each."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 3.4), dpi=120, layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(1, 1, 1.8))
    extent = 2 * (0.0, 1e3 * WIDTH)
    for panel, (name, pattern) in zip(axes, patterns.items(), strict=False):
        panel.imshow(pattern[:, :, 0].double().T, origin="lower", extent=extent, cmap="Greys", vmin=0, vmax=1)
        panel.set(title=name, xlabel="x [mm]", ylabel="y [mm]")
    for style, (name, found) in zip((":", "-", "--"), results.items(), strict=False):
        for row, color in ((0, "tab:red"), (1, "tab:blue")):
            level = 20.0 * found.s[:, row, 0].abs().log10()
            axes[2].plot(found.frequencies / 1e9, level, style, color=color, label=f"|S{row + 1}1| {name}")
    axes[2].axvspan(9, 11, alpha=0.1)
    axes[2].set(xlabel="frequency [GHz]", ylabel="dB", ylim=(-45, 1))
    axes[2].legend(fontsize=7)
    figure.savefig(path)


def main(folder: Path) -> dict[str, float]:
    """Designs, checks and writes; returns the figures that are printed."""
    region = corner()
    metal = walls_of(region)
    device = Device.place(
        region.grid, cell_media(region.grid, 1.0, metal=metal), ports_of(region), BAND, region=region,
        **options_of(region),
    )  # fmt: skip
    latent, _ = search(region, device, metal)
    pattern = region.binary(latent)
    finer = region.refined(2)
    empty = check(region, torch.zeros_like(pattern), metal)
    coarse, fine = check(region, pattern, metal), check(finer, region.refine(pattern, 2), walls_of(finer))
    lengths = minimum_lengths(pattern[:, :, 0], CELL)
    inside = (fine.frequencies >= 9e9 - 1.0) & (fine.frequencies <= 11e9 + 1.0)
    figures = {"gray level": float(gray_level(region.density(latent, math.inf)))}
    for name, found in (("empty", empty), ("designed", coarse), ("designed, half the cell", fine)):
        figures[f"{name}: least |S21|^2, 9 to 11 GHz"] = float(found.s[inside, 1, 0].abs().square().min())
        figures[f"{name}: most |S11| [dB]"] = float(20.0 * found.s[inside, 0, 0].abs().max().log10())
    figures["half the cell: most | |S11|^2 + |S21|^2 - 1 |"] = float(fine.lost_power()[inside].abs().max())
    figures["narrowest part [mm]"], figures["narrowest gap [mm]"] = 1e3 * lengths.solid, 1e3 * lengths.void
    folder.mkdir(parents=True, exist_ok=True)
    draw(folder / "inverse_design.png", region, {"void everywhere": 0 * pattern, "found": pattern},
         {"empty": empty, "designed": coarse, "half the cell": fine})  # fmt: skip
    write_rectilinear(folder / "inverse_design.vtr", region.box(), {"solid": pattern.to(torch.uint8)})
    write_stl(folder / "inverse_design.stl", pattern_part(region, pattern, "corner", material="rexolite"))
    return figures


if __name__ == "__main__":
    for name, value in main(Path(sys.argv[1] if len(sys.argv) > 1 else ".")).items():
        print(f"{name:45s} {value:10.4g}")
    print("the exact answer: least |S21|^2 -> 1, since nothing is lost")
