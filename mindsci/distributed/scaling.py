"""`mindsci bench scaling`: what 1 and 2 processes take for the same work each, and what that foretells for many.

Every process of a part has as much to do as one alone (weak scaling): efficiency is the time of one over that of two.
Parts come from the plugins: a training whose gradients are averaged, experts that tokens travel to, slabs of a grid.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist

from mindsci import plugins
from mindsci.errors import InputError
from mindsci.report import Report, Row
from mindsci.tree import Tree

FORETOLD = (2, 16, 128, 1024)
SMALL, LARGE = 2, 1 << 21
"""Numbers in the messages that the latency and the bandwidth are measured with."""

Pattern = Literal["neighbours", "all-reduce", "all-to-all"]


class Part(Tree):
    """A piece of work as one process of several does it."""

    step: Callable[[], Any]
    exchange: Callable[[], Any]
    """what a step exchanges, alone"""
    pattern: Pattern
    messages: int
    """exchanges of a step"""
    bytes: float
    """that a process sends to all others together in one of them, or reduces with them"""
    work: str
    """of one process in a step, in words"""


def scaling(seconds: float = 4.0, latency: float = 0.0, bandwidth: float = 0.0, only: str = "") -> Report:
    """Returns the efficiency of 2 processes, the share that communication takes, and a prediction up to 1024 ranks.

    seconds: of measuring, for each part and number of processes; only: one part. Predictions take the link between the
    two processes as it is measured, unless latency [s] and bandwidth [byte/s] of another are given; each rank has the
    time of one process alone, so that only communication is added: no contention, no stragglers, nothing hidden.
    """
    if seconds <= 0:
        raise InputError(f"seconds = {seconds:g} must be positive")
    rows = []
    for name in [only] if only else plugins.names("scalings"):
        one, two = (launched(name, processes, seconds) for processes in (1, 2))
        rows += rows_of(plugins.full_name("scalings", name), one, two, latency, bandwidth)
    return Report(name="scaling", rows=rows)


def rows_of(name: str, one: dict[str, Any], two: dict[str, Any], latency: float, bandwidth: float) -> list[Row]:
    """Returns the rows of a part from what 1 and 2 processes found."""
    rows = [
        Row(
            case=f"{name}: 2 processes, {one['work']} each",
            measured=one["step"] / two["step"],
            unit="efficiency",
            extra={
                "step of 1 [ms]": 1e3 * one["step"],
                "step of 2 [ms]": 1e3 * two["step"],
                "communication share": two["exchange"] / two["step"],
                "processor share of 1": one["processor"],
                "processor share of 2": two["processor"],
            },
        )
    ]
    link = (latency or two["latency"], bandwidth or two["bandwidth"])
    for ranks in FORETOLD:
        added = exchange_time(two["pattern"], two["messages"], two["bytes"], ranks, *link)
        rows.append(
            Row(
                case=f"{name}: prediction for {ranks} ranks",
                measured=one["step"] / (one["step"] + added),
                unit="efficiency",
                extra={"latency [us]": 1e6 * link[0], "bandwidth [GB/s]": 1e-9 * link[1]},
            )
        )
    return rows


def exchange_time(pattern: Pattern, messages: int, size: float, ranks: int, latency: float, bandwidth: float) -> float:
    """Returns the seconds of a step's exchanges.

    Neighbours: both sides at once, whatever the number of ranks. All-reduce, a ring: 2 (n - 1) messages of size / n.
    All-to-all: n - 1 messages, the (n - 1) / n of the size that leave.
    """
    if ranks == 1:
        return 0.0
    if pattern == "neighbours":
        return messages * (latency + (1 if ranks == 2 else 2) * size / bandwidth)
    turns = 2 * (ranks - 1) if pattern == "all-reduce" else ranks - 1
    return messages * turns * (latency + size / ranks / bandwidth)


def launched(name: str, processes: int, seconds: float) -> dict[str, Any]:
    """Returns what the processes found for a part."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        launch = ["-m", "torch.distributed.run", "--standalone", "--max-restarts=3", f"--nproc-per-node={processes}"]
        done = subprocess.run(
            [sys.executable, *launch, "-m", "mindsci.distributed.scaling", name, str(seconds), str(out)],
            env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise InputError(f"{processes} processes of '{name}' ended with an error:\n{done.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(out.read_text())
        return found


def _timed(run: Callable[[], Any], count: int) -> tuple[float, float]:
    """Seconds of a call, and the share of them that the processor worked for it."""
    began, worked = time.perf_counter(), time.process_time()
    for _ in range(count):
        run()
    took = time.perf_counter() - began
    return took / count, (time.process_time() - worked) / took


def measure(part: Part, seconds: float) -> dict[str, Any]:
    """Returns what this process measures; all must call it."""
    from mindsci.train.parallel import Group

    group = Group.current()
    part.step()  # compiles
    first = float(group.sum(torch.tensor([_timed(part.step, 1)[0]]))) / group.world
    count = max(2, round(seconds / first))
    step, processor = _timed(part.step, count)
    found = {"step": step, "processor": processor, "work": part.work, "exchange": 0.0}
    if group.world > 1:
        found["exchange"] = _timed(part.exchange, count)[0]
        found |= {"pattern": part.pattern, "messages": part.messages, "bytes": part.bytes, **_link(group.rank)}
    return found


def _link(rank: int) -> dict[str, float]:
    """Latency [s] and bandwidth [byte/s] of messages that the first two processes exchange."""
    times = []
    for numbers in (SMALL, LARGE):
        ours, theirs = torch.zeros(numbers), torch.zeros(numbers)

        def both(ours: torch.Tensor = ours, theirs: torch.Tensor = theirs) -> None:
            works = [dist.isend(ours, 1 - rank), dist.irecv(theirs, 1 - rank)]
            for work in works:
                work.wait()  # type: ignore[union-attr]

        both()
        times.append(_timed(both, 20)[0])
    return {"latency": times[0], "bandwidth": 4 * LARGE / max(times[1] - times[0], 1e-9)}


def main() -> None:
    """One process of a part: name, seconds and the file to write."""
    from mindsci.train.parallel import process_group

    name, seconds, out = sys.argv[1:4]
    with process_group() as group:
        found = measure(plugins.get("scalings", name)(), float(seconds))
        if group.writes:
            Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
