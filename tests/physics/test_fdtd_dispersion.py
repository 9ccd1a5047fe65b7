"""A slab of a dispersive material at normal incidence against Fresnel's formulas with its own epsilon(omega).

A pulse falls on a slab, periodic across, from a one-sided sheet. With r = (1 - n) / (1 + n), n = sqrt(epsilon) and
p = exp(-j k0 n d) the slab reflects r (1 - p^2) / (1 - r^2 p^2) and transmits (1 - r^2) p / (1 - r^2 p^2) [Pozar2012,
sec. 1.8], with epsilon from the formulas of the material, not from the scheme. Both faces lie off the grid lines.
The scheme and the mean of permittivity and poles at the faces are second order in the cell: an order over two
refinements of at least 1.8, and an error of 1e-2 at 20 cells per wavelength in vacuum.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from elec.fdtd import Media, ModulatedGaussian, Walls, absorbing_layers, point_probe, scene_media, yee_step
from elec.fdtd.plane_wave import plane_source
from elec.geometry import Scene, box
from elec.geometry.scene import Body
from elec.grid import Grid
from elec.materials import Material, debye, drude, lorentz
from mindsci.units import SPEED_OF_LIGHT

PERIODIC = Walls(x=("periodic", "periodic"), y=("periodic", "periodic"))
THICKNESS = 6e-3
FREQUENCIES = torch.linspace(8e9, 16e9, 9, dtype=torch.float64)
MATERIALS = {
    "Drude": Material(name="slab", relative_permittivity=2.0, poles=drude(12e9, 2e10)),
    "Lorentz": Material(name="slab", relative_permittivity=1.5, poles=lorentz(1.5, 12e9, 2.5e10)),
    "overdamped Lorentz": Material(name="slab", relative_permittivity=1.5, poles=lorentz(1.5, 12e9, 2.5e11)),
    "two terms": Material(
        name="slab", relative_permittivity=2.0, conductivity=0.1, poles=debye(1.0, 1e-11) + lorentz(0.5, 14e9, 2e10)
    ),
}


def slab_scene(material: Material, first: float) -> Scene:

    solid = box((-1.0, -1.0, first), (1.0, 1.0, first + THICKNESS))
    return Scene(parts=(Body(name="slab", solid=solid, material="slab"),), materials={"slab": material})


def spectra(grid: Grid, media: Media, nodes: list[int], dt: float, n_steps: int) -> list[Tensor]:
    source = plane_source(
        grid, dt, n_steps, axis=2, node=20, polarisation=(1.0, 0.0, 0.0), walls=PERIODIC,
        waveform=ModulatedGaussian(frequency=12e9, bandwidth=12e9),
    )  # fmt: skip
    step = yee_step(
        grid, media, walls=PERIODIC, sources=source, probes=[point_probe(0, (0, 0, node)) for node in nodes],
        absorber=absorbing_layers(grid, ((0, 0), (0, 0), (12, 12))),
    )  # fmt: skip
    fields = step.advance(step.start(n_steps), 0.0, dt, n_steps)
    t = dt * torch.arange(1, n_steps + 1, dtype=torch.float64)
    turn = torch.exp(-2j * math.pi * FREQUENCIES[:, None] * t)
    return [turn @ record.to(torch.complex128) for record in fields.records]


def slab_errors(material: Material, cell: float) -> tuple[float, float]:
    """Largest error of the complex reflection and transmission."""
    lead = math.ceil(4e-3 / cell)
    n_z = 2 * (20 + lead) + math.ceil(THICKNESS / cell) + 1
    z = cell * torch.arange(n_z + 1, dtype=torch.float64)
    x = cell * torch.arange(3, dtype=torch.float64)
    grid = Grid(x=x, y=x, z=z)
    first = float(z[20 + lead]) + 0.37 * cell
    dt = 0.5 * cell / SPEED_OF_LIGHT
    n_steps = round(1.6e-9 / dt)
    nodes = [17, n_z - 16]
    empty = spectra(grid, scene_media(Scene(parts=(), materials={}), grid, walls=PERIODIC), nodes, dt, n_steps)
    full = spectra(grid, scene_media(slab_scene(material, first), grid, walls=PERIODIC), nodes, dt, n_steps)
    incident = empty[1]
    k0 = 2.0 * math.pi * FREQUENCIES / SPEED_OF_LIGHT
    far = float(z[nodes[1]])
    back = torch.exp(-1j * k0 * (2.0 * first - float(z[nodes[0]]) - far))
    reflected = full[0] / (incident * back)
    transmitted = full[1] / incident * torch.exp(-1j * k0 * THICKNESS)
    n = torch.sqrt(material.permittivity(FREQUENCIES))
    r, p = (1.0 - n) / (1.0 + n), torch.exp(-1j * k0 * n * THICKNESS)
    below = 1.0 - r**2 * p**2
    return (
        float((reflected - r * (1.0 - p**2) / below).abs().max()),
        float((transmitted - (1.0 - r**2) * p / below).abs().max()),
    )


@pytest.mark.parametrize("name", MATERIALS)
def test_a_dispersive_slab_reflects_and_transmits_to_second_order(name: str) -> None:
    coarse, fine = (slab_errors(MATERIALS[name], cell) for cell in (1e-3, 5e-4))
    for before, after in zip(coarse, fine, strict=True):
        assert math.log2(before / after) > 1.8
        assert after < 1e-2
