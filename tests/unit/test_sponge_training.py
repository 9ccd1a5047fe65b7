"""The task "sponge/train" on real frames, and the potential that it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from mindsci import runs
from mindsci.config import apply_override, load_case, read_case_text, to_toml
from mindsci.errors import InputError, UnknownNameError
from sponge.data.convention import convention
from sponge.data.files import read_file
from sponge.data.frames import Splits
from sponge.potentials import SchNet
from sponge.potentials.loading import load_potential
from sponge.tasks import PotentialTask, errors_of
from sponge.training_case import TrainPotentialCase, build_model, load_splits, reference_energies

SMALL = (
    "trainer.steps=30",
    "trainer.validate_every=15",
    "trainer.checkpoint_every=15",
    "trainer.schedule.warmup_steps=5",
    "trainer.optimizer.learning_rate=5e-3",
    "model.options.features=16",
    "model.options.interactions=2",
)


@pytest.mark.data
def test_a_short_training_learns_and_leaves_a_potential(data_mirror: Path, repository: Path, tmp_path: Path) -> None:
    case = load_case(repository / "docs" / "examples" / "train_schnet_ethanol.toml", list(SMALL))
    folder = tmp_path / "run"
    runs.execute(case, folder, quiet=True)
    found = json.loads((folder / "results.json").read_text())
    # The reference alone (no forces) has a mean absolute force of 860 meV/angstrom.
    assert found["test force_mae [meV/angstrom]"] < 700
    potential = load_potential(model=folder / "model.toml")
    errors = errors_of(potential, load_splits("rmd17_ethanol"))
    for name, unit in (("force_mae", "meV/angstrom"), ("energy_mae", "meV")):
        assert errors[name] == pytest.approx(found[f"test {name} [{unit}]"], rel=1e-4)
    assert (folder / "model.safetensors").stat().st_size < 4e6
    assert not any(parameter.requires_grad for parameter in potential.parameters())
    check_going_on(folder, repository)


def check_going_on(folder: Path, repository: Path) -> None:
    """A training that starts from another's model has its weights, scale and energies of the elements, all to train."""
    example = repository / "docs" / "examples" / "train_schnet_ethanol.toml"
    before = load_potential(model=folder / "model.toml")
    splits = load_splits("rmd17_ethanol")
    start = f'model.start="{folder / "model.toml"}"'
    model = build_model(load_case(example, [*SMALL[:4], "model.options={}", start]).model, splits)
    for name, value in before.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert model.training and all(parameter.requires_grad for parameter in model.parameters())
    with pytest.raises(InputError, match=r"options.features = 128, but the model in model.start has 16"):
        build_model(load_case(example, [start]).model, splits)
    with pytest.raises(InputError, match=r"keeps the reference energies that it has"):
        load_case(example, [start, 'model.reference="isolated"'])
    with pytest.raises(InputError, match=r'a SchNet, and model.name = "sponge/painn"'):
        build_model(load_case(example, [start, "model.options={}", 'model.name="sponge/painn"']).model, splits)


@pytest.mark.data
def test_options_and_models_that_do_not_exist_are_refused(data_mirror: Path, repository: Path, tmp_path: Path) -> None:
    example = repository / "docs" / "examples" / "train_schnet_ethanol.toml"
    refused = {
        "model.options.featurs=3": (InputError, "did you mean 'features'"),
        'model.name="sponge/shcnet"': (UnknownNameError, "did you mean 'sponge/schnet'"),
        'data.dataset="rmd17_ethanoll"': (UnknownNameError, "did you mean 'rmd17_ethanol'"),
    }
    for number, (override, (kind, message)) in enumerate(refused.items()):
        with pytest.raises(kind, match=message):
            runs.execute(load_case(example, [override]), tmp_path / str(number), quiet=True)


def test_a_potential_needs_one_source() -> None:
    with pytest.raises(InputError, match="one source"):
        load_potential()
    assert torch.is_grad_enabled()


@pytest.mark.data
def test_periodic_frames_train_on_stresses_too(data_mirror: Path, repository: Path, tmp_path: Path) -> None:
    overrides = [
        *SMALL, "trainer.steps=20", "data.dataset=metatrain_carbon", "data.batch_size=4", "model.options.cutoff=3.0",
        "loss.stress_weight=10.0", 'loss.energy_per="atom"', "trainer.monitor=stress_mae",
    ]  # fmt: skip
    tables = read_case_text(repository / "docs" / "examples" / "train_potential.toml")
    del tables["data"]["molecule"], tables["data"]["validation"]
    for override in overrides:
        apply_override(tables, override)
    case = TrainPotentialCase.model_validate(tables)
    assert load_case_again(case, tmp_path) == case.resolved()
    runs.execute(case, tmp_path / "run", quiet=True)
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    # Stresses of up to 0.6 eV/angstrom^3: a table of zeros is off by some 100 meV/angstrom^3.
    assert 0 < found["test stress_mae [meV/angstrom^3]"] < 500
    assert (tmp_path / "run" / "learning_curves.png").stat().st_size > 1000


@pytest.mark.data
def test_molecules_of_any_size_train_on_energies_alone(data_mirror: Path, repository: Path, tmp_path: Path) -> None:
    example = repository / "docs" / "examples" / "train_potential.toml"
    file = data_mirror / "ml_potentials" / "metatrain_mini" / "qm9_reduced_100.xyz"
    tables = read_case_text(example)
    tables["data"] = {
        "file": str(file), "test": 10, "validation": 10, "batch_size": 8, "keys": {"energy": "U0"},
        "units": {"energy": "hartree", "length": "angstrom"},
    }  # fmt: skip
    for override in (*SMALL, "trainer.monitor=energy_mae"):
        apply_override(tables, override)
    with pytest.raises(InputError, match="no training frame has a force label"):
        runs.execute(TrainPotentialCase.model_validate(tables), tmp_path / "no_forces", quiet=True)
    tables["loss"] = {"energy_weight": 1.0, "force_weight": 0.0}
    runs.execute(TrainPotentialCase.model_validate(tables), tmp_path / "run", quiet=True)
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert found["test energy_mae [meV]"] < 20_000
    assert "test force_mae [meV/angstrom]" not in found
    with pytest.raises(InputError, match="a card names a data set"):
        TrainPotentialCase.model_validate(tables).card()


@pytest.mark.data
def test_isolated_atoms_give_the_reference_energies(data_mirror: Path) -> None:
    """wB97X/6-31G(d) atoms bind to 3BPA: what they leave is its binding energy, -5 to -6 eV an atom."""
    splits = load_splits("botnet_3bpa")
    reference, rest = reference_energies(splits.train, splits.isolated)
    assert float(reference[1]) == pytest.approx(-1029.48900)  # carbon, as its file says
    assert -6.0 < float(rest.mean()) / 27 < -4.0


@pytest.mark.data
def test_a_case_names_its_molecule(repository: Path) -> None:
    case = load_case(repository / "docs" / "examples" / "train_potential.toml", ["data.molecule=aspirin"])
    assert case.data.name == "rmd17_aspirin"  # type: ignore[attr-defined]


def test_a_case_has_one_source_of_data(repository: Path) -> None:
    example = repository / "docs" / "examples" / "train_potential.toml"
    for override, message in (("data.file=x.xyz", "one source"), ("data.test_file=x.xyz", "does not go with dataset")):
        with pytest.raises(InputError, match=message):
            load_case(example, [override])


def test_frames_of_other_elements_are_refused(tmp_path: Path) -> None:
    atoms = [molecule("H2O"), molecule("NH3")]
    for one in atoms:
        one.calc = SinglePointCalculator(one, energy=-1.0)
    write(tmp_path / "two.xyz", atoms, format="extxyz")
    frames = read_file(tmp_path / "two.xyz", convention({}, {"energy": "eV", "length": "angstrom"}, where="test"))
    water, ammonia = frames.select(slice(0, 1)), frames.select(slice(1, 2))
    model = SchNet(elements=["H", "O"], features=8, interactions=1, gaussians=4)
    splits = Splits(train=water, validation=ammonia, test=water)
    task = PotentialTask(model, splits, batch_size=1, energy_weight=1.0, force_weight=0.0)
    with pytest.raises(InputError, match=r"frame 1 of 'two.xyz' of the validation frames holds N .*it knows H, O"):
        task.batches("validation")


def load_case_again(case: TrainPotentialCase, folder: Path) -> object:
    (folder / "again.toml").write_text(to_toml(case))
    return load_case(folder / "again.toml")
