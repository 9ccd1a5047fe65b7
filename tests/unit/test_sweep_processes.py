"""Sweeps in processes of their own: a death, a kill -9 and a Ctrl-C lose the points that ran, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
NO_DASK = """
import sys
from mindsci import cli
from mindsci.sweep import dask_workers
dask_workers.is_installed = lambda package="": False
cli.main()
"""
SBATCH = """#!/bin/bash
cp "$1" "$1.kept"
setsid bash "$1.kept" > /dev/null 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/bash
for job in "$@"; do kill -TERM -- -$job; done
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path, repository: Path) -> Start:
    """Starts a sweep whose processes all find the plugin of `sweep_case`, as one that is installed."""
    installed = tmp_path / "installed"
    (installed / "fall-1.dist-info").mkdir(parents=True)
    (installed / "fall-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: fall\nVersion: 1\n")
    (installed / "fall-1.dist-info/entry_points.txt").write_text("[mindsci.plugins]\nfall = fall_plugin:plugin\n")
    (installed / "fall_plugin.py").write_text(
        'from mindsci.plugins import Plugin\nplugin = Plugin(name="fall", tasks={"fall": "sweep_case:Fall"})\n'
    )
    (installed / "sweep_case.py").write_text((repository / "tests/sweep_case.py").read_text())
    (tmp_path / "fall.toml").write_text('task = "fall/fall"\n')

    def started(*options: str, dask: bool, path: Path | None = None) -> subprocess.Popen[str]:
        environment = os.environ | {"PYTHONPATH": f"{repository}{os.pathsep}{installed}", "OMP_NUM_THREADS": "1"}
        if path is not None:
            environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
        program = ["-m", "mindsci"] if dask else ["-c", NO_DASK]
        command = [sys.executable, *program, "sweep", "fall.toml", "--over", "height=1:3:6 m", "--out", "a", *options]
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    return started


@pytest.fixture(params=["dask", "plain"])
def dask(request: pytest.FixtureRequest) -> bool:
    if request.param == "dask":
        pytest.importorskip("dask.distributed", reason="needs Dask: pip install 'mindsci[dask]'")
    return bool(request.param == "dask")


def wait_for(path: Path, lines: int) -> None:
    for _ in range(600):
        if path.exists() and len(path.read_text().splitlines()) >= lines:
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} has not got {lines} lines within a minute")


def begun(folder: Path) -> list[str]:
    """Points that were begun, one for each time."""
    return sorted(line.split()[0] for line in (folder / "runs.txt").read_text().splitlines())


def ended(process: subprocess.Popen[str]) -> str:
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    return output


def test_a_process_that_dies_has_its_point_run_again(start: Start, tmp_path: Path, dask: bool) -> None:
    output = ended(start("--workers", "2", "--set", "fault=dies", dask=dask))
    assert ("Dask is not installed" in output) is not dask
    once, twice = ("000000", "000001", "000002"), ("000003", "000004", "000005")
    assert begun(tmp_path / "a") == sorted([*once, *twice, *twice])


def test_kill_9_loses_the_points_that_ran_alone(start: Start, tmp_path: Path, dask: bool) -> None:
    options = ("--workers", "2", "--set", "pause=0.3 s")
    process = start(*options, dask=dask)
    wait_for(tmp_path / "a/journal.jsonl", 2)
    process.kill()
    process.communicate(timeout=60)  # its workers, who hold the pipe too, have ended as well
    kept = len((tmp_path / "a/journal.jsonl").read_text().splitlines())
    ended(start(*options, "--resume", dask=dask))
    # No finished point was begun again, and at most two were under way.
    assert len(begun(tmp_path / "a")) <= 8
    assert f"{kept} finished before" in (tmp_path / "a/log.txt").read_text()


def test_ctrl_c_stops_after_the_chunk_and_resume_goes_on(start: Start, tmp_path: Path, dask: bool) -> None:
    options = ("--workers", "2", "--set", "pause=0.5 s")
    process = start(*options, dask=dask)
    wait_for(tmp_path / "a/runs.txt", 3)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert "continue with the same command and --resume" in output
    ended(start(*options, "--resume", dask=dask))
    lines = (tmp_path / "a/runs.txt").read_text().splitlines()
    assert {line.split()[0] for line in lines} == {f"{number:06d}" for number in range(6)}
    assert all(lines.count(f"{number:06d} from 0") == 1 for number in range(6))


def test_points_run_in_jobs_of_slurm(start: Start, tmp_path: Path) -> None:
    """A stand-in for sbatch starts the very script that Slurm would be given."""
    pytest.importorskip("dask_jobqueue", reason="needs dask-jobqueue: pip install 'mindsci[dask]'")
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    ended(start("--slurm", "partition=cpu, cores=2, memory=1GB", dask=True, path=tmp_path / "bin"))
    assert begun(tmp_path / "a") == [f"{number:06d}" for number in range(6)]
