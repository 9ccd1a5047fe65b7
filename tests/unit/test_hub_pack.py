"""`mindsci pretrained pack`: a card of a finished training, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mindsci import hub, testing
from mindsci.config import load_case, to_toml
from mindsci.errors import InputError, StorageError
from sponge.potentials import SchNet


@pytest.fixture
def run(tmp_path: Path, repository: Path) -> Path:
    """What a training leaves, of a model that was never trained."""
    folder = tmp_path / "run"
    folder.mkdir()
    case = load_case(repository / "docs" / "examples" / "train_schnet_ethanol.toml", ["data.labels=original"])
    (folder / "case.toml").write_text(to_toml(case))
    model = SchNet(elements=["H", "C", "O"], features=4, interactions=1, gaussians=4)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "model.toml").write_text(
        'builder = "sponge.potentials.schnet:SchNet"\n[config]\nelements = ["H", "C", "O"]\n'
        "features = 4\ninteractions = 1\ngaussians = 4\n"
    )
    figures = {"steps": 7, "test loss": 1.0, "test energy_mae [meV]": 2.12345, "test force_mae [meV/angstrom]": 12.5}
    (folder / "results.json").write_text(json.dumps(figures | {"test energy_mae_kcal [kcal/mol]": 0.05}))
    return folder


def test_a_packed_training_is_a_card_that_loads(run: Path, tmp_path: Path) -> None:
    folder = hub.pack(run, name="tiny_ethanol", into=tmp_path / "pretrained")
    testing.check_card(folder)
    card = hub.PretrainedCard.read(folder)
    assert card.training.options == {"labels": "original"}
    assert card.training.data == "rmd17_ethanol"
    assert {metric.name: (metric.value, metric.unit) for metric in card.metrics} == {
        "energy_mae": (2.123, "meV"),
        "force_mae": (12.5, "meV/angstrom"),
    }
    assert load_case(folder / "case.toml") == load_case(run / "case.toml")
    loaded = hub.load_pretrained(str(folder / "card.toml"))
    assert torch.is_tensor(next(loaded.parameters()))
    assert sorted(path.name for path in folder.parent.iterdir()) == ["tiny_ethanol"]


def test_what_is_there_is_replaced_only_where_asked_for(run: Path, tmp_path: Path) -> None:
    hub.pack(run, name="tiny", into=tmp_path / "pretrained")
    with pytest.raises(InputError, match="exists"):
        hub.pack(run, name="tiny", into=tmp_path / "pretrained")
    folder = hub.pack(run, name="tiny", into=tmp_path / "pretrained", title="Another", replace=True)
    assert hub.PretrainedCard.read(folder).title == "Another"


def test_a_training_that_has_not_finished_is_refused(run: Path, tmp_path: Path) -> None:
    (run / "results.json").unlink()
    with pytest.raises(StorageError, match=r"results\.json not there"):
        hub.pack(run, name="tiny", into=tmp_path / "pretrained")
    (run / "results.json").write_text('{"steps": 3}')
    with pytest.raises(InputError, match="no test metric"):
        hub.pack(run, name="tiny", into=tmp_path / "pretrained")
    assert not list((tmp_path / "pretrained").iterdir())
