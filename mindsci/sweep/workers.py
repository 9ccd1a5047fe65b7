"""Who runs the points of a sweep: this process, or processes of this machine; Dask's are in `dask_workers`."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

from mindsci.sweep.job import Job, Outcome, run_job


class Workers(ABC):
    """Takes jobs and gives outcomes back, in any order. A context manager: all it started is gone after the block."""

    @property
    @abstractmethod
    def description(self) -> str:
        """Who they are, for the log."""

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Takes a job."""

    @abstractmethod
    def collect(self, timeout: float) -> list[Outcome]:
        """Returns what has come out by now; waits for the first one, but no longer than `timeout` [s] where it can."""

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def stop(self) -> int:
        """Forgets the jobs that no worker has taken up, and returns how many; the others end by themselves, since each
        run looks for the file that asks it to."""
        return 0

    @abstractmethod
    def close(self) -> None:
        """Ends whatever still runs."""


class ThisProcess(Workers):
    """Runs one job after the other in this process."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()

    @property
    def description(self) -> str:
        return "one point at a time, in this process"

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def collect(self, timeout: float) -> list[Outcome]:
        return [run_job(self._jobs.popleft())] if self._jobs else []

    def close(self) -> None:
        self._jobs.clear()


class LocalProcesses(Workers):
    """Processes of this machine, each with a pipe of its own: one that dies fails the point it had, and no other.

    They end with this process, however that ends.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._jobs: deque[Job] = deque()
        self._busy: dict[Connection, tuple[Any, Job]] = {}
        self._idle: list[tuple[Connection, Any]] = []

    @property
    def description(self) -> str:
        return f"{self.count} processes of this machine"

    def submit(self, job: Job) -> None:
        self._jobs.append(job)
        self._hand_out()

    def collect(self, timeout: float) -> list[Outcome]:
        found = [self._outcome(pipe) for pipe in wait(list(self._busy), timeout)]  # type: ignore[arg-type]
        self._hand_out()
        return found

    def close(self) -> None:
        for _, process in self._idle:
            process.terminate()
        for process, _ in self._busy.values():
            process.kill()
        for process in [*(one for _, one in self._idle), *(one for one, _ in self._busy.values())]:
            process.join()
        for pipe in [*(one for one, _ in self._idle), *self._busy]:
            pipe.close()
        self._idle, self._busy = [], {}

    def _hand_out(self) -> None:
        while self._jobs and len(self._busy) < self.count:
            pipe, process = self._idle.pop() if self._idle else self._begin()
            try:
                pipe.send(self._jobs[0])
            except BrokenPipeError:  # it died while it had nothing to do
                process.join()
                pipe.close()
                continue
            self._busy[pipe] = (process, self._jobs.popleft())

    def _begin(self) -> tuple[Connection, Any]:
        # "spawn": a fork of a process with threads may hang.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        resource_tracker.ensure_running()  # its own start lets signals through again
        with _without_interrupts():
            process.start()
        theirs.close()
        return ours, process

    def _outcome(self, pipe: Connection) -> Outcome:
        process, job = self._busy.pop(pipe)
        try:
            found: Outcome = pipe.recv()
        except (EOFError, ConnectionError):
            process.join()
            pipe.close()
            how = f"signal {-process.exitcode}" if process.exitcode < 0 else f"exit status {process.exitcode}"
            error = f"its process ended with {how}" + (" (out of memory?)" if process.exitcode == -9 else "")
            return Outcome(number=job.number, state="failed", attempt=job.attempt, error=error)
        self._idle.append((pipe, process))
        return found


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Holds Ctrl-C back; a process that starts meanwhile holds it back until it can deal with it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection) -> None:
    """Runs the jobs that come through a pipe, to its end."""
    # Ctrl-C in a terminal reaches the whole group; the process that sweeps tells the others through the stop file.
    os.setpgrp()
    ignore_interrupts()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        outcome = run_job(job)
        try:
            pipe.send(outcome)
        except (BrokenPipeError, ConnectionError):
            return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def ignore_interrupts() -> None:
    """Leaves Ctrl-C to the process that sweeps."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def threads_each(workers: int) -> int:
    """Returns how many threads a point has where several run at a time on this machine."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        cores = os.cpu_count() or 1
    return max(1, cores // workers)
