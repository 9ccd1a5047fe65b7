"""Rows of the validation of force fields: a figure against its reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mindsci.report import Row


def relative(case: str, measured: float, reference: float, gate: float, unit: str = "", **extra: Any) -> Row:
    """Returns a row whose figure may differ from its reference by a share of it."""
    error = abs(measured / reference - 1.0)
    return Row(
        case=case,
        measured=measured,
        unit=unit,
        reference=reference,
        gate=f"{gate:g} relative",
        ok=error < gate,
        extra={"error": error, **extra},
    )


def absolute(case: str, measured: float, reference: float, gate: float, unit: str = "", **extra: Any) -> Row:
    """Returns a row whose figure may differ from its reference by so much."""
    error = abs(measured - reference)
    return Row(
        case=case,
        measured=measured,
        unit=unit,
        reference=reference,
        gate=f"{gate:g} {unit}".rstrip(),
        ok=error < gate,
        extra={"error": error, **extra},
    )


def below(case: str, measured: float, gate: float, unit: str = "", **extra: Any) -> Row:
    """Returns a row of an error, which has a largest value."""
    return Row(case=case, measured=measured, unit=unit, gate=f"below {gate:g}", ok=measured < gate, extra=extra)


def not_run(case: str, gate: str, why: str) -> Row:
    """Returns a row of what could not be tried."""
    return Row(case=case, measured=None, gate=gate, ok=None, extra={"not run": why})


def lacking(case: str, folder: Path | None, *names: str) -> Row | None:
    """Returns the row to show where one of the files is not there, or None."""
    if folder is None:
        return not_run(case, "needs upstream data", "set MINDSCI_MIRROR to a folder with biomolecular/, or give --data")
    missing = [name for name in names if not (folder / name).is_file()]
    return not_run(case, "needs upstream data", f"{folder} lacks {', '.join(missing)}") if missing else None
