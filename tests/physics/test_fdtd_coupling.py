"""Edges that act on one another at slanted interfaces: symmetric, stable, second order on a sphere.

Energy: the scheme without loss is H'' = -A H in leapfrog with A = (1/mu) curl M curl^T. Where M is symmetric,
(H_n, H_n) - (H_n+1, H_n-1) under mu and the volumes of the faces stays the same to rounding, and where A is positive
and below 4 / dt^2 it is positive. Noise excites every mode; a single unstable one would grow without bound.

Order: the polarisability of a sphere in a simple cubic array [Sangani1983], 1/4 of the period in radius, by the static
equations of the scheme itself (curl E = 0, div D = 0, E = M D), so that nothing but M errs. A line fitted through three
grids has a slope of 2; where cuts of cells differ from grid to grid it scatters by 0.3.

Symmetry: a half between a magnetic or electric wall and the whole with mirrored fields are the same numbers.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from elec.fdtd import Media, Walls, scene_media, yee_step
from elec.fdtd.coupling import LEAST
from elec.geometry import Scene, cylinder, sphere
from elec.geometry.scene import Body
from elec.grid import Grid
from elec.materials import Material
from mindsci import tree


def filled(solid: Any, permittivity: float) -> Scene:
    filling = Material(name="filling", relative_permittivity=permittivity)
    return Scene(parts=(Body(name="body", solid=solid, material="filling"),), materials={"filling": filling})


def uneven(cells: int, size: float, seed: int) -> Tensor:
    steps = 0.8 + 0.4 * torch.rand(cells, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    line = torch.cat([torch.zeros(1, dtype=torch.float64), steps.cumsum(0)])
    return size * line / line[-1]


def noise(media: Media, seed: int = 0) -> Tensor:
    values = torch.randn(media.metal.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.where(media.metal, 0.0, values)


@pytest.mark.parametrize(
    ("solid", "permittivity"),
    [
        (sphere((6.1, 5.8, 6.3), 3.7), 4.0),
        (sphere((6.1, 5.8, 6.3), 3.7), 41.5),
        (cylinder((1.0, 2.0, 1.5), (10.0, 9.0, 11.0), 2.6), 12.0),
    ],
)
def test_energy_is_kept_over_thousands_of_steps_at_the_usual_courant_number(solid: Any, permittivity: float) -> None:
    grid = Grid(x=uneven(13, 12.0, 1), y=uneven(13, 12.0, 2), z=uneven(12, 12.0, 3))
    media = scene_media(filled(solid, permittivity), grid)
    assert media.coupling is not None
    step, dt, n_steps = yee_step(grid, media, engine="reference"), 0.99 * grid.courant_limit(), 1500
    fields = tree.replace(step.start(), electric=noise(media))
    volume, kept = Walls().widths(grid, images=False).volumes(magnetic=True), []
    for first in (0, n_steps):
        three = []
        for index in range(first, first + 3):
            fields = step.advance(fields, index * dt, dt, 1)
            three.append(fields.magnetic)
        kept.append(float((volume * (three[1] ** 2 - three[0] * three[2])).sum()))
        fields = step.advance(fields, (first + 3) * dt, dt, n_steps - 3)
    assert kept[0] > 0
    assert kept[1] == pytest.approx(kept[0], rel=1e-10)


def dense(media: Media) -> Tensor:
    """E = M D as a matrix over the coupled edges, with D and E in units of the vacuum."""
    coupling = media.coupling
    assert coupling is not None
    permittivity = media.permittivity[coupling.index()]
    matrix = torch.diag(1.0 / permittivity)
    matrix[coupling.rows, coupling.columns] = (
        coupling.capacity / permittivity[coupling.rows] / permittivity[coupling.columns]
    )
    return matrix


@pytest.mark.parametrize("permittivity", [4.0, 80.0])
def test_the_matrix_is_symmetric_and_positive(permittivity: float) -> None:
    line = torch.arange(13, dtype=torch.float64)
    media = scene_media(filled(sphere((6.2, 5.9, 6.4), 3.3), permittivity), Grid(x=line, y=line, z=line))
    matrix = dense(media)
    assert float((matrix - matrix.T).abs().max()) < 1e-14
    values = torch.linalg.eigvalsh(matrix)
    assert float(values[0]) > LEAST / permittivity
    assert float(values[-1]) < 1.0 / 0.99**2


def apply_periodic(media: Media, displacement: Tensor) -> Tensor:
    """E = M D on the nodes of a periodic grid without their images."""
    n = displacement.shape[-1]
    cut = (slice(None), *(slice(0, n),) * 3)
    field = displacement / media.permittivity[cut]
    coupling = media.coupling
    if coupling is None:
        return field
    index = coupling.index()
    own = media.permittivity[index]
    weight = coupling.capacity / own[coupling.rows] / own[coupling.columns]
    added = torch.zeros_like(own).index_add(0, coupling.rows, weight * displacement[index][coupling.columns])
    return field.index_put(index, added, accumulate=True)


def flux_through_the_array(media: Media, n: int) -> Tensor:
    """The flux of one along z in a simple cubic array: that of the least energy, by conjugate gradients."""
    steps = [torch.exp(2j * math.pi * torch.fft.fftfreq(n, dtype=torch.float64)) - 1.0 for _ in range(3)]
    wave = torch.stack(torch.meshgrid(*steps, indexing="ij"))
    square = (wave.abs() ** 2).sum(0)
    square[0, 0, 0] = 1.0

    def without_gradients(field: Tensor) -> Tensor:
        spectrum = torch.fft.fftn(field, dim=(1, 2, 3))
        spectrum = spectrum - wave * ((wave.conj() * spectrum).sum(0) / square)
        spectrum[:, 0, 0, 0] = 0.0
        return torch.fft.ifftn(spectrum, dim=(1, 2, 3)).real

    flux = torch.zeros(3, n, n, n, dtype=torch.float64)
    flux[2] = 1.0
    residual = -without_gradients(apply_periodic(media, flux))
    direction, size = residual, float((residual**2).sum())
    for _ in range(25):
        image = without_gradients(apply_periodic(media, direction))
        alpha = size / float((direction * image).sum())
        flux, residual = flux + alpha * direction, residual - alpha * image
        size, before = float((residual**2).sum()), size
        direction = residual + size / before * direction
    return flux


def inverse_of_the_array(media: Media, n: int) -> float:
    """Effective inverse permittivity along z."""
    flux = flux_through_the_array(media, n)
    return float((flux * apply_periodic(media, flux)).sum()) / n**3


def array_permittivity(filling: float, permittivity: float) -> float:
    """Simple cubic array of spheres [Sangani1983, eq. 37]."""

    def term(n: int) -> float:
        return (permittivity - 1.0) / (permittivity + 2.0 * n / (2.0 * n - 1.0))

    f = filling
    denominator = -1.0 / term(1) + f
    denominator += 1.305 * term(2) * f ** (10 / 3) * (1 + 0.231 * term(3) * f ** (11 / 3))
    denominator += 0.0723 * term(3) * f ** (14 / 3) + 0.153 * term(4) * f**6
    return 1.0 - 3.0 * f / denominator


def test_the_polarisability_of_a_sphere_converges_at_second_order() -> None:
    walls = Walls(x=("periodic",) * 2, y=("periodic",) * 2, z=("periodic",) * 2)
    exact = array_permittivity(4.0 / 3.0 * math.pi * 0.25**3, 4.0)
    errors, sizes = [], (16, 24, 32)
    for n in sizes:
        line = torch.linspace(0.0, 1.0, n + 1, dtype=torch.float64)
        media = scene_media(filled(sphere((0.513, 0.507, 0.521), 0.25), 4.0), Grid(x=line, y=line, z=line), walls=walls)
        found = 1.0 / inverse_of_the_array(media, n)
        errors.append(abs((found - 1.0) / (exact - 1.0) - 1.0))
        if n == 16:
            alone = 1.0 / inverse_of_the_array(tree.replace(media, coupling=None), n)
            assert abs((alone - 1.0) / (exact - 1.0) - 1.0) > 4.0 * errors[0]
    assert errors[-1] < 2e-3
    assert math.log(errors[0] / errors[-1]) / math.log(sizes[-1] / sizes[0]) > 1.7


@pytest.mark.parametrize("wall", ["pmc", "pec"])
def test_half_a_body_beside_a_wall_is_the_whole_one(wall: str) -> None:
    half = uneven(7, 6.0, 4)
    line = uneven(11, 9.0, 5)
    whole = torch.cat([-half[1:].flip(0), half])
    body = filled(sphere((0.0, 4.4, 4.7), 3.3), 6.0)
    sides = Walls(x=(wall, "pec"))  # type: ignore[arg-type]
    n = len(half) - 1
    fields = []
    for x, walls in ((half, sides), (whole, Walls())):
        grid = Grid(x=x, y=line, z=line)
        media = scene_media(body, grid, walls=walls)
        step = yee_step(grid, media, walls=walls, engine="reference")
        if not fields:
            start = noise(media)
            dt = 0.9 * grid.courant_limit()
        else:
            sign = 1.0 if wall == "pmc" else -1.0
            mirrored = torch.zeros_like(media.permittivity)
            mirrored[:, n:] = start
            mirrored[0, :n] = -sign * start[0, :n].flip(0)
            mirrored[1:, :n] = sign * start[1:, 1:].flip(1)
            start = mirrored
        fields.append(step.advance(tree.replace(step.start(), electric=start), 0.0, dt, 20).electric)
    assert float((fields[1][:, n:] - fields[0]).abs().max()) < 1e-10 * float(fields[0].abs().max())
