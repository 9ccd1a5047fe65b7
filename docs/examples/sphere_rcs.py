"""Radar cross-section of a conducting sphere over frequency, against the Mie series: run it, it takes some seconds.

    python docs/examples/sphere_rcs.py

It prints both beside each other and draws sphere_rcs.png.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from elec.validation.mie import efficiencies
from elec.validation.spheres import conducting

sizes = [float(x) for x in np.linspace(0.5, 5.0, 19)]
case, section = conducting(sizes, cells=14)
found = 10.0 * np.log10(section.numpy())
exact = 10.0 * np.log10([efficiencies(x, None)["back"] for x in sizes])
print(f"{case.grid.n_cells:,} cells, 14 a radius\n  ka   FDTD    Mie  sigma / (pi a^2) [dB]")
for x, ours, theirs in zip(sizes, found, exact, strict=True):
    print(f"{x:4.2f} {ours:6.2f} {theirs:6.2f}")
print(f"largest difference {np.abs(found - exact).max():.2f} dB")

figure = Figure(figsize=(7.0, 4.5), dpi=120, layout="constrained")
axes = figure.add_subplot()
axes.plot(sizes, exact, label="Mie series")
axes.plot(sizes, found, "o", label="FDTD, 14 cells a radius")
axes.set(xlabel="ka", ylabel="monostatic cross-section / (pi a^2) [dB]")
axes.legend()
figure.savefig("sphere_rcs.png")
