"""Constructive solids and their exact meshes."""

from __future__ import annotations

import math

import pytest
import torch

from elec.geometry import (
    box,
    cylinder,
    difference,
    extrusion,
    inside,
    intersection,
    sheet,
    sheets,
    signed_distance,
    sphere,
    union,
)
from elec.geometry.polygon import signed_area, triangulate
from mindsci.errors import InputError

ELL = [(0.0, 0.0), (3.0, 0.0), (3.0, 1.0), (1.0, 1.0), (1.0, 2.0), (0.0, 2.0)]


def points(n: int, *, low: float, high: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(n, 3, dtype=torch.float64, generator=generator)


def test_distances_of_the_primitives_at_points_known_by_hand():
    p = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [2.0, 2.0, 0.0]], dtype=torch.float64)
    cube = box((-1, -1, -1), (1, 1, 1))
    assert torch.allclose(cube.signed_distance(p), torch.tensor([-1.0, 2.0, math.sqrt(2)], dtype=torch.float64))
    ball = sphere((0, 0, 0), 1.0)
    assert torch.allclose(ball.signed_distance(p), torch.tensor([-1.0, 2.0, math.sqrt(8) - 1], dtype=torch.float64))
    rod = cylinder((0, 0, -2), (0, 0, 2), 1.0)
    assert torch.allclose(rod.signed_distance(p), torch.tensor([-1.0, 2.0, math.sqrt(8) - 1], dtype=torch.float64))
    above = torch.tensor([[0.0, 0.0, 3.0], [0.0, 4.0, 6.0]], dtype=torch.float64)
    assert torch.allclose(rod.signed_distance(above), torch.tensor([1.0, 5.0], dtype=torch.float64))


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_distance_of_an_extrusion_is_that_of_its_mesh(axis):
    solid = extrusion(ELL, 0.5, 1.5, axis=axis)
    part = solid.part("ell", material="pec")
    assert part.volume() == pytest.approx(4.0, rel=1e-14)
    p = points(400, low=-1, high=4)
    assert torch.allclose(solid.signed_distance(p), signed_distance(part, p), atol=1e-12)


def test_combinations_agree_with_logic_on_insides():
    a, b = sphere((0, 0, 0), 1.0), box((0, -0.5, -0.5), (2, 0.5, 0.5)).translate((0.1, 0.0, 0.0))
    p = points(1000, low=-1.5, high=2.5)
    in_a, in_b = a.signed_distance(p) < 0, b.signed_distance(p) < 0
    assert torch.equal((a | b).signed_distance(p) < 0, in_a | in_b)
    assert torch.equal((a & b).signed_distance(p) < 0, in_a & in_b)
    assert torch.equal((a - b).signed_distance(p) < 0, in_a & ~in_b)
    for written, combined in (
        (union(a, b), a | b),
        (intersection(a, b), a & b),
        (difference(a, b), a - b),
    ):
        assert torch.equal(written.signed_distance(p), combined.signed_distance(p))


def test_a_box_mesh_is_closed_and_exact():
    mesh = box((1, 2, 3), (2, 4, 6)).translate((0.5, 0, 0)).mesh()
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(6.0, rel=1e-14)
    assert mesh.bounds.tolist() == [[1.5, 2, 3], [2.5, 4, 6]]


@pytest.mark.parametrize("flip", [False, True])
def test_triangles_of_a_polygon_add_up_to_its_area(flip):
    teeth = [(float(i), float(i % 2) * 3) for i in range(9)] + [(8.0, -1.0), (0.0, -1.0)]
    for corners in (ELL, teeth, [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (0, 2)]):
        polygon = torch.tensor(corners[::-1] if flip else corners, dtype=torch.float64)
        pieces = polygon[triangulate(polygon)]
        areas = torch.stack([signed_area(piece) for piece in pieces])
        assert bool((areas > -1e-15).all())
        assert float(areas.sum()) == pytest.approx(abs(float(signed_area(polygon))), rel=1e-14)


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_a_sheet_lies_in_its_plane_and_faces_along_its_axis(axis):
    part = sheet(ELL, 0.25, axis=axis).part("trace")
    index = "xyz".index(axis)
    assert part.vertices[:, index].unique().tolist() == [0.25]
    a, b, c = part.triangles().unbind(1)
    assert bool((torch.linalg.cross(b - a, c - a)[:, index] > 0).all())
    assert part.area() == pytest.approx(4.0)


def test_several_sheets_make_one_part():
    part = sheets("two", [sheet(ELL, 0.0), sheet(ELL, 1.0, axis="x")])
    assert (len(part.faces), part.area(), part.kind) == (8, pytest.approx(8.0), "sheet")


def test_inside_of_a_part_is_inside_of_its_solid():
    solid = extrusion(ELL, 0.0, 1.0)
    p = points(500, low=-0.5, high=3.5)
    assert torch.equal(inside(solid.part("ell", material="pec"), p), solid.signed_distance(p) < 0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: box((0, 0, 0), (1, 0, 1)), "each high must be above its low"),
        (lambda: box((0, 0), (1, 1)), "three coordinates"),
        (lambda: sphere((0, 0, 0), -1.0), "radius = -1 m must be positive"),
        (lambda: cylinder((0, 0, 0), (0, 0, 0), 1.0), "has no length"),
        (lambda: extrusion(ELL, 1.0, 0.0), "high must be above low"),
        (lambda: extrusion(ELL, 0.0, 1.0, axis="w"), "unknown axis 'w'"),
        (lambda: sheet([(0, 0), (1, 1)], 0.0), "at least 3 corners"),
        (lambda: sheet([(0, 0), (1, 1), (2, 2)], 0.0).surface(), "without area"),
        (lambda: sheet([(0, 0), (2, 2), (2, 0), (0, 3)], 0.0).surface(), "crosses itself"),
        (lambda: sphere((0, 0, 0), 1.0).mesh(), "a sphere has no exact mesh"),
        (lambda: union(sphere((0, 0, 0), 1.0)).part("u", material="pec"), "a union has no exact mesh"),
    ],
)
def test_shapes_that_make_no_sense_are_refused(make, words):
    with pytest.raises((InputError, LookupError)) as refusal:
        make()
    assert words in str(refusal.value)
