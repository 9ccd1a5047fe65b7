"""The task "sponge/analyse" and the table `[analysis]` of a run: files that sponge writes, read back and analysed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import pytest
import torch
from ase.build import bulk
from ase.io import write
from safetensors.torch import save_file

from mindsci import runs
from mindsci.config import load_case
from mindsci.errors import InputError, StorageError
from sponge.analysis import read_pieces, read_trajectory
from sponge.potentials import LennardJones

RUN = """
task = "sponge/md"
precision = "float64"
[system]
file = "argon.xyz"
[potential]
model = "model.toml"
[[stages]]
kind = "langevin"
n_steps = 20
dt = "4 fs"
temperature = "90 K"
[[stages]]
kind = "nve"
n_steps = 100
dt = "5 fs"
[output]
every = 2
[analysis.radial]
cutoff = "7 angstrom"
bins = 70
[analysis.displacement]
blocks = 2
[analysis.spectrum]
"""

ANALYSE = """
task = "sponge/analyse"
trajectory = "run/{file}"
after = "81 fs"
radial = {{ cutoff = "7 angstrom", bins = 70, pairs = [["Ar", "Ar"]] }}
displacement = {{ blocks = 2 }}
spectrum = {{}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of solid argon in it."""
    folder = tmp_path_factory.mktemp("argon")
    write(folder / "argon.xyz", bulk("Ar", "fcc", a=5.4, cubic=True).repeat(2), format="extxyz")
    save_file(LennardJones(cutoff=5.0).state_dict(), folder / "model.safetensors")
    (folder / "model.toml").write_text(
        'builder = "sponge.potentials.lennard_jones:LennardJones"\n[config]\ncutoff = 5.0\n'
    )
    (folder / "case.toml").write_text(RUN)
    runs.execute(load_case(folder / "case.toml"), folder / "run", quiet=True)
    return folder


@pytest.mark.parametrize("file", ["trajectory.h5", "trajectory.extxyz"])
def test_a_file_gives_what_its_run_gave(folder: Path, file: str) -> None:
    (folder / "analyse.toml").write_text(ANALYSE.format(file=file))
    out = folder / f"of {file}"
    runs.execute(load_case(folder / "analyse.toml"), out, quiet=True)
    for name in ("radial", "displacement", "spectrum"):
        assert (out / f"{name}.png").stat().st_size > 0
        tables = [numpy.loadtxt(where / f"{name}.csv", delimiter=",", skiprows=1) for where in (folder / "run", out)]
        # Extended XYZ has eight decimals.
        numpy.testing.assert_allclose(*tables, rtol=1e-4, atol=1e-4)
    found = json.loads((out / "results.json").read_text())
    assert found["frames analysed"] == 50
    assert found["g(Ar-Ar) highest at [angstrom]"] == pytest.approx(5.4 / 2**0.5, abs=0.2)


def test_pieces_of_a_file_are_its_frames(folder: Path) -> None:
    for file in ("trajectory.h5", "trajectory.extxyz"):
        whole = read_trajectory(folder / "run" / file)
        assert whole.n_frames == 61 and whole.periodic == (True, True, True)
        pieces = list(read_pieces(folder / "run" / file, 25))
        assert [piece.n_frames for piece in pieces] == [25, 25, 11]
        assert torch.equal(torch.cat([piece.velocities for piece in pieces]), whole.velocities)
    assert float(whole.time[-1]) == pytest.approx(580.0)


def test_files_that_cannot_be_analysed_are_named(folder: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        read_trajectory(folder / "missing.h5")
    (folder / "cut.h5").write_bytes((folder / "run" / "trajectory.h5").read_bytes()[:1000])
    with pytest.raises(InputError, match="no HDF5 file, or cut short"):
        read_trajectory(folder / "cut.h5")
    text = (folder / "run" / "trajectory.extxyz").read_text()
    (folder / "cut.extxyz").write_text(text[: int(len(text) * 0.7)])
    with pytest.raises(InputError, match=r"cannot be read after frame \d+"):
        read_trajectory(folder / "cut.extxyz")
    (folder / "analyse.toml").write_text(ANALYSE.format(file="trajectory.h5").replace("81 fs", "1 ns"))
    with pytest.raises(InputError, match="no frames to analyse"):
        runs.execute(load_case(folder / "analyse.toml"), folder / "none", quiet=True)
