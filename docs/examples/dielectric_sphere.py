"""Scattering by a sphere of permittivity 4 over frequency, against the Mie series: run it, it takes under a minute.

    python docs/examples/dielectric_sphere.py

It prints both beside each other and draws dielectric_sphere.png.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from elec.validation.mie import efficiencies
from elec.validation.spheres import dielectric

CELLS = 10
sizes = [float(x) for x in np.linspace(0.5, 2.5, 17)]
case, scattering, _ = dielectric(sizes, cells=CELLS)
found = scattering.numpy()
exact = np.array([efficiencies(x, 2.0)["scattering"] for x in sizes])
print(f"{case.grid.n_cells:,} cells, {CELLS} a radius\n  ka    FDTD     Mie  scattering cross-section / (pi a^2)")
for x, ours, theirs in zip(sizes, found, exact, strict=True):
    print(f"{x:5.3f} {ours:7.4f} {theirs:7.4f}")
print(f"largest difference {100.0 * np.abs(found / exact - 1.0).max():.2f} %")

figure = Figure(figsize=(7.0, 4.5), dpi=120, layout="constrained")
axes = figure.add_subplot()
axes.plot(sizes, exact, label="Mie series")
axes.plot(sizes, found, "o", label=f"FDTD, {CELLS} cells a radius")
axes.set(xlabel="ka", ylabel="scattering cross-section / (pi a^2)")
axes.legend()
figure.savefig("dielectric_sphere.png")
