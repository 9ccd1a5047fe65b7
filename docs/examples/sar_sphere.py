"""SAR along the axis of a sphere of tissue in a plane wave at 900 MHz, against the Mie series: under a minute.

    python docs/examples/sar_sphere.py

It prints both beside each other and draws sar_sphere.png.
"""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from elec.validation.tissue import DENSITY, RADIUS, WHOLE_BODY, exact_rate, exposed

found = exposed(5e-3)
exact = 1e3 * exact_rate(found)[0, 0]
ours = 1e3 * found.rate[0, 0]
tissue = found.density[0, 0] > 0.999 * DENSITY
depth = 1e3 * (found.middles[2] + RADIUS)[tissue]
mass = 4.0 / 3.0 * math.pi * RADIUS**3 * DENSITY
print(f"{found.case.grid.n_cells:,} cells of 5 mm in a quarter\n depth   FDTD    Mie  SAR [mW/kg] for 1 W/m^2")
for z, here, there in zip(depth.tolist(), ours[tissue].tolist(), exact[tissue].tolist(), strict=True):
    print(f"{z:6.1f} {here:6.2f} {there:6.2f}")
print(f"whole body: {1e3 * found.power / mass:.3f} mW/kg, Mie {1e3 * WHOLE_BODY:.3f} mW/kg")

figure = Figure(figsize=(7.0, 4.5), dpi=120, layout="constrained")
axes = figure.add_subplot()
axes.plot(depth, exact[tissue], label="Mie series")
axes.plot(depth, ours[tissue], "o", label="FDTD, 5 mm cells")
axes.set(xlabel="depth below the front [mm]", ylabel="SAR for 1 W/m² [mW/kg]")
axes.legend()
figure.savefig("sar_sphere.png")
