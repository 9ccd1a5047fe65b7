"""A run's folder: the resolved case, where it came from, its log, progress, results and restart.

Files are written beside and renamed, so that a run which is killed leaves whole files only. A run is cut in
chunks by its task; between two chunks it can be asked to stop, and what it computed is kept in `restart`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mindsci import files, tables
from mindsci.config import Case, to_toml
from mindsci.errors import InputError, StorageError, UserError
from mindsci.progress import Progress
from mindsci.provenance import launch, provenance

RESTART = "restart.safetensors"
LOCK = ".lock"
"""Held by the process that works in the folder."""
OWN_FILES = {"case.toml", "provenance.json", "log.txt"}
"""What every run writes about itself before its task writes anything."""


def process_count() -> int:
    """Returns how many processes torchrun started for this run; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def started_before(folder: Path) -> bool:
    """Returns whether torchrun started this process again after a failure of a run that it had itself begun there."""
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) == 0 or not (folder / "case.toml").exists():
        return False
    try:
        begun = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(begun, dict) and begun.get("launch") == launch()


class Interrupted(Exception):
    """The run stopped because it was asked to; its restart is written."""


class Folder:
    """A folder in which a run keeps files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Returns the place of a file in this folder."""
        return self.folder / name

    def writing(self, name: str) -> AbstractContextManager[Path]:
        """Gives a temporary path that becomes folder/name when the block ends without an error."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return files.writing(path)

    def table(self, name: str, columns: Mapping[str, Any], *, digits: int = 9) -> None:
        """Writes columns of numbers under their heads, "name [unit]", as CSV: see `mindsci.tables`."""
        with self.writing(name) as temporary:
            tables.write(temporary, columns, digits=digits)

    def within(self, name: str) -> Folder:
        """Returns a folder inside; it is made when something is written there."""
        return Folder(self.path(name))


class Run(Folder):
    """One run of a case in a folder of its own.

    Raises InputError where the folder holds another run and `resume` is not asked for, or where a run to
    be resumed was made from another case.
    """

    def __init__(
        self,
        case: Case,
        folder: Path,
        *,
        resume: bool = False,
        device: str | torch.device = "cpu",
        quiet: bool = False,
        asked_to_stop: Callable[[], bool] = bool,
    ) -> None:
        super().__init__(folder)
        self.case = case
        self.device = torch.device(device)
        self.resuming = resume
        self.quiet = quiet
        self._signalled = False
        self._asked_to_stop = asked_to_stop
        self._lock: FileLock | None = None
        self._started = time.monotonic()
        self._made_folder = not folder.exists()
        if self.is_writer:
            _prepare_folder(folder, case, resume)
            self._record()

    @property
    def stop_requested(self) -> bool:
        """Whether a signal, or whoever started the run (`asked_to_stop`), wants it to stop after the chunk at hand."""
        return self._signalled or self._asked_to_stop()

    @stop_requested.setter
    def stop_requested(self, wanted: bool) -> None:
        self._signalled = wanted

    @property
    def is_writer(self) -> bool:
        """Whether this process writes files: the first one where several work on one run."""
        return process_count() == 1 or int(os.environ.get("RANK", "0")) == 0

    def log(self, message: str) -> None:
        """Adds a line to log.txt and shows it."""
        if not self.is_writer:
            return
        seconds = time.monotonic() - self._started
        try:
            with self.path("log.txt").open("a", encoding="utf-8") as log:
                log.write(f"[{seconds:9.2f} s] {message}\n")
        except OSError as error:
            raise StorageError(f"cannot write '{self.path('log.txt')}': {error.strerror}") from None
        if not self.quiet:
            print(message, flush=True)

    def progress(self, total: int, description: str, *, unit: str = "steps", done: int = 0) -> Progress:
        """Returns a progress bar as a context manager; `done` counts what an earlier part of the run did."""
        return Progress(total, description, unit=unit, done=done, quiet=self.quiet or not self.is_writer)

    def save_restart(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Writes the state that `load_restart` gives back, in one file that is whole or absent."""
        if not self.is_writer:
            return
        with self.writing(RESTART) as temporary:
            contiguous = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
            try:
                save_file(contiguous, temporary, metadata={"meta": json.dumps(meta)})
            except SafetensorError as error:
                raise StorageError(f"cannot write '{self.path(RESTART)}': {error}; free some space") from None

    def load_restart(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Returns (tensors, meta) of the last restart, or None where the run has none or starts anew."""
        path = self.path(RESTART)
        if not self.resuming or not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as stored:
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a dict)
                meta = json.loads(stored.metadata()["meta"])
        except (SafetensorError, KeyError, ValueError) as error:
            raise InputError(f"'{path}' is damaged ({error}); start anew with another --out") from None
        return tensors, meta

    def stop(self) -> None:
        """Ends the run because a stop was asked for; call it after `save_restart`."""
        raise Interrupted(f"stopped; continue with: mindsci run {shlex.quote(str(self.path('case.toml')))} --resume")

    def withdraw(self) -> None:
        """Removes what this run wrote about itself, unless it has written anything else or continues another."""
        if self.resuming or not self.is_writer or {path.name for path in self.folder.iterdir()} - OWN_FILES - {LOCK}:
            return
        for name in OWN_FILES:
            self.path(name).unlink(missing_ok=True)
        if self._made_folder:
            self._unlock()
            with contextlib.suppress(OSError):  # the error that led here is the one to show
                self.folder.rmdir()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self.path(LOCK).unlink(missing_ok=True)
            self._lock = None

    def results(self, values: dict[str, Any]) -> None:
        """Writes results.json and shows the figures."""
        if not self.is_writer:
            return
        with self.writing("results.json") as temporary:
            # JSON has no word for what is not a number.
            known = {name: None if value != value else value for name, value in values.items()}
            temporary.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        if not self.quiet:
            for name, value in values.items():
                print(f"  {name}: {value:.6g}" if isinstance(value, float) else f"  {name}: {value}")

    def _record(self) -> None:
        if not self.resuming:
            with self.writing("case.toml") as temporary:
                temporary.write_text(to_toml(self.case), encoding="utf-8")
        with self.writing("provenance.json") as temporary:
            temporary.write_text(
                json.dumps(provenance(self.case.seed, self.device, self.resuming), indent=2) + "\n", encoding="utf-8"
            )

    def __enter__(self) -> Run:
        """Takes the folder for this process, and turns the first Ctrl-C (or SIGTERM) into a request to stop."""
        if self.is_writer:
            self._lock = FileLock(self.path(LOCK))
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                self._lock = None
                raise InputError(
                    f"another process is running in '{self.folder}'; wait for it, or choose another folder with --out"
                ) from None
        # Only the main thread may handle signals; a worker's thread is stopped by whoever started it.
        numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
        self._handlers = {number: signal.signal(number, self._on_signal) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._unlock()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._signalled:
            raise KeyboardInterrupt
        self._signalled = True
        print("\nstopping after this chunk, to keep what is computed; once more to stop at once", file=sys.stderr)


def _prepare_folder(folder: Path, case: Case, resume: bool) -> None:
    stored = folder / "case.toml"
    if resume:
        if not stored.exists():
            raise InputError(f"--resume: '{folder}' holds no run (no case.toml); leave --resume out to start one")
        if not _is_same(stored.read_text(encoding="utf-8"), case):
            raise InputError(
                f"--resume: the case differs from the one that '{folder}' was started with; "
                f"run '{stored}' itself with --resume, or start anew with another --out"
            )
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"'{folder}' exists; continue it with --resume, or choose another folder with --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the folder '{folder}': {error.strerror}; choose another with --out") from None


def _is_same(stored: str, case: Case) -> bool:
    """Whether a case is the one that a run was begun with, but for the keys that may change."""
    try:
        both = tomllib.loads(stored), tomllib.loads(to_toml(case))
    except tomllib.TOMLDecodeError:
        return False
    for side in both:
        for key in case.changeable:
            *parents, last = key.split(".")
            node = side
            for parent in parents:
                node = node.get(parent, {})
            node.pop(last, None)
    return both[0] == both[1]


def chunks(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """Yields (first, count) pieces of start..stop whose ends lie on multiples of `size`.

    A run that resumes at any such end is cut at the same places as one that was never stopped.
    """
    first = start
    while first < stop:
        last = min((first // size + 1) * size, stop)
        yield first, last - first
        first = last


def execute(case: Case, folder: Path, **options: Any) -> Run:
    """Runs a case in a folder and returns the run; `options` are those of Run.

    Where the case turns out to be impossible before anything was computed, the folder is emptied again, so
    that the mended case can take its place. Processes that torchrun started again after a failure resume the run.
    """
    if process_count() > 1 and not case.several_processes:
        raise InputError(
            f"task '{case.task}' runs in one process, and {process_count()} were started; run it without torchrun"
        )
    if started_before(folder):
        options["resume"] = True
    with Run(case, folder, **options) as run:
        try:
            case.run(run)
        except UserError:
            run.withdraw()
            raise
    return run


def default_folder(case_file: Path) -> Path:
    """Returns runs/<name of the case file> in the present folder; the folder of a resolved case is its own."""
    if case_file.name == "case.toml" and (case_file.parent / "provenance.json").exists():
        return case_file.parent
    return Path("runs") / case_file.stem
