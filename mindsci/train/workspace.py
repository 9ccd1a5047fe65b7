"""Where a training writes and whom it tells: what the trainer uses of a `mindsci.runs.Run`, and a quiet stand-in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch


class Workspace(Protocol):
    """The part of `mindsci.runs.Run` that the trainer uses."""

    folder: Path
    resuming: bool
    device: torch.device

    @property
    def stop_requested(self) -> bool: ...

    def log(self, message: str) -> None: ...

    def progress(
        self, total: int, description: str, *, unit: str = "steps", done: int = 0
    ) -> AbstractContextManager[Any]: ...

    def stop(self) -> None: ...


class _NoBar:
    def advance(self, steps: int = 1, **shown: Any) -> None:
        """Shows nothing."""


class Quiet:
    """A folder to train in without a case, a screen or a log: for scripts and notebooks."""

    def __init__(self, folder: Path | str, *, device: str | torch.device = "cpu", resuming: bool = False) -> None:
        self.folder, self.device, self.resuming = Path(folder), torch.device(device), resuming
        self.stop_requested = False

    def log(self, message: str) -> None:
        """Says nothing."""

    def progress(
        self, total: int, description: str, *, unit: str = "steps", done: int = 0
    ) -> AbstractContextManager[Any]:
        """Returns a bar that shows nothing."""
        return nullcontext(_NoBar())

    def stop(self) -> None:
        """Raises Interrupted, as a run of the command line does."""
        from mindsci.runs import Interrupted

        raise Interrupted(f"stopped; resume from the checkpoints in {self.folder}")
