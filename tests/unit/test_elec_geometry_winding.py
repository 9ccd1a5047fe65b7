"""Inside and outside: winding numbers at points, and lines through whole lattices."""

from __future__ import annotations

import pytest
import torch

from elec.geometry import Part, box, extrusion, inside, signed_distance, sphere, winding_number
from elec.geometry.columns import inside_lattice, lengths_inside

CUBE = box((-1, -1, -1), (1, 1, 1)).part("cube", material="pec")


def axis(low: float, high: float, n: int) -> torch.Tensor:
    return torch.linspace(low, high, n, dtype=torch.float64)


def ball(subdivisions: int, radius: float = 1.0) -> Part:
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return Part(
        name="ball",
        vertices=torch.tensor(mesh.vertices, dtype=torch.float64),
        faces=torch.tensor(mesh.faces, dtype=torch.int64),
    )


def random_points(n: int, low: float, high: float) -> torch.Tensor:
    return low + (high - low) * torch.rand(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_winding_number_is_one_inside_and_nought_outside_a_closed_surface():
    part = ball(2)
    points = random_points(300, -1.5, 1.5)
    distance = signed_distance(part, points)
    clear = distance.abs() > 1e-6
    expected = (distance < 0).double()
    assert torch.allclose(winding_number(part, points)[clear], expected[clear], atol=1e-12)


def test_winding_number_counts_nested_surfaces():
    inner = box((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5)).part("inner", material="pec")
    both = torch.cat([CUBE.vertices, inner.vertices])
    at_centre = torch.zeros(1, 3, dtype=torch.float64)
    for faces, count in ((inner.faces, 2.0), (inner.faces.flip(1), 0.0)):
        part = Part(name="both", vertices=both, faces=torch.cat([CUBE.faces, faces + 8]))
        assert float(winding_number(part, at_centre)) == pytest.approx(count, abs=1e-12)
        z = axis(-0.9, 0.9, 7)
        columns = inside_lattice(part, z, z, z)
        assert bool(columns[3, 3, 3]) == (count > 0)
        assert bool(columns[0, 0, 0])


def test_the_answer_does_not_depend_on_the_size_of_the_pieces(monkeypatch):
    part, points = ball(2), random_points(200, -1.2, 1.2)
    whole = winding_number(part, points), signed_distance(part, points)
    monkeypatch.setattr("elec.geometry.winding.PAIRS_AT_ONCE", 700)
    assert torch.allclose(winding_number(part, points), whole[0], atol=1e-12)
    assert torch.equal(signed_distance(part, points), whole[1])


def test_signed_distance_of_a_fine_ball_is_that_of_the_sphere():
    points = random_points(100, -1.5, 1.5)
    exact = sphere((0, 0, 0), 1.0).signed_distance(points)
    # Chords of an icosphere of 5120 triangles lie at most 1 - cos(half an edge) = 1.7e-3 inside the sphere.
    assert torch.allclose(signed_distance(ball(4), points), exact, atol=2e-3)


@pytest.mark.parametrize("solid", ["ball", "ell"])
def test_lines_through_a_lattice_agree_with_winding_numbers(solid):
    ell = extrusion([(-1, -1), (1.2, -1), (1.2, 0.1), (0.1, 0.1), (0.1, 0.9), (-1, 0.9)], -0.7, 0.7, axis="x")
    part = ball(2) if solid == "ball" else ell.part("ell", material="pec")
    x, y, z = axis(-1.31, 1.3, 17), axis(-1.27, 1.28, 15), axis(-1.33, 1.26, 19)
    points = torch.stack(torch.meshgrid(x, y, z, indexing="ij"), dim=-1)
    expected = inside(part, points.reshape(-1, 3)).reshape(17, 15, 19)
    assert torch.equal(inside_lattice(part, x, y, z), expected)


def test_lines_that_hit_corners_and_edges_are_neither_counted_twice_nor_missed():
    # The lattice passes through every vertex, edge and face diagonal of the cube.
    x = axis(-1.5, 1.5, 7)
    z = axis(-1.25, 1.25, 6)
    filled = inside_lattice(CUBE, x, x, z)
    clear = (x.abs() < 1)[:, None, None] & (x.abs() < 1)[None, :, None] & (z.abs() < 1)
    beyond = (x.abs() > 1)[:, None, None] | (x.abs() > 1)[None, :, None] | (z.abs() > 1)
    assert bool(filled[clear].all())
    assert not bool(filled[beyond].any())
    # On the border itself each of the four sides is in or out as a whole.
    assert len(filled[1, 2:5, 1:5].unique()) == 1
    assert len(filled[2:5, 5, 1:5].unique()) == 1


def test_a_lattice_through_the_vertices_of_a_ball_has_no_leaks():
    part = ball(3)
    x = part.vertices[:, 0].unique()[::7]
    y = part.vertices[:, 1].unique()[::7]
    z = axis(-1.4, 1.4, 30)
    filled = inside_lattice(part, x, y, z)
    radius = (x[:, None, None].square() + y[None, :, None].square() + z.square()).sqrt()
    assert bool(filled[radius < 0.98].all())
    assert not bool(filled[radius > 1.0 + 1e-9].any())


def test_lengths_inside_add_up_to_the_chord():
    part = ball(4)
    x = axis(-0.9, 0.9, 10)
    nodes = axis(-1.5, 1.5, 21)
    lengths = lengths_inside(part, x, x, nodes)
    chord = 2 * (1 - x[:, None] ** 2 - x**2).clamp(min=0).sqrt()
    assert torch.allclose(lengths.sum(2)[chord > 0.5], chord[chord > 0.5], atol=0.02)
    assert bool((lengths <= nodes.diff() + 1e-12).all())


def test_a_part_outside_the_lattice_fills_nothing():
    far = axis(5, 6, 3)
    assert not bool(inside_lattice(CUBE, far, far, far).any())
    assert float(lengths_inside(CUBE, far, far, far).sum()) == 0.0
