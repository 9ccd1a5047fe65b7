"""Reports of validations and benchmarks: rows with a measured figure, its reference and its gate."""

from __future__ import annotations

import io
import json
import math
import platform
import sys
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure. `ok` is None where nothing is judged; `extra` holds what else is worth knowing."""

    case: str
    measured: float | int | str | None
    unit: str = ""
    reference: float | None = None
    gate: str | None = None
    ok: bool | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a validation or a benchmark found; `ok` unless a row falls short of its gate."""

    name: str
    rows: list[Row]

    @property
    def ok(self) -> bool:
        return all(row.ok is not False for row in self.rows)

    @property
    def complete(self) -> bool:
        """Whether every gate was tried: one against a peer that is not installed, say, counts as not run."""
        return all(row.gate is None or row.ok is not None for row in self.rows)

    def to_json(self) -> str:
        """Returns one JSON object; a figure that is not finite is written as a string."""
        rows = []
        for row in self.rows:
            flat = asdict(row)
            rows.append(flat | flat.pop("extra"))
        return json.dumps(
            _finite({"name": self.name, "machine": machine(), "rows": rows, "ok": self.ok}), indent=2, allow_nan=False
        )

    def print(self) -> None:
        """Prints the rows as a table."""
        from rich.console import Console
        from rich.table import Table

        extras = list(dict.fromkeys(key for row in self.rows for key in row.extra))
        lines = []
        for row in self.rows:
            verdict = {True: "yes", False: "NO", None: ""}[row.ok]
            shown = [row.case, row.measured, row.unit, row.reference, row.gate, verdict]
            lines.append([_text(value) for value in [*shown, *(row.extra.get(key) for key in extras)]])
        table = Table(title=self.name)
        columns = ["case", "measured", "unit", "reference", "gate", "ok", *extras]
        used = [i for i in range(len(columns)) if any(line[i] for line in lines)]
        for i in used:
            table.add_column(columns[i], overflow="fold")
        for line in lines:
            table.add_row(*(line[i] for i in used))
        # On a pipe there is no width to fit: a wrapped figure would be read wrong.
        Console(width=None if sys.stdout.isatty() else 200).print(table)


def text_table(columns: list[str], rows: list[list[str]]) -> str:
    """Returns rows as a table of text, without the columns that are empty."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    used = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    for index in used:
        table.add_column(columns[index], overflow="fold")
    for row in rows:
        table.add_row(*(row[index] for index in used))
    out = io.StringIO()
    Console(file=out, width=200).print(table)
    return out.getvalue()


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def machine(*, cuda: bool = True) -> dict[str, Any]:
    """Returns what a figure depends on: processor, threads, versions; cuda: whether to ask for a GPU's name."""
    import numpy
    import torch

    return {
        "processor": _processor(),
        "system": platform.platform(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "cuda": torch.cuda.get_device_name() if cuda and torch.cuda.is_available() else None,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
