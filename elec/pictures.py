"""Field pictures: |E| in one layer of cells, in dB, with the outlines of the parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from elec.geometry import Part
from elec.grid import AXES, Grid

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
) -> None:
    """Draws |E| [V/m] in a layer of cells, in dB below its maximum, as PNG.

    Arguments: shown, the part of the grid that the layer covers; plane, the layer's normal axis and its cell in the
    whole grid; frequency [Hz].
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
    figure.colorbar(image, ax=axes, label=f"dB below {highest:.3g} V/m for 1 V of the source")
    figure.savefig(path, format="png")


def outline(part: Part) -> Float[ndarray, "lines 2 3"]:
    """Returns the edges that show a part's shape [m]: rims, and creases between faces."""
    import trimesh

    vertices = part.vertices.detach().cpu().numpy()
    mesh = trimesh.Trimesh(vertices=vertices, faces=part.faces.cpu().numpy(), process=False)
    creases = mesh.face_adjacency_edges[mesh.face_adjacency_angles > CREASE]
    edges, counts = np.unique(mesh.edges_sorted, axis=0, return_counts=True)
    return vertices[np.concatenate([creases.reshape(-1, 2), edges[counts == 1]])]
