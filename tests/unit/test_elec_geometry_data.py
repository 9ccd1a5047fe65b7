"""Real CAD files of other programs (mirror `cad`): known sizes, and the broken ones refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from elec.geometry import inside, occupancy, read_part, read_solid, winding_number
from elec.grid import rectilinear
from mindsci.errors import InputError

pytestmark = pytest.mark.data

INCH = 0.0254


@pytest.fixture(scope="module")
def cad(data_mirror) -> Path:
    folder = data_mirror / "cad"
    if not folder.is_dir():
        pytest.skip(f"needs the CAD files of the mirror, and {folder} is not there")
    return folder


def sizes(part) -> list[float]:
    low, high = part.bounds()
    return (high - low).tolist()


@pytest.mark.parametrize("name", ["featuretype.STL", "featuretype.ply", "featuretype.STEP"])
def test_the_same_part_has_the_same_size_in_every_format(cad, name):
    if name.endswith("STEP"):
        pytest.importorskip("cascadio")
    part = read_part(cad / "trimesh_models" / name, unit=None if name.endswith("STEP") else "inch")
    assert sizes(part) == pytest.approx([5 * INCH, 2.5 * INCH, 1.375 * INCH], rel=1e-6)
    # 11.6277 cubic inches from the STL; the triangles of the STEP's curved faces differ from its by little.
    assert part.volume() == pytest.approx(11.6277 * INCH**3, rel=1e-3)


def test_a_step_box_in_millimetres_is_read_exactly(cad):
    pytest.importorskip("cascadio")
    part = read_part(cad / "step_box" / "box_30x20x2mm.step")
    assert part.bounds().tolist() == [[0, 0, 0], [0.03, 0.02, 0.002]]
    assert len(part.vertices) == 8
    assert part.volume() == pytest.approx(1200e-9, rel=1e-12)


def test_an_ap203_file_of_another_program_is_closed(cad):
    pytest.importorskip("cascadio")
    part = read_part(cad / "trimesh_models" / "base_interface_AP203.STEP")
    assert part.volume() > 0
    assert sizes(part)[2] == pytest.approx(0.1875 * INCH, rel=1e-6)


def test_volume_of_the_unit_sphere_file(cad):
    part = read_part(cad / "trimesh_models" / "unit_sphere.STL", unit="mm")
    assert part.volume() == pytest.approx(4.15274e-9, rel=1e-5)
    points = torch.tensor([[0.0, 0, 0], [0.9e-3, 0, 0], [1.1e-3, 0, 0]], dtype=torch.float64)
    assert torch.allclose(winding_number(part, points), torch.tensor([1.0, 1, 0], dtype=torch.float64), atol=1e-9)


@pytest.mark.parametrize("name", ["teapot.stl", "soup.stl"])
def test_files_with_holes_are_refused_with_the_number_of_open_edges(cad, name):
    count = {"teapot.stl": 64, "soup.stl": 300}[name]
    with pytest.raises(InputError, match=f"not watertight: {count} open edges"):
        read_part(cad / "trimesh_models" / name, unit="mm")


def test_an_empty_file_of_triangles_is_refused(cad):
    with pytest.raises(InputError, match="holds no triangles"):
        read_part(cad / "trimesh_models" / "empty.stl", unit="mm")


def test_a_chair_of_two_sided_faces_encloses_nothing(cad):
    with pytest.raises(InputError, match="encloses no volume"):
        read_part(cad / "trimesh_models" / "chair_model.obj", unit="m")


def test_a_horn_of_thousands_of_triangles_fills_its_volume_on_the_grid(cad):
    part = read_part(cad / "horn_antenna" / "horn-antenna.stl", unit="mm")
    assert sizes(part) == pytest.approx([0.12, 0.09, 0.2032], rel=1e-6)
    bounds = [(low, high) for low, high in part.bounds().T.tolist()]
    grid = rectilinear(bounds, ((), (), ()), max_cell=(1e-3,) * 3, margin=2e-3, growth=1.0, absorber_cells=0)
    filled = occupancy(part, grid)
    sizes_ = [grid.spacing(axis) for axis in range(3)]
    cells = sizes_[0][:, None, None] * sizes_[1][None, :, None] * sizes_[2]
    assert float(cells[filled].sum()) == pytest.approx(part.volume(), rel=0.02)
    some = filled.nonzero()[::5000]
    points = torch.stack([grid.centers(axis)[some[:, axis]] for axis in range(3)], dim=1)
    assert bool(inside(part, points).all())


def test_an_iges_box_has_the_size_and_volume_of_its_triangles(cad, tmp_path):
    """The camera box of the Austin benchmark, 12.8 m long: IGES in metres, and the STL of the same model."""
    pytest.importorskip("cascadio")
    for kind in ("igs", "stl"):
        with zipfile.ZipFile(cad / "austin_camera_box" / f"Cobra-Duct_Camera_Box_s6_.{kind}_Model.zip") as archive:
            archive.extractall(tmp_path)
    part = read_part(tmp_path / "Cobra-Duct_Camera_Box_s6.igs")
    assert sizes(part) == pytest.approx([12.8, 4.16, 10.24], rel=1e-6)
    # The STL has 4008 open edges and cannot be a part; its enclosed volume is 369.242 m^3 all the same.
    assert part.volume() == pytest.approx(369.242, rel=1e-5)


def sampled_volume(solid, n: int = 40_000) -> float:
    """By counting random points: the standard error is the box times sqrt(p (1 - p) / n)."""
    low, high = solid.vertices.amin(0), solid.vertices.amax(0)
    points = torch.rand(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    share = (solid.signed_distance(low + (high - low) * points) < 0).double().mean()
    return float(share * (high - low).prod())


@pytest.mark.parametrize("name", ["busted.STL", "cylinder.stl", "fandisk.obj", "multibody.stl", "torus.STL"])
def test_a_sound_file_is_the_same_solid_by_winding_numbers(cad, name):
    part = read_part(cad / "trimesh_models" / name, unit="mm")
    solid = read_solid(cad / "trimesh_models" / name, unit="mm")
    assert sampled_volume(solid) == pytest.approx(part.volume(), rel=0.05)


def test_a_teapot_with_holes_holds_what_its_surface_does(cad):
    # 24.449 cm^3 by the divergence theorem, which counts twice where handle and spout run into the body.
    volume = sampled_volume(read_solid(cad / "trimesh_models" / "teapot.stl", unit="mm"))
    assert 0.8 * 24.449e-6 < volume < 24.449e-6


def test_a_human_of_many_open_parts_is_filled(cad):
    solid = read_solid(cad / "human_phantom" / "base.obj", unit="dm")
    trunk = torch.tensor([[0.0, 2.0, 0.3], [0.0, 4.0, 0.3], [4.0, 0.0, 0.3]], dtype=torch.float64) * 0.1
    assert (solid.signed_distance(trunk) < 0).tolist() == [True, True, False]


def test_loose_triangles_are_refused_with_a_place(cad):
    with pytest.raises(InputError, match=r"does not part an inside from an outside, as at \(.*\) mm"):
        read_solid(cad / "trimesh_models" / "soup.stl", unit="mm")
