"""One point of a sweep, as a worker sees it: a case as text, a folder, and what became of it."""

from __future__ import annotations

import shutil
import time
import tomllib
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LOOK_EVERY = 0.5
"""Seconds between two looks for the file that asks to stop"""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A point to run: plain values, which any scheduler carries anywhere."""

    number: int
    case: str
    """TOML, every default written out"""
    folder: str
    stop: str
    """a file that is there once the sweep is to stop"""
    error: str
    """where the traceback of a failure goes"""
    device: str = "cpu"
    threads: int | None = None
    """of this run; those of the process unless given"""
    attempt: int = 1
    anew: bool = False
    """whether what an earlier attempt left is removed first; otherwise it is continued"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a job."""

    number: int
    state: Literal["finished", "failed", "interrupted"]
    attempt: int = 1
    seconds: float = 0.0
    error: str = ""
    """one line"""
    stop_asked: bool = False
    """whether a signal asked for the end, even if the run came to its own first"""


def run_job(job: Job) -> Outcome:
    """Runs a point in its folder as `mindsci run` does, continuing what an earlier attempt left there."""
    from mindsci.runs import Interrupted

    began = time.monotonic()
    if Path(job.stop).exists():
        return Outcome(number=job.number, state="interrupted", attempt=job.attempt)
    try:
        asked = _execute(job)
    except (Interrupted, KeyboardInterrupt):
        return Outcome(number=job.number, state="interrupted", attempt=job.attempt, stop_asked=True)
    except Exception as error:
        _keep_traceback(Path(job.error))
        seconds = time.monotonic() - began
        return Outcome(number=job.number, state="failed", attempt=job.attempt, seconds=seconds, error=one_line(error))
    seconds = time.monotonic() - began
    return Outcome(number=job.number, state="finished", attempt=job.attempt, seconds=seconds, stop_asked=asked)


def _execute(job: Job) -> bool:
    """Runs the case; returns whether a signal asked it to stop meanwhile."""
    import torch

    from mindsci import config, runs

    if job.threads is not None:
        torch.set_num_threads(job.threads)
    folder, asked = Path(job.folder), _watch(Path(job.stop))
    if (folder / "case.toml").exists():
        _wait_until_free(folder, asked)
    case = config.case_of(tomllib.loads(job.case), folder=folder, source=f"point {job.number}")
    # A folder without a case was left by a run that was killed before it began.
    if folder.exists() and (job.anew or not (folder / "case.toml").exists()):
        shutil.rmtree(folder)
    resume = folder.exists()
    run = runs.execute(case, folder, resume=resume, device=job.device, quiet=True, asked_to_stop=asked)
    return run.stop_requested


def _wait_until_free(folder: Path, asked: Callable[[], bool]) -> None:
    """Waits for a process that still runs the point: a worker elsewhere whose sweep has crashed."""
    from filelock import FileLock, Timeout

    from mindsci.runs import LOCK, Interrupted

    while True:
        try:
            with FileLock(folder / LOCK).acquire(timeout=LOOK_EVERY):
                return
        except Timeout:
            if asked():
                raise Interrupted("stopped while waiting for another process") from None


def _watch(path: Path) -> Callable[[], bool]:
    """Returns a function that says whether a file is there, and looks for it now and then only."""
    last, seen = float("-inf"), False

    def asked() -> bool:
        nonlocal last, seen
        if not seen and time.monotonic() - last > LOOK_EVERY:
            last, seen = time.monotonic(), path.exists()
        return seen

    return asked


def _keep_traceback(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:
        pass  # the failure itself is what is told


def one_line(error: BaseException) -> str:
    """Returns what an error says in one line; one that is no user's error begins with its kind."""
    from mindsci.errors import UserError

    text = " ".join(str(error).split()) or "no message"
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
