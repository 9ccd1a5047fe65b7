"""Cases with a classical force field: constraints, pressure, resuming to the same bits, and refusals."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import h5py
import numpy
import pytest
import torch
from md_runs import execute, interrupt, write_water
from prmtop_files import water, write_prmtop

from mindsci import runs
from mindsci.config import load_case
from mindsci.errors import InputError
from sponge import simulation
from sponge.analysis import read_trajectory

CASE = """
task = "sponge/md"
seed = 5
precision = "float64"
[system]
top = "water.top"
gro = "water.gro"
[forcefield]
cutoff = "3 angstrom"
coulomb = "shifted_force"
lennard_jones = "force_shift"
[[stages]]
kind = "csvr"
n_steps = 20
dt = "1 fs"
temperature = "300 K"
[output]
every = 5
"""
SHARED = 'n_steps=20,dt="1 fs",temperature="300 K"'
BATH = 'pressure="1 kbar"'
NPT = (
    f'{{kind="langevin",{SHARED},barostat={{kind="monte_carlo",every=4,{BATH}}}}}',
    f'{{kind="csvr",{SHARED},barostat={{kind="cell_rescaling",every=4,coupling="anisotropic",{BATH}}}}}',
    f'{{kind="nose_hoover",{SHARED},barostat={{kind="pistons",{BATH}}}}}',
    '{kind="nve",n_steps=20,dt="1 fs",integrator="leap_frog"}',
    '{kind="nve",n_steps=20,dt="2 fs",fast_steps=2}',
)


@pytest.fixture
def case_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(simulation, "CHUNK", 10)
    write_water(tmp_path)
    (tmp_path / "case.toml").write_text(CASE)
    return tmp_path / "case.toml"


def rows(folder: Path) -> list[dict[str, float]]:
    with (folder / "energies.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("precision", "stops"), [("float64", (7,)), pytest.param("float32", (1, 4), marks=pytest.mark.slow)]
)
def test_rigid_water_at_constant_pressure_resumes_to_the_same_bits(
    case_file: Path, precision: str, stops: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cell, momenta, variables of thermostats and barostats, noise and the list go through the restart."""
    options = ["stages=[" + ",".join(NPT) + "]", f'precision="{precision}"']
    monkeypatch.setattr(simulation, "SAVE_EVERY", -1.0)
    whole = execute(case_file, "whole", *options)
    for stop_after in stops:
        monkeypatch.setattr(simulation, "CHUNK", 10)
        interrupt(monkeypatch, case_file, f"cut{stop_after}", stop_after, *options)
        monkeypatch.setattr(simulation, "CHUNK", 10)
        cut = execute(case_file, f"cut{stop_after}", *options, resume=True)
        for name in ("trajectory.h5", "trajectory.extxyz", "energies.csv", "results.json"):
            assert (whole / name).read_bytes() == (cut / name).read_bytes(), (stop_after, name)
    found = rows(whole)
    volumes = [row["volume [angstrom^3]"] for row in found]
    assert len(set(volumes)) > 5 and len(set(volumes[-8:])) == 1, "the cell moves with a barostat, and rests without"
    masses = 8 * (15.9994 + 2 * 1.008)
    density = masses * 1.66053906660 / volumes[-1]
    assert found[-1]["density [g/cm^3]"] == pytest.approx(density, rel=1e-6)
    assert all(abs(row["pressure [bar]"]) < 1e5 for row in found)
    with h5py.File(whole / "trajectory.h5") as file:
        edges = file["particles/atoms/box/edges"]
        assert edges["value"].shape == (21, 3, 3) and edges["step"] == file["particles/atoms/position/step"]
    trajectory = read_trajectory(whole / "trajectory.h5")
    assert torch.linalg.det(trajectory.cell).tolist() == pytest.approx(volumes, rel=1e-9)
    bonds = trajectory.positions.double().reshape(21, 8, 3, 3)
    lengths = (bonds[:, :, 1:] - bonds[:, :, :1]).norm(dim=-1)
    numpy.testing.assert_allclose(lengths, 1.0, rtol=1e-9 if precision == "float64" else 1e-5)


def test_the_temperature_counts_what_constraints_leave(case_file: Path) -> None:
    """8 rigid waters: 72 - 24 constraints - 3 of the centre."""
    for row in rows(execute(case_file, "run")):
        kelvin = 2.0 * row["kinetic [eV]"] / (45 * 8.617333262e-5)
        assert row["temperature [K]"] == pytest.approx(kelvin, rel=1e-6)


def test_leap_frog_and_single_fast_steps_are_velocity_verlet(case_file: Path) -> None:
    start = f'{{kind="csvr",{SHARED}}}'
    options = ("output.pressure=true", "forcefield.rigid_water=false")
    found = {}
    for name, key in (("verlet", ""), ("leap", ',integrator="leap_frog"'), ("respa", ",fast_steps=1")):
        stage = f'{{kind="nve",n_steps=20,dt="0.5 fs"{key}}}'
        found[name] = rows(execute(case_file, name, f"stages=[{start},{stage}]", *options))
    for name in ("leap", "respa"):
        for one, other in zip(found["verlet"], found[name], strict=True):
            assert one == pytest.approx(other, rel=1e-7, abs=1e-5)


def test_replicas_of_a_force_field_differ_and_the_first_is_that_alone(case_file: Path) -> None:
    options = ('stages.0.temperature="300 K"', "forcefield.constraints='hydrogens'", 'forcefield.engine="reference"')
    alone = execute(case_file, "alone", *options)
    both = execute(case_file, "both", "system.replicas=2", *options)
    first, second = rows(both / "replica_000"), rows(both / "replica_001")
    for one, other in zip(rows(alone), first, strict=True):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-9)
    assert first[-1] != second[-1]


def test_sites_without_mass_have_no_velocity_and_stay_where_they_belong(tmp_path: Path) -> None:
    write_prmtop(tmp_path / "w.prmtop", water(1))
    places = [0, 0, 0, 0.9572, 0, 0, -0.2399872, 0.92662721, 0, 0.0784, 0.1012, 0]
    text = "".join(f"{value:12.7f}" + ("\n" if k % 6 == 5 else "") for k, value in enumerate(places))
    (tmp_path / "w.inpcrd").write_text(f"water\n    4\n{text}\n")
    case = CASE.replace('top = "water.top"', 'prmtop = "w.prmtop"').replace('gro = "water.gro"', 'inpcrd = "w.inpcrd"')
    case = case[: case.index("[forcefield]")] + case[case.index("[[stages]]") :]
    (tmp_path / "case.toml").write_text(case)
    frames = read_trajectory(execute(tmp_path / "case.toml", "run") / "trajectory.h5")
    assert bool(frames.velocities.isfinite().all()) and not bool(frames.velocities[:, 3].any())
    assert bool(frames.velocities[:, :3].any())
    distance = (frames.positions[:, 3] - frames.positions[:, 0]).norm(dim=-1)
    numpy.testing.assert_allclose(distance, 0.125, atol=1e-6)


REFUSED = {
    "no potential": (("system={smiles='CCO'}", "forcefield={}"), "add a .potential."),
    "coordinates alone": (("system={prmtop='a.prmtop'}",), "prmtop and inpcrd belong together"),
    "unknown sum": (("forcefield.coulomb='pmee'",), "pme"),
    "switch beyond the cutoff": (("forcefield.lennard_jones='switch'", "forcefield.switch='9 angstrom'"), "a switch"),
    "solvent with pme": (("forcefield.solvent='obc2'", "forcefield.coulomb='pme'"), "solvent does not go with coulomb"),
    "pressure without unit": (("stages.0.barostat={kind='pistons',pressure=1}",), "has no unit"),
    "no such barostat": (("stages.0.barostat={kind='piston',pressure='1 bar'}",), "pistons"),
    "fast steps at constant pressure": (
        ("stages.0.barostat={kind='pistons',pressure='1 bar'}", "stages.0.fast_steps=2"),
        "do not go together",
    ),
    "pistons with noise": (
        (f"stages=[{{kind='langevin',{SHARED},barostat={{kind='pistons',{BATH}}}}}]",),
        "keeps the total momentum",
    ),
    "a barostat alone": (("stages=[{kind='nve',n_steps=1,dt='1 fs',barostat={}}]",), "needs a thermostat beside it"),
    "a box of one edge": (("system.box=['9 angstrom']",), "three positive edges"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_bad_input_is_refused_with_its_fix(case_file: Path, fault: str) -> None:
    overrides, message = REFUSED[fault]
    with pytest.raises(InputError, match=message):
        load_case(case_file, list(overrides))


def test_what_only_the_run_can_know_is_refused_too(case_file: Path) -> None:
    with pytest.raises(InputError, match=r'across along a, below twice the cutoff.*cutoff = "3.1 angstrom" or less'):
        execute(case_file, "a", "forcefield.cutoff='4 angstrom'")
    with pytest.raises(InputError, match=r"output.pressure needs a system that is periodic"):
        execute(case_file, "c", "system.periodic=false", "output.pressure=true", "forcefield={}")
    with pytest.raises(InputError, match="for open systems, but the coordinates have a box"):
        execute(case_file, "d", 'forcefield={coulomb="all"}')


def test_overlapping_atoms_are_named_before_the_first_step(case_file: Path) -> None:
    """Waters 1.6 angstrom apart: minimised, they start."""
    write_water(case_file.parent, spacing=1.6)
    options = ("system.box=['9 angstrom','9 angstrom','9 angstrom']", "stages.0.dt='2 fs'")
    with pytest.raises(InputError, match=r"the force on atom \d+ .* of SOL \d.*: atom \d+ .*away.*\[minimise\]"):
        execute(case_file, "a", *options)
    execute(case_file, "b", *options, "minimise={method='steepest_descent',max_force='2 eV/angstrom'}")


def test_constraints_that_do_not_converge_keep_the_frames_before(case_file: Path) -> None:
    """A step of 14 fs turns a water too far for its constraints."""
    options = ('stages=[{kind="nve",n_steps=200,dt="14 fs",temperature="2000 K"}]', "output.every=1")
    with pytest.raises(InputError, match=r"step \d+ .*: the dynamics blew up: .*SOL \d.* use a dt below 14 fs"):
        execute(case_file, "run", *options)
    assert len(rows(case_file.parent / "run")) >= 1


def test_a_net_charge_without_ions_is_told(case_file: Path) -> None:
    top = case_file.parent / "water.top"
    top.write_text(top.read_text().replace("OW 1 -0.8476", "OW 1 -0.7226"))
    folder = execute(case_file, "run", 'forcefield={cutoff="3 angstrom"}')
    assert "the net charge is +1 e" in (folder / "log.txt").read_text()


EXAMPLES = ("argon_liquid", "water_box", "alanine_dipeptide", "dhfr")


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_valid(repository: Path, name: str) -> None:
    load_case(repository / "docs/examples" / f"{name}.toml")


def test_liquid_argon_starts_from_its_own_files(repository: Path, tmp_path: Path) -> None:
    """The energy of the face-centred cubic crystal by its lattice sums, 12.13188 and 14.45392.

    The correction beyond the cutoff takes the crystal for a fluid of uniform density: 0.3 per cent.
    """
    case = load_case(
        repository / "docs/examples/argon_liquid.toml",
        ["stages=[{kind='nve',n_steps=1,dt='1 fs',temperature='1 K'}]", "analysis={}"],
    )
    runs.execute(case, tmp_path / "run", quiet=True)
    epsilon = 120 * 8.617333262e-5
    density = 256 * 3.4**3 / 23.1206**3
    lattice = 2 * density**2 * (12.13188 * density**2 / 4 - 14.45392 / 2)
    assert rows(tmp_path / "run")[0]["potential [eV]"] == pytest.approx(256 * epsilon * lattice, rel=5e-3)


@pytest.mark.data
def test_a_prepared_system_runs_by_its_name(repository: Path, tmp_path: Path, data_mirror: Path) -> None:
    case = load_case(repository / "docs/examples/alanine_dipeptide.toml", ["stages.0.n_steps=10", "output.every=2"])
    folder = tmp_path / "run"
    runs.execute(case, folder, quiet=True)
    found = json.loads((folder / "results.json").read_text())
    assert "dihedral 4-6-8-14 likeliest [degree]" in found and (folder / "dihedrals.png").exists()
