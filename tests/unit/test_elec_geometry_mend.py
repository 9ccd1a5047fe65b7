"""Broken meshes: what is mended, what the winding number settles, and what is refused."""

from __future__ import annotations

import pytest
import torch

from elec.geometry import Part, box, faceted, read_part, read_solid, sphere, write_stl
from mindsci.errors import InputError

CUBE = box((0, 0, 0), (2, 2, 2)).part("cube", material="pec")
BALL = faceted(sphere((0, 0, 0), 1.0), "ball", segments=24)


def joined(*parts: Part) -> Part:
    starts = [0]
    for part in parts:
        starts.append(starts[-1] + len(part.vertices))
    faces = torch.cat([part.faces + start for part, start in zip(parts, starts, strict=False)])
    return Part(name="joined", vertices=torch.cat([part.vertices for part in parts]), faces=faces)


def reread(part: Part, folder, reader=read_solid):
    write_stl(folder / "x.stl", part, unit="m")
    return reader(folder / "x.stl", unit="m")


def filled(solid) -> float:
    """Volume by counting the points of a lattice of 0.1 that lies between the planes of the cubes."""
    x = torch.arange(-1.45, 4.5, 0.1, dtype=torch.float64)
    lattice = torch.stack(torch.meshgrid(x, x, x, indexing="ij"), -1).reshape(-1, 3)
    return float((solid.signed_distance(lattice) < 0).sum()) * 0.1**3


def test_a_flat_hole_is_closed_by_its_plane(tmp_path):
    """In the plane of a flat hole it takes up half of the full angle, so the winding number passes 1/2 there."""
    lid = (CUBE.vertices[CUBE.faces][..., 2] == 2).all(1)
    assert filled(reread(Part(name="x", vertices=CUBE.vertices, faces=CUBE.faces[~lid]), tmp_path)) == pytest.approx(
        8.0
    )


def test_repeated_and_flipped_faces_make_no_difference(tmp_path):
    faces = torch.cat([CUBE.faces[:5], CUBE.faces[5:].flip(1), CUBE.faces[:3], CUBE.faces[:2].flip(1)])
    assert filled(reread(Part(name="x", vertices=CUBE.vertices, faces=faces), tmp_path)) == pytest.approx(8.0)


@pytest.mark.parametrize("reader", [read_part, read_solid])
def test_a_body_inside_out_beside_another_is_turned(tmp_path, reader):
    other = box((3, 3, 3), (4, 4, 4)).part("other", material="pec")
    both = joined(CUBE, Part(name="x", vertices=other.vertices, faces=other.faces.flip(1)))
    found = reread(both, tmp_path, reader)
    volume = found.volume() if isinstance(found, Part) else filled(found)
    assert volume == pytest.approx(9.0)


def test_a_cavity_stays_empty_and_a_body_within_another_counts_once(tmp_path):
    inner = box((0.5, 0.5, 0.5), (1.5, 1.5, 1.5)).part("inner", material="pec")
    hollow = Part(name="x", vertices=inner.vertices, faces=inner.faces.flip(1))
    assert filled(reread(joined(CUBE, hollow), tmp_path)) == pytest.approx(7.0)
    assert filled(reread(joined(CUBE, inner), tmp_path)) == pytest.approx(8.0)


def test_bodies_that_cross_count_once(tmp_path):
    other = box((1, 1, 1), (3, 3, 3)).part("other", material="pec")
    assert filled(reread(joined(CUBE, other), tmp_path)) == pytest.approx(8 + 8 - 1)


def test_a_ball_with_a_torn_hole_loses_little(tmp_path):
    whole = filled(reread(BALL, tmp_path))
    torn = Part(name="x", vertices=BALL.vertices, faces=BALL.faces[30:])
    # 30 of about 530 faces are missing, a cap of 6 % of the area: at most a segment as flat as that is in doubt.
    assert filled(reread(torn, tmp_path)) == pytest.approx(whole, rel=0.03)


def test_walls_of_no_thickness_are_refused_with_a_place(tmp_path):
    sheet = Part(name="x", vertices=CUBE.vertices, faces=CUBE.faces[:2])
    with pytest.raises(InputError, match=r"100% of its area does not part .* as at \(.*\) mm"):
        reread(sheet, tmp_path)
