"""Round solids, strips, and solids that are turned, mirrored, scaled or taken apart."""

from __future__ import annotations

import math

import pytest
import torch

from elec.geometry import (
    Scene,
    box,
    cone,
    cylinder,
    extrusion,
    faceted,
    mesh_solid,
    signed_distance,
    sphere,
    strip,
    symmetric_difference,
    torus,
    wire,
)
from elec.geometry.scene import Body
from mindsci.errors import InputError


def points(n: int = 400, low: float = -2.0, high: float = 2.0) -> torch.Tensor:
    return low + (high - low) * torch.rand(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


ROUND = {
    "sphere": (sphere((0.1, 0.2, 0.0), 0.9), 4 / 3 * math.pi * 0.9**3),
    "cylinder": (cylinder((0, -0.5, 0), (0.3, 0.8, 0.2), 0.6), math.pi * 0.36 * math.sqrt(0.09 + 1.69 + 0.04)),
    "cone": (cone((0, 0, -1), (0, 0, 1), 0.9), math.pi * 0.81 * 2 / 3),
    "frustum": (cone((-1, 0, 0), (0.5, 0, 0), 0.4, 0.9), math.pi * 1.5 / 3 * (0.16 + 0.36 + 0.81)),
    "torus": (torus((0, 0.1, 0), (1, 1, 0.5), 1.0, 0.3), 2 * math.pi**2 * 0.09),
}


@pytest.mark.parametrize("name", ROUND)
def test_inscribed_meshes_approach_the_solid_at_second_order(name):
    """Volume and distance of n segments differ from the solid's by a term in 1 / n^2: their ratio at 2 n is 4."""
    solid, volume = ROUND[name]
    errors, gaps = [], []
    for segments in (16, 32):
        part = faceted(solid, name, segments=segments)
        errors.append(volume - part.volume())
        gaps.append(float((signed_distance(part, points()) - solid.signed_distance(points())).abs().max()))
        assert bool((solid.signed_distance(part.vertices).abs() < 1e-12).all())
    assert errors[0] / errors[1] == pytest.approx(4.0, abs=0.2)
    assert gaps[0] / gaps[1] > 3.0
    assert gaps[1] < 2.5 * (1 - math.cos(math.pi / 32))


def test_a_straight_wire_is_a_cylinder_with_round_ends():
    rod = cylinder((0, 0, -1), (0, 0, 1), 0.3) | sphere((0, 0, -1), 0.3) | sphere((0, 0, 1), 0.3)
    straight = wire([(0, 0, -1), (0, 0, 1)], 0.3)
    outside = rod.signed_distance(points()) > 0
    p = points()[outside]
    assert torch.allclose(straight.signed_distance(p), rod.signed_distance(p), atol=1e-12)
    bent = wire([(0, 0, -1), (0, 0, 1), (1, 0, 1)], 0.3)
    assert bool((bent.signed_distance(points()) <= straight.signed_distance(points())).all())


def test_a_mitred_strip_has_the_area_of_its_path_times_its_width():
    # A mitre adds outside of a bend what it takes away inside: the area is the length of the path times the width.
    path = [(0.0, 0.0), (2.0, 0.0), (2.0, 1.5), (3.0, 2.5)]
    length = 3.5 + math.sqrt(2)
    part = strip(path, 0.2, 0.1, 0.15).part("trace", material="pec")
    assert part.volume() == pytest.approx(length * 0.2 * 0.05, rel=1e-12)
    middle = torch.tensor([[2.0, 0.75, 0.125], [2.0, 0.75, 0.225]], dtype=torch.float64)
    assert strip(path, 0.2, 0.1, 0.15).signed_distance(middle).tolist() == pytest.approx([-0.025, 0.075])


def test_exclusive_or_fills_what_exactly_one_fills():
    a, b = sphere((0, 0, 0), 1.0), box((0, -0.5, -0.5), (1.8, 0.5, 0.5))
    p = points()
    in_a, in_b = a.signed_distance(p) < 0, b.signed_distance(p) < 0
    assert torch.equal((a ^ b).signed_distance(p) < 0, in_a ^ in_b)
    assert torch.equal(symmetric_difference(a, b).signed_distance(p), (a ^ b).signed_distance(p))


ELL = [(0.0, 0.0), (1.0, 0.0), (1.0, 0.4), (0.3, 0.4), (0.3, 1.0), (0.0, 1.0)]


@pytest.mark.parametrize(
    "move",
    [
        lambda s: s.rotate((0, 0, 1), math.pi / 2),
        lambda s: s.rotate((1, 2, 3), 0.7, about=(0.2, 0.1, 0.3)),
        lambda s: s.scale(1.7, about=(0.5, 0.5, 0.5)),
        lambda s: s.mirror((1, 1, 0), through=(0.2, 0.0, 0.0)),
        lambda s: s.mirror((0, 0, 1)).scale(0.5).rotate((0, 1, 0), -1.0),
    ],
)
def test_a_moved_solid_has_the_distance_of_its_moved_mesh(move):
    solid = move(extrusion(ELL, -0.5, 0.5))
    part = solid.part("ell", material="pec")
    assert part.volume() > 0
    assert torch.allclose(solid.signed_distance(points()), signed_distance(part, points()), atol=1e-12)


def test_a_quarter_turn_takes_x_to_y():
    turned = sphere((1, 0, 0), 0.1).rotate((0, 0, 2), math.pi / 2)
    assert float(turned.signed_distance(torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))) == pytest.approx(-0.1)


def test_a_solid_of_triangles_takes_part_in_combinations():
    cube = mesh_solid(box((-1, -1, -1), (1, 1, 1)).part("cube", material="pec"))
    exact = box((-1, -1, -1), (1, 1, 1))
    ball = sphere((1, 1, 1), 0.8)
    p = points()
    assert torch.allclose((cube - ball).signed_distance(p), (exact - ball).signed_distance(p), atol=1e-12)
    moved = cube.translate((0.1, 0, 0)).rotate((0, 0, 1), 0.3)
    assert torch.allclose(
        moved.signed_distance(p), exact.translate((0.1, 0, 0)).rotate((0, 0, 1), 0.3).signed_distance(p), atol=1e-12
    )


def test_a_round_body_has_bounds_and_planes_in_a_scene():
    rod = Body(name="rod", solid=cylinder((0, 0, -1), (0, 0, 2), 0.5))
    ball = Body(name="ball", solid=sphere((3, 0, 0), 1.0))
    scene = Scene(parts=(rod, ball), materials={})
    for found, exact in zip(scene.bounds(), ((-0.5, 4.0), (-1.0, 1.0), (-1.0, 2.0)), strict=True):
        assert found == pytest.approx(exact)
    assert scene.planes() == ([], [], [-1.0, 2.0])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: cone((0, 0, 0), (0, 0, 0), 1.0), "has no length"),
        (lambda: cone((0, 0, 0), (0, 0, 1), 0.0, 0.0), "one must be positive"),
        (lambda: torus((0, 0, 0), (0, 0, 1), 1.0, 1.0), "the tube would cross itself"),
        (lambda: torus((0, 0, 0), (0, 0, 0), 1.0, 0.1), "has no direction"),
        (lambda: wire([(0, 0, 0)], 0.1), "at least 2 points"),
        (lambda: wire([(0, 0, 0), (0, 0, 0)], 0.1), "are the same; remove one"),
        (lambda: strip([(0, 0), (1, 0), (0, 0.01)], 0.1, 0, 1), "turns back by more than 150 degrees at [1.0, 0.0]"),
        (lambda: sphere((0, 0, 0), 1.0).rotate((0, 0, 0), 1.0), "has no direction"),
        (lambda: sphere((0, 0, 0), 1.0).scale(-1.0), "factor = -1 must be positive"),
        (lambda: faceted(sphere((0, 0, 0), 1.0), "ball", segments=2), "at least 3"),
        (lambda: faceted(wire([(0, 0, 0), (1, 0, 0)], 1.0), "wire"), "a wire has no exact mesh"),
    ],
)
def test_shapes_that_make_no_sense_are_refused(make, words):
    with pytest.raises(InputError) as refusal:
        make()
    assert words in str(refusal.value)
