"""The task "sponge/md" with replicas: one batch, a folder for each replica, its own temperature and random numbers."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy
import pytest
from ase.cluster import Icosahedron
from ase.io import write
from safetensors.torch import save_file

from mindsci import runs
from mindsci.config import load_case, to_toml
from mindsci.errors import InputError
from sponge import simulation
from sponge.potentials import LennardJones

CASE = """
task = "sponge/md"
seed = 3
precision = "float64"
[system]
file = "argon.xyz"
replicas = 3
[potential]
model = "model.toml"
[minimise]
max_force = "0.001 eV/angstrom"
[[stages]]
kind = "langevin"
n_steps = 80
dt = "5 fs"
temperature = ["20 K", "40 K", "40 K"]
friction = "0.01 / fs"
[[stages]]
kind = "csvr"
n_steps = 40
dt = "5 fs"
temperature = "30 K"
[[stages]]
kind = "nve"
n_steps = 80
dt = "4 fs"
[output]
every = 4
[analysis.spectrum]
"""
FILES = ("trajectory.h5", "trajectory.extxyz", "energies.csv", "spectrum.csv", "spectrum.png")


@pytest.fixture(scope="module")
def case_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replicas")
    write(folder / "argon.xyz", Icosahedron("Ar", 2, latticeconstant=5.4))
    save_file(LennardJones().state_dict(), folder / "model.safetensors")
    (folder / "model.toml").write_text('builder = "sponge.potentials.lennard_jones:LennardJones"\n[config]\n')
    (folder / "case.toml").write_text(CASE)
    return folder / "case.toml"


@pytest.fixture(scope="module")
def whole(case_file: Path) -> Path:
    return execute(case_file, "whole")


def execute(case_file: Path, name: str, *overrides: str, **options: bool) -> Path:
    folder = case_file.parent / name
    runs.execute(load_case(case_file, list(overrides)), folder, quiet=True, **options)
    return folder


def positions(folder: Path) -> numpy.ndarray:
    with h5py.File(folder / "trajectory.h5") as file:
        return file["particles/atoms/position/value"][:]


def test_each_replica_has_its_files_and_the_run_its_means(whole: Path) -> None:
    for replica in range(3):
        for name in FILES:
            assert (whole / f"replica_{replica:03d}" / name).stat().st_size > 0, (replica, name)
    assert (whole / "energies.png").exists() and (whole / "minimised.xyz").exists()
    assert not (whole / simulation.JOURNAL).exists()
    found = json.loads((whole / "results.json").read_text())
    assert found["replicas"] == 3 and found["frames"] == 1 + 20 + 10 + 20
    name = "stage 2 (nve) mean temperature [K]"
    each = found[f"{name}, of each replica"]
    assert found[f"{name}, mean of replicas"] == pytest.approx(sum(each) / 3)
    error = numpy.std(each, ddof=1) / 3**0.5
    assert found[f"{name}, standard error of that mean"] == pytest.approx(error)
    assert len({round(value, 9) for value in each}) == 3


def test_replicas_start_together_and_part(whole: Path) -> None:
    paths = [positions(whole / f"replica_{k:03d}") for k in range(3)]
    for other in paths[1:]:
        numpy.testing.assert_array_equal(paths[0][0], other[0])
        assert abs(paths[0][-1] - other[-1]).max() > 0.01


def test_a_replica_is_the_run_of_one_system(case_file: Path, whole: Path) -> None:
    """The first replica has the random stream that a system alone has; sums differ in their order alone."""
    alone = execute(case_file, "alone", "system.replicas=1", 'stages.0.temperature="20 K"')
    numpy.testing.assert_allclose(positions(alone), positions(whole / "replica_000"), atol=1e-7)


def test_replicas_resume_to_the_same_bits(case_file: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "CHUNK", 40)
    rollout, calls = simulation.rollout, 0

    def stop_in_the_middle(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        run.stop_requested = calls == 3
        return rollout(*arguments, **options)

    monkeypatch.setattr(simulation, "rollout", stop_in_the_middle)
    case = load_case(case_file)
    run = runs.Run(case, case_file.parent / "cut", quiet=True)
    with pytest.raises(runs.Interrupted):
        case.run(run)
    monkeypatch.setattr(simulation, "rollout", rollout)
    assert len(positions(run.folder / "replica_002")) == 1 + 20 + 10
    resumed = execute(case_file, "cut", resume=True)
    for replica in range(3):
        for name in FILES:
            path = f"replica_{replica:03d}/{name}"
            assert (resumed / path).read_bytes() == (whole / path).read_bytes(), path


def test_a_replica_that_blows_up_is_named(case_file: Path) -> None:
    overrides = ('stages.0.temperature=["1 K", "1 K", "90000 K"]', 'stages.0.dt="40 fs"')
    with pytest.raises(InputError, match=r"atom \d+ \(Ar\) of system 2"):
        execute(case_file, "hot", *overrides)
    assert (case_file.parent / "hot" / "replica_000" / "trajectory.h5").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('stages.0.temperature=["20 K", "40 K"]', "2 temperatures for 3 replicas.*set system.replicas = 2"),
        ('stages.0.temperature=["20 K", "-1 K", "3 K"]', "-1.0 K; none is negative"),
        ('stages.0.temperature=["20 K", 40, "3 K"]', "40 has no unit"),
        ("stages.0.temperature=[]", "0 temperatures for 3 replicas"),
        ("system.replicas=0", "greater than or equal to 1"),
    ],
)
def test_temperatures_that_do_not_fit_are_refused(case_file: Path, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_case(case_file, [override])


def test_a_list_of_temperatures_survives_the_resolved_case(case_file: Path, tmp_path: Path) -> None:
    case = load_case(case_file)
    for name in ("argon.xyz", "model.toml", "model.safetensors"):
        (tmp_path / name).write_bytes((case_file.parent / name).read_bytes())
    (tmp_path / "case.toml").write_text(to_toml(case))
    assert load_case(tmp_path / "case.toml").stages[0].temperature == (20.0, 40.0, 40.0)
