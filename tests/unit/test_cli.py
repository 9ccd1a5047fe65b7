"""The command line: one message and status 2 for the user's errors, figures and status 1 for missed gates."""

from __future__ import annotations

import json
import sys

import pytest

from mindsci import cli, plugins
from mindsci.plugins import Plugin
from mindsci.report import Report, Row

ME = "tests.unit.test_cli"


def passing(size: int = 3, ratio: float = 0.5, fast: bool = False, label: str = "x") -> Report:
    row = Row(
        case="size", measured=size, ok=size < 10, gate="< 10", extra={"fast": fast, "ratio": ratio, "label": label}
    )
    return Report(name="passing", rows=[row])


def partial() -> Report:
    return Report(name="partial", rows=[Row(case="ratio", measured=None, gate=">= 3", ok=None)])


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        "one": Plugin(
            name="one",
            benchmarks={"size": f"{__name__}:passing", "partial": f"{__name__}:partial", "same": "a:b"},
        ),
        "two": Plugin(name="two", benchmarks={"same": "c:d"}, tasks={"t": f"{__name__}:nothing"}),
    }
    monkeypatch.setattr(plugins, "discover", lambda: found)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["mindsci", *arguments])
    monkeypatch.setattr(cli, "mount_hub", lambda: None)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


@pytest.mark.usefixtures("registry")
def test_options_of_a_benchmark_are_those_of_its_function(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "bench", "size", "--json", "--size", "7", "--ratio=0.25", "--fast") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["rows"][0] | {"measured": 7, "fast": True, "ratio": 0.25} == made["rows"][0]
    assert made["ok"] is True
    assert made["machine"]["torch"]


@pytest.mark.usefixtures("registry")
def test_a_missed_gate_gives_status_one(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "bench", "one/size", "--size", "12") == 1
    assert "NO" in capsys.readouterr().out


@pytest.mark.usefixtures("registry")
def test_a_gate_that_did_not_run_gives_status_two(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "bench", "partial", "--json") == 2
    assert json.loads(capsys.readouterr().out)["rows"][0]["ok"] is None


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bench", "size", "--sise", "3"), "did you mean '--size'"),
        (("bench", "size", "--size", "big"), "a number of type int is needed"),
        (("bench", "size", "--size"), "needs a value"),
        (("bench", "sized"), "did you mean 'one/size'"),
        (("bench", "same"), "'same' is ambiguous: one/same, two/same"),
        (("run", "none.toml"), "cannot read the case file 'none.toml'"),
        (("bench", "two/same"), "No module named"),
    ],
)
def test_a_users_error_is_one_line_that_names_the_fix(monkeypatch, capsys, arguments, message) -> None:
    if message == "No module named":
        monkeypatch.setattr(sys, "argv", ["mindsci", *arguments])
        monkeypatch.setattr(cli, "mount_hub", lambda: None)
        with pytest.raises(ModuleNotFoundError):  # a plugin's defect is not the user's error
            cli.main()
        return
    assert run(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert "Traceback" not in error


@pytest.mark.usefixtures("registry")
def test_debug_shows_the_traceback(monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["mindsci", "run", "none.toml", "--debug"])
    monkeypatch.setattr(cli, "mount_hub", lambda: None)
    with pytest.raises(OSError, match="cannot read"):
        cli.main()


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a device"):
        cli.checked_device("gpu9")


def test_two_plugins_of_one_name_are_refused(monkeypatch) -> None:
    class Entry:
        def __init__(self, target: Plugin) -> None:
            self.name, self.value, self.target = "x", "m:p", target

        def load(self) -> Plugin:
            return self.target

    entries = [Entry(Plugin(name="x", summary="1")), Entry(Plugin(name="x", summary="2"))]
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries)
    with pytest.raises(ValueError, match="two plugins are named 'x'"):
        plugins.discover.__wrapped__()
