"""Checkpoints of a training: whole files only, the last two kept, read without executing what they hold."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mindsci.errors import InputError
from mindsci.files import writing

FORMAT = 1
KEPT = 2


class Checkpoints:
    """The folder of a training's checkpoints, one file each, named after its step."""

    def __init__(self, folder: Path, log: Callable[[str], None]) -> None:
        self.folder, self._log = folder, log

    def paths(self) -> list[Path]:
        """Returns the checkpoints, oldest first."""
        return sorted(self.folder.glob("step_*.pt"))

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Writes a state of plain values and tensors; removes all but the last two."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step_{step:09d}.pt"
        with writing(path) as temporary:
            torch.save({"format": FORMAT, "step": step} | state, temporary)
        for old in self.paths()[:-KEPT]:
            old.unlink(missing_ok=True)
        return path

    def load(self) -> dict[str, Any] | None:
        """Returns the newest state that can be read, on the host, or None where there is none.

        Raises InputError where every checkpoint is damaged, or was written by a newer version.
        """
        for leftover in self.folder.glob(".writing-*-step_*.pt"):  # of a process that was killed while it wrote
            leftover.unlink(missing_ok=True)
        paths = self.paths()
        for path in reversed(paths):
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
            except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
                self._log(f"the checkpoint {path} cannot be read ({_first_line(error)}); trying the one before")
                continue
            if not isinstance(state, dict) or state.get("format") != FORMAT:
                raise InputError(f"{path} is no checkpoint of format {FORMAT}; resume with the version that wrote it")
            return state
        if paths:
            raise InputError(f"no checkpoint in {self.folder} can be read; start anew in another folder")
        return None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
