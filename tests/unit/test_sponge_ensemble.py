"""Ensembles: means and deviations, saved and loaded, and runs that stop where their members disagree."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import pytest
import torch
from ase.cluster import Icosahedron
from ase.io import read, write
from safetensors.torch import load_file, save_file

from mindsci import runs
from mindsci.config import load_case
from mindsci.errors import InputError
from sponge import from_ase, select
from sponge.dynamics import Forces
from sponge.potentials import Ensemble, LennardJones, SchNet
from sponge.potentials.loading import load_potential

SIGMAS = (3.4, 3.45)
BUILDER = "sponge.potentials.lennard_jones:LennardJones"
CASE = """
task = "sponge/md"
precision = "float64"
[system]
file = "argon.xyz"
[potential]
models = ["0/model.toml", "1/model.toml"]
uncertainty_limit = "1 eV/angstrom"
[minimise]
[[stages]]
kind = "nve"
n_steps = 200
dt = "5 fs"
temperature = "40 K"
[output]
every = 4
"""


def pair() -> Ensemble:
    return Ensemble(members=[LennardJones(sigma=sigma) for sigma in SIGMAS])


@pytest.fixture
def case_file(tmp_path: Path) -> Path:
    write(tmp_path / "argon.xyz", Icosahedron("Ar", 2, latticeconstant=5.4))
    for number, sigma in enumerate(SIGMAS):
        (tmp_path / str(number)).mkdir()
        save_file(LennardJones(sigma=sigma).state_dict(), tmp_path / str(number) / "model.safetensors")
        (tmp_path / str(number) / "model.toml").write_text(f'builder = "{BUILDER}"\n[config]\n')
    (tmp_path / "case.toml").write_text(CASE)
    return tmp_path / "case.toml"


def execute(case_file: Path, name: str, *overrides: str) -> Path:
    runs.execute(load_case(case_file, list(overrides)), case_file.parent / name, quiet=True)
    return case_file.parent / name


def test_an_ensemble_is_the_mean_of_its_members_and_knows_how_they_differ() -> None:
    batch = from_ase([Icosahedron("Ar", 2, latticeconstant=a) for a in (5.2, 5.6)])
    alone = [Forces.of(LennardJones(sigma=sigma), batch)(batch) for sigma in SIGMAS]
    found = Forces.of(pair(), batch, virial=True)(batch)
    forces = torch.stack([one.forces for one in alone])
    assert torch.allclose(found.energy, (alone[0].energy + alone[1].energy) / 2, rtol=1e-12)
    assert torch.allclose(found.forces, forces.mean(0), rtol=1e-10)
    # Of two, the standard deviation is half the difference.
    assert torch.allclose(found.deviation, 0.5 * (forces[0] - forces[1]).norm(dim=-1), rtol=1e-10)
    assert found.virial is not None
    assert torch.equal(select(found, 1).deviation, found.deviation[13:])
    moved = Forces.of(pair(), batch)(select(found, [0, 1]))
    assert bool((moved.deviation >= found.deviation).all()), "the largest of all forces is kept"


def test_an_ensemble_is_saved_and_loaded_as_any_potential(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = Ensemble(members=[SchNet(elements=["H", "O"], features=8, interactions=1) for _ in range(2)])
    save_file(made.state_dict(), tmp_path / "model.safetensors")
    config = '{elements = ["H", "O"], features = 8, interactions = 1}'
    member = f'[[config.members]]\nbuilder = "sponge/schnet"\nconfig = {config}'
    (tmp_path / "model.toml").write_text(f'builder = "sponge/ensemble"\n[config]\n{member}\n{member}\n')
    loaded = load_potential(model=tmp_path / "model.toml", dtype=torch.float64)
    water = from_ase(read_water())
    expected = Forces.of(made.double().requires_grad_(False), water)(water)
    found = Forces.of(loaded.for_use(dtype=torch.float64, engine="reference"), water)(water)
    assert torch.allclose(found.forces, expected.forces, rtol=1e-12)
    assert torch.allclose(found.deviation, expected.deviation, rtol=1e-12)
    assert "members.1.embedding.weight" in load_file(tmp_path / "model.safetensors")


def read_water() -> object:
    from ase.build import molecule

    return molecule("H2O")


def test_members_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="ensemble of 1 members"):
        Ensemble(members=[LennardJones()])
    with pytest.raises(InputError, match="2 different sets of elements"):
        Ensemble(members=[SchNet(elements=["H"], features=4), SchNet(elements=["C"], features=4)])
    with pytest.raises(InputError, match="keys builder and config"):
        Ensemble(members=[{"builder": "sponge/schnet"}] * 2)


def test_a_run_stops_where_the_members_disagree_and_names_the_atoms(case_file: Path) -> None:
    whole = execute(case_file, "whole")
    assert json.loads((whole / "results.json").read_text())["frames"] == 51
    with pytest.raises(
        InputError, match=r"stages\.0, step (\d+) .*differ in the force on atom \d+ \(Ar\).*> *|uncertainty_limit"
    ) as told:
        execute(case_file, "cut", 'potential.uncertainty_limit="0.005 eV/angstrom"')
    message = str(told.value)
    folder = case_file.parent / "cut"
    structure = read(folder / "uncertain.xyz")
    assert structure.arrays["force_deviation"].max() > 0.005
    named = int(message.split("force on atom ")[1].split()[0])
    assert structure.arrays["force_deviation"].argmax() == named
    with h5py.File(folder / "trajectory.h5") as file:
        steps = file["particles/atoms/position/step"][:]
    step = int(message.split("step ")[1].split()[0])
    assert 0 < step - steps[-1] <= 4, "the frames end with the last before the step"
    assert (folder / "restart.safetensors").exists()
    with pytest.raises(InputError, match=f"step {step} "):
        runs.execute(load_case(folder / "case.toml"), folder, quiet=True, resume=True)


def test_a_limit_needs_an_ensemble(case_file: Path) -> None:
    one = ('potential={model="0/model.toml", uncertainty_limit="1 eV/angstrom"}',)
    with pytest.raises(InputError, match="needs an ensemble"):
        execute(case_file, "one", *one)
    with pytest.raises(InputError, match="use a positive one"):
        load_case(case_file, ['potential.uncertainty_limit="0 eV/angstrom"'])
