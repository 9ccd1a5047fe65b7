"""Cards say what they must and nothing else; names lead to cards, data and models."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mindsci.config import load_case
from mindsci.errors import InputError, StorageError, UnknownNameError
from mindsci.hub import DatasetCard, PretrainedCard, find_card, find_cards, load_dataset, load_pretrained

DATASET = """
name = "points"
title = "Three points"
licence = "CC0-1.0"
source = "made here"
citation = "none"
reader = "json:dumps"

[units]
positions = "angstrom"

[shapes]
positions = "3 3"

[splits.train]
files = ["points.txt"]
samples = 3

[[files]]
name = "points.txt"
bytes = 3
sha256 = "{digest}"
"""

PRETRAINED = """
name = "line"
title = "One linear layer"
licence = "Apache-2.0"
source = "made here"
citation = "none"
builder = "torch.nn:Linear"

[config]
in_features = 2
out_features = {outputs}

[weights]
name = "line.safetensors"
bytes = {size}
sha256 = "{digest}"

[training]
data = "points"
command = "mindsci run line.toml"
seed = 0

[[metrics]]
name = "energy error"
value = 0.5
unit = "meV"
split = "test"
command = "mindsci validate line"

[domain]
description = "points on a line"
elements = ["H"]
"""


def read_points(paths: dict[str, Path], card: DatasetCard, *, upper: bool = False) -> str:
    text = paths["points.txt"].read_text()
    return f"{card.name}: {text.upper() if upper else text}"


def write_dataset(folder: Path, **replaced: str) -> Path:
    text = DATASET.format(digest=hashlib.sha256(b"abc").hexdigest())
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "card.toml").write_text(text)
    (folder / "points.txt").write_text("abc")
    return folder / "card.toml"


def write_pretrained(folder: Path, outputs: int = 1) -> Path:
    weights = folder / "line.safetensors"
    save_file({"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])}, weights)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    text = PRETRAINED.format(outputs=outputs, size=weights.stat().st_size, digest=digest)
    (folder / "card.toml").write_text(text)
    return folder / "card.toml"


def test_reader_gets_the_paths_the_card_and_the_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "dumps", read_points)  # a card names its reader by module and attribute
    card = str(write_dataset(tmp_path))
    assert load_dataset(card) == "points: abc"
    assert load_dataset(card, upper=True) == "points: ABC"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('licence = "CC0-1.0"', "", "licence: missing"),
        ("[units]", "[unit]", "unit: unknown key; did you mean 'units'"),
        ("bytes = 3", 'bytes = "3"', "files.0.bytes: Input should be a valid integer"),
        ("bytes = 3", "bytes = 0", "files.0.bytes: Input should be greater than 0"),
        ("bytes = 3", 'bytes = 3\nurl = "file:///etc/passwd"', "files.0.url: String should match"),
        ("bytes = 3", 'bytes = 3\nmirror = "../secret"', "files.0.mirror: '../secret' is not a relative path"),
        ('name = "points.txt"', 'name = "/etc/points.txt"', "files.0.name: '/etc/points.txt' is not a relative path"),
        ('reader = "json:dumps"', 'reader = "json dumps"', "reader: String should match"),
        ('files = ["points.txt"]', 'files = ["other.txt"]', "split 'train' names files that [[files]] does not list"),
        ("[units]", "[units", "is not valid TOML"),
    ],
)
def test_a_faulty_card_says_where(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = write_dataset(tmp_path, **{old: new})
    with pytest.raises(InputError, match=re.escape(said)) as raised:
        DatasetCard.read(path)
    assert str(path) in str(raised.value)


@pytest.fixture(autouse=True)
def declared(declare: Callable[..., None]) -> None:
    declare(readers={"points": "json:dumps"}, models={"line": "torch.nn:Linear"})


def test_code_that_no_plugin_declares_is_never_called(tmp_path: Path) -> None:
    """A card may come from anyone: `os:system` with a config of its choice must not run."""
    path = write_pretrained(tmp_path)
    path.write_text(path.read_text().replace("torch.nn:Linear", "os:system"))
    with pytest.raises(UnknownNameError, match="unknown target of models 'os:system'"):
        load_pretrained(str(path))


def test_weights_that_could_run_code_are_refused(tmp_path: Path) -> None:
    path = write_pretrained(tmp_path)
    path.write_text(path.read_text().replace("line.safetensors", "line.pt"))
    with pytest.raises(InputError, match="not safetensors, the one format that runs no code"):
        PretrainedCard.read(path)


def test_a_card_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"nowhere/card\.toml"):
        load_dataset(str(tmp_path / "nowhere" / "card.toml"))


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown data set 'rmd17_etanol'; did you mean 'rmd17_ethanol'"):
        load_dataset("rmd17_etanol")


@pytest.mark.parametrize("dtype", [None, torch.float64])
def test_pretrained_model_has_its_weights_and_evaluates(tmp_path: Path, dtype: torch.dtype | None) -> None:
    model = load_pretrained(str(write_pretrained(tmp_path)), dtype=dtype)
    assert isinstance(model, nn.Linear) and not model.training
    assert model.weight.dtype == (dtype or torch.float32)
    assert model(torch.tensor([1.0, 1.0], dtype=dtype)).item() == 6.0


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"(?s)do not fit torch.nn:Linear with the config of card 'line'.*size mismatch"
    ):
        load_pretrained(str(write_pretrained(tmp_path, outputs=2)))


@pytest.mark.parametrize("kind", [DatasetCard, PretrainedCard])
def test_every_shipped_card_is_valid_and_explained(kind: type[DatasetCard | PretrainedCard], repository: Path) -> None:
    cards: dict[str, Any] = find_cards(kind)
    assert sorted(cards) == sorted(path.name for path in (repository / kind.kind).iterdir() if path.is_dir())
    for name, card in cards.items():
        assert (card.folder / "README.md").stat().st_size > 100
        assert find_card(kind, name) == card
        assert tomllib.loads((card.folder / "card.toml").read_text())["name"] == name


@pytest.mark.parametrize("name", sorted(find_cards(PretrainedCard)))
def test_every_shipped_model_loads(name: str) -> None:
    assert not load_pretrained(name).training


@pytest.mark.parametrize("name", sorted(find_cards(PretrainedCard)))
def test_every_shipped_model_can_be_trained_again(name: str, repository: Path) -> None:
    """The case that the card's command runs is as this version reads it."""
    command = find_card(PretrainedCard, name).training.command.split()
    assert command[:2] == ["mindsci", "run"]
    load_case(repository / command[2])


@pytest.mark.data
@pytest.mark.parametrize("name", sorted(find_cards(DatasetCard)))
def test_every_shipped_dataset_is_in_the_mirror_and_reads(name: str, data_mirror: Path) -> None:
    assert load_dataset(name) is not None
