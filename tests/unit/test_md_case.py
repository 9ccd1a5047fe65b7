"""The task "sponge/md": outputs, resuming to the same bits, and refusals."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy
import pytest
import torch
from ase.build import bulk, molecule
from ase.cluster import Icosahedron
from ase.io import read, write
from md_runs import execute, interrupt
from safetensors.torch import save_file

from mindsci.config import load_case
from mindsci.errors import InputError, StorageError
from sponge import simulation
from sponge.potentials import LennardJones

CASE = """
task = "sponge/md"
seed = 3
precision = "float64"
[system]
file = "argon.xyz"
[potential]
model = "model.toml"
[minimise]
max_force = "0.001 eV/angstrom"
[[stages]]
kind = "langevin"
n_steps = 128
dt = "5 fs"
temperature = "40 K"
friction = "0.005 / fs"
[[stages]]
kind = "nve"
n_steps = 132
dt = "4 fs"
[output]
every = 4
"""
OUTPUTS = ("trajectory.h5", "trajectory.extxyz", "energies.csv", "minimised.xyz", "results.json")


@pytest.fixture(autouse=True, scope="module")
def short_chunks() -> Iterator[None]:
    """Looks at the world every 40 steps: four times in a stage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulation, "CHUNK", 40)
        yield


@pytest.fixture
def case_file(tmp_path: Path) -> Path:
    """An argon cluster in Lennard-Jones, as a training run would leave its model."""
    return write_case(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, short_chunks: None) -> Path:
    """The folder of a run that nothing interrupted."""
    return execute(write_case(tmp_path_factory.mktemp("whole")), "run")


def write_case(folder: Path) -> Path:
    write(folder / "argon.xyz", Icosahedron("Ar", 2, latticeconstant=5.4))
    save_file(LennardJones().state_dict(), folder / "model.safetensors")
    (folder / "model.toml").write_text('builder = "sponge.potentials.lennard_jones:LennardJones"\n[config]\n')
    (folder / "case.toml").write_text(CASE)
    return folder / "case.toml"


def test_a_run_writes_its_outputs(whole: Path) -> None:
    folder = whole
    for name in (*OUTPUTS, "energies.png", "restart.safetensors", "log.txt", "provenance.json"):
        assert (folder / name).stat().st_size > 0, name
    assert not (folder / simulation.JOURNAL).exists()
    found = json.loads((folder / "results.json").read_text())
    assert found["frames"] == 1 + 32 + 33
    assert abs(found["stage 1 (nve) energy drift [meV/ps/atom]"]) < 0.05


def test_the_trajectory_is_h5md(whole: Path) -> None:
    """The elements that H5MD 1.1 asks for, with their shapes, and what this project adds: units [deBuyl2014]."""
    folder = whole
    with h5py.File(folder / "trajectory.h5") as file:
        assert list(file["h5md"].attrs["version"]) == [1, 1]
        assert file["h5md/author"].attrs["name"]
        assert file["h5md/creator"].attrs["name"] and file["h5md/creator"].attrs["version"]
        atoms = file["particles/atoms"]
        assert atoms["box"].attrs["dimension"] == 3
        assert list(atoms["box"].attrs["boundary"]) == [b"none"] * 3
        assert atoms["species"][:].tolist() == [18] * 13
        for name, unit in (("position", "Angstrom"), ("velocity", "Angstrom fs-1")):
            assert atoms[name]["value"].shape == (66, 13, 3)
            assert atoms[name]["value"].attrs["unit"] == unit
            assert atoms[name]["step"][-1] == 260
            assert atoms[name]["time"][-1] == pytest.approx(128 * 5 + 132 * 4)
            assert atoms[name]["time"].attrs["unit"] == "fs"
        assert atoms["velocity/step"] == atoms["position/step"]
        for name in ("potential_energy", "kinetic_energy", "temperature"):
            assert file[f"observables/{name}/value"].shape == (66,)
    frames = read(folder / "trajectory.extxyz", index=":")
    with h5py.File(folder / "trajectory.h5") as file:
        numpy.testing.assert_allclose(frames[-1].positions, file["particles/atoms/position/value"][-1], atol=1e-7)
        kinetic = file["observables/kinetic_energy/value"][-1]
        assert frames[-1].get_kinetic_energy() == pytest.approx(kinetic, rel=1e-5)
        assert frames[-1].get_potential_energy() == pytest.approx(file["observables/potential_energy/value"][-1])


def test_a_periodic_trajectory_has_its_box(case_file: Path) -> None:
    write(case_file.parent / "argon.xyz", bulk("Ar", "fcc", a=5.4).repeat(2), format="extxyz")
    folder = execute(case_file, "run", "stages.0.n_steps=20", "stages.1.n_steps=20")
    with h5py.File(folder / "trajectory.h5") as file:
        box = file["particles/atoms/box"]
        assert list(box.attrs["boundary"]) == [b"periodic"] * 3
        numpy.testing.assert_allclose(box["edges"][:], bulk("Ar", "fcc", a=5.4).cell.array * 2)


@pytest.mark.parametrize("stop_after", [1, 4, 6])
def test_a_run_that_is_stopped_resumes_to_the_same_bits(
    case_file: Path, whole: Path, stop_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = interrupt(monkeypatch, case_file, "cut", stop_after)
    assert (folder / "trajectory.h5").exists(), "what is computed can be looked at"
    assert_same_outputs(whole, execute(case_file, "cut", resume=True))


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_periodic_run_with_every_thermostat_resumes_to_the_same_bits(
    case_file: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variables of the thermostats and the place where the neighbour list was made go through the restart."""
    write(case_file.parent / "argon.xyz", bulk("Ar", "fcc", a=5.8).repeat(3), format="extxyz")
    shared = 'n_steps=60,dt="10 fs",temperature="200 K"'
    kinds = ("langevin", "nose_hoover", "csvr")
    stages = "stages=[" + ",".join("{" + f'kind="{kind}",{shared}' + "}" for kind in kinds) + "]"
    options = (stages, f'precision="{precision}"', 'minimise.method="lbfgs"')
    whole = execute(case_file, "whole", *options)
    for stop_after in (1, 3, 5):
        interrupt(monkeypatch, case_file, f"cut{stop_after}", stop_after, *options)
        cut = execute(case_file, f"cut{stop_after}", *options, resume=True)
        assert_same_outputs(whole, cut)


def test_a_run_that_is_killed_resumes_to_the_same_bits(
    case_file: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal is then one chunk ahead of the restart."""
    monkeypatch.setattr(simulation, "SAVE_EVERY", -1.0)
    calls = 0

    def append_then_die(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        count = append(*arguments)
        if calls == 6:
            raise KeyboardInterrupt
        return count

    append = simulation.Journal.append
    monkeypatch.setattr(simulation.Journal, "append", append_then_die)
    with pytest.raises(KeyboardInterrupt):
        execute(case_file, "cut")
    monkeypatch.undo()
    assert_same_outputs(whole, execute(case_file, "cut", resume=True))


def assert_same_outputs(whole: Path, resumed: Path) -> None:
    for name in OUTPUTS:
        assert (whole / name).read_bytes() == (resumed / name).read_bytes(), name


def test_a_complete_run_is_left_as_it_is(whole: Path) -> None:
    before = {path.name: path.read_bytes() for path in whole.iterdir() if path.name in OUTPUTS}
    execute(whole.parent / "case.toml", whole.name, resume=True)
    assert before == {name: (whole / name).read_bytes() for name in before}


def test_a_step_that_is_too_long_is_reported_and_keeps_the_frames_before(case_file: Path) -> None:
    overrides = ('stages.0.dt="200 fs"', 'stages.0.temperature="40 K"', 'stages.0.friction="0 / fs"')
    with pytest.raises(InputError, match=r"step \d+ .*blew up: .*atom \d+ \(Ar\) of system 0.*use a dt below 200 fs"):
        execute(case_file, "run", *overrides)
    assert (case_file.parent / "run" / "trajectory.h5").exists()


REFUSED = {
    "bare number": ("stages.0.dt=5", "has no unit"),
    "wrong unit": ('stages.0.temperature="300 fs"', "quantity in K is needed"),
    "negative step": ('stages.0.dt="-1 fs"', "use a positive one"),
    "unknown key": ("stages.0.frictoin=1", "did you mean 'friction'"),
    "unknown kind": ('stages.0.kind="npt"', "nve"),
    "two sources": ('system.smiles="CCO"', "give one of smiles"),
    "two potentials": ('potential.pretrained="schnet_ethanol"', "give one of pretrained"),
    "momenta without temperature": ('stages.1.momenta="draw"', "needs a temperature"),
    "no stages": ("stages=[]", "stages"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_bad_input_is_refused_with_its_fix(case_file: Path, fault: str) -> None:
    override, message = REFUSED[fault]
    with pytest.raises(InputError, match=message):
        load_case(case_file, [override])


def test_what_only_the_run_can_know_is_refused_too(case_file: Path) -> None:
    folder = case_file.parent
    with pytest.raises(StorageError, match="does not exist"):
        execute(case_file, "a", 'system.file="missing.xyz"')
    with pytest.raises(InputError, match="was not reached in 3 steps"):
        execute(case_file, "b", "minimise.max_steps=3", 'minimise.max_force="1e-9 eV/angstrom"')
    with pytest.raises(InputError, match="the system is at rest"):
        execute(case_file, "c", 'stages=[{kind="nve",n_steps=10,dt="1 fs"}]')
    write(folder / "argon.xyz", molecule("NH3"))
    (folder / "model.toml").write_text(
        'builder = "sponge.potentials.schnet:SchNet"\n[config]\nelements = ["H", "C"]\nfeatures = 4\n'
    )
    with pytest.raises(InputError, match="do not fit"):
        execute(case_file, "d")
    (folder / "model.safetensors").unlink()
    with pytest.raises(StorageError, match="is missing"):
        execute(case_file, "e")
    with torch.random.fork_rng():
        from sponge.potentials import SchNet

        save_file(SchNet(elements=["H", "C"], features=4).state_dict(), folder / "model.safetensors")
    with pytest.raises(InputError, match="not trained on N; it knows H, C"):
        execute(case_file, "f")


def test_a_full_disk_is_reported_and_the_run_can_go_on(
    case_file: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def full_for_a_while(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    sync = os.fsync
    monkeypatch.setattr(os, "fsync", full_for_a_while)
    with pytest.raises(StorageError, match="disk is full"):
        execute(case_file, "cut")
    monkeypatch.undo()
    assert_same_outputs(whole, execute(case_file, "cut", resume=True))


def test_the_example_is_valid(repository: Path) -> None:
    case = load_case(repository / "docs" / "examples" / "ethanol_md.toml")
    assert [stage.kind for stage in case.stages] == ["langevin", "nve"]
    assert all(stage.dt == 0.5 for stage in case.stages)
