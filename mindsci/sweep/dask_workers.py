"""Dask runs the points of a sweep: processes of this machine, a scheduler that is there, or jobs of Slurm."""

from __future__ import annotations

import contextlib
import logging
import queue
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mindsci.errors import InputError, MissingExtraError, UnknownNameError
from mindsci.sweep.job import Job, Outcome, one_line, run_job
from mindsci.sweep.workers import Workers, ignore_interrupts, threads_each

CONNECT_TIMEOUT = 30.0
"""Seconds"""
SLURM_KEYS = ("partition", "account", "cores", "memory", "walltime", "interface", "options")


def is_installed(package: str = "distributed") -> bool:
    """Returns whether Dask's scheduler, or another package, is."""
    found = find_spec(package)
    return found is not None and found.origin is not None  # a mere folder of that name has none


class DaskWorkers(Workers):
    """The workers of a Dask cluster; one that is lost has its points run again by the others.

    cluster: a context manager that gives a cluster or a scheduler's address.
    """

    def __init__(self, cluster: Any, description: str) -> None:
        self._cluster, self._described = cluster, description
        self._futures: dict[Any, Job] = {}
        self._done: queue.Queue[Any] = queue.Queue()
        self._stack = ExitStack()

    @property
    def description(self) -> str:
        return self._described

    def __enter__(self) -> DaskWorkers:
        from distributed import Client

        cluster = self._stack.enter_context(self._cluster)
        try:
            client = Client(cluster, timeout=CONNECT_TIMEOUT, set_as_default=False)
        except (OSError, ValueError) as error:
            self._stack.close()
            raise InputError(
                f"no Dask scheduler answers at {cluster} ({error}); start one with `dask scheduler`, and workers with "
                "`dask worker ADDRESS --nthreads 1`"
            ) from None
        self._client = self._stack.enter_context(client)
        return self

    def submit(self, job: Job) -> None:
        future = self._client.submit(run_job, job, pure=False, key=f"point-{job.number}-{job.attempt}-{id(self)}")
        self._futures[future] = job
        future.add_done_callback(self._done.put)

    def collect(self, timeout: float) -> list[Outcome]:
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self._outcome(self._done.get(timeout=timeout)))
            while True:
                found.append(self._outcome(self._done.get_nowait()))
        return [outcome for outcome in found if outcome is not None]

    def stop(self) -> int:
        # Without a worker, say while Slurm's jobs wait in their queue, nothing would ever come out.
        taken = {key for keys in self._client.processing().values() for key in keys}
        waiting = [future for future in self._futures if future.key not in taken and not future.done()]
        for future in waiting:
            del self._futures[future]
            future.cancel()
        return len(waiting)

    def close(self) -> None:
        for future in self._futures:
            future.cancel()
        self._stack.close()

    def _outcome(self, future: Any) -> Outcome | None:
        job = self._futures.pop(future, None)
        if job is None:  # forgotten by `stop`
            return None
        try:
            found: Outcome = future.result()
        except Exception as error:  # the worker's death, or what it could not even begin
            return Outcome(number=job.number, state="failed", attempt=job.attempt, error=one_line(error))
        return found


def local(count: int) -> DaskWorkers:
    """Returns Dask's processes of this machine."""
    return DaskWorkers(_local_cluster(count), f"Dask, {count} processes of this machine")


def at(address: str) -> DaskWorkers:
    """Returns the workers of a scheduler by its address."""
    _need("distributed", "--scheduler")
    return DaskWorkers(contextlib.nullcontext(address), f"Dask's scheduler at {address}")


def slurm(text: str, jobs: int, folder: Path) -> DaskWorkers:
    """Returns workers in jobs of Slurm, `jobs` of them kept running; their logs go to a folder.

    text: "partition=cpu, cores=8, memory=16GB, walltime=02:00:00"; also account, interface and options (what sbatch
    takes, such as --gres=gpu:1).
    """
    given = slurm_options(text)
    _need("dask_jobqueue", "--slurm")
    if shutil.which("sbatch") is None:
        raise InputError("--slurm: there is no sbatch here; run the sweep on a machine that can submit jobs of Slurm")
    return DaskWorkers(_slurm_cluster(given, jobs, folder), f"Dask, {jobs} jobs of Slurm ({text})")


def slurm_options(text: str) -> dict[str, str]:
    """Returns the pairs of "partition=cpu, cores=8". Raises InputError or UnknownNameError for what is none."""
    given: dict[str, str] = {}
    for pair in text.split(","):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not value:
            raise InputError(f'--slurm {text}: write pairs, such as "partition=cpu, cores=8, memory=16GB"')
        if key not in SLURM_KEYS:
            raise UnknownNameError.of("key of --slurm", key, SLURM_KEYS)
        given[key] = value
    if not given.get("cores", "1").isdigit() or int(given.get("cores", "1")) < 1:
        raise InputError(f"--slurm {text}: cores is a number of threads for each point")
    return given


@contextlib.contextmanager
def _local_cluster(count: int) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    threads = str(threads_each(count))
    with LocalCluster(
        n_workers=count,
        threads_per_worker=1,  # a run has the process's threads to itself
        processes=True,
        memory_limit=0,  # a run says itself what does not fit
        dashboard_address=None,
        silence_logs=logging.ERROR,  # a worker that is lost is told by the point that it had
        env={"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
    ) as cluster:
        with Client(cluster, set_as_default=False) as client:
            client.run(ignore_interrupts)
        yield cluster


@contextlib.contextmanager
def _slurm_cluster(given: dict[str, str], jobs: int, folder: Path) -> Iterator[Any]:
    before = signal.getsignal(signal.SIGINT)
    from dask_jobqueue import SLURMCluster

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, before)  # the import puts a handler of its own there, which exits
    cores = int(given.get("cores", "1"))
    options: dict[str, Any] = {
        "queue": given.get("partition"),
        "account": given.get("account"),
        "interface": given.get("interface"),
    }
    with SLURMCluster(
        cores=1,  # of Dask: points at a time; a run has all threads of its job
        processes=1,
        job_cpu=cores,
        memory=given.get("memory", "4GB"),
        walltime=given.get("walltime", "01:00:00"),
        job_extra_directives=given.get("options", "").split(),
        worker_extra_args=["--memory-limit", "0"],  # Slurm watches over it
        job_script_prologue=[f"export OMP_NUM_THREADS={cores}"],
        log_directory=str(folder),
        python=sys.executable,
        scheduler_options={"dashboard_address": None},
        **{name: value for name, value in options.items() if value is not None},
    ) as cluster:
        cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)  # a job whose time is over is followed by another
        yield cluster


def _need(package: str, option: str) -> None:
    if not is_installed(package):
        raise MissingExtraError.of(package.replace("_", "-"), "dask", option)
