"""Pictures: |E| in one layer of cells, in dB, with the outlines of the parts; the mesh over the parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from elec.case.pattern import Pattern
from elec.case.radiation import CrossSection
from elec.geometry import Part, Scene
from elec.grid import AXES, Grid
from elec.mesh.automatic import Mesh
from elec.mesh.features import mesh_of

LOWEST = -40.0
"""[dB] below the highest field at which the colours end."""
CREASE = 0.5
"""Angle [rad] between two faces from which their common edge is drawn as an outline."""


def plot_layer(
    path: Path,
    grid: Grid,
    shown: Grid,
    layer: Float[Tensor, "cu cv"],
    plane: tuple[int, int],
    parts: Sequence[Part],
    *,
    frequency: float,
    of: str = "1 V of the source",
) -> None:
    """Draws |E| [V/m] in a layer of cells, in dB below its maximum, as PNG.

    Arguments: shown, the part of the grid that the layer covers; plane, the layer's normal axis and its cell in the
    whole grid; frequency [Hz]; of, what the field belongs to, in words.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    axis, cell = plane
    across = [other for other in range(3) if other != axis]
    values = layer.detach().cpu().numpy()
    highest = max(float(values.max()), 1e-30)
    level = 20.0 * np.log10(np.maximum(values / highest, 1e-12))
    u, v = (shown.nodes(other).cpu().numpy() * 1e3 for other in across)
    figure = Figure(figsize=(6.4, 5.4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    image = axes.pcolormesh(u, v, level.T, vmin=LOWEST, vmax=0.0, cmap="inferno", rasterized=True)
    for part in parts:
        lines = outline(part)[:, :, across] * 1e3
        axes.add_collection(LineCollection(list(lines), colors="white", linewidths=0.7, alpha=0.8))
    axes.set_aspect("equal")
    axes.set_xlim(u[0], u[-1])
    axes.set_ylim(v[0], v[-1])
    axes.set_xlabel(f"{AXES[across[0]]} [mm]")
    axes.set_ylabel(f"{AXES[across[1]]} [mm]")
    ends = grid.nodes(axis)[cell : cell + 2] * 1e3
    axes.set_title(f"|E| at {frequency / 1e9:.4g} GHz, {AXES[axis]} = {float(ends[0]):.3f} to {float(ends[1]):.3f} mm")
    figure.colorbar(image, ax=axes, label=f"dB below {highest:.3g} V/m for {of}")
    figure.savefig(path, format="png")


def outline(part: Part) -> Float[ndarray, "lines 2 3"]:
    """Returns the edges that show a part's shape [m]: rims, and creases between faces."""
    import trimesh

    vertices = part.vertices.detach().cpu().numpy()
    mesh = trimesh.Trimesh(vertices=vertices, faces=part.faces.cpu().numpy(), process=False)
    creases = mesh.face_adjacency_edges[mesh.face_adjacency_angles > CREASE]
    edges, counts = np.unique(mesh.edges_sorted, axis=0, return_counts=True)
    return vertices[np.concatenate([creases.reshape(-1, 2), edges[counts == 1]])]


def plot_pattern(path: Path, pattern: Pattern) -> None:
    """Draws the cuts of a pattern as PNG: directivity over the angle from z, to both sides."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 6.0), dpi=120, layout="constrained")
    axes = figure.add_subplot(projection="polar")
    lowest = pattern.directivity + LOWEST
    for angle, values in zip(pattern.phi, pattern.cuts, strict=True):
        axes.plot(np.radians(pattern.theta), np.maximum(values, lowest), label=f"phi = {angle:g} deg")
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    axes.set_rmin(lowest)
    axes.set_title(f"directivity at {pattern.frequency / 1e9:.4g} GHz, {pattern.directivity:.2f} dBi at most")
    axes.legend(loc="lower right")
    figure.savefig(path, format="png")


def plot_cross_section(path: Path, section: CrossSection) -> None:
    """Draws a bistatic cross-section as PNG: dB above a square metre over the angle from the direction of travel."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 6.0), dpi=120, layout="constrained")
    axes = figure.add_subplot(projection="polar")
    planes = {"E plane": section.electric_plane, "H plane": section.magnetic_plane}
    levels = {name: 10.0 * np.log10(np.maximum(values, 1e-30)) for name, values in planes.items()}
    highest = max(float(level.max()) for level in levels.values())
    for name, level in levels.items():
        axes.plot(np.radians(section.angle), np.maximum(level, highest + LOWEST), label=name)
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    axes.set_rmin(highest + LOWEST)
    back = 10.0 * np.log10(max(section.back, 1e-30))
    axes.set_title(f"cross-section [dBsm] at {section.frequency / 1e9:.4g} GHz, {back:.2f} straight back (180 deg)")
    axes.legend(loc="lower right")
    figure.savefig(path, format="png")


def plot_mesh(path: Path, mesh: Mesh, scene: Scene) -> None:
    """Draws the grid lines along each axis over the outlines of the parts, absorbing layers shaded, as PNG."""
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    grid = mesh.grid
    figure = Figure(figsize=(15.0, 5.4), dpi=120, layout="constrained")
    for place, (first, second) in enumerate(((0, 1), (0, 2), (1, 2))):
        axes = figure.add_subplot(1, 3, place + 1)
        u, v = (grid.nodes(axis).cpu().numpy() * 1e3 for axis in (first, second))
        axes.vlines(u, v[0], v[-1], colors="tab:blue", linewidths=0.3, alpha=0.7)
        axes.hlines(v, u[0], u[-1], colors="tab:blue", linewidths=0.3, alpha=0.7)
        for axis, span in ((first, axes.axvspan), (second, axes.axhspan)):
            nodes, inner = grid.nodes(axis).cpu().numpy() * 1e3, grid.inner(axis)
            for low, high in ((nodes[0], nodes[inner[0]]), (nodes[inner[-1]], nodes[-1])):
                if high > low:
                    span(low, high, color="tab:gray", alpha=0.25, linewidth=0)
        for number, part in enumerate(scene.parts):
            lines = outline(mesh_of(part))[:, :, [first, second]] * 1e3
            colour = "black" if scene.material(part).is_metal else f"C{number % 8 + 1}"
            axes.add_collection(LineCollection(list(lines), colors=colour, linewidths=1.0))
        axes.set_aspect("equal")
        axes.set_xlim(u[0], u[-1])
        axes.set_ylim(v[0], v[-1])
        axes.set_xlabel(f"{AXES[first]} [mm]")
        axes.set_ylabel(f"{AXES[second]} [mm]")
    shape = " x ".join(map(str, grid.shape))
    figure.suptitle(f"{shape} = {grid.n_cells:,} cells, the smallest {min(grid.smallest_cell()) * 1e3:.4g} mm")
    figure.savefig(path, format="png")
