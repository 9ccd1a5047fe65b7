"""WR-90 with a slab of permittivity 4 that fills 8 mm of it: S-parameters beside the closed form, and a picture.

Two mode ports, their reference planes on the faces of the slab. Run it with `python docs/examples/wr90.py`; it writes
wr90.png and wr90.s2p (against 50 ohm).
"""

from __future__ import annotations

from pathlib import Path

import torch

from elec.fdtd import absorbing_layers
from elec.ports import plot_scattering, scattering_matrix
from elec.validation.guides import filled_wr90, slab_in_wr90


def main() -> None:
    grid, media, ports = filled_wr90(12)
    frequencies = torch.linspace(8.2e9, 12.4e9, 22, dtype=torch.float64)
    dt = 0.95 * grid.courant_limit()
    layers = absorbing_layers(grid, ((0, 0), (0, 0), (12, 12)))
    n_steps = round(12e-9 / dt)
    found = scattering_matrix(grid, media, ports, frequencies, n_steps=n_steps, dt=dt, absorber=layers, decay=80.0)
    exact = slab_in_wr90(frequencies, 4.0, 8e-3)
    print("   GHz   |S11|    exact    |S21|    exact")
    for i in range(0, len(frequencies), 3):
        row = [abs(complex(value[i])) for value in (found.s[:, 0, 0], exact[0], found.s[:, 1, 0], exact[1])]
        print(f"{frequencies[i] / 1e9:6.2f}   " + "   ".join(f"{value:.4f}" for value in row))
    worst = max(float((found.s[:, i, 0] - exact[i]).abs().max()) for i in (0, 1))
    print(f"largest error of S11 and S21: {worst:.4f}; largest |S21 - S12|: {found.reciprocity():.1e}")
    plot_scattering(Path("wr90.png"), found, floor=-40.0)
    found.write_touchstone(Path("wr90.s2p"))


if __name__ == "__main__":
    main()
