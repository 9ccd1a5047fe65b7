"""`mindsci bench fdtd`: how fast the solver is on this machine, beside what its memory can do and beside a peer."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elec.bench_peers import PEERS, peer_rate
from elec.fdtd.absorber import absorbing_layers
from elec.fdtd.media import uniform_media
from elec.fdtd.sources import dipole
from elec.fdtd.step import YeeStep, yee_step
from elec.fdtd.waveforms import GaussianDerivative
from elec.fields import Fields
from elec.grid import Grid
from mindsci.errors import InputError, UnknownNameError
from mindsci.report import Report, Row
from mindsci.solvers import rollout

GATE = 100.0
"""Mcells/s of the compiled engine on two cores at 200^3, the least that the project accepts."""
PEER_GATE = 3.0
"""Times the fastest peer."""
LAYER_GATE = 0.25
"""Largest share of a step that absorbing layers may take."""
CELL = 1e-3
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


def fdtd(
    size: int = 200,
    steps: int = 20,
    precision: str = "float32",
    engine: str = "auto",
    repeats: int = 3,
    peers: str = "",
    environments: str = ".peers",
    system_python: str = "/usr/bin/python3",
) -> Report:
    """Returns million cells a second: size^3 cells of which 10 on every side absorb, an eps = 4 cube, one dipole.

    Median over twice the repeats, in turns with the same box without layers; compilation and set-up are not counted.
    The layers' share is the median over these turns, so that what slows the machine for a while slows both.
    "processor share" is the processor time that the run got of that of its threads: below 1 other work took the cores.
    "share of triad" compares the traffic of one pass over the fields a step with what main memory gives; a sweep that
    carries several steps can exceed 1.

    peers: a folder with meep_box.py, openems_box.py, fdtdx_box.py and gprmax_box.py, each run in turn in the same call,
    between two timings of our own; environments: the folder with the virtual environments fdtdx and gprmax. The ratio
    to the fastest of them counts only where all four are installed.
    """
    if precision not in PRECISIONS:
        raise UnknownNameError.of("precision", precision, PRECISIONS)
    if size < 24 or steps < 1 or repeats < 1:
        raise InputError(f"size = {size}, steps = {steps}, repeats = {repeats}: use at least 24, 1 and 1")
    timing = Timing(size, PRECISIONS[precision], engine, steps)
    threads = torch.get_num_threads()  # read before the triad: Numba's OpenMP threads change what torch reports
    timing.measure(2 * repeats)
    theirs: dict[str, float | None] = {}
    for name in PEERS if peers else ():
        theirs[name] = peer_rate(
            name,
            scripts=Path(peers).resolve(),
            environments=Path(environments).resolve(),
            system_python=system_python,
            size=size,
            repeats=repeats,
            threads=threads,
        )
        timing.measure(2)
    bandwidth = triad_bandwidth()
    default = (size, steps, precision, engine) == (200, 20, "float32", "auto")
    rows = [*_own_rows(timing, threads, bandwidth, f"{size}^3 cells, {steps} steps, {precision}", default)]
    rows += [
        Row(case=name, measured=rate if rate is not None else "not installed", unit="Mcells/s" if rate else "")
        for name, rate in theirs.items()
    ]
    if theirs:
        found = [rate for rate in theirs.values() if rate is not None]
        ratio = timing.median() / max(found) if found else None
        complete = default and len(found) == len(PEERS)
        rows.append(
            Row(
                case="ratio to the fastest of " + ", ".join(PEERS),
                measured=ratio,
                gate=f">= {PEER_GATE:g}",
                ok=ratio >= PEER_GATE if complete and ratio is not None else None,
            )
        )
    return Report(name="fdtd", rows=rows)


def _own_rows(timing: Timing, threads: int, bandwidth: float, case: str, default: bool) -> list[Row]:
    median, bare = timing.median(), timing.median(layers=False)
    traffic = bytes_per_cell(timing.steps[True][0].start())
    share = statistics.median(1.0 - a / b for a, b in zip(timing.rates[True], timing.rates[False], strict=True))
    return [
        Row(
            case=case,
            measured=median,
            unit="Mcells/s",
            gate=f">= {GATE:g}" if default else None,
            ok=median >= GATE if default else None,
            extra={
                "engine": timing.steps[True][0].engine,
                "threads": threads,
                "slowest": min(timing.rates[True]),
                "fastest": max(timing.rates[True]),
                "processor share": timing.processor_share(),
                "bytes per cell and step": traffic,
                "share of triad": median * 1e6 * traffic / bandwidth,
            },
        ),
        Row(case="the same without absorbing layers", measured=bare, unit="Mcells/s"),
        Row(
            case="absorbing layers, share of a step",
            measured=share,
            gate=f"< {LAYER_GATE:g}" if default else None,
            ok=share < LAYER_GATE if default else None,
        ),
        Row(case="memory triad, float32", measured=bandwidth / 1e9, unit="GB/s"),
    ]


def fdtd_scaling(precision: str = "float32", engine: str = "auto", largest: int = 400) -> Report:
    """Returns the speed against the size of the box, 64^3 to `largest`^3 cells, and against the steps of one call."""
    if precision not in PRECISIONS:
        raise UnknownNameError.of("precision", precision, PRECISIONS)
    rows = []
    for size in (64, 100, 128, 160, 200, 256, 320, 400):
        if size <= largest:
            steps = max(4, round(1.6e8 / size**3))
            rows.append(_scaling_row(size, steps, PRECISIONS[precision], engine))
    for steps in (1, 10, 100, 1000):
        rows.append(_scaling_row(100, steps, PRECISIONS[precision], engine))
    return Report(name="fdtd-scaling", rows=rows)


def _scaling_row(size: int, steps: int, dtype: torch.dtype, engine: str) -> Row:
    timing = Timing(size, dtype, engine, steps, bare=False)
    timing.measure(3)
    median = timing.median()
    return Row(
        case=f"{size}^3 cells, {steps} steps a call",
        measured=median,
        unit="Mcells/s",
        extra={"seconds a call": 1e-6 * size**3 * steps / median, "engine": timing.steps[True][0].engine},
    )


class Timing:
    """Speeds of the benchmark's box with and without its layers, measured in turns."""

    def __init__(self, size: int, dtype: torch.dtype, engine: str, steps: int, *, bare: bool = True) -> None:
        self.cells, self.n_steps = size**3, steps
        kinds = (True, False) if bare else (True,)
        self.steps = {layers: box(size, dtype, engine, layers=layers) for layers in kinds}
        self.rates: dict[bool, list[float]] = {layers: [] for layers in kinds}
        self._wall = self._processor = 0.0
        # The first call compiles.
        self._fields = {
            layers: rollout(step, step.start(), n_steps=2, dt=dt)[0] for layers, (step, dt) in self.steps.items()
        }
        self._done = dict.fromkeys(kinds, 2)

    def measure(self, repeats: int) -> None:
        for _ in range(repeats):
            for layers, (step, dt) in self.steps.items():
                before, began = time.process_time(), time.perf_counter()
                self._fields[layers], _ = rollout(
                    step, self._fields[layers], n_steps=self.n_steps, dt=dt, start=self._done[layers]
                )
                if self._fields[layers].electric.is_cuda:
                    torch.cuda.synchronize()
                seconds = time.perf_counter() - began
                self._done[layers] += self.n_steps
                self._wall += seconds
                self._processor += time.process_time() - before
                self.rates[layers].append(self.cells * self.n_steps / seconds / 1e6)
        for fields in self._fields.values():
            if not bool(fields.electric.isfinite().all()) or not bool(fields.electric.any()):
                raise RuntimeError("the benchmark's fields are zero or not finite: its figures mean nothing")

    def median(self, *, layers: bool = True) -> float:
        return statistics.median(self.rates[layers])

    def processor_share(self) -> float:
        """The share of the threads' processors that the runs got."""
        return self._processor / self._wall / torch.get_num_threads()


def box(size: int, dtype: torch.dtype, engine: str, *, layers: bool = True) -> tuple[YeeStep, float]:
    """Returns the step of the benchmark's box, and its time step [s]."""
    nodes = CELL * torch.arange(size + 1, dtype=torch.float64)
    grid = Grid(x=nodes, y=nodes, z=nodes, absorber_cells=10)
    permittivity = torch.ones(3, size + 1, size + 1, size + 1, dtype=dtype)
    block = slice((size - size // 4) // 2, (size + size // 4) // 2)
    permittivity[:, block, block, block] = 4.0
    waveform = GaussianDerivative(frequency_max=0.05 * 299_792_458.0 / CELL)
    source = dipole(grid, 2, [size // 4] * 3, waveform)
    media = uniform_media(grid, permittivity=permittivity, dtype=dtype)
    absorber = absorbing_layers(grid) if layers else None
    step = yee_step(grid, media, absorber=absorber, sources=[source], engine=engine)
    return step, 0.99 * grid.courant_limit()


def bytes_per_cell(fields: Fields) -> float:
    """Returns the traffic of one pass over the fields and the layers' memory: each number read and written once."""
    moved = (fields.electric, fields.magnetic, *fields.memory)
    return 2.0 * sum(part.nbytes for part in moved) / fields.electric[0].numel()


def triad_bandwidth(repeats: int = 5) -> float:
    """Returns what main memory gives a = b + s c in float32, on all threads [bytes/s], the best of the repeats."""
    triad = _compiled_triad()
    a, b, c = (np.ones(32 * 2**20, dtype=np.float32) for _ in range(3))
    triad(a, b, c)
    best = 0.0
    for _ in range(repeats):
        began = time.perf_counter()
        triad(a, b, c)
        best = max(best, 3 * a.nbytes / (time.perf_counter() - began))
    return best


def _compiled_triad() -> Any:
    import numba

    @numba.njit(parallel=True, fastmath=True)
    def triad(a, b, c):  # type: ignore[no-untyped-def]
        for i in numba.prange(a.size):
            a[i] = b[i] + np.float32(0.5) * c[i]

    return triad
