"""The CAD files of the examples: the same to the bit as the script makes them, and the antenna of the reference."""

from __future__ import annotations

import runpy

import pytest
import torch

from elec.geometry import Part, Scene, read_part
from elec.grid import rectilinear
from elec.materials import Material

NAMES = ("antenna.stl", "board.step", "ground.stl", "short.stl")


@pytest.fixture(scope="module")
def examples(repository):
    return repository / "docs" / "examples"


def test_the_script_writes_the_committed_files_to_the_bit(examples, tmp_path):
    runpy.run_path(str(examples / "make_inverted_f.py"))["write"](tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == (examples / "geometry" / name).read_bytes(), name


@pytest.fixture(scope="module")
def parts(examples) -> dict[str, Part]:
    pytest.importorskip("cascadio")
    folder = examples / "geometry"
    return {"board": read_part(folder / "board.step", material="board")} | {
        name: read_part(folder / f"{name}.stl", unit="mm", kind="sheet") for name in ("ground", "antenna", "short")
    }


def test_the_parts_have_the_dimensions_of_the_reference(parts):
    assert parts["board"].bounds().tolist() == [[0, 0, 0], [0.04, 0.04, 0.787e-3]]
    assert parts["board"].volume() == pytest.approx(0.04 * 0.04 * 0.787e-3, rel=1e-12)
    assert parts["ground"].bounds().tolist() == [[0, 0, 0], [0.016, 0.04, 0]]
    assert parts["short"].bounds().tolist() == [[0.016, 0.03, 0], [0.016, 0.0324, 0.787e-3]]
    assert parts["antenna"].bounds().tolist() == [[0, 0.0084, 0.787e-3], [0.0284, 0.0324, 0.787e-3]]


def test_the_antenna_on_the_grid_of_the_reference_has_its_metal_edges(parts):
    scene = Scene(parts=tuple(parts.values()), materials={"board": Material(name="board", relative_permittivity=2.2)})
    margin = (1.2e-3, 1.2e-3, 0.787e-3)
    grid = rectilinear(scene.bounds(), scene.planes(), max_cell=(0.4e-3, 0.4e-3, 0.263e-3), margin=margin, growth=1.0)
    assert grid.shape == (126, 126, 29)
    edges = scene.edge_materials(grid)
    ex, ey, ez = edges.metal
    bottom, top = 13, 16
    # Ground: 40 x 100 cells of 0.4 mm, rims included.
    assert (int(ex[:, :, bottom].sum()), int(ey[:, :, bottom].sum())) == (40 * 101, 41 * 100)
    # Wall: 3 cells high and 6 wide.
    assert int(ez.sum()) == 7 * 3
    # Strips, in nodes from the corner of the board: the union of four rectangles.
    spans = [((0, 71), (60, 66)), ((40, 71), (75, 81)), ((65, 71), (21, 81)), ((52, 58), (40, 81))]
    expected = torch.zeros(126, 127, dtype=torch.bool)
    for (u0, u1), (v0, v1) in spans:
        expected[13 + u0 : 13 + u1, 13 + v0 : 13 + v1 + 1] = True
    assert torch.equal(ex[:, :, top], expected)
    assert not bool(ex[:, :, bottom + 1 : top].any()) and not bool(ey[:, :, top + 1 :].any())
    inside = edges.relative_permittivity[2][20:100, 20:100]
    assert torch.allclose(inside[:, :, bottom:top], torch.tensor(2.2, dtype=torch.float64), rtol=1e-12)
    assert torch.allclose(inside[:, :, top:], torch.tensor(1.0, dtype=torch.float64), rtol=1e-12)
    on_top = edges.relative_permittivity[0][20:100, 20:100, top]
    assert torch.allclose(on_top, torch.tensor(1.6, dtype=torch.float64), rtol=1e-12)
