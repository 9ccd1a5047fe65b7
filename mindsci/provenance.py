"""Where a run came from: versions, commit, command, machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import mindsci
from mindsci.report import machine


def provenance(seed: int, device: torch.device, resumed: bool) -> dict[str, Any]:
    """Returns what provenance.json says of a run that starts now in this process."""
    return {
        "mindsci": mindsci.__version__,
        "commit": _commit(),
        "command": sys.argv,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "resumed": resumed,
        "device": str(device),
        "launch": launch(),
        "machine": machine(cuda=device.type == "cuda"),
    }


def launch() -> list[str]:
    """Returns what tells one torchrun from another: the name of its job, or its place where it has none."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return [name] if name != "none" else [socket.gethostname(), str(os.getppid())]


def _commit() -> str | None:
    """The checkout's commit, where the package runs from one."""
    root = Path(mindsci.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
