"""Rows of a validation: a figure against its reference, or below a limit, with its error, cells and seconds."""

from __future__ import annotations

from typing import TypedDict

from elec.grid import Grid
from mindsci.report import Row


class Size(TypedDict):
    """What a case took."""

    cells: int
    seconds: float


def size(grid: Grid, seconds: float) -> Size:
    """Returns the size of a case as the arguments of a row."""
    return {"cells": grid.n_cells, "seconds": seconds}


def against(
    case: str, measured: float, reference: float, *, percent: float | None, unit: str = "", cells: int, seconds: float
) -> Row:
    """Returns a row that holds where the figure is within a percentage of the reference; None judges nothing."""
    error = 100.0 * (measured / reference - 1.0)
    return Row(
        case=case,
        measured=measured,
        unit=unit,
        reference=reference,
        gate=None if percent is None else f"within {percent:g} %",
        ok=None if percent is None else abs(error) <= percent,
        extra={"error %": error, "cells": cells, "seconds": seconds},
    )


def near(
    case: str, measured: float, reference: float, *, within: float, unit: str = "", cells: int, seconds: float
) -> Row:
    """Returns a row that holds where the figure differs from the reference by no more than `within`, in its unit."""
    return Row(
        case=case,
        measured=measured,
        unit=unit,
        reference=reference,
        gate=f"within {within:g} {unit}".rstrip(),
        ok=abs(measured - reference) <= within,
        extra={"cells": cells, "seconds": seconds},
    )


def below(case: str, measured: float, limit: float, *, unit: str = "", cells: int, seconds: float) -> Row:
    """Returns a row that holds where the figure is below the limit."""
    return Row(
        case=case,
        measured=measured,
        unit=unit,
        gate=f"below {limit:g}",
        ok=measured < limit,
        extra={"cells": cells, "seconds": seconds},
    )


def above(case: str, measured: float, limit: float, *, unit: str = "", cells: int, seconds: float) -> Row:
    """Returns a row that holds where the figure is at least the limit."""
    return Row(
        case=case,
        measured=measured,
        unit=unit,
        gate=f">= {limit:g}",
        ok=measured >= limit,
        extra={"cells": cells, "seconds": seconds},
    )
