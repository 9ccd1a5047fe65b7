"""Pictures of ports: the Smith chart, S-parameters over frequency, and the transverse field of a mode. PNG."""

from __future__ import annotations

from pathlib import Path

import torch

from elec.network import decibels
from elec.ports.modes import Mode
from elec.ports.scattering import Scattering

AXIS_NAMES = "xyz"


def smith_chart(path: Path, scattering: Scattering, *, title: str = "") -> None:
    """Draws the reflection of each driven port in the Smith chart."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 6.0), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    import skrf

    band = skrf.Frequency.from_f(scattering.frequencies.cpu().numpy(), unit="Hz")
    for port in scattering.known:
        own = scattering.s.detach().cpu().numpy()[:, port, port]
        made = skrf.Network(frequency=band, s=own[:, None, None], z0=50.0, name=title or "device")
        made.plot_s_smith(ax=axes, label=f"S{port + 1}{port + 1}", draw_labels=True)
    axes.set_title(title)
    axes.legend(loc="lower right")
    figure.savefig(path, format="png")


def plot_scattering(path: Path, scattering: Scattering, *, floor: float = -80.0) -> None:
    """Draws |S_ij| in dB over frequency; `floor` [dB] is the lowest level shown."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    frequencies = scattering.frequencies.cpu().numpy() / 1e9
    values = scattering.s.detach().cpu().numpy()
    for to in range(values.shape[1]):
        for driven in scattering.known:
            axes.plot(frequencies, decibels(values[:, to, driven]), label=f"S{to + 1}{driven + 1}")
    axes.set_xlabel("frequency [GHz]")
    axes.set_ylabel("|S| [dB]")
    axes.set_ylim(bottom=floor)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, format="png")


def plot_mode(path: Path, mode: Mode) -> None:
    """Draws the transverse electric field of a mode: its size in the cells and its direction as arrows."""
    from matplotlib.figure import Figure

    section = mode.section
    u, v = (torch.cat([line.new_zeros(1), line.cumsum(0)]) * 1e3 for line in section.spacing)
    electric = mode.electric.real
    e_u = 0.5 * (electric[0, :-1, 1:] + electric[0, :-1, :-1])
    e_v = 0.5 * (electric[1, 1:, :-1] + electric[1, :-1, :-1])
    figure = Figure(figsize=(7.0, 5.0), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    size = (e_u**2 + e_v**2).sqrt()
    picture = axes.pcolormesh(u.numpy(), v.numpy(), size.T.numpy(), cmap="viridis", shading="flat")
    figure.colorbar(picture, label="|E| for 1 W [V/m]")
    skip = (slice(None, None, max(1, size.shape[0] // 20)), slice(None, None, max(1, size.shape[1] // 20)))
    at = torch.meshgrid(0.5 * (u[1:] + u[:-1]), 0.5 * (v[1:] + v[:-1]), indexing="ij")
    axes.quiver(*(part[skip].numpy() for part in (*at, e_u, e_v)), color="white")
    axes.set_aspect("equal")
    axes.set_xlabel(f"{AXIS_NAMES[section.transverse[0]]} [mm]")
    axes.set_ylabel(f"{AXIS_NAMES[section.transverse[1]]} [mm]")
    index = complex(mode.effective_index)
    axes.set_title(f"{mode.frequency / 1e9:.4g} GHz, effective index {index.real:.5g}")
    figure.savefig(path, format="png")
