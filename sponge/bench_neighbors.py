"""`mindsci bench neighbors`: how many atoms a second get their list of neighbours, beside vesin in the same run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import torch

from mindsci.errors import InputError
from mindsci.report import Report, Row
from sponge.neighbors import neighbor_list
from sponge.system import System, create

DENSITY = 0.1
"""[1/angstrom^3], that of water"""


def neighbors(
    smallest: int = 1_000,
    largest: int = 300_000,
    cutoff: float = 5.0,
    precision: str = "float64",
    engine: str = "auto",
    device: str = "cpu",
    repeats: int = 3,
) -> Report:
    """Atoms a second of a full list, random atoms at the density of water in a skewed periodic cell; medians.

    Sizes from `smallest` to `largest`, each about three times the one before; ours in one thread and in all, vesin
    (which works in one thread) in turns with them. The gate is agreement: as many edges as the peer finds.
    """
    if not 0 < smallest <= largest:
        raise InputError(f"smallest = {smallest}, largest = {largest}; use 0 < smallest <= largest")
    rows = []
    for count in sizes(smallest, largest):
        system = liquid(count, getattr(torch, precision)).to(device)
        n_edges = neighbor_list(system, cutoff, engine=engine).n_edges  # compiles, too
        works: dict[str, Callable[[], Any]] = {"mindsci": lambda: neighbor_list(system, cutoff, engine=engine)}  # noqa: B023
        peer = _vesin(system, cutoff)
        if peer is not None:
            works["vesin"] = peer
        if device == "cpu" and torch.get_num_threads() > 1:
            works["mindsci, one thread"] = lambda: _alone(system, cutoff, engine)  # noqa: B023
        seconds = _in_turns(works, repeats, device)
        rows.append(_row(count, n_edges, seconds, peer))
    return Report(name="neighbors", rows=rows)


def _row(count: int, n_edges: int, seconds: dict[str, float], peer: Callable[[], Any] | None) -> Row:
    extra: dict[str, Any] = {"ms": 1e3 * seconds["mindsci"], "edges an atom": n_edges / count}
    if "mindsci, one thread" in seconds:
        extra["atoms/s, one thread"] = count / seconds["mindsci, one thread"]
    agrees = None
    if peer is not None:
        extra["times vesin"] = seconds["vesin"] / seconds["mindsci"]
        agrees = len(peer()[0]) == n_edges
    return Row(
        case=f"{count} atoms",
        measured=count / seconds["mindsci"],
        unit="atoms/s",
        reference=None if peer is None else count / seconds["vesin"],
        gate="as many edges as vesin" if peer is not None else "vesin is not installed",
        ok=agrees,
        extra=extra,
    )


def sizes(smallest: int, largest: int) -> Iterator[int]:
    """Yields sizes a factor 10^(1/2) apart, the largest last."""
    count = float(smallest)
    while count < 0.9 * largest:
        yield round(count)
        count *= 10**0.5
    yield largest


def liquid(count: int, dtype: torch.dtype, seed: int = 0) -> System:
    """Returns random atoms in a skewed cell of the density of water."""
    edge = (count / DENSITY) ** (1 / 3)
    cell = edge * numpy.array([[1.0, 0.0, 0.0], [0.2, 1.0, 0.0], [-0.1, 0.3, 1.0]])
    positions = numpy.random.default_rng(seed).random((count, 3)) @ cell
    return create(
        torch.as_tensor(positions, dtype=dtype),
        torch.ones(count, dtype=torch.int64),
        cell=torch.as_tensor(cell, dtype=dtype)[None],
        periodic=(True, True, True),
    )


def _vesin(system: System, cutoff: float) -> Callable[[], Any] | None:
    try:
        from vesin import NeighborList
    except ImportError:
        return None
    search = NeighborList(cutoff=cutoff, full_list=True)
    points, box = system.positions.cpu().double().numpy(), system.cell[0].cpu().double().numpy()
    return lambda: search.compute(points=points, box=box, periodic=True, quantities="ijS")


def _alone(system: System, cutoff: float, engine: str) -> None:
    with _one_thread():
        neighbor_list(system, cutoff, engine=engine)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _in_turns(works: dict[str, Callable[[], Any]], repeats: int, device: str) -> dict[str, float]:
    """Returns the median seconds of each; in turns, so that a busy moment of the machine meets all alike."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            if device != "cpu":
                torch.cuda.synchronize(device)
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in times.items()}
