"""`mindsci bench offload`: bytes of device memory for each parameter with and without offload, and the largest model.

Every figure is one training in a process of its own. On a GPU the allocator says what the device held. On a CPU the
host pool lies in shared mappings (`mindsci.distributed.host`): the kernel counts the process's own pages, the
"device", apart from them, and a limit on those alone (RLIMIT_DATA) is the budget.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from mindsci.distributed.held import held
from mindsci.distributed.ledger import Ledger, ledger
from mindsci.distributed.profile import profile
from mindsci.distributed.spread import optimizer_for, spread
from mindsci.distributed.table import Layout
from mindsci.errors import InputError
from mindsci.nn import Transformer
from mindsci.report import Report, Row

LENGTH = 64
SIZES: dict[str, Any] = {"vocabulary": 256, "features": 512, "heads": 8}
SLACK = 96 << 20
"""Bytes of a budget for what grows with no model: workspaces, stacks of threads, gradients of one update's chunk."""
BATCHES = (24, 48)
LARGEST = 6.0
"""A larger model than that many times is foretold and not tried."""
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
"""What is freed goes back to the kernel at once, so that its pages are those in use."""


def offload(layers: int = 8, steps: int = 3, device: str = "") -> Report:
    """Returns what offload saves, and how much larger a model trains in the budget of one without.

    layers: of the model without offload, of 3.1 million parameters each; device: "cpu" or "cuda", the latter where
    there is one.
    """
    if layers < 2 or steps < 1:
        raise InputError(f"layers = {layers}, steps = {steps}: use 2 layers or more and 1 step or more")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cpu" and sys.platform != "linux":
        raise InputError("bench offload on a CPU reads what Linux's kernel counts; run it on Linux or with a GPU")
    plain = Layout(precision="bfloat16")
    rows, slopes = [], {}
    for name in ("none", "optimizer", "parameters"):
        layout = plain.model_copy(update={"offload": name})
        two = [trained(layout, many, steps, device) for many in (layers, 3 * layers)]
        slopes[name] = _slope(two, "device")
        rows.append(_bytes_row(name, two, slopes))
        rows += _ledger_rows(name, two[1])
    rows.append(_activations_row(layers, steps, device))
    rows += _budget_rows(layers, steps, device, plain)
    rows.append(_time_row(3 * layers, steps, device, plain))
    return Report(name="offload", rows=rows)


def _slope(two: list[dict[str, Any]], pool: str) -> float:
    """Bytes for each parameter by which the larger model takes more."""
    small, large = two
    return (large[pool] - small[pool]) / (large["parameters"] - small["parameters"])


def _bytes_row(name: str, two: list[dict[str, Any]], slopes: dict[str, float]) -> Row:
    saved = 1.0 - slopes[name] / slopes["none"]
    judged = name != "none"
    return Row(
        case=f'device memory, bfloat16, offload = "{name}"',
        measured=slopes[name],
        unit="bytes/parameter",
        reference=16.0,
        gate=">= 60 % saved" if judged else None,
        ok=saved >= 0.6 if judged else None,
        extra={"saved": saved, "host [bytes/parameter]": _slope(two, "host"), "step [s]": two[1]["step"]},
    )


def _ledger_rows(name: str, found: dict[str, Any]) -> list[Row]:
    rows = []
    for pool in ("device", "host"):
        foretold, measured = found["foretold"][pool], found[pool]
        if not foretold or measured is None:
            continue
        rows.append(
            Row(
                case=f'{found["parameters"] / 1e6:.0f} M parameters, offload = "{name}": {pool} memory of the process',
                measured=measured / 2**20,
                unit="MiB",
                reference=foretold / 2**20,
                gate="within 10 % + 32 MiB of the ledger",
                ok=abs(measured - foretold) <= 0.1 * foretold + 32 * 2**20,
            )
        )
    return rows


def _activations_row(layers: int, steps: int, device: str) -> Row:
    """By how much the peak grows with the tokens of a step: what is kept for the way back, and little else."""
    slopes, ours = {}, {}
    for name in ("none", "activations"):
        layout = Layout(offload=name)
        two = [trained(layout, layers, steps, device, batch=batch) for batch in BATCHES]
        tokens = LENGTH * (BATCHES[1] - BATCHES[0])
        slopes[name] = (two[1]["device"] - two[0]["device"]) / tokens
        ours[name] = (two[1]["foretold"]["device"] - two[0]["foretold"]["device"]) / tokens
    return Row(
        case='device memory for each token, float32, offload = "activations"',
        measured=slopes["activations"] / 2**10,
        unit="KiB/token",
        reference=slopes["none"] / 2**10,
        gate=">= 60 % saved",
        ok=slopes["activations"] <= 0.4 * slopes["none"],
        extra={"saved": 1 - slopes["activations"] / slopes["none"], "by the ledger": ours["activations"] / 2**10},
    )


def _budget_rows(layers: int, steps: int, device: str, plain: Layout) -> list[Row]:
    without, offloaded = plain, plain.model_copy(update={"offload": "optimizer"})
    budget = foretold(without, layers).device + SLACK
    fits = layers
    while foretold(offloaded, fits + 1).device + SLACK <= budget:
        fits += 1
    tried = min(fits, int(LARGEST * layers))
    base, over, most = (
        trained(layout, many, steps, device, limit=budget)
        for layout, many in ((without, layers), (without, round(1.5 * layers)), (offloaded, tried))
    )
    ratio = most.get("parameters", 0) / base["parameters"] if "parameters" in base else None
    return [
        Row(
            case=f"{round(1.5 * layers)} blocks without offload in the budget of {layers}",
            measured="no room" if "failed" in over else "trains",
            gate="no room",
            ok="failed" in over,
            extra={"budget [MiB]": budget / 2**20},
        ),
        Row(
            case="model that trains in the budget of one without offload",
            measured=ratio,
            unit="times its parameters",
            gate=">= 3",
            ok=ratio is not None and ratio >= 3,
            extra={"by the ledger": fits / layers, "budget [MiB]": budget / 2**20},
        ),
    ]


def _time_row(layers: int, steps: int, device: str, plain: Layout) -> Row:
    case = 'step on a GPU, offload = "optimizer" against none'
    if device != "cuda":
        return Row(case=case, measured=None, unit="times", gate="<= 1.2", extra={"note": "not measured: no GPU"})
    # Tokens enough that the step is the network's and not the update's: the host has a second for each 1e9 parameters.
    without, away = (
        trained(plain.model_copy(update={"offload": name}), layers, steps, device, batch=512)["step"]
        for name in ("none", "optimizer")
    )
    return Row(case=case, measured=away / without, unit="times", gate="<= 1.2", ok=away <= 1.2 * without)


def foretold(layout: Layout, layers: int, batch: int = 1) -> Ledger:
    """Returns the ledger of the benchmark's model."""
    return ledger(profile(Transformer, SIZES | {"layers": layers}, LENGTH), layout, batch * LENGTH)


def trained(
    layout: Layout, layers: int, steps: int, device: str, *, batch: int = 1, limit: float = 0.0
) -> dict[str, Any]:
    """Returns what a training in a process of its own found; {"failed": ...} where its memory was above the limit."""
    task = {"layout": layout.model_dump(), "layers": layers, "steps": steps, "device": device}
    task |= {"batch": batch, "limit": limit}
    done = subprocess.run(
        [sys.executable, "-m", "mindsci.distributed.bench_offload", json.dumps(task)],
        env=os.environ | MALLOC, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        if limit and "memory" in done.stderr:
            return {"failed": done.stderr[-300:]}
        raise InputError(f"the training of {task} ended with an error:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    ours = foretold(layout, layers, batch)
    return found | {"foretold": {"device": ours.device, "host": ours.host}}


class Peaks:
    """The most that a process held since it was made, of its own pages and of shared ones [bytes]."""

    def __init__(self) -> None:
        self.own = self.shared = 0
        self._base = _pages()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._ended.wait(5e-4):
            self.look()

    def look(self) -> None:
        now = _pages()
        self.own = max(self.own, now[0] - self._base[0])
        self.shared = max(self.shared, now[1] - self._base[1])

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Looks every half millisecond while the block runs."""
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join()


def _pages() -> tuple[int, int]:
    with open("/proc/self/statm", encoding="ascii") as file:
        resident, shared = (int(word) for word in file.read().split()[1:3])
    page = resource.getpagesize()
    return (resident - shared) * page, shared * page


def steps_of(layout: Layout, layers: int, steps: int, device: str, batch: int) -> Iterator[tuple[nn.Module, Any]]:
    """Trains the benchmark's model; yields it and its optimizer before each step and after the last backward pass."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    # Weights that would be rounded at once are made rounded: in float32 they would be the most that is held.
    rounded = layout.precision == "bfloat16" and layout.offload != "parameters"
    torch.set_default_dtype(torch.bfloat16 if rounded else before)
    try:
        with torch.device(device):
            model = Transformer(**SIZES | {"layers": layers})
    finally:
        torch.set_default_dtype(before)
    made = spread(model, layout, device)
    optimizer = optimizer_for(made, layout, torch.optim.AdamW, device, lr=1e-4)
    rows = torch.randint(0, SIZES["vocabulary"], (batch, LENGTH + 1), device=device)
    for step in range(steps):
        yield made, optimizer
        logits, _ = made(rows[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten())
        del logits
        loss.backward()
        if step == steps - 1:
            yield made, optimizer
        optimizer.step()
        optimizer.zero_grad()


def measure(layout: Layout, layers: int, steps: int, device: str, batch: int, limit: float) -> dict[str, Any]:
    """Returns what one training took, the libraries' own memory left out by a small one before it."""
    deque(steps_of(layout, 1, 2, device, batch), maxlen=0)  # a loop's variable would keep the last of it
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    cuda = device == "cuda"
    if limit and cuda:
        torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(0).total_memory)
    elif limit:
        with open("/proc/self/status", encoding="ascii") as file:
            data = 1024 * next(int(line.split()[1]) for line in file if line.startswith("VmData"))
        resource.setrlimit(resource.RLIMIT_DATA, (data + int(limit),) * 2)
    peaks, times, found = Peaks(), [], {}
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    training = steps_of(layout, layers, steps, device, batch)
    next(training)  # made, its weights in float32 for a moment
    with peaks.watched():
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        for _ in range(steps):
            began = time.perf_counter()
            model, optimizer = next(training)
            if cuda:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
        ledger_now = held(model, optimizer, device)
        found = {"resident": ledger_now.device, "parameters": sum(weight.numel() for weight in model.parameters())}
        for _ in training:
            pass
    found["device"] = torch.cuda.max_memory_allocated() if cuda else peaks.own
    found["host"] = ledger_now.host if cuda else peaks.shared
    return found | {"step": min(times[1:] or times)}


def main() -> None:
    """One training: its task as JSON."""
    task = json.loads(sys.argv[1])
    layout = Layout(**task.pop("layout"))
    print(json.dumps(measure(layout, **task)))


if __name__ == "__main__":
    main()
