"""Progress on a pipe: a line now and then, never a carriage return; nothing when quiet."""

from __future__ import annotations

import pytest

from mindsci import progress
from mindsci.progress import Progress


def test_lines_show_count_rate_and_remaining_time(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter([0.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Progress(100, "steps of a run", done=50) as bar:
        bar.advance(10, loss=0.5)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "steps of a run: 60/100 steps, 80 s left, 0.5 steps/s, loss 0.5"


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(10, "x", quiet=True) as bar:
        bar.advance(10)
    assert capsys.readouterr().err == ""
    assert bar.done == 10
