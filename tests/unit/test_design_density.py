"""Filters, projections, lengths and regions of a design."""

from __future__ import annotations

import math

import pytest
import torch

from elec.design import (
    Region,
    cell_media,
    design_media,
    filter_density,
    gray_level,
    minimum_lengths,
    mixture,
    pattern_part,
    project,
    project_smoothly,
)
from elec.design.lengths import erosion_threshold, length_constraints
from elec.grid import Grid
from elec.materials import PEC, Material
from mindsci.errors import InputError

CELL = 1e-3


def sizes(*counts: int) -> list[torch.Tensor]:
    return [torch.full((count,), CELL, dtype=torch.float64) for count in counts]


def random(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def region(**changes: object) -> Region:
    line = CELL * torch.arange(25, dtype=torch.float64)
    grid = Grid(x=line, y=line.clone(), z=line[:3].clone())
    options: dict = {"grid": grid, "low": (4, 4, 0), "high": (20, 20, 2), "filter_radius": 3e-3, "uniform": (2,)}
    return Region(**(options | changes))


@pytest.mark.parametrize("kernel", ["conic", "gaussian"])
def test_a_filter_leaves_a_constant_alone(kernel: str) -> None:
    density = torch.full((9, 7, 1), 0.3, dtype=torch.float64)
    found = filter_density(density, sizes(9, 7, 1), 3.4 * CELL, kernel=kernel)
    torch.testing.assert_close(found, density)


@pytest.mark.parametrize("kernel", ["conic", "gaussian"])
def test_a_filter_has_no_preferred_direction(kernel: str) -> None:
    density = random(9, 9, 1)
    found = filter_density(density, sizes(9, 9, 1), 2.5 * CELL, kernel=kernel)
    for change in (lambda x: x.flip(0), lambda x: x.flip(1), lambda x: x.transpose(0, 1)):
        again = filter_density(change(density), sizes(9, 9, 1), 2.5 * CELL, kernel=kernel)
        torch.testing.assert_close(again, change(found))


@pytest.mark.parametrize("kernel", ["conic", "gaussian"])
def test_both_kernels_spread_a_point_equally_far(kernel: str) -> None:
    """Second moment of a cone of radius r: 3 r^2 / 20 along each axis; the cells add up to their own width."""
    density = torch.zeros(61, 61, 1, dtype=torch.float64)
    density[30, 30] = 1.0
    found = filter_density(density, sizes(61, 61, 1), 15 * CELL, kernel=kernel)[:, :, 0]
    offsets = torch.arange(61, dtype=torch.float64) - 30
    assert float((found.sum(1) * offsets**2).sum()) == pytest.approx(0.15 * 15**2, rel=0.02)


@pytest.mark.parametrize("kernel", ["conic", "gaussian"])
def test_the_gradient_of_a_filter_is_right(kernel: str) -> None:
    density = random(5, 4, 2).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: filter_density(x, sizes(5, 4, 2), 2.2 * CELL, kernel=kernel),
        (density,),  # type: ignore[arg-type]
    )


def test_the_gaussian_filter_does_not_depend_on_how_the_axis_is_divided() -> None:
    coarse = torch.full((12,), 2 * CELL, dtype=torch.float64)
    uneven = torch.cat([torch.full((6,), 2 * CELL), torch.full((12,), CELL)]).double()
    values = torch.cat([torch.zeros(4), torch.ones(8)]).double()
    split = torch.cat([values[:6], values[6:].repeat_interleave(2)])
    one = filter_density(values[:, None, None], [coarse, *sizes(1, 1)], 5 * CELL, kernel="gaussian")[:6]
    other = filter_density(split[:, None, None], [uneven, *sizes(1, 1)], 5 * CELL, kernel="gaussian")[:6]
    torch.testing.assert_close(one, other)


def test_the_conic_filter_refuses_uneven_cells() -> None:
    uneven = [torch.tensor([1.0, 1.0, 1.5]) * CELL, *sizes(1, 1)]
    with pytest.raises(InputError, match="gaussian"):
        filter_density(torch.ones(3, 1, 1), uneven, 2 * CELL)


def test_a_projection_keeps_zero_and_one_and_tends_to_both_limits() -> None:
    density = torch.linspace(0, 1, 11, dtype=torch.float64)
    torch.testing.assert_close(project(density, 0.0), density)
    torch.testing.assert_close(project(density, 1e-3), density, rtol=0, atol=1e-6)
    steep = project(density, 200.0, 0.45)
    torch.testing.assert_close(steep, project(density, math.inf, 0.45), rtol=0, atol=1e-6)
    for beta in (1.0, 8.0, 64.0):
        ends = project(torch.tensor([0.0, 1.0], dtype=torch.float64), beta, 0.3)
        torch.testing.assert_close(ends, torch.tensor([0.0, 1.0], dtype=torch.float64))


def test_the_smoothed_projection_of_a_slope_moves_with_it_when_beta_is_infinite() -> None:
    """A border at x fills the cells up to it. The fill is that of a round neighbourhood of 0.55 cells about the centre,
    a quintic, which follows the length to 0.14 cells and grows with it all the way."""
    sums = []
    for border in (4.0, 4.25, 4.5, 4.75, 5.0):
        centers = torch.arange(10, dtype=torch.float64) + 0.5
        density = (0.5 + 0.1 * (border - centers)).reshape(-1, 1, 1)
        found = project_smoothly(density, sizes(10, 1, 1), math.inf)
        sums.append(float(found.sum()))
        assert sums[-1] == pytest.approx(border, abs=0.14)
    assert sums == sorted(sums) and sums[2] == pytest.approx(4.5)


def test_the_smoothed_projection_has_a_gradient_where_beta_is_infinite() -> None:
    density = (0.1 * torch.arange(10, dtype=torch.float64)).reshape(-1, 1, 1).requires_grad_()
    (slope,) = torch.autograd.grad(project_smoothly(density, sizes(10, 1, 1), math.inf, 0.47).sum(), density)
    assert bool((slope.abs() > 0).any()) and bool(slope.isfinite().all())


def test_gray_level_is_zero_for_a_pattern_and_one_for_half() -> None:
    assert float(gray_level(torch.tensor([0.0, 1.0, 1.0]))) == 0.0
    assert float(gray_level(torch.full((4,), 0.5))) == 1.0


@pytest.mark.parametrize("width", [1, 2, 3, 4, 7, 15])
def test_the_width_of_a_strip_and_of_a_gap_is_measured_to_the_cell(width: int) -> None:
    pattern = torch.zeros(60, 60, dtype=torch.bool)
    pattern[20 : 20 + width] = True
    assert minimum_lengths(pattern, CELL).solid == pytest.approx(width * CELL)
    assert minimum_lengths(pattern.T, CELL).solid == pytest.approx(width * CELL)
    assert minimum_lengths(~pattern, CELL).void == pytest.approx(width * CELL)


def test_the_diameter_of_a_disc_and_a_slanted_strip_are_measured_within_two_cells() -> None:
    i, j = torch.meshgrid(torch.arange(80.0), torch.arange(80.0), indexing="ij")
    disc = (i - 40) ** 2 + (j - 40) ** 2 <= 8.5**2
    assert 15 <= minimum_lengths(disc, 1.0).solid <= 17
    slanted = (3 * i + 2 * j - 200).abs() <= 5 * math.sqrt(13)
    assert 9 <= minimum_lengths(slanted, 1.0).solid <= 11


def test_a_pattern_of_one_kind_has_no_width() -> None:
    assert minimum_lengths(torch.ones(8, 8, dtype=torch.bool), CELL).smallest == math.inf


def test_the_length_constraint_holds_for_wide_strips_and_not_for_thin_ones() -> None:
    radius, length = 6 * CELL, 6 * CELL
    found = []
    for width in (3, 12):
        pattern = torch.zeros(60, 1, 1, dtype=torch.float64)
        pattern[30 - width // 2 : 30 - width // 2 + width] = 1.0
        filtered = filter_density(pattern, sizes(60, 1, 1), radius)
        solid, void = length_constraints(
            filtered, project(filtered, 16.0, 0.3), sizes(60, 1, 1), length=length, radius=radius
        )
        found.append(float(solid))
        assert float(void) < 1e-5
    assert found[0] > 1e-4 and found[1] < 1e-2 * found[0]


def test_the_erosion_threshold_is_that_of_a_strip_under_the_cone() -> None:
    """A strip of width b under a cone of radius R in one dimension reaches b/R - b^2 / (4 R^2) in its middle."""
    assert erosion_threshold(2.0, 1.0) == pytest.approx(1.0)
    assert erosion_threshold(1.0, 1.0) == pytest.approx(0.75)
    with pytest.raises(InputError, match="twice"):
        erosion_threshold(3.0, 1.0)


def test_symmetry_and_fixed_cells_hold_in_the_density() -> None:
    solid = torch.zeros(16, 16, 2, dtype=torch.bool)
    solid[:2] = True
    void = torch.zeros_like(solid)
    void[-2:] = True
    density = region(symmetry=("y",), solid=solid, void=void).density(random(16, 16, 1), 8.0)
    assert density.shape == (16, 16, 2)
    torch.testing.assert_close(density, density.flip(1))
    assert bool((density[:2] == 1).all()) and bool((density[-2:] == 0).all())
    exchanged = region(symmetry=("xy",)).density(random(16, 16, 1), 8.0)
    torch.testing.assert_close(exchanged, exchanged.transpose(0, 1))


def test_a_region_outside_the_grid_is_refused() -> None:
    with pytest.raises(InputError, match="low < high"):
        region(high=(26, 20, 2))


def test_media_of_a_uniform_density_are_those_of_the_material() -> None:
    design = region()
    materials = mixture(Material(name="air"), Material(name="glass", relative_permittivity=4.0, conductivity=0.1))
    media = design_media(design, torch.ones(design.cells, dtype=torch.float64), materials, background=4.0)
    torch.testing.assert_close(media.permittivity[0, :-1], torch.full_like(media.permittivity[0, :-1], 4.0))
    assert float(media.conductivity[2, 10, 10, 0]) == pytest.approx(0.1)
    assert float(media.conductivity[2, 1, 1, 0]) == 0.0


def test_a_diagonal_mixture_takes_each_component_from_its_own_axis() -> None:
    media = cell_media(region().grid, [torch.full((24, 24, 2), value).double() for value in (2.0, 3.0, 4.0)])
    assert [float(media.permittivity[axis, 5, 5, 0]) for axis in range(3)] == [2.0, 3.0, 4.0]


def test_metal_cannot_be_mixed() -> None:
    with pytest.raises(InputError, match="shape"):
        mixture(Material(name="air"), PEC)


def test_a_pattern_becomes_a_closed_part_of_its_volume() -> None:
    design = region(smooth=False)
    pattern = design.binary(random(16, 16, 1))
    part = pattern_part(design, pattern, "design", material="glass")
    corners = part.triangles()
    volume = float((corners[:, 0] * torch.linalg.cross(corners[:, 1], corners[:, 2])).sum() / 6.0)
    assert volume == pytest.approx(float(pattern.sum()) * CELL**3)


def test_a_refined_region_keeps_its_pattern() -> None:
    design = region()
    finer = design.refined(2)
    assert finer.cells == (32, 32, 2)
    torch.testing.assert_close(finer.box().x[::2], design.box().x)
    assert finer.refine(design.binary(random(16, 16, 1)), 2).shape == finer.cells
