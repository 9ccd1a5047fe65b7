"""DCD, XTC and PDB: what was written is read back, and a damaged file is told in one line."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy
import pytest
import torch
from ase.io import read
from md_runs import execute, write_water

from mindsci.errors import InputError
from sponge.analysis import density, dielectric_constant, hydrogen_bonds, read_trajectory
from sponge.formats import WRITERS, check_formats, xtc_files
from sponge.formats.standard_cell import cell_of, lengths_and_angles, turned

CASE = """
task = "sponge/md"
precision = "float64"
[system]
top = "water.top"
gro = "water.gro"
[forcefield]
cutoff = "3 angstrom"
coulomb = "shifted_force"
engine = "reference"
[[stages]]
kind = "csvr"
n_steps = 30
dt = "1 fs"
temperature = "300 K"
[stages.barostat]
kind = "monte_carlo"
pressure = "5 kbar"
coupling = "anisotropic"
every = 2
[output]
every = 5
formats = ["h5md", "dcd", "pdb"]
[analysis.density]
[analysis.dielectric]
temperature = "300 K"
[analysis.hydrogen_bonds]
[analysis.rmsd]
[analysis.dihedrals]
atoms = [[1, 0, 2, 3], [0, 1, 2, 3]]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("water")
    write_water(folder)
    (folder / "case.toml").write_text(CASE)
    return execute(folder / "case.toml", "run")


def test_dcd_holds_positions_times_and_cells(folder: Path) -> None:
    assert not (folder / "trajectory.extxyz").exists(), "only what is asked for is written"
    whole = read_trajectory(folder / "trajectory.h5")
    found = read_trajectory(folder / "trajectory.dcd", structure=folder / "trajectory.pdb")
    torch.testing.assert_close(found.positions.double(), whole.positions.double(), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(found.cell, whole.cell, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(found.time, whole.time, atol=1e-4, rtol=1e-6)
    assert found.periodic == (True, True, True) and len(whole.cell[:, 0, 0].unique()) > 1
    assert found.atomic_numbers.tolist() == whole.atomic_numbers.tolist()


def test_a_run_is_analysed_for_what_its_case_asks(folder: Path) -> None:
    """The same figures from the trajectory file, charges included, as after the run."""
    found = json.loads((folder / "results.json").read_text())
    for name in ("density.csv", "dielectric.csv", "hydrogen_bonds.csv", "rmsd.csv", "rmsf.csv", "dihedrals.png"):
        assert (folder / name).stat().st_size > 0, name
    trajectory = read_trajectory(folder / "trajectory.h5")
    assert found["density [g/cm^3]"] == pytest.approx(density(trajectory).value)
    assert found["dielectric constant"] == pytest.approx(dielectric_constant(trajectory, temperature=300.0).value)
    bonds = hydrogen_bonds(trajectory).count.double().mean()
    assert found["hydrogen bonds, mean number"] == pytest.approx(float(bonds)) and bonds > 0
    assert float(trajectory.charges.sum()) == pytest.approx(0.0, abs=1e-9)


def test_the_header_of_dcd_is_that_of_charmm(folder: Path) -> None:
    """What other readers look at: the magic word, the frames, the cell and version of the header, the atoms."""
    data = (folder / "trajectory.dcd").read_bytes()
    assert struct.unpack_from("<i4s", data) == (84, b"CORD")
    integers = struct.unpack_from("<20i", data, 8)
    assert (integers[0], integers[1], integers[2]) == (7, 0, 5)
    assert (integers[10], integers[19]) == (1, 24)
    assert struct.unpack_from("<f", data, 8 + 36)[0] * 48.88821 == pytest.approx(1.0, rel=1e-5)
    assert len(data) == 92 + 92 + 12 + 7 * (56 + 3 * (4 * 24 + 8))


def test_pdb_has_a_model_for_each_frame(folder: Path) -> None:
    lines = (folder / "trajectory.pdb").read_text().splitlines()
    assert lines[0].startswith("CRYST1") and lines[1] == "MODEL        1"
    assert lines[2][:26] == "HETATM    1  OW  SOL     1" and lines[2][76:78] == " O"
    assert lines[5][:26] == "HETATM    4  OW  SOL     2" and lines[-1] == "END"
    assert all(len(line) == 78 for line in lines if line.startswith("HETATM"))
    frames = [one for one in read(folder / "trajectory.pdb", index=":") if len(one)]
    whole = read_trajectory(folder / "trajectory.h5")
    assert len(frames) == 7
    numpy.testing.assert_allclose(frames[-1].positions, whole.positions[-1], atol=6e-4)


def test_xtc_is_read_back_or_names_what_it_needs(folder: Path) -> None:
    pytest.importorskip("mdtraj")
    frames = numpy.zeros(3, [("step", int), ("time", float), ("positions", float, (5, 3)), ("cell", float, (3, 3))])
    frames["positions"] = numpy.random.default_rng(0).random((3, 5, 3)) * 10
    frames["cell"], frames["time"] = 20.0 * numpy.eye(3), [0.0, 10.0, 20.0]

    class Topology:
        periodic = (True, True, True)

    WRITERS["xtc"][1](folder / "a.xtc", frames, Topology())
    (folder / "five.xyz").write_text("5\n\n" + 5 * "He 0 0 0\n")
    found = read_trajectory(folder / "a.xtc", structure=folder / "five.xyz")
    numpy.testing.assert_allclose(found.positions, frames["positions"], atol=6e-3)
    numpy.testing.assert_allclose(found.time, frames["time"], atol=1e-3)
    numpy.testing.assert_allclose(found.cell, frames["cell"], atol=1e-5)


def test_xtc_without_mdtraj_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "mdtraj", None)
    monkeypatch.setitem(sys.modules, "mdtraj.formats", None)
    with pytest.raises(ImportError, match=r'pip install "mindsci\[md\]"'):
        xtc_files()
    with pytest.raises(InputError, match=r"output\.formats: XTC needs mdtraj"):
        check_formats(["h5md", "xtc"])


def test_cells_of_any_shape_turn_with_their_positions() -> None:
    """Distances, fractions and handedness stay; what is in the standard orientation is left alone."""
    generator = numpy.random.default_rng(3)
    cell = 8.0 * numpy.eye(3) + generator.normal(size=(4, 3, 3))
    positions = generator.normal(size=(4, 6, 3))
    found, standard = turned(positions, cell)
    fractions = positions @ numpy.linalg.inv(cell)
    numpy.testing.assert_allclose(found @ numpy.linalg.inv(standard), fractions, atol=1e-12)
    numpy.testing.assert_allclose(numpy.linalg.det(standard), numpy.linalg.det(cell))
    numpy.testing.assert_allclose(standard[:, [0, 0, 1], [1, 2, 2]], 0.0, atol=1e-12)
    numpy.testing.assert_allclose(cell_of(*lengths_and_angles(standard)), standard, atol=1e-12)
    again = turned(found, numpy.tril(standard))
    numpy.testing.assert_array_equal(again[0], found)


DAMAGED = {
    "cut within a frame": ("dcd", lambda data: data[:-50], "ends within frame 6"),
    "cut within the header": ("dcd", lambda data: data[:100], "within its title"),
    "other words": ("dcd", lambda data: b"hello" + data, "is no DCD"),
    "a record of another length": ("dcd", lambda data: data[:252] + b"\1" + data[253:], "damaged at or after frame 0"),
    "cut": ("h5", lambda data: data[: len(data) // 2], "is no HDF5 file, or cut short"),
    "empty": ("h5", lambda data: b"", "is no HDF5 file"),
}


@pytest.mark.parametrize("fault", DAMAGED)
def test_a_damaged_trajectory_is_one_clear_message(folder: Path, tmp_path: Path, fault: str) -> None:
    suffix, change, message = DAMAGED[fault]
    path = tmp_path / f"bad.{suffix}"
    path.write_bytes(change((folder / f"trajectory.{suffix}").read_bytes()))
    with pytest.raises(InputError, match=message):
        read_trajectory(path, structure=folder / "trajectory.pdb")


def test_dcd_asks_for_a_structure_of_the_same_atoms(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no elements; name a file of the same atoms"):
        read_trajectory(folder / "trajectory.dcd")
    (tmp_path / "one.xyz").write_text("1\n\nHe 0 0 0\n")
    with pytest.raises(InputError, match=r"has 24 atoms, .* 1; give one system"):
        read_trajectory(folder / "trajectory.dcd", structure=tmp_path / "one.xyz")
