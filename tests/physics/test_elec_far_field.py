"""The far field of a Hertzian dipole on the grid, through the skins of a closed box.

Set-up: a current on one edge in free space, about 20 cells a wavelength, absorbing layers all round. Formula: r E_theta
= j k eta I l sin(theta) / (4 pi), P = eta (k I l)^2 / (12 pi) [Balanis2016, sec. 4.2].

On even cells the wave of the scheme that tests the surface makes the far field of one edge that of the formula: what is
left is the reflection of the layers (the absorber stays below -60 dB; their field at the dipole's own box is smaller),
and the end of the pulse, 1e-5 in all. The power that the scheme radiates is second order. Two boxes around the same
source give the same field up to the pulse's end, 1e-7, on graded cells too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from elec.fdtd import ModulatedGaussian, Monitors, Walls, absorbing_layers, dipole, uniform_media, yee_step
from elec.grid import Grid
from elec.observables import Plane, Surface, centred_surface, far_field, radiated_power, sphere_directions
from mindsci.errors import InputError
from mindsci.solvers import rollout
from mindsci.units import SPEED_OF_LIGHT, VACUUM_IMPEDANCE

PULSE = ModulatedGaussian(frequency=3e9, bandwidth=3e9)
FREQUENCIES = (2.4e9, 3e9)
LAYERS = 8
THETA = torch.linspace(0.0, math.pi, 13, dtype=torch.float64)
PHI = torch.linspace(0.3, 5.0, 13, dtype=torch.float64)


def lines(count: int, cell: float, ripple: float = 0.0) -> Tensor:
    cells = cell * (1.0 + ripple * torch.sin(0.4 * torch.arange(count, dtype=torch.float64)))
    return torch.cat([torch.zeros(1, dtype=torch.float64), cells.cumsum(0)])


def open_grid(count: int, cell: float, ripple: float = 0.0) -> Grid:
    x = lines(count, cell, ripple)
    return Grid(x=x, y=x.clone(), z=x.clone(), absorber_cells=LAYERS)


def run(
    grid: Grid,
    places: Sequence[tuple[int, tuple[int, int, int], float]],
    boxes: Sequence[Surface | Plane],
    *,
    walls: Walls | None = None,
    layers: tuple[tuple[int, int], ...] = ((LAYERS, LAYERS),) * 3,
) -> tuple[list[list[Tensor]], float, Tensor]:
    """Returns the spectra of the boxes, the time step, and the spectrum of a unit current [A s]."""
    walls = Walls() if walls is None else walls
    dt = 0.95 * grid.courant_limit()
    monitors = Monitors(boxes=tuple(box for one in boxes for box in one.boxes), frequencies=FREQUENCIES)
    step = yee_step(
        grid,
        uniform_media(grid, walls=walls),
        absorber=absorbing_layers(grid, layers),
        walls=walls,
        sources=[dipole(grid, component, node, PULSE, current=current) for component, node, current in places],
        monitors=monitors,
    )
    n_steps = int(1.2 * PULSE.duration / dt)
    fields, _ = rollout(step, step.start(), n_steps=n_steps, dt=dt)
    spectra, found = monitors.unpack(fields.spectra), []
    for one in boxes:
        found.append(spectra[: len(one.boxes)])
        spectra = spectra[len(one.boxes) :]
    t = (torch.arange(n_steps, dtype=torch.float64) + 0.5) * dt
    current = torch.stack([dt * (PULSE(t) * torch.exp(-2j * math.pi * f * t)).sum() for f in FREQUENCIES])
    return found, dt, current


def wave_numbers() -> Tensor:
    return 2.0 * math.pi / SPEED_OF_LIGHT * torch.tensor(FREQUENCIES, dtype=torch.float64)


def test_a_dipole_has_its_far_field_and_the_box_does_not_matter() -> None:
    cell, node = 5e-3, (15, 17, 16)
    grid = open_grid(32, cell)
    surfaces = [centred_surface(grid, clearance=2), centred_surface(grid, clearance=4)]
    spectra, dt, current = run(grid, [(2, node, 1.0)], surfaces)
    origin = [cell * node[0], cell * node[1], cell * (node[2] + 0.5)]
    exact = 1j * VACUUM_IMPEDANCE * (wave_numbers() * cell * current)[:, None] / (4.0 * math.pi) * THETA.sin()
    found = [
        far_field(surface, part, FREQUENCIES, dt, THETA, PHI, origin=origin)
        for surface, part in zip(surfaces, spectra, strict=True)
    ]
    size = exact.abs().max()
    assert (found[0].electric_theta - exact).abs().max() < 1e-5 * size
    assert found[0].electric_phi.abs().max() < 1e-5 * size
    assert (found[0].electric_theta - found[1].electric_theta).abs().max() < 1e-7 * size
    power = [radiated_power(surface, part) for surface, part in zip(surfaces, spectra, strict=True)]
    assert torch.allclose(power[0], power[1], rtol=1e-7)


def test_the_radiated_power_and_the_directivity_are_second_order() -> None:
    errors = []
    for count, cell in ((26, 8e-3), (36, 4e-3)):
        grid = open_grid(count, cell)
        surface = centred_surface(grid)
        (spectra,), dt, current = run(grid, [(2, (count // 2,) * 3, 1.0)], [surface])
        exact = VACUUM_IMPEDANCE / (12.0 * math.pi) * (wave_numbers() * cell * current.abs()) ** 2
        power = radiated_power(surface, spectra)
        sphere = sphere_directions(10, 20)
        field = far_field(surface, spectra, FREQUENCIES, dt, sphere.theta, sphere.phi)
        directivity = field.gain(sphere.integral(field.intensity)).amax(dim=(1, 2))
        nearest = sphere.theta.sin().max() ** 2
        assert torch.allclose(directivity, 1.5 * nearest.expand(2), rtol=1e-5)
        errors.append(((power / exact - 1.0).abs(), (sphere.integral(field.intensity) / exact - 1.0).abs().max()))
        assert errors[-1][1] < 1e-5
    order = (errors[0][0] / errors[1][0]).log2()
    assert bool((order > 1.9).all()) and bool((order < 2.4).all())


def test_graded_cells_leave_the_far_field_independent_of_the_box() -> None:
    grid = open_grid(34, 5e-3, ripple=0.3)
    surfaces = [centred_surface(grid, clearance=2), centred_surface(grid, clearance=5)]
    spectra, dt, _ = run(grid, [(0, (16, 17, 15), 1.0)], surfaces)
    origin = [float(grid.nodes(axis)[16]) for axis in range(3)]
    one, two = (
        far_field(surface, part, FREQUENCIES, dt, THETA, PHI, origin=origin)
        for surface, part in zip(surfaces, spectra, strict=True)
    )
    assert (one.electric_phi - two.electric_phi).abs().max() < 1e-7 * one.electric_phi.abs().max()
    assert (one.electric_theta - two.electric_theta).abs().max() < 1e-7 * one.electric_theta.abs().max()


def test_mirrors_stand_for_the_other_quarters() -> None:
    """x: magnetic wall, y: electric wall. A z dipole at (+-3, +-2): same sign across x, opposite across y."""
    cell, half = 5e-3, 16
    whole, quarter = (
        open_grid(2 * half, cell),
        Grid(x=lines(half, cell), y=lines(half, cell), z=lines(2 * half, cell), absorber_cells=0),
    )
    places = [(2, (half + 3 * a, half + 2 * b, half), float(b)) for a in (1, -1) for b in (1, -1)]
    surface = centred_surface(whole)
    inset = LAYERS + 2
    part = Surface(
        grid=quarter,
        low=(0, 0, inset),
        high=(half - inset, half - inset, 2 * half - inset),
        walls={"x low": "pmc", "y low": "pec"},
    )
    (full,), dt, _ = run(whole, places, [surface])
    (cut,), same, _ = run(
        quarter,
        [(2, (3, 2, half), 1.0)],
        [part],
        walls=Walls(x=("pmc", "pec")),
        layers=((0, LAYERS), (0, LAYERS), (LAYERS, LAYERS)),
    )
    assert dt == pytest.approx(same, rel=1e-12)
    expected = far_field(surface, full, FREQUENCIES, dt, THETA, PHI)
    found = far_field(part, cut, FREQUENCIES, dt, THETA, PHI)
    size = expected.electric_theta.abs().max()
    assert (found.electric_theta - expected.electric_theta).abs().max() < 1e-9 * size
    assert (found.electric_phi - expected.electric_phi).abs().max() < 1e-9 * size
    assert torch.allclose(radiated_power(part, cut), radiated_power(surface, full), rtol=1e-9)


def test_a_ground_plane_doubles_a_dipole_on_it_and_hides_what_is_behind() -> None:
    """A vertical dipole half a cell above ground has twice the field of one in free space: directivity 3."""
    cell, n = 5e-3, 28
    grid = Grid(x=lines(n, cell), y=lines(n, cell), z=lines(n // 2, cell))
    inset = LAYERS + 2
    surface = Surface(
        grid=grid, low=(inset, inset, 0), high=(n - inset, n - inset, n // 2 - inset), walls={"z low": "ground"}
    )
    layers = ((LAYERS, LAYERS), (LAYERS, LAYERS), (0, LAYERS))
    (spectra,), dt, _ = run(grid, [(2, (n // 2, n // 2, 0), 1.0)], [surface], layers=layers)
    sphere = sphere_directions(24, 24)
    field = far_field(surface, spectra, FREQUENCIES, dt, sphere.theta, sphere.phi)
    assert field.intensity[:, sphere.theta > math.pi / 2].abs().max() == 0.0
    power = sphere.integral(field.intensity)
    near_horizon = far_field(surface, spectra, FREQUENCIES, dt, THETA[6:7], PHI[6:7])
    assert torch.allclose(near_horizon.gain(power), torch.full((2, 1), 3.0, dtype=torch.float64), rtol=0.02)
    assert torch.allclose(radiated_power(surface, spectra), power, rtol=0.02)


def test_power_through_six_planes_is_that_through_the_box() -> None:
    """Planes take H on themselves, the box half a cell outside: they differ by the second order in k times the cell."""
    cell, n = 5e-3, 34
    grid = open_grid(n, cell)
    low, high = 11, 23
    planes = [
        Plane(grid=grid, axis=axis, node=node, low=(low, low), high=(high, high))
        for axis in range(3)
        for node in (low, high)
    ]
    surface = Surface(grid=grid, low=(low,) * 3, high=(high,) * 3)
    found, _, _ = run(grid, [(0, (n // 2, n // 2, n // 2 + 1), 1.0)], [*planes, surface])
    parts = [plane.power(part) for plane, part in zip(planes, found, strict=False)]
    outward = sum(sign * part for sign, part in zip((-1, 1) * 3, parts, strict=True))
    assert torch.allclose(outward, radiated_power(surface, found[-1]), rtol=5e-3)
    assert torch.allclose(parts[2], -parts[3], rtol=1e-6)


def test_a_surface_in_the_absorbing_layers_is_refused() -> None:
    with pytest.raises(InputError, match=r"must lie within 9 \.\. 23"):
        Surface(grid=open_grid(32, 1e-3), low=(8, 9, 9), high=(20, 20, 20))
