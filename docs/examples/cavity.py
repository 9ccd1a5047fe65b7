"""A cylindrical cavity with conformal metal: three resonances beside the roots of Bessel functions, and a picture.

Radius 20 mm, length 30 mm, 20 cells across the diameter: the curved wall cuts cells. Run it with
`python docs/examples/cavity.py`; it writes cavity.png.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from elec.fdtd import Media
from elec.grid import Grid
from elec.validation.cavities import CYLINDER, RADIUS, cylinder_case, resonances


def main() -> None:
    grid, media = cylinder_case(20)
    points = ((0.3 * RADIUS, 0.2 * RADIUS, -0.15 * RADIUS), (-0.25 * RADIUS, 0.45 * RADIUS, 0.1 * RADIUS))
    found = resonances(grid, media, points, highest=8.3e9, duration=40e-9, courant=0.99)
    print("mode    measured GHz   exact GHz   error %")
    for mode, exact in CYLINDER.items():
        nearest = min(found, key=lambda peak: abs(peak - exact))
        print(f"{mode}   {nearest / 1e9:10.6f}   {exact / 1e9:9.6f}   {100 * (nearest / exact - 1):+.4f}")
    draw(grid, media)


def draw(grid: Grid, media: Media) -> None:
    """Writes how much of each face across z the metal leaves open, in the middle of the cavity."""
    figure = Figure(figsize=(5.0, 4.2), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    middle = grid.shape[2] // 2
    area = media.permeability[2, :-1, :-1, middle]
    area = area * (~media.metal[:2, :-1, :-1, middle]).any(0)
    picture = axes.pcolormesh(grid.x.numpy() * 1e3, grid.y.numpy() * 1e3, area.T.numpy(), cmap="viridis")
    figure.colorbar(picture, label="open area of the face")
    axes.set_aspect("equal")
    axes.set_xlabel("x [mm]")
    axes.set_ylabel("y [mm]")
    figure.savefig("cavity.png")


if __name__ == "__main__":
    main()
