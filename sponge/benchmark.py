"""Speed of the learned potential."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from mindsci.report import Report, Row
from mindsci.solvers import rollout
from sponge.batch import replicate
from sponge.builders import from_smiles
from sponge.dynamics import Forces, maxwell_boltzmann, velocity_verlet
from sponge.potentials import SchNet
from sponge.threads import suited_threads


def schnet_forces(
    smiles: str = "CCO",
    molecules: int = 1,
    features: int = 128,
    interactions: int = 6,
    gaussians: int = 20,
    precision: str = "float32",
    repeats: int = 50,
    device: str = "cpu",
) -> Report:
    """Milliseconds a force call and NVE steps a second, SchNet with random weights; median of `repeats` calls."""
    dtype = getattr(torch, precision)
    single = from_smiles(smiles, dtype=dtype)
    elements = sorted(set(single.atomic_numbers.tolist()))
    potential = SchNet(elements=elements, features=features, interactions=interactions, gaussians=gaussians)
    fast = potential.requires_grad_(False).eval().for_use(device=device, dtype=dtype)
    system = replicate(single, molecules).to(device)
    forces = Forces.of(fast, system)
    with torch.no_grad(), suited_threads(system):
        system = forces(maxwell_boltzmann(system, temperature=300.0, seed=0))
        call = _median_seconds(lambda: forces(system), repeats, device)
        step = _median_seconds(
            lambda: rollout(velocity_verlet(forces), system, n_steps=10, dt=0.1), repeats // 5 + 1, device
        )
    size = f"{molecules} x {smiles}, {system.n_atoms} atoms, {features}/{interactions}/{gaussians}, {precision}"
    rows = [
        Row(case=f"force call, {size}", measured=1e3 * call, unit="ms"),
        Row(case=f"NVE, {size}", measured=10.0 / step, unit="steps/s", extra={"ns/day at 0.5 fs": 10 / step * 0.0432}),
    ]
    return Report(name="schnet_forces", rows=rows)


def _median_seconds(work: Callable[[], object], repeats: int, device: str) -> float:
    times = []
    for count in range(repeats + 3):
        began = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize(device)
        if count >= 3:  # the first calls allocate and choose kernels
            times.append(time.perf_counter() - began)
    return statistics.median(times)
