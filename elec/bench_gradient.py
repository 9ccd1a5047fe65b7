"""`mindsci bench fdtd-gradient`: what a gradient costs beside the forward run, in time and in memory."""

from __future__ import annotations

import multiprocessing
import time
from typing import NamedTuple

import torch

from elec.bench import PRECISIONS, box
from elec.fdtd.probes import point_probe
from elec.fdtd.step import YeeStep
from elec.fdtd.undone import between_layers
from mindsci import tree
from mindsci.errors import InputError, UnknownNameError
from mindsci.report import Report, Row
from mindsci.solvers import Fused, Reversible, rollout

TIME_GATE = 3.5
MEMORY_GATE = 3.0


class Cost(NamedTuple):
    """What one run took: seconds, and the most memory of its process [bytes]."""

    seconds: float
    peak: int
    engine: str
    value: float


def fdtd_gradient(
    size: int = 126, steps: int = 1500, precision: str = "float32", engine: str = "auto", every: int = 0
) -> Report:
    """Returns seconds and peak memory of a gradient of a probe's energy over those of the run alone.

    size^3 cells of which 10 on every side absorb, an eps = 4 cube, one dipole, one probe. The gradient is with respect
    to the permittivity of (a) the cube, every step met, (b) all cells between the absorbing layers, the steps undone,
    (c) the whole grid with the layers, the steps run again; (b) and (c) meet every `every`-th step. 0 takes an eighth
    of what the frequency allows at which the source's spectrum is 20 dB down, for beyond it there is more. Each
    run has a process of its own, and its peak is that of the whole process, interpreter included; compilation is not
    counted in the time.
    """
    if precision not in PRECISIONS:
        raise UnknownNameError.of("precision", precision, PRECISIONS)
    if size < 30 or steps < 20 or every < 0:
        raise InputError(f"size = {size}, steps = {steps}, every = {every}: use at least 30, 20 and 0")
    every = every or _every(size, precision)
    costs = {}
    for case in ("forward", "box", "between", "grid"):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            costs[case] = pool.apply(run_case, (case, size, steps, precision, engine, every))
    forward = costs["forward"]
    extra = {"engine": forward.engine, "threads": torch.get_num_threads()}
    rows = [
        Row(
            case=f"{size}^3 cells, {steps} steps, {precision}: forward", measured=forward.seconds, unit="s", extra=extra
        ),
        Row(case="forward, peak memory", measured=forward.peak / 2**20, unit="MiB"),
    ]
    default = (size, steps, precision, engine) == (126, 1500, "float32", "auto")
    names = {
        "box": "gradient of the cube",
        "between": f"gradient of all cells between the layers, undone, every {every}",
        "grid": f"gradient of the whole grid with its layers, every {every}",
    }
    for case, name in names.items():
        cost = costs[case]
        for what, ratio, gate in (
            ("time", cost.seconds / forward.seconds, TIME_GATE),
            ("peak memory", cost.peak / forward.peak, MEMORY_GATE),
        ):
            more = {"seconds": cost.seconds, "peak MiB": cost.peak / 2**20, "norm": cost.value}
            rows.append(
                Row(
                    case=f"{name}: {what} over forward",
                    measured=ratio,
                    gate=f"<= {gate:g}" if default else None,
                    ok=ratio <= gate if default else None,
                    extra=more,
                )
            )
    return Report(name="fdtd-gradient", rows=rows)


def run_case(case: str, size: int, steps: int, precision: str, engine: str, every: int) -> Cost:
    """Runs one case in this process, after a small one that compiles."""
    for n, count in ((30, 8), (size, steps)):
        step, dt, region = _problem(n, precision, engine, gradient=case != "forward")
        began = time.perf_counter()
        how: Fused | Reversible = Fused(region=region) if case == "box" else Fused(every=every)
        if case == "between":
            how = Reversible(region=between_layers(step), every=every)
        last, _ = rollout(step, step.start(count), n_steps=count, dt=dt, adjoint=how)
        value = (last.records.to(torch.float64) ** 2).sum()
        if case != "forward":
            permittivity = step.ampere.media.permittivity
            (found,) = torch.autograd.grad(value * 1e-6, permittivity)
            value = found.to(torch.float64).norm()
        seconds = time.perf_counter() - began
    return Cost(seconds, _peak(), step.engine, float(value))


def _problem(size: int, precision: str, engine: str, *, gradient: bool) -> tuple[YeeStep, float, tuple[object, object]]:
    step, dt = box(size, PRECISIONS[precision], engine)
    probe = point_probe(2, [size - size // 4] * 3)
    step = tree.replace(step, probe=tree.replace(step.probe, probes=probe))
    if gradient:
        media = step.ampere.media
        permittivity = media.permittivity.clone().requires_grad_()
        step = tree.replace(
            step, ampere=tree.replace(step.ampere, media=tree.replace(media, permittivity=permittivity))
        )
    low, high = (size - size // 4) // 2, (size + size // 4) // 2
    return step, dt, ((low,) * 3, (high,) * 3)


def _every(size: int, precision: str) -> int:
    """An eighth of the steps by which samples of products may lie apart up to the source's nominal highest frequency.

    At 40^3 the gradient then differs by 3e-6 from that of every step; twice as many give 3e-2, nearly all of it at the
    source's own edge.
    """
    step, dt = box(30, PRECISIONS[precision], "reference")
    return max(1, int(0.125 / (2.0 * step.ampere.sources[0].waveform.frequency_max * dt)))


def _peak() -> int:
    """The most memory [bytes] that this process has had."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
