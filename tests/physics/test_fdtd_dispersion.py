"""A slab of a dispersive material at normal incidence against Fresnel's formulas with its own epsilon(omega).

A pulse falls on a slab, periodic across, from a one-sided sheet. With r = (1 - n) / (1 + n), n = sqrt(epsilon) and
p = exp(-j k0 n d) the slab reflects r (1 - p^2) / (1 - r^2 p^2) and transmits (1 - r^2) p / (1 - r^2 p^2) [Pozar2012,
sec. 1.8], with epsilon from the formulas of the material, not from the scheme. Both faces lie off the grid lines.
The scheme and the mean of permittivity and poles at the faces are second order in the cell: an order over two
refinements of at least 1.8, and an error of 1e-2 at 20 cells per wavelength in vacuum.

What the slab absorbs is 1 - |R|^2 - |T|^2 of the incident |E|^2 / (2 eta0), for the loss of the poles too.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from elec.fdtd import (
    Box,
    Media,
    ModulatedGaussian,
    Monitors,
    Walls,
    absorbing_layers,
    point_probe,
    scene_media,
    yee_step,
)
from elec.fdtd.plane_wave import plane_source
from elec.geometry import Scene, box
from elec.geometry.scene import Body
from elec.grid import Grid
from elec.materials import Material, debye, drude, lorentz
from elec.observables.absorption import absorbed_power, cell_power, edge_power
from mindsci.errors import InputError
from mindsci.units import SPEED_OF_LIGHT, VACUUM_IMPEDANCE

PERIODIC = Walls(x=("periodic", "periodic"), y=("periodic", "periodic"))
THICKNESS = 6e-3
FREQUENCIES = torch.linspace(8e9, 16e9, 9, dtype=torch.float64)
MATERIALS = {
    "Debye": Material(name="slab", relative_permittivity=2.0, poles=debye(3.0, 1e-11)),
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


def spectra(
    grid: Grid, media: Media, nodes: list[int], dt: float, n_steps: int, box: Box | None = None
) -> tuple[list[Tensor], Tensor]:
    source = plane_source(
        grid, dt, n_steps, axis=2, node=20, polarisation=(1.0, 0.0, 0.0), walls=PERIODIC,
        waveform=ModulatedGaussian(frequency=12e9, bandwidth=12e9),
    )  # fmt: skip
    monitors = Monitors(boxes=() if box is None else (box,), frequencies=tuple(FREQUENCIES.tolist()))
    step = yee_step(
        grid, media, walls=PERIODIC, sources=source, probes=[point_probe(0, (0, 0, node)) for node in nodes],
        monitors=monitors,
        absorber=absorbing_layers(grid, ((0, 0), (0, 0), (12, 12))),
    )  # fmt: skip
    fields = step.advance(step.start(n_steps), 0.0, dt, n_steps)
    t = dt * torch.arange(1, n_steps + 1, dtype=torch.float64)
    turn = torch.exp(-2j * math.pi * FREQUENCIES[:, None] * t)
    inside = monitors.unpack(fields.spectra)[0] if box is not None else torch.zeros(0)
    return [turn @ record.to(torch.complex128) for record in fields.records], inside


def slab_case(cell: float) -> tuple[Grid, int, float]:
    """The grid, cells before the slab, and where it begins [m]."""
    before = 20 + math.ceil(4e-3 / cell)
    n_z = 2 * before + math.ceil(THICKNESS / cell) + 1
    x = cell * torch.arange(3, dtype=torch.float64)
    grid = Grid(x=x, y=x, z=cell * torch.arange(n_z + 1, dtype=torch.float64))
    return grid, before, float(grid.z[before]) + 0.37 * cell


def slab_formula(material: Material) -> tuple[Tensor, Tensor]:
    """Complex reflection and transmission."""
    k0 = 2.0 * math.pi * FREQUENCIES / SPEED_OF_LIGHT
    n = torch.sqrt(material.permittivity(FREQUENCIES))
    r, p = (1.0 - n) / (1.0 + n), torch.exp(-1j * k0 * n * THICKNESS)
    below = 1.0 - r**2 * p**2
    return r * (1.0 - p**2) / below, (1.0 - r**2) * p / below


def slab_errors(material: Material, cell: float) -> tuple[float, float, float, float]:
    """Largest error of the complex reflection and transmission, of the absorbed share on edges and in cells."""
    grid, before, first = slab_case(cell)
    dt = 0.5 * cell / SPEED_OF_LIGHT
    n_steps = round(1.6e-9 / dt)
    n_z = grid.shape[2]
    nodes, box = [17, n_z - 16], Box(low=(0, 0, before - 2), high=(3, 3, n_z - before + 2))
    nothing = scene_media(Scene(parts=(), materials={}), grid, walls=PERIODIC)
    scene = slab_scene(material, first)
    media = scene_media(scene, grid, walls=PERIODIC)
    (_, incident), _ = spectra(grid, nothing, nodes, dt, n_steps)
    full, inside = spectra(grid, media, nodes, dt, n_steps, box)
    k0 = 2.0 * math.pi * FREQUENCIES / SPEED_OF_LIGHT
    back = torch.exp(-1j * k0 * (2.0 * first - float(grid.z[nodes[0]]) - float(grid.z[nodes[1]])))
    reflected = full[0] / (incident * back)
    transmitted = full[1] / incident * torch.exp(-1j * k0 * THICKNESS)
    reflection, transmission = slab_formula(material)
    absorbed = 1.0 - reflection.abs() ** 2 - transmission.abs() ** 2
    frequencies = FREQUENCIES.tolist()
    falling = (dt * incident).abs() ** 2 / (2.0 * VACUUM_IMPEDANCE)
    # The fields are the same all over a plane: one column of edges tells all.
    density = edge_power(media, box, inside, frequencies)[:, 0, 0, 0]
    on_edges = (density * grid.dual_spacing(2)[box.low[2] : box.high[2]]).sum(1) / falling
    cells = scene.cell_conductivity(grid, frequencies)[..., box.low[2] : box.high[2] - 1]
    power = cell_power(grid, media, box, inside, cells, frequencies=frequencies)
    in_cells = power.sum(dim=(1, 2, 3)) / float((2.0 * cell) ** 2) / falling
    return (
        float((reflected - reflection).abs().max()),
        float((transmitted - transmission).abs().max()),
        float((on_edges - absorbed).abs().max()),
        float((in_cells - absorbed).abs().max()),
    )


@pytest.mark.parametrize("name", MATERIALS)
def test_a_dispersive_slab_reflects_transmits_and_absorbs_to_second_order(name: str) -> None:
    coarse, fine = (slab_errors(MATERIALS[name], cell) for cell in (1e-3, 5e-4))
    for before, after in zip(coarse, fine, strict=True):
        assert math.log2(before / after) > 1.8
        assert after < 1e-2


def test_absorbed_power_of_media_with_poles_without_frequencies_is_refused() -> None:
    grid, _, first = slab_case(1e-3)
    media = scene_media(slab_scene(MATERIALS["Debye"], first), grid, walls=PERIODIC)
    box = Box(low=(0, 0, 20), high=(3, 3, 30))
    field = torch.ones(1, *box.shape, dtype=torch.complex128)
    with pytest.raises(InputError, match="give frequencies"):
        absorbed_power(grid, media, box, field)
    with pytest.raises(InputError, match="9 frequencies for 1 spectra"):
        absorbed_power(grid, media, box, field, frequencies=FREQUENCIES.tolist())
