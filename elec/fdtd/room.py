"""The memory that a run may still take on its device, and runs that would not fit into it."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from mindsci.errors import InputError

CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Where Linux says what a container may take."""


def free_memory(device: torch.device | str = "cpu") -> int | None:
    """Returns the bytes that a process may still take on a device, None where the system does not say.

    On the host it is the least of what is available and of what the limit of a container leaves.
    """
    if torch.device(device).type == "cuda":
        # What torch holds without using it can be used again.
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + idle
    if torch.device(device).type != "cpu":
        return None
    known = [bytes_ for bytes_ in (_available(), _left_of_limit(CONTROL_GROUP)) if bytes_ is not None]
    return min(known) if known else None


def check_room(needed: int, device: torch.device | str, *, what: str, fix: str) -> None:
    """Raises InputError where bytes do not fit into the memory that is free on a device."""
    told = lack_of_room(needed, device, what=what, fix=fix)
    if told is not None:
        raise InputError(told)


def lack_of_room(needed: int, device: torch.device | str, *, what: str, fix: str) -> str | None:
    """Returns in words that bytes do not fit into the memory that is free on a device; None where they do."""
    free = free_memory(device)
    if free is None or needed <= free:
        return None
    sizes = f"{needed / 2**30:.3g} GiB and {free / 2**30:.3g} GiB"
    return f"{what} about {sizes} are free on {torch.device(device)}; use {fix}"


def _available() -> int | None:
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    names = getattr(os, "sysconf_names", {})
    if "SC_AVPHYS_PAGES" in names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _left_of_limit(folder: Path) -> int | None:
    """What a container's limit leaves, file caches that can be dropped counted as free; None without a limit."""
    try:
        limit, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
        if limit == "max":
            return None
        lines = (folder / "memory.stat").read_text().splitlines()
        cached = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
        return max(0, int(limit) - int(used) + cached)
    except (OSError, ValueError):
        return None
