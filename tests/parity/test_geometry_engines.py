"""The compiled loops over points give the numbers of plain torch: to rounding, on closed, open and crossing meshes."""

from __future__ import annotations

import pytest
import torch

from elec.geometry import Part, box, faceted, inside, signed_distance, sphere, torus, winding_number
from elec.geometry.surface import tree_of_boxes
from mindsci.errors import UnknownNameError

RING = faceted(torus((0.1, 0.0, 0.0), (1, 2, 3), 0.8, 0.3), "ring", segments=24)


def crossing() -> Part:
    """Two balls that cut through each other, in one part."""
    first, second = (faceted(sphere((x, 0.1, 0), 0.7), "ball", segments=20) for x in (-0.3, 0.4))
    faces = torch.cat([first.faces, second.faces + len(first.vertices)])
    return Part(name="two", vertices=torch.cat([first.vertices, second.vertices]), faces=faces)


PARTS = {
    "cube": box((-1, -1, -1), (1, 1, 1)).part("cube", material="pec"),
    "one triangle": Part(
        name="flat",
        vertices=torch.tensor([[0.0, 0, 0], [1, 0, 0.2], [0, 1, 0.1]], dtype=torch.float64),
        faces=torch.tensor([[0, 1, 2]]),
    ),
    "ring": RING,
    "ring with holes": Part(name="open", vertices=RING.vertices, faces=RING.faces[100:]),
    "every other triangle": Part(name="open", vertices=RING.vertices, faces=RING.faces[::2]),
    "crossing": crossing(),
}


def points(n: int) -> torch.Tensor:
    return 3.0 * torch.rand(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5)) - 1.5


@pytest.mark.parametrize("name", PARTS)
def test_engines_agree_on_winding_inside_and_distance(name):
    part, p = PARTS[name], points(1500)
    reference = winding_number(part, p, engine="reference")
    assert torch.allclose(winding_number(part, p, engine="numba"), reference, atol=1e-11)
    clear = (reference - 0.5).abs() > 1e-9
    assert torch.equal(inside(part, p, engine="numba")[clear], inside(part, p, engine="reference")[clear])
    distance = signed_distance(part, p, engine="reference")
    assert torch.allclose(signed_distance(part, p, engine="numba")[clear], distance[clear], atol=1e-13)


def test_points_on_a_lattice_through_the_vertices_wind_a_whole_number_of_times():
    x = torch.linspace(-1.5, 1.5, 13, dtype=torch.float64)
    lattice = torch.stack(torch.meshgrid(x, x, x, indexing="ij"), -1).reshape(-1, 3)
    found = winding_number(PARTS["cube"], lattice, engine="numba")
    depth = lattice.abs().amax(1)
    assert torch.equal(found[depth < 1], torch.ones(int((depth < 1).sum()), dtype=torch.float64))
    assert torch.equal(found[depth > 1], torch.zeros(int((depth > 1).sum()), dtype=torch.float64))


def test_the_numbers_do_not_depend_on_threads_or_pieces(monkeypatch):
    p = points(3000)
    whole = signed_distance(RING, p, engine="numba")
    monkeypatch.setattr("elec.geometry.surface.POINTS_AT_ONCE", 257)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(signed_distance(RING, p, engine="numba"), whole)


def test_vertices_changed_in_place_are_seen():
    part = Part(name="cube", vertices=PARTS["cube"].vertices.clone(), faces=PARTS["cube"].faces)
    p = torch.tensor([[2.0, 0.0, 0.0]], dtype=torch.float64)
    assert float(signed_distance(part, p, engine="numba")) == pytest.approx(1.0)
    part.vertices.mul_(1.5)
    assert float(signed_distance(part, p, engine="numba")) == pytest.approx(0.5)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 100, 1000])
def test_every_triangle_is_in_a_leaf_and_every_box_holds_its_triangles(n):
    triangles = torch.rand(n, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(n)).numpy()
    order, nodes = tree_of_boxes(triangles)
    assert set(order.tolist()) == set(range(n))
    leaves = len(nodes) // 2
    for node in range(1, len(nodes)):
        level = node.bit_length() - 1
        held = order.reshape(2**level, -1)[node - 2**level]
        axes, low, high = nodes[node, :9].reshape(3, 3), nodes[node, 9:12], nodes[node, 12:]
        along = triangles[held].reshape(-1, 3) @ axes.T
        assert (along >= low - 1e-12).all() and (along <= high + 1e-12).all()
    assert len(order) % leaves == 0


def test_an_unknown_engine_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'numba'"):
        winding_number(RING, points(2), engine="nunba")
