"""The task "sponge/train" on real frames, and the potential that it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mindsci import runs
from mindsci.config import load_case
from mindsci.errors import InputError, UnknownNameError
from sponge.potentials.loading import load_potential
from sponge.tasks import errors_of
from sponge.training_case import load_splits

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
