"""A horn on a substrate from CAD and constructive solids to tensors: on a grid, and as point clouds, with a picture.

    python docs/examples/geometry_to_tensors.py [folder]

Writes scene.safetensors, surface.safetensors and geometry.png, and prints what is known beside what was found.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch

from elec.geometry import (
    GridTensors,
    PointCloud,
    Scene,
    box,
    cone,
    cylinder,
    faceted,
    grid_tensors,
    load_tensors,
    read_solid,
    save_tensors,
    surface_cloud,
    torus,
    write_stl,
)
from elec.geometry.scene import Body
from elec.grid import Grid
from elec.materials import Material, loss_tangent_conductivity

FREQUENCY = 10e9
MM = 1e-3


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # A CAD file with a hole: a torus of triangles from which a few are missing. Winding numbers say what is inside.
    ring = torus((0, 0, 12 * MM), (0, 0, 1), 7 * MM, 1.5 * MM)
    broken = faceted(ring, "ring", segments=96)
    broken = type(broken)(name="ring", vertices=broken.vertices, faces=broken.faces[60:])
    write_stl(folder / "ring.stl", broken)
    imported = read_solid(folder / "ring.stl", unit="mm")

    # A horn with walls of metal, from constructive solids; its outer radius at the mouth is a parameter.
    radius = torch.tensor(8 * MM, dtype=torch.float64, requires_grad=True)
    outer = cone((0, 0, 0), (0, 0, 10 * MM), 3 * MM, radius)
    inner = cone((0, 0, -1 * MM), (0, 0, 11 * MM), 2 * MM, 6 * MM)
    horn = (outer - inner) | cylinder((0, 0, -2 * MM), (0, 0, 0), 3 * MM) - cylinder(
        (0, 0, -3 * MM), (0, 0, 1 * MM), 2 * MM
    )

    loss = loss_tangent_conductivity(0.02, 4.3, frequency=FREQUENCY)
    scene = Scene(
        parts=(
            box((-11 * MM, -11 * MM, -3.5 * MM), (11 * MM, 11 * MM, -2 * MM)).part("board", material="fr4"),
            Body(name="horn", solid=horn),
            Body(name="ring", solid=imported, material="ceramic"),
        ),
        materials={
            "fr4": Material(name="fr4", relative_permittivity=4.3, conductivity=loss),
            "ceramic": Material(name="ceramic", relative_permittivity=9.8),
        },
    )
    across = torch.linspace(-12 * MM, 12 * MM, 61, dtype=torch.float64)
    grid = Grid(x=across, y=across.clone(), z=torch.linspace(-5 * MM, 15 * MM, 51, dtype=torch.float64))
    tensors = grid_tensors(scene, grid, frequency=FREQUENCY)
    save_tensors(folder / "scene.safetensors", tensors)
    cloud = surface_cloud(scene, 20_000, seed=0, frequency=FREQUENCY)
    save_tensors(folder / "surface.safetensors", cloud)

    cell = 0.4**3  # [mm^3]
    volume = tensors.fill.sum((1, 2, 3)) * cell
    board, _, filled_ring = volume.tolist()
    (change,) = torch.autograd.grad(volume[1], radius)
    # A frustum of radii a, b and height h has the volume pi h (a^2 + a b + b^2) / 3; this is its derivative in b.
    slope = math.pi * 10 / 3 * (3 + 2 * 8) * 1e3
    known = 2 * math.pi**2 * 7 * 1.5**2
    print(f"board:  {board:8.2f} mm^3   exact {22 * 22 * 1.5:8.2f}")
    print(f"ring:   {filled_ring:8.2f} mm^3   exact {known:8.2f}   of a file with a hole, closed by winding numbers")
    print(f"horn:   d(volume)/d(radius of the mouth) {float(change) / 1e3:6.1f} mm^2   exact {slope / 1e3:6.1f}")
    tangent = float(tensors.material.loss_tangent[0, 30, 30, 5].detach())
    print(f"loss tangent of the board at 10 GHz: {tangent:.4f}   exact 0.0200")
    assert load_tensors(folder / "scene.safetensors").solids == ("board", "horn", "ring")
    picture(folder / "geometry.png", tensors, cloud)
    print(f"tensors and pictures are in {folder}")


def picture(path: Path, tensors: GridTensors, cloud: PointCloud) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    extent = [float(end) * 1e3 for end in (tensors.x[0], tensors.x[-1], tensors.z[0], tensors.z[-1])]
    middle = tensors.fill.shape[2] // 2
    fields = {
        "signed distance [mm]": tensors.signed_distance.detach().amin(0)[:, middle] * 1e3,
        "relative permittivity, metal in white": torch.where(
            tensors.metal.detach()[:, middle] > 0.5,
            math.nan,
            tensors.material.relative_permittivity.detach()[0, :, middle],
        ),
    }
    for place, (name, values) in enumerate(fields.items(), 1):
        axes = figure.add_subplot(1, 3, place)
        image = axes.imshow(values.T, origin="lower", extent=extent)
        axes.set(title=name, xlabel="x [mm]", ylabel="z [mm]")
        figure.colorbar(image, ax=axes, shrink=0.8)
    axes = figure.add_subplot(1, 3, 3, projection="3d")
    shown = cloud.points[::4] * 1e3
    axes.scatter(*shown.T.tolist(), c=cloud.part[::4].tolist(), s=1, cmap="viridis")
    axes.set_title("points on the surfaces, by part")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/geometry"))
