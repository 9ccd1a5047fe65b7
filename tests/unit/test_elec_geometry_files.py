"""CAD files: what is read, what is written, and what is refused with which words."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pytest
import torch

from elec.geometry import Part, box, extrusion, planes, read_part, sheet, sheets, write_step, write_stl
from mindsci.errors import InputError, MissingExtraError

BOARD = box((0, 0, 0), (0.04, 0.04, 0.787e-3)).part("board", material="board")
TRACE = sheet([(0, 0.0084), (0.0284, 0.0084), (0.0284, 0.03), (0, 0.03)], 0.787e-3).part("trace")
ELL = extrusion([(0, 0), (3e-3, 0), (3e-3, 1e-3), (1e-3, 1e-3), (1e-3, 2e-3), (0, 2e-3)], 0.1e-3, 1.6e-3, axis="y")


def rows(values: torch.Tensor) -> list[list[float]]:
    return sorted(values.unique(dim=0).tolist())


def test_stl_gives_back_the_coordinates_that_were_typed(tmp_path):
    write_stl(tmp_path / "trace.stl", TRACE)
    part = read_part(tmp_path / "trace.stl", unit="mm", kind="sheet")
    assert rows(part.vertices) == rows(TRACE.vertices)
    assert (part.name, part.material, part.kind) == ("trace", "pec", "sheet")
    assert planes(part) == ([0.0, 0.0284], [0.0084, 0.03], [0.787e-3])


def test_stl_is_read_in_the_unit_that_is_given(tmp_path):
    write_stl(tmp_path / "board.stl", BOARD, unit="inch")
    part = read_part(tmp_path / "board.stl", unit="inch", name="substrate", material="board")
    assert torch.allclose(part.bounds(), BOARD.bounds(), rtol=1e-7)
    assert part.name == "substrate"


@pytest.mark.parametrize("solid", ["board", "ell", "frame", "two bodies"])
def test_step_written_here_comes_back_exactly_from_open_cascade(solid, tmp_path):
    pytest.importorskip("cascadio")
    part = {
        "board": lambda: BOARD,
        "ell": lambda: ELL.part("ell", material="pec"),
        "frame": frame,
        "two bodies": two_bodies,
    }[solid]()
    write_step(tmp_path / "part.step", part)
    back = read_part(tmp_path / "part.step")
    assert rows(back.vertices) == rows(part.vertices)
    assert back.volume() == pytest.approx(part.volume(), rel=1e-12)
    assert back.area() == pytest.approx(part.area(), rel=1e-12)


def frame() -> Part:
    """A square plate with a square hole: its flat faces have an inner rim."""
    outer, inner = [(0, 0), (4, 0), (4, 4), (0, 4)], [(1, 1), (3, 1), (3, 3), (1, 3)]
    vertices = [(x, y, z) for z in (0, 1) for x, y in (*outer, *inner)]
    faces = []
    for k in range(4):
        n = (k + 1) % 4
        faces += [(8 + k, 8 + n, 12 + n), (8 + k, 12 + n, 12 + k)]  # top
        faces += [(n, k, 4 + n), (4 + n, k, 4 + k)]  # bottom
        faces += [(k, n, 8 + n), (k, 8 + n, 8 + k)]  # outer walls
        faces += [(4 + n, 4 + k, 12 + n), (12 + n, 4 + k, 12 + k)]  # inner walls
    part = Part(name="frame", vertices=torch.tensor(vertices, dtype=torch.float64) * 1e-3, faces=torch.tensor(faces))
    assert part.volume() == pytest.approx(12e-9)
    return part


def two_bodies() -> Part:
    other = box((0, 0, 1e-3), (1e-3, 2e-3, 3e-3)).part("other", material="pec")
    vertices = torch.cat([BOARD.vertices, other.vertices])
    return Part(name="it's \\ two\u00e9", vertices=vertices, faces=torch.cat([BOARD.faces, other.faces + 8]))


def test_a_flat_face_is_written_once_not_as_triangles(tmp_path):
    write_step(tmp_path / "board.step", BOARD)
    text = (tmp_path / "board.step").read_text()
    assert (text.count("ADVANCED_FACE("), text.count("EDGE_CURVE(")) == (6, 12)


def test_step_refuses_what_it_cannot_describe(tmp_path):
    with pytest.raises(InputError, match="write a sheet with write_stl"):
        write_step(tmp_path / "x.step", TRACE)
    inner = box((0.01, 0.01, 0.2e-3), (0.02, 0.02, 0.4e-3)).part("inner", material="pec")
    faces = torch.cat([BOARD.faces, inner.faces.flip(1) + 8])
    hollow = Part(name="hollow", vertices=torch.cat([BOARD.vertices, inner.vertices]), faces=faces)
    with pytest.raises(InputError, match="'hollow' has a cavity"):
        write_step(tmp_path / "x.step", hollow)
    with pytest.raises(InputError, match="'open' is not closed"):
        write_step(tmp_path / "x.step", Part(name="open", vertices=BOARD.vertices, faces=BOARD.faces[1:]))


def test_faces_turned_inward_or_every_which_way_are_turned_outward(tmp_path):
    inward = Part(name="x", vertices=BOARD.vertices, faces=BOARD.faces.flip(1))
    mixed = Part(name="x", vertices=BOARD.vertices, faces=torch.cat([BOARD.faces[:5], BOARD.faces[5:].flip(1)]))
    for part in (inward, mixed):
        write_stl(tmp_path / "x.stl", part)
        assert read_part(tmp_path / "x.stl", unit="mm").volume() == pytest.approx(BOARD.volume(), rel=1e-12)


def test_vertices_that_nearly_meet_are_merged(tmp_path):
    torn = torch.cat([BOARD.triangles()]).reshape(-1, 3).clone()
    torn[::2] += 1e-10
    faces = torch.arange(len(torn)).reshape(-1, 3)
    write_stl(tmp_path / "x.stl", Part(name="x", vertices=torn, faces=faces), unit="m")
    assert len(read_part(tmp_path / "x.stl", unit="m").vertices) == 8


def test_ascii_stl_and_obj_are_read(tmp_path):
    mesh = ELL.mesh()
    for suffix in ("stl", "obj", "ply", "off"):
        kind = {"file_type": "stl_ascii"} if suffix == "stl" else {}
        mesh.export(tmp_path / f"ell.{suffix}", **kind)
        part = read_part(tmp_path / f"ell.{suffix}", unit="m")
        assert part.volume() == pytest.approx(6e-9, rel=1e-6)


def broken_stl(n_declared: int) -> bytes:
    return b"x".ljust(80, b"\0") + struct.pack("<I", n_declared) + b"\1" * 30


@pytest.mark.parametrize(
    ("name", "content", "options", "words"),
    [
        ("gone.stl", None, {"unit": "mm"}, "there is no CAD file"),
        ("empty.stl", b"", {"unit": "mm"}, "is empty (0 bytes)"),
        ("void.stl", b"solid Empty\nendsolid Empty\n", {"unit": "mm"}, "holds no triangles"),
        ("broken.stl", broken_stl(1000), {"unit": "mm"}, "is cut short: it declares 1000 triangles"),
        ("noise.ply", b"\x80\x81noise", {"unit": "mm"}, "cannot be read as PLY"),
        ("part.stl", b"x", {}, 'add one, such as unit = "mm"'),
        ("part.stl", b"x", {"unit": "kg"}, "a quantity in m is needed"),
        ("part.stl", b"x", {"unit": "parsnip"}, "unknown unit"),
        ("part.step", b"x", {"unit": "mm"}, "records its own unit"),
        ("part.dwg", b"x", {"unit": "mm"}, "cannot be read; convert it to one of .stl"),
        ("part.step", b"x", {}, "does not begin with ISO-10303-21"),
        ("part.step", b"ISO-10303-21;\nnonsense", {}, "export"),
        ("part.stl", b"x", {"unit": "mm", "kind": "wire"}, "kind = 'wire' is not known"),
    ],
)
def test_a_file_that_is_no_part_is_refused_by_name(name, content, options, words, tmp_path):
    if name.endswith(".step") and not options:
        pytest.importorskip("cascadio")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as refusal:
        read_part(tmp_path / name, **options)
    assert words in str(refusal.value)


def test_a_folder_is_no_part(tmp_path):
    (tmp_path / "part.stl").mkdir()
    with pytest.raises(InputError, match="is not a file"):
        read_part(tmp_path / "part.stl", unit="mm")


def test_an_open_solid_is_refused_with_the_number_of_open_edges_and_a_place(tmp_path):
    write_stl(tmp_path / "open.stl", Part(name="x", vertices=BOARD.vertices, faces=BOARD.faces[1:]))
    with pytest.raises(InputError, match=r"not watertight: 3 open edges, one of them at \(.*\) mm.*kind = \"sheet\""):
        read_part(tmp_path / "open.stl", unit="mm")


def test_a_sheet_read_as_a_solid_is_told_the_way_out(tmp_path):
    write_stl(tmp_path / "trace.stl", TRACE)
    with pytest.raises(InputError, match='kind = "sheet"'):
        read_part(tmp_path / "trace.stl", unit="mm")


def test_a_slanted_sheet_is_refused_with_the_place(tmp_path):
    slanted = sheet([(0, 0), (1, 0), (1, 1)], 0.0).surface()[0] @ torch.tensor(
        [[1.0, 0, 0.5], [0, 1, 0], [0, 0, 1]], dtype=torch.float64
    )
    both = sheets("both", [sheet([(0, 0), (1, 0), (1, 1)], 0.0)])
    part = Part(
        name="x", vertices=torch.cat([both.vertices, slanted]), faces=torch.tensor([[0, 1, 2], [3, 4, 5]]), kind="sheet"
    )
    write_stl(tmp_path / "x.stl", part, unit="m")
    with pytest.raises(InputError, match=r"1 of its 2 triangles do not, one of them at \(666.667, 333.333, 333.333\)"):
        read_part(tmp_path / "x.stl", unit="m", kind="sheet")


def test_without_cascadio_a_step_file_names_the_extra(tmp_path, monkeypatch):
    write_step(tmp_path / "board.step", BOARD)
    monkeypatch.setitem(sys.modules, "cascadio", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mindsci\[cad\]'"):
        read_part(tmp_path / "board.step")


def test_coordinates_that_are_no_numbers_are_refused(tmp_path):
    record = np.full((1, 12), np.nan, dtype="<f4").tobytes() + b"\0\0"
    (tmp_path / "nan.stl").write_bytes(b"x".ljust(80, b"\0") + struct.pack("<I", 1) + record)
    with pytest.raises(InputError, match="not finite numbers"):
        read_part(tmp_path / "nan.stl", unit="mm")
