"""The task "mindsci/language_model": a text of a known rule is learnt; what cannot be run is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mindsci import config
from mindsci.errors import InputError, StorageError
from mindsci.nn import Transformer
from mindsci.runs import execute
from mindsci.train.language import LanguageCase


def case(folder: Path, text: str | None, **tables: Any) -> Any:
    if text is not None:
        (folder / "text.txt").write_text(text)
    made = {
        "task": "mindsci/language_model",
        "data": {"file": "text.txt", "length": 16, "batch_size": 16},
        "model": {"features": 32, "heads": 2, "layers": 1},
        "trainer": {"steps": 60, "validate_every": 30, "optimizer": {"learning_rate": 1e-2}},
    } | tables
    return config.validate(LanguageCase, made, folder=folder, source="case.toml")


def test_an_alphabet_is_learnt_by_a_dense_decoder_and_by_a_mixture(tmp_path: Path) -> None:
    text = "abcdefghijklmnopqrstuvwxyz" * 200
    for experts in (0, 4):
        model = {"features": 32, "heads": 2, "layers": 1, "experts": experts}
        execute(case(tmp_path, text, model=model), tmp_path / f"run{experts}", quiet=True)
        results = json.loads((tmp_path / f"run{experts}" / "results.json").read_text())
        assert results["test bits_per_byte [bits]"] < 0.3  # log2(26) = 4.7 without the rule


def test_a_decoder_looks_at_nothing_that_comes_later() -> None:
    torch.manual_seed(0)
    model = Transformer(vocabulary=20, features=16, heads=2, layers=2, experts=4)
    tokens = torch.randint(0, 20, (1, 10))
    changed = tokens.clone()
    changed[0, 6:] = (changed[0, 6:] + 1) % 20
    difference = (model(tokens)[0] - model(changed)[0]).abs().amax(-1)[0]
    assert difference[:6].max() < 1e-5 and difference[6:].min() > 1e-3


def test_a_missing_text_a_short_one_and_a_layout_that_cannot_run_are_refused(tmp_path: Path) -> None:
    for text, tables, message in (
        (None, {"data": {"length": 16}}, "data.file is missing"),
        ("short", {}, "too few for sequences of 16"),
        ("abc" * 1000, {"parallel": {"data": 1, "tensor": 2}}, "the layout is for 2 processes"),
    ):
        with pytest.raises(InputError, match=message):
            execute(case(tmp_path, text, **tables), tmp_path / "refused", quiet=True)
    with pytest.raises(StorageError, match="cannot read data"):
        execute(case(tmp_path, None, data={"file": "absent.txt"}), tmp_path / "absent", quiet=True)


def test_a_plan_takes_the_place_of_a_layout_that_is_left_to_it(tmp_path: Path) -> None:
    automatic = {"parallel": {"plan": "auto", "memory": "1 GiB"}}
    found = case(tmp_path, "abc" * 1000, **automatic).resolved()
    assert found.parallel.ranks == 1
    with pytest.raises(InputError, match=r"no layout of 1 processes with 0\.0 GiB each fits"):
        case(tmp_path, None, parallel={"plan": "auto", "memory": "10 kB"}).resolved()
    with pytest.raises(InputError, match=r"parallel.*: unknown key; did you mean 'memory'"):
        case(tmp_path, None, parallel={"plan": "auto", "memry": "1 GiB", "memory": "1 GiB"})
    with pytest.raises(InputError, match=r"parallel.*: unknown key; did you mean 'tensor'"):
        case(tmp_path, None, parallel={"tensr": 2})
