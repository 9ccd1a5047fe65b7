"""Starts several processes for a test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCHES = 6


def torchrun(script: str, *arguments: str, processes: int = 2, restarts: int = 0) -> None:
    """Runs a script in several processes; skips the test where gloo's sockets do not find each other at all.

    Some virtual machines refuse connections between processes for minutes. Only that very failure, in which no line of
    this project has run yet, is taken for the machine's.
    """
    tests = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": f"{tests}:{tests.parent}", "OMP_NUM_THREADS": "1"}
    launch = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--max-restarts={restarts}",
        f"--nproc-per-node={processes}",
    ]
    for _ in range(LAUNCHES):
        done = subprocess.run(
            [sys.executable, *launch, str(tests / script), *arguments],
            env=environment, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        if done.returncode == 0:
            return
        assert "Gloo connectFullMesh failed" in done.stderr, done.stderr[-4000:]
    pytest.skip(f"gloo could not connect {processes} processes on this machine in {LAUNCHES} launches")
