"""`mindsci bench fdtd`: how fast the solver is on this machine, beside what its memory can do and beside a peer."""

from __future__ import annotations

import re
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elec.fdtd.absorber import absorbing_layers
from elec.fdtd.media import uniform_media
from elec.fdtd.sources import dipole
from elec.fdtd.step import YeeStep, yee_step
from elec.fdtd.waveforms import GaussianDerivative
from elec.fields import Fields
from elec.grid import Grid
from mindsci.errors import InputError, StorageError, UnknownNameError
from mindsci.report import Report, Row
from mindsci.solvers import rollout

GATE = 100.0
"""Mcells/s of the compiled engine on two cores at 200^3, the least that the project accepts."""
CELL = 1e-3
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


def fdtd(
    size: int = 200,
    steps: int = 20,
    precision: str = "float32",
    engine: str = "auto",
    repeats: int = 3,
    peer: str = "",
    peer_python: str = "",
    peer_script: str = "",
) -> Report:
    """Returns million cells a second: size^3 cells of which 10 on every side absorb, an eps = 4 cube, one dipole.

    Median over the repeats; compilation and set-up are not counted. "processor share" is the processor time that the
    run got of that of its threads: below 1 other work took the cores. "share of memory bound" compares with one pass
    over the fields a step; a sweep that carries several steps can exceed 1.

    A peer is run by `peer_python peer_script SIZE STEPS REPEATS` in the same call and has to print "median X
    Mcells/s"; the ratio to it is reported.
    """
    if precision not in PRECISIONS:
        raise UnknownNameError.of("precision", precision, PRECISIONS)
    if size < 24 or steps < 1 or repeats < 1:
        raise InputError(f"size = {size}, steps = {steps}, repeats = {repeats}: use at least 24, 1 and 1")
    step, dt = box(size, PRECISIONS[precision], engine)
    threads = torch.get_num_threads()  # read before the triad: Numba's OpenMP threads change what torch reports
    rates, share = _rates(step, dt, size, steps, repeats)
    median = statistics.median(rates)
    bandwidth = triad_bandwidth()
    traffic = bytes_per_cell(step.start())
    default = (size, steps, precision, engine) == (200, 20, "float32", "auto")
    rows = [
        Row(
            case=f"{size}^3 cells, {steps} steps, {precision}",
            measured=median,
            unit="Mcells/s",
            gate=f">= {GATE:g}" if default else None,
            ok=median >= GATE if default else None,
            extra={
                "engine": step.engine,
                "threads": threads,
                "slowest": min(rates),
                "fastest": max(rates),
                "processor share": share,
                "bytes per cell": traffic,
                "share of memory bound": median * 1e6 * traffic / bandwidth,
            },
        ),
        Row(case="memory triad, float32", measured=bandwidth / 1e9, unit="GB/s"),
    ]
    if peer or peer_python or peer_script:
        theirs = _peer_rate(peer_python, peer_script, size, steps, repeats)
        rows.append(Row(case=peer or Path(peer_script).stem, measured=theirs, unit="Mcells/s"))
        rows.append(Row(case=f"ratio to {peer or Path(peer_script).stem}", measured=median / theirs))
    return Report(name="fdtd", rows=rows)


def box(size: int, dtype: torch.dtype, engine: str) -> tuple[YeeStep, float]:
    """Returns the step of the benchmark's box, and its time step [s]."""
    nodes = CELL * torch.arange(size + 1, dtype=torch.float64)
    grid = Grid(x=nodes, y=nodes, z=nodes, absorber_cells=10)
    permittivity = torch.ones(3, size + 1, size + 1, size + 1, dtype=dtype)
    block = slice((size - size // 4) // 2, (size + size // 4) // 2)
    permittivity[:, block, block, block] = 4.0
    waveform = GaussianDerivative(frequency_max=0.05 * 299_792_458.0 / CELL)
    source = dipole(grid, 2, [size // 4] * 3, waveform)
    media = uniform_media(grid, permittivity=permittivity, dtype=dtype)
    step = yee_step(grid, media, absorber=absorbing_layers(grid), sources=[source], engine=engine)
    return step, 0.99 * grid.courant_limit()


def _rates(step: YeeStep, dt: float, size: int, steps: int, repeats: int) -> tuple[list[float], float]:
    """Million cells a second of each repeat, and the share of the threads' processors that the run got."""
    fields, _ = rollout(step, step.start(), n_steps=2, dt=dt)  # compiles
    rates, done = [], 2
    first, processor = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        began = time.perf_counter()
        fields, _ = rollout(step, fields, n_steps=steps, dt=dt, start=done)
        rates.append(size**3 * steps / (time.perf_counter() - began) / 1e6)
        done += steps
    share = (time.process_time() - processor) / (time.perf_counter() - first) / torch.get_num_threads()
    if not bool(fields.electric.isfinite().all()) or not bool(fields.electric.any()):
        raise RuntimeError("the benchmark's fields are zero or not finite: its figures mean nothing")
    return rates, share


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


def _peer_rate(python: str, script: str, size: int, steps: int, repeats: int) -> float:
    if not python or not script:
        raise InputError("a peer needs --peer-python PATH (its interpreter) and --peer-script PATH (what it runs)")
    command = [python, script, str(size), str(steps), str(repeats)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise StorageError(f"cannot run the peer '{python}': {error.strerror}") from None
    found = re.search(r"median ([\d.]+) Mcells/s", done.stdout)
    if done.returncode or not found:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise InputError(f"the peer printed no 'median X Mcells/s' (exit status {done.returncode}): {last}")
    return float(found.group(1))
