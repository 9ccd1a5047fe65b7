"""`mindsci datasets` and `mindsci pretrained` as a user types them."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest
from misbehaving_server import breaks_off, fails, serving, whole

from mindsci import cli

CONTENT = b"0123456789" * 1000

CARD = """
name = "digits"
title = "Digits [0-9]"
licence = "CC0-1.0"
source = "made here"
citation = "none"
reader = "builtins:dict"
units = {{}}
shapes = {{}}
splits = {{train = {{files = ["digits.txt"], samples = 1}}}}

[[files]]
name = "digits.txt"
url = "{url}/digits.txt"
bytes = {size}
sha256 = "{sha256}"
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINDSCI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MINDSCI_MIRROR", raising=False)


def card_at(folder: Path, url: str) -> str:
    text = CARD.format(url=url, size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
    (folder / "card.toml").write_text(text)
    return str(folder / "card.toml")


def status(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit status of the command line."""
    monkeypatch.setattr(sys, "argv", ["mindsci", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


def test_download_then_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(CONTENT) as server:
        card = card_at(tmp_path, server.url)
        server.plan = [breaks_off(4000), whole]
        assert status(monkeypatch, "datasets", "verify", card) == 1
        assert "not here" in capsys.readouterr().out
        assert status(monkeypatch, "datasets", "download", card) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.read_bytes() == CONTENT
    assert status(monkeypatch, "datasets", "verify", card, "--json") == 0
    assert json.loads(capsys.readouterr().out)["datasets"][0]["state"] == "ok"
    path.write_bytes(CONTENT[:-1] + b"?")
    assert status(monkeypatch, "datasets", "verify", card) == 1
    assert "has sha256" in " ".join(capsys.readouterr().out.split())


def test_a_failed_download_is_one_message_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(CONTENT) as server:
        server.plan = [fails(404)]
        assert status(monkeypatch, "datasets", "download", card_at(tmp_path, server.url)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {server.url}/digits.txt: the server answered 404")
    assert len(captured.err.splitlines()) == 1


def test_unknown_name_is_status_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(monkeypatch, "datasets", "info", "rmd17_ethanl") == 2
    assert "did you mean 'rmd17_ethanol'" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["datasets", "pretrained"])
def test_list_names_every_shipped_card(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], repository: Path
) -> None:
    shipped = sorted(path.name for path in (repository / kind).iterdir() if path.is_dir())
    assert status(monkeypatch, kind, "list", "--json") == 0
    assert sorted(row["name"] for row in json.loads(capsys.readouterr().out)[kind]) == shipped
    assert status(monkeypatch, kind, "list") == 0
    text = capsys.readouterr().out
    assert all(name in text for name in shipped)
    assert status(monkeypatch, kind, "verify") == 0


def test_info_says_where_the_data_come_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(monkeypatch, "datasets", "info", "rmd17_ethanol") == 0
    text = capsys.readouterr().out
    for words in ("licence: CC0-1.0", "energies: kcal/mol", "Christensen", "samples: 1000"):
        assert words in text
    assert status(monkeypatch, "datasets", "info", "rmd17_ethanol", "--json") == 0
    assert json.loads(capsys.readouterr().out)["splits"]["test"]["samples"] == 1000
