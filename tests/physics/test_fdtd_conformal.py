"""Conformal metal: cavities whose walls cut cells at any place and slant.

Cylinder of radius 20 mm and length 30 mm: roots of J0, J1' and p pi / d give TM010 5.737126, TE111 6.652754 and TM011
7.607893 GHz [Pozar2012, sec. 6.4]. The scheme with cut cells is second order [Dey1997]. Errors of single modes change
their sign from grid to grid, so the order is the slope of their root mean square over three grids; 1.8 leaves room for
the positions of walls in cells, which are not the same on all of them. Staircase walls give slopes near one.

The time step is 0.99 of the Courant limit of the plain scheme throughout; the energy of a lossless leapfrog is constant
to rounding if it is stable (1e-9: some 1e3 steps in double precision), and grows without bound if not.
"""

from __future__ import annotations

import math

import pytest
import torch

from elec.fdtd import point_probe, yee_step
from elec.fdtd.conformal import conformal_media, cut_scene_media
from elec.fdtd.energy import oscillation_frequency
from elec.fdtd.media import uniform_media
from elec.fdtd.stability import largest_time_step, unstable_edges
from elec.geometry import Scene, box, cylinder, sphere
from elec.geometry.scene import Body
from elec.grid import Grid
from elec.validation.cavities import (
    CYLINDER,
    SPHERE,
    _energy_left,
    cylinder_case,
    multiplet_errors,
    refined,
    sphere_case,
)
from elec.validation.multiplets import multiplet
from mindsci import tree
from mindsci.errors import InputError
from mindsci.solvers import rollout

CASES = {
    "on the grid": (CYLINDER, cylinder_case),
    "ends between grid planes": (CYLINDER, lambda cells: cylinder_case(cells, shift=(0.3, 0.17, 0.4))),
    "axis at 40 degrees to the grid": (CYLINDER, lambda cells: cylinder_case(cells, tilt=0.7)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_frequencies_of_a_cut_cavity_converge_at_second_order(name: str) -> None:
    modes, case = CASES[name]
    rows = refined(name, modes, case, counts=(12, 17, 24))
    assert rows[-1].measured > 1.8


def test_frequencies_of_the_cylinder_are_within_a_tenth_of_a_percent_at_20_cells_across() -> None:
    (row,) = refined("cylinder", CYLINDER, cylinder_case, counts=(20,))
    assert abs(row.measured) < 0.1


@pytest.mark.parametrize("tilt", [0.0, 0.35])
def test_energy_is_kept_at_the_ordinary_time_step(tilt: float) -> None:
    grid, media = cylinder_case(10, tilt=tilt)
    assert _energy_left(grid, media, 2_000) == pytest.approx(1.0, abs=1e-9)


def test_the_mean_of_each_multiplet_of_a_sphere_converges_at_second_order() -> None:
    """Single members split and change places from grid to grid: only the mean is independent of the grid's choice."""
    counts = (10, 14)
    errors = [multiplet_errors(cells)[0] for cells in counts]
    sizes = [math.hypot(*error.values()) for error in errors]
    assert math.log(sizes[0] / sizes[1]) / math.log(counts[1] / counts[0]) > 1.8


def test_a_member_of_a_multiplet_oscillates_at_its_own_frequency() -> None:
    """The run and the eigenvalue are one scheme: a field that starts in a member stays in it, to rounding."""
    grid, media = sphere_case(8)
    dt = 0.99 * grid.courant_limit()
    found, fields = multiplet(grid, media, SPHERE["TM101"], 3, dt)
    start = torch.from_numpy(fields[0])
    place = [int(index) for index in torch.unravel_index(start.abs().argmax(), start.shape)]
    step = yee_step(grid, media, probes=[point_probe(place[0], place[1:])], engine="reference")
    run, _ = rollout(step, tree.replace(step.start(100), electric=start), n_steps=100, dt=dt)
    measured = oscillation_frequency(run.records[0], dt)
    assert measured == pytest.approx(float(found[0]), rel=1e-9)


STABLE = {
    "ends between grid planes": lambda: cylinder_case(10, shift=(0.3, 0.17, 0.4)),
    "sphere": lambda: sphere_case(10),
    # A mode at one cut that misses the step by 1e-4: it grows slowly, and noise holds little of it.
    "sphere of 24 cells": lambda: sphere_case(24, shift=(0.1, 0.45, 0.25)),
}


@pytest.mark.parametrize("name", STABLE)
def test_the_largest_stable_step_is_at_least_the_one_asked_for(name: str) -> None:
    grid, media = STABLE[name]()
    assert largest_time_step(grid, media, n_iterations=200) >= 0.99 * grid.courant_limit()


def test_metal_changes_no_cell_that_it_does_not_touch() -> None:
    """Two cells from the surface the media are those of the filling: area moves between neighbours only."""
    grid, media = cylinder_case(16, tilt=0.7)
    x, y, z = (grid.centers(axis) for axis in range(3))
    axis = torch.tensor([math.sin(0.7), 0.0, math.cos(0.7)], dtype=torch.float64)
    center = torch.stack(torch.meshgrid(x, y, z, indexing="ij"), dim=-1)
    along = (center * axis).sum(-1)
    across = (center - along[..., None] * axis).norm(dim=-1)
    deep = (across < 20e-3 - 4 * 2.5e-3) & (along.abs() < 15e-3 - 4 * 2.5e-3)
    inner = media.permeability[:, :-1, :-1, :-1][:, deep]
    assert bool(deep.any())
    assert torch.equal(inner, torch.ones_like(inner))


def test_unstable_edges_are_found_where_the_step_is_too_long_and_nowhere_else() -> None:
    nodes = torch.arange(13, dtype=torch.float64)
    grid = Grid(x=nodes, y=nodes, z=nodes)
    permeability = torch.ones(3, 13, 13, 13, dtype=torch.float64)
    permeability[2, 6, 6, 6] = 0.2
    media = uniform_media(grid, permeability=permeability)
    dt = 0.99 * grid.courant_limit()
    assert not bool(unstable_edges(grid, uniform_media(grid), dt).any())
    found = unstable_edges(grid, media, dt).nonzero()
    assert len(found) > 0
    assert int((found[:, 1:] - 6).abs().max()) <= 3
    assert largest_time_step(grid, uniform_media(grid)) == pytest.approx(grid.courant_limit(), rel=0.02)


def test_a_step_above_the_courant_limit_is_refused_with_the_largest_that_is_stable() -> None:
    nodes = 1e-3 * torch.arange(9, dtype=torch.float64)
    grid = Grid(x=nodes, y=nodes, z=nodes)
    scene = Scene(parts=(Body(name="ball", solid=sphere((4.1e-3, 4e-3, 4e-3), 1.7e-3)),), materials={})
    with pytest.raises(InputError, match=r"above the largest stable step .* use dt <="):
        cut_scene_media(scene, grid, dt=1.05 * grid.courant_limit())


def test_gradients_reach_a_radius_through_cut_cells() -> None:
    """Media of a hollow cylinder against central differences: rounding over a step of 1e-7 of the radius, 1e-5."""
    nodes = 1e-3 * torch.arange(-6, 7, dtype=torch.float64)
    grid = Grid(x=nodes, y=nodes, z=nodes[:6])
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(2, 3, 13, 13, 6, generator=generator, dtype=torch.float64)

    def weighed(radius: torch.Tensor) -> torch.Tensor:
        wall = box((-1, -1, -1), (1, 1, 1)) - cylinder((0.2e-3, 0.1e-3, -1.0), (0.2e-3, 0.1e-3, 1.0), radius)
        media = cut_scene_media(Scene(parts=(Body(name="wall", solid=wall),), materials={}), grid)
        return (weights[0] / media.permittivity).sum() + (weights[1] * media.permeability).sum()

    radius = torch.tensor(4.3e-3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(weighed(radius), radius)
    with torch.no_grad():
        step = 1e-7 * radius
        difference = float((weighed(radius + step) - weighed(radius - step)) / (2.0 * step))
    assert float(gradient) == pytest.approx(difference, rel=1e-5)


def test_fractions_of_one_leave_the_media_as_they_are() -> None:
    nodes = torch.arange(5, dtype=torch.float64)
    grid = Grid(x=nodes, y=nodes, z=nodes)
    media = uniform_media(grid)
    whole = torch.ones(3, 5, 5, 5, dtype=torch.float64)
    same = conformal_media(media, whole, whole, grid)
    assert torch.equal(same.metal, media.metal)
    assert torch.equal(same.permeability, media.permeability)
