"""A sweep's folder: what it is about, which points are done, and where each of them lies."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

import mindsci
from mindsci.errors import InputError, StorageError
from mindsci.runs import LOCK, Folder
from mindsci.sweep.points import Plan

DESCRIPTION = "sweep.json"
JOURNAL = "journal.jsonl"
STOP = ".stop"
"""Is there while the sweep is asked to stop: runs on any machine that sees the folder look for it."""


class SweepFolder(Folder):
    """The folder of one sweep, held by one process at a time.

    Raises InputError where the folder holds something else and `resume` is not asked for, or another sweep.
    """

    def __init__(self, folder: Path, plan: Plan, *, resume: bool = False, quiet: bool = False) -> None:
        super().__init__(folder)
        self.plan, self.resuming, self.quiet = plan, resume, quiet
        self._lock: FileLock | None = None
        self._started = time.monotonic()
        self._check()

    def _check(self) -> None:
        if not self.resuming:
            if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
                raise InputError(
                    f"'{self.folder}' exists; continue it with --resume, or choose another folder with --out"
                )
            return
        path, wanted = self.path(DESCRIPTION), self._description()
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise InputError(
                f"--resume: '{self.folder}' holds no sweep (no {DESCRIPTION}); leave --resume out to start one"
            ) from None
        for key, what in (("parameters", "parameters or values"), ("how", "way of making points"), ("cases", "case")):
            if stored.get(key) != wanted[key]:
                raise InputError(
                    f"--resume: '{self.folder}' holds a sweep of another {what}; give what it was started with "
                    f"('{path}' has it), or start anew with another --out"
                )

    def _description(self) -> dict[str, Any]:
        plan = self.plan
        columns = list(zip(*plan.values, strict=True))
        parameters = [
            {"name": one.name, "keys": [[target.key, target.factor] for target in one.targets], "unit": one.unit}
            | {"values": list(values)}
            for one, values in zip(plan.parameters, columns, strict=True)
        ]
        made = {"mindsci": mindsci.__version__, "case_file": str(plan.source), "how": plan.how}
        made["first_case"] = plan.first()
        # As JSON has it: a tuple is a list.
        found: dict[str, Any] = json.loads(json.dumps(made | {"parameters": parameters, "cases": plan.checksum()}))
        return found

    def __enter__(self) -> SweepFolder:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"cannot make the folder '{self.folder}': {error.strerror}; choose another with --out"
            ) from None
        lock = FileLock(self.path(LOCK))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"another process sweeps in '{self.folder}'; wait for it, or choose another --out"
            ) from None
        self._lock = lock
        self.path(STOP).unlink(missing_ok=True)
        self._close_line()
        if not self.resuming:
            with self.writing(DESCRIPTION) as temporary:
                temporary.write_text(json.dumps(self._description(), indent=1) + "\n", encoding="utf-8")
        return self

    def _close_line(self) -> None:
        """Ends a line of the journal that a crash cut off, so that the next one stands alone."""
        path = self.path(JOURNAL)
        if path.exists() and not path.read_bytes().endswith(b"\n"):
            self._append(JOURNAL, "\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.release()
            self.path(LOCK).unlink(missing_ok=True)

    def point(self, number: int) -> Path:
        """Returns the folder of a point."""
        return self.folder / "points" / f"{number:06d}"

    def log(self, message: str) -> None:
        """Adds a line to log.txt and shows it."""
        seconds = time.monotonic() - self._started
        self._append("log.txt", f"[{seconds:9.2f} s] {message}\n")
        if not self.quiet:
            print(message, flush=True)

    def ask_to_stop(self) -> None:
        """Asks all runs of the sweep, wherever they run, to stop after the chunk at hand."""
        self.path(STOP).touch()

    def note_finished(self, number: int, seconds: float) -> None:
        """Keeps on disk that a point is finished."""
        self._append(JOURNAL, json.dumps({"point": number, "seconds": round(seconds, 3)}) + "\n", flush=True)

    def finished(self) -> dict[int, float]:
        """Returns the finished points and how long each took [s]. A line that was cut off by a crash does not count."""
        found: dict[int, float] = {}
        path = self.path(JOURNAL)
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                entry = json.loads(line)
                number, seconds = int(entry["point"]), float(entry["seconds"])
            except (ValueError, KeyError, TypeError):
                continue
            if (self.point(number) / "results.json").exists():
                found[number] = seconds
        return found

    def _append(self, name: str, text: str, *, flush: bool = False) -> None:
        try:
            with self.path(name).open("a", encoding="utf-8") as file:
                file.write(text)
                if flush:
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(f"cannot write '{self.path(name)}': {error.strerror}; free some space") from None
