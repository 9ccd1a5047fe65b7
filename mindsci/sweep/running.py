"""Runs the points of a sweep: retries what fails, keeps what is done, ends in tables and pictures."""

from __future__ import annotations

import csv
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from mindsci import config
from mindsci.errors import InputError
from mindsci.progress import Progress
from mindsci.runs import Interrupted, process_count
from mindsci.sweep import dask_workers
from mindsci.sweep.folder import STOP, SweepFolder
from mindsci.sweep.job import Job, Outcome
from mindsci.sweep.points import Plan
from mindsci.sweep.results import write_results
from mindsci.sweep.workers import LocalProcesses, ThisProcess, Workers, threads_each

LOOK_EVERY = 0.5
"""Seconds between two looks for Ctrl-C while points run elsewhere"""


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What a sweep came to."""

    folder: Path
    finished: tuple[int, ...]
    failed: tuple[Outcome, ...]

    @property
    def ok(self) -> bool:
        """Whether every point is finished."""
        return not self.failed


def sweep(
    plan: Plan,
    folder: Path | str,
    *,
    resume: bool = False,
    workers: int = 1,
    scheduler: str | None = None,
    slurm: str | None = None,
    device: str = "cpu",
    retries: int = 2,
    show: tuple[str, ...] = (),
    quiet: bool = False,
) -> Swept:
    """Runs all points of a plan in a folder, each in its own below points/, and gathers their results.

    workers: points at a time on this machine, or jobs of Slurm. scheduler: address of a Dask scheduler.
    slurm: see `dask_workers.slurm`. retries: how often a point that fails is tried again: from its restart where it has
    one, the last time from its start.
    show: results to draw; several are chosen unless given.
    Raises Interrupted where it was asked to stop: finished points, and restarts of the others, are kept.
    """
    if process_count() > 1:
        raise InputError("a sweep starts its own processes; leave torchrun out")
    if workers < 1 or retries < 0:
        raise InputError(f"workers = {workers}, retries = {retries}; use 1 or more workers, 0 or more retries")
    home = SweepFolder(Path(folder).resolve(), plan, resume=resume, quiet=quiet)
    crew = _workers(home, workers, scheduler, slurm)
    with home, _signals() as asked:
        done = home.finished()
        home.log(f"{len(plan)} points ({plan.how}), {len(done)} finished before: {crew.description}")
        if workers > 1 and isinstance(crew, LocalProcesses):
            home.log("Dask is not installed (pip install 'mindsci[dask]'): plain processes do its part")
        failed: list[Outcome] = []
        if len(done) < len(plan):
            threads = threads_each(workers) if workers > 1 and slurm is None and scheduler is None else None
            rounds = _Rounds(home, crew, retries, device, threads, asked)
            failed = rounds.run([number for number in range(len(plan)) if number not in done])
        finished = tuple(sorted(home.finished()))
        _write_failed(home, failed)
        write_results(home, finished, show)
        if len(finished) + len(failed) < len(plan):
            raise Interrupted(
                f"stopped with {len(finished)} of {len(plan)} points finished; continue with the same command and "
                "--resume"
            )
    return Swept(folder=home.folder, finished=finished, failed=tuple(failed))


def _workers(home: SweepFolder, count: int, scheduler: str | None, slurm: str | None) -> Workers:
    if scheduler is not None and slurm is not None:
        raise InputError("--scheduler and --slurm exclude one another; give one")
    if slurm is not None:
        return dask_workers.slurm(slurm, count, home.path("slurm"))
    if scheduler is not None:
        return dask_workers.at(scheduler)
    if count == 1:
        return ThisProcess()
    return dask_workers.local(count) if dask_workers.is_installed() else LocalProcesses(count)


class _Asked:
    """Whether a signal has asked for the end; the second one ends at once."""

    def __init__(self) -> None:
        self.to_stop = False

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.to_stop:
            raise KeyboardInterrupt
        self.to_stop = True
        print("\nstopping after the chunks at hand, to keep what is computed; once more to stop at once", flush=True)


@contextmanager
def _signals() -> Iterator[_Asked]:
    asked = _Asked()
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, asked.on_signal) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Rounds:
    """Points on their way through the workers, with their retries."""

    def __init__(
        self, home: SweepFolder, crew: Workers, retries: int, device: str, threads: int | None, asked: _Asked
    ) -> None:
        self.home, self.crew, self.retries, self.asked = home, crew, retries, asked
        self.device, self.threads = device, threads
        self.failed: list[Outcome] = []
        self.open = 0

    def run(self, numbers: list[int]) -> list[Outcome]:
        """Runs points until each is finished, given up or interrupted; returns those given up."""
        total = len(self.home.plan)
        # The bar first: it counts from when the workers are there.
        with (
            self.crew,
            Progress(total, "sweep", unit="points", done=total - len(numbers), quiet=self.home.quiet) as bar,
        ):
            for number in numbers:
                self._submit(number, 1)
            told = False
            while self.open:
                for outcome in self.crew.collect(LOOK_EVERY):
                    self._take(outcome, bar)
                if self.asked.to_stop and not told:
                    told = True
                    self.home.ask_to_stop()
                    self.open -= self.crew.stop()
        return sorted(self.failed, key=lambda one: one.number)

    def _submit(self, number: int, attempt: int) -> None:
        home = self.home
        self.open += 1
        self.crew.submit(
            Job(
                number=number,
                case=config.to_toml(home.plan.cases[number]),
                folder=str(home.point(number)),
                stop=str(home.path(STOP)),
                error=str(home.path(f"errors/{number:06d}.txt")),
                device=self.device,
                threads=self.threads,
                attempt=attempt,
                # What it left may be what makes it fail.
                anew=attempt > 1 and attempt == self.retries + 1,
            )
        )

    def _take(self, outcome: Outcome, bar: Progress) -> None:
        home, number = self.home, outcome.number
        self.open -= 1
        self.asked.to_stop = self.asked.to_stop or outcome.stop_asked
        if outcome.state == "finished" and not (home.point(number) / "case.toml").exists():
            error = f"its worker wrote to a folder that this machine does not see as '{home.folder}'; share that folder"
            outcome = Outcome(number=number, state="failed", attempt=self.retries + 1, error=error)
        elif outcome.state == "finished" and not (home.point(number) / "results.json").exists():
            error = "its task wrote no results.json, so nothing can be gathered; call run.results(...) in it"
            outcome = Outcome(number=number, state="failed", attempt=self.retries + 1, error=error)
        if outcome.state == "finished":
            home.note_finished(number, outcome.seconds)
            home.path(f"errors/{number:06d}.txt").unlink(missing_ok=True)
            bar.advance(1, failed=len(self.failed))
        elif outcome.state == "failed":
            last = outcome.attempt > self.retries
            again = "left for --resume" if self.asked.to_stop else "trying again"
            what = "given up" if last else f"{again} ({outcome.attempt} of {self.retries})"
            home.log(f"point {number} ({home.plan.told(number)}) failed, {what}: {outcome.error}")
            if last:
                self.failed.append(outcome)
                bar.advance(1, failed=len(self.failed))
            elif not self.asked.to_stop:
                self._submit(number, outcome.attempt + 1)


def _write_failed(home: SweepFolder, failed: list[Outcome]) -> None:
    """Writes failed.csv: the points that were given up, their parameters, and why."""
    if not failed:
        home.path("failed.csv").unlink(missing_ok=True)
        return
    plan = home.plan
    with home.writing("failed.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["point", *(one.head for one in plan.parameters), "attempts", "error"])
        for one in failed:
            table.writerow([one.number, *plan.values[one.number], one.attempt, one.error])
