"""Reports: one JSON object of fixed shape, and a table without wrapped figures on a pipe."""

from __future__ import annotations

import json
import math

import pytest

from mindsci.report import Report, Row


def example(ok: bool | None) -> Report:
    rows = [
        Row(case="a", measured=1.5, unit="GHz", reference=1.4, gate="2 %", ok=ok, extra={"engine": "numba"}),
        Row(case="b", measured=math.inf),
    ]
    return Report(name="example", rows=rows)


def test_json_holds_every_row_flat_and_stays_valid_for_infinite_figures() -> None:
    made = json.loads(example(True).to_json())
    assert made["name"] == "example"
    assert made["rows"][0]["engine"] == "numba"
    assert made["rows"][1]["measured"] == "inf"
    assert {"processor", "threads", "torch"} <= set(made["machine"])


@pytest.mark.parametrize(("ok", "expected"), [(True, True), (None, True), (False, False)])
def test_a_report_is_ok_unless_a_gate_falls_short(ok: bool | None, expected: bool) -> None:
    assert example(ok).ok is expected


def test_columns_without_a_value_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    Report(name="short", rows=[Row(case="only", measured=3)]).print()
    shown = capsys.readouterr().out
    assert "measured" in shown
    assert "reference" not in shown
