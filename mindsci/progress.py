"""A progress bar with rate and remaining time; on a pipe, a line now and then instead."""

from __future__ import annotations

import sys
import time
from typing import Any

LINE_EVERY = 15.0
"""Seconds between two lines where the output is no terminal."""


class Progress:
    """Counts steps of a long piece of work and shows how far it is."""

    def __init__(
        self, total: int, description: str, *, unit: str = "steps", done: int = 0, quiet: bool = False
    ) -> None:
        self.total = total
        self.description = description
        self.unit = unit
        self.done = done
        self.quiet = quiet
        self.first = done
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        self._began = self._shown = time.monotonic()
        if not self.quiet and sys.stderr.isatty():
            self._bar = _terminal_bar()
            self._bar.start()
            self._task = self._bar.add_task(self.description, total=self.total, completed=self.done, note="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif not self.quiet and self.done > self.first:
            self._line({})

    @property
    def rate(self) -> float:
        """Steps a second since the bar was opened."""
        return (self.done - self.first) / max(time.monotonic() - self._began, 1e-9)

    def advance(self, steps: int = 1, **shown: Any) -> None:
        """Adds steps; the keyword values are shown beside the bar."""
        self.done += steps
        if self.quiet:
            return
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, note=self._note(shown))
        elif time.monotonic() - self._shown > LINE_EVERY:
            self._line(shown)

    def _line(self, shown: dict[str, Any]) -> None:
        self._shown = time.monotonic()
        remaining = (self.total - self.done) / max(self.rate, 1e-9)
        left = f", {remaining:.0f} s left" if self.done < self.total else ""
        print(
            f"{self.description}: {self.done}/{self.total} {self.unit}{left}, {self._note(shown)}",
            file=sys.stderr,
            flush=True,
        )

    def _note(self, shown: dict[str, Any]) -> str:
        values = [f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in shown.items()]
        return ", ".join([f"{self.rate:.4g} {self.unit}/s", *values])


def _terminal_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Bar(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True))
