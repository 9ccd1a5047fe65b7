"""A scene as tensors on a grid and as point clouds: known values, gradients, the same from a seed and from a file."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors import safe_open

from elec.geometry import (
    GridTensors,
    Scene,
    box,
    grid_tensors,
    load_tensors,
    save_tensors,
    sheet,
    sphere,
    surface_cloud,
    volume_cloud,
    wire,
)
from elec.geometry.scene import Body
from elec.grid import Grid
from elec.materials import Material, loss_tangent_conductivity
from mindsci import tree
from mindsci.errors import InputError

FREQUENCY = 2.4e9
BOARD = Material(
    name="board",
    relative_permittivity=(4.0, 4.0, 5.0),
    conductivity=loss_tangent_conductivity(0.02, 4.0, frequency=FREQUENCY),
)
BOX = [(-1.5, 1.5)] * 3


def grid(n: int = 12) -> Grid:
    x = torch.linspace(-1.5, 1.5, n + 1, dtype=torch.float64)
    return Grid(x=x, y=x.clone(), z=x.clone())


def scene(radius: float | torch.Tensor = 0.75) -> Scene:
    return Scene(
        parts=(
            box((-1, -1, -1), (1, 1, 0)).part("board", material="board"),
            sheet([(-1, -1), (1, -1), (1, 1), (-1, 1)], 0.0).part("ground"),
            Body(name="ball", solid=sphere((0, 0, 0.5), radius)),
        ),
        materials={"board": BOARD},
    )


def test_tensors_have_the_shape_of_the_grid_and_known_values():
    tensors = grid_tensors(scene(), grid(), frequency=FREQUENCY)
    assert tensors.solids == ("board", "ball")
    assert tensors.signed_distance.shape == tensors.fill.shape == tensors.occupancy.shape == (2, 12, 12, 12)
    # The cell whose centre is (0.125, 0.125, -0.625) is board; (1.375, 0.125, 0.125) is background.
    inside, outside = (slice(None), 6, 6, 3), (slice(None), 11, 6, 6)
    assert tensors.material.relative_permittivity[inside].tolist() == pytest.approx([4, 4, 5])
    assert tensors.material.relative_permittivity[outside].tolist() == pytest.approx([1, 1, 1])
    assert tensors.material.loss_tangent[inside].tolist() == pytest.approx([0.02, 0.02, 0.016])
    assert tensors.material.conductivity[inside].tolist() == pytest.approx([BOARD.conductivity] * 3)
    assert tensors.signed_distance[inside].tolist() == pytest.approx(
        [-0.375, math.sqrt(1.125**2 + 2 * 0.125**2) - 0.75]
    )
    volume = 0.25**3
    assert float(tensors.fill[0].sum()) * volume == pytest.approx(4.0, rel=1e-12)
    # Flat across cells: second order in the cell over the radius, which is 1 / 3.
    assert float(tensors.metal.sum()) * volume == pytest.approx(4 / 3 * math.pi * 0.75**3, rel=0.03)
    assert torch.equal(tensors.metal, tensors.fill[1])
    assert torch.equal(tensors.occupancy, tensors.signed_distance < 0)
    assert tensors.open_edges[0].shape == (12, 13, 13) and tensors.open_faces[0].shape == (13, 12, 12)
    # The sheet lies on the nodes z = 0 and leaves no length of its edges open.
    assert float(tensors.open_edges[0][2, 6, 6]) == 0.0 and float(tensors.open_edges[0][0, 6, 6]) == 1.0


def test_gradients_reach_the_parameters_of_a_body_through_every_tensor():
    radius = torch.tensor(0.71, dtype=torch.float64, requires_grad=True)
    for pick in (
        lambda t: t.signed_distance.sum(),
        lambda t: t.fill.sum(),
        lambda t: t.open_edges[1].sum(),
        lambda t: t.open_faces[2].sum(),
    ):
        (gradient,) = torch.autograd.grad(pick(grid_tensors(scene(radius), grid(), frequency=FREQUENCY)), radius)
        assert math.isfinite(float(gradient)) and float(gradient) != 0


def test_points_on_surfaces_lie_on_them_and_are_spread_by_area():
    n = 4000
    cloud = surface_cloud(scene(), n, seed=3, frequency=FREQUENCY)
    assert cloud.names == ("board", "ground", "ball")
    assert torch.allclose(cloud.normals.norm(dim=1), torch.ones(n, dtype=torch.float64))
    areas = torch.tensor([2 * 4 + 4 * 2, 4.0, 4 * math.pi * 0.75**2], dtype=torch.float64)
    share = torch.bincount(cloud.part, minlength=3) / n
    # A binomial share deviates by sqrt(p (1 - p) / n) < 0.008; four of these. The mesh has 0.1 % less area.
    assert torch.allclose(share.double(), areas / areas.sum(), atol=0.032)
    board, ball = cloud.part == 0, cloud.part == 2
    assert float(cloud.signed_distance[0][board].abs().max()) < 1e-12
    assert float(cloud.signed_distance[1][ball].abs().max()) < 1e-12
    center = torch.tensor([0, 0, 0.5], dtype=torch.float64)
    assert torch.allclose(cloud.normals[ball], (cloud.points[ball] - center) / 0.75, atol=1e-9)
    assert bool(cloud.metal[ball].all()) and not bool(cloud.metal[board].any())
    assert cloud.material.relative_permittivity[2][board].unique().tolist() == pytest.approx([5.0])


def test_the_surface_of_a_combination_holds_no_point_that_was_cut_away():
    """Half a ball: area 3 pi r^2, a third of it flat."""
    half = sphere((0, 0, 0), 1.0) - box((-2, -2, -2), (2, 2, 0))
    cloud = surface_cloud(Scene(parts=(Body(name="dome", solid=half),), materials={}), 3000, seed=1, frequency=1e9)
    assert bool((cloud.points[:, 2] > -1e-9).all())
    flat = cloud.points[:, 2].abs() < 1e-9
    assert float(flat.double().mean()) == pytest.approx(1 / 3, abs=4 * math.sqrt(2 / 9 / 3000))
    assert torch.allclose(cloud.normals[flat][:, 2], torch.full((int(flat.sum()),), -1.0, dtype=torch.float64))


def test_a_bent_wire_has_points_on_its_surface():
    bent = Body(name="wire", solid=wire([(0, 0, 0), (1, 0, 0), (1, 1, 0)], 0.1))
    cloud = surface_cloud(Scene(parts=(bent,), materials={}), 500, seed=1, frequency=1e9)
    assert float(cloud.signed_distance.abs().max()) < 1e-6


def test_points_in_the_volume_know_what_they_lie_in():
    n = 5000
    cloud = volume_cloud(scene(), n, BOX, seed=0, frequency=FREQUENCY)
    ball = float((cloud.part == 2).double().mean()) * 27
    volume = 4 / 3 * math.pi * 0.75**3
    assert ball == pytest.approx(volume, abs=4 * 27 * math.sqrt(volume / 27 / n))
    assert torch.equal(cloud.metal, cloud.part == 2)
    assert torch.equal(cloud.part == 2, cloud.signed_distance[1] < 0)
    away = cloud.part == -1
    assert bool((cloud.material.relative_permittivity[:, away] == 1).all())
    stepped = scene().parts[2].solid.signed_distance(cloud.points + 1e-3 * cloud.normals)
    nearest = cloud.signed_distance.abs().argmin(0) == 1
    assert torch.allclose((stepped - cloud.signed_distance[1])[nearest], torch.tensor(1e-3, dtype=torch.float64))


def test_the_same_seed_gives_the_same_points_and_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again = (volume_cloud(scene(), 50, BOX, seed=9, frequency=1e9).points for _ in range(2))
    other = volume_cloud(scene(), 50, BOX, seed=10, frequency=1e9).points
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", ["grid", "surface", "volume"])
def test_tensors_come_back_from_a_file_to_the_bit_with_their_units(kind, tmp_path):
    made = {
        "grid": lambda: grid_tensors(scene(), grid(6), frequency=FREQUENCY),
        "surface": lambda: surface_cloud(scene(), 40, seed=0, frequency=FREQUENCY),
        "volume": lambda: volume_cloud(scene(), 40, BOX, seed=0, frequency=FREQUENCY),
    }[kind]()
    save_tensors(tmp_path / "scene.safetensors", made)
    back = load_tensors(tmp_path / "scene.safetensors")
    assert type(back) is type(made) and back.frequency == FREQUENCY
    for (name, value), (other, loaded) in zip(tree.named_leaves(made), tree.named_leaves(back), strict=True):
        assert name == other and value.dtype == loaded.dtype and torch.equal(value, loaded)
    with safe_open(str(tmp_path / "scene.safetensors"), framework="pt") as stream:
        assert '"signed_distance": "m"' in stream.metadata()["units"]
    if isinstance(back, GridTensors):
        assert back.grid.shape == (6, 6, 6) and back.solids == ("board", "ball")


def test_what_makes_no_cloud_or_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="ask for at least 1"):
        surface_cloud(scene(), 0, seed=0, frequency=1e9)
    with pytest.raises(InputError, match="must be positive"):
        volume_cloud(scene(), 5, BOX, seed=0, frequency=0.0)
    with pytest.raises(InputError, match="a low and a higher end"):
        volume_cloud(scene(), 5, [(0, 1), (1, 0), (0, 1)], seed=0, frequency=1e9)
    with pytest.raises(InputError, match="there is no file"):
        load_tensors(tmp_path / "gone.safetensors")
