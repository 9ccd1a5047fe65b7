"""`mindsci bench schnet`: writes the weights and the systems, runs each program on them, and compares what they print.

A program takes the folder, the repeats and the threads; it prints one JSON object, case -> milliseconds of each call,
and leaves `<program>_<case>.npz` with the energies and forces that it found.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mindsci.errors import InputError
from mindsci.report import Report, Row
from sponge.potentials import SchNet

GATES = {
    "ethanol": 10.0,
    "aspirin": 10.0,
    "water192": 8.0,
    "water1536": 8.0,
    "aspirin x 64": 6.0,
    "training, 10 aspirins": 3.0,
    "training, 100 aspirins": 3.0,
}
"""times SchNetPack's speed"""
# Freed memory is kept: without this glibc maps and clears every large tensor anew.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}
SHAPE: dict[str, Any] = {
    "elements": ["H", "C", "O"],
    "features": 128,
    "interactions": 6,
    "gaussians": 20,
    "cutoff": 5.0,
}


def schnet(environments: str = "", repeats: int = 20, threads: int = 2) -> Report:
    """Milliseconds of a force call and a training step, SchNet 128/6/20/5 angstrom, float32, random weights.

    environments: a folder whose `schnetpack` is a virtual environment with SchNetPack 2.1.1; it is run in the same
    call, between two runs of our own. Single systems go through each one's ASE calculator, neighbour list included; the
    batch takes lists and evaluation, a training step forces, gradients and Adam on ready lists. Both keep freed memory.
    """
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder))
        own = [sys.executable, "-m", "sponge.bench_schnet.own", folder, str(repeats), str(threads)]
        before = _run("mindsci", own, threads)
        theirs: dict[str, list[float]] = {}
        python = Path(environments) / "schnetpack" / "bin" / "python"
        if environments and python.exists():
            script = Path(__file__).with_name("schnetpack_calls.py")
            theirs = _run("SchNetPack", [str(python), str(script), folder, str(repeats), str(threads)], threads)
        after = _run("mindsci", own, threads)
        rows = [
            _row(case, before[case] + after[case], theirs.get(case), gate, Path(folder)) for case, gate in GATES.items()
        ]
        inside = [*before["NVE steps, aspirin"], *after["NVE steps, aspirin"]]
    rows.append(Row(case="NVE of aspirin in our own loop", measured=1e3 / statistics.median(inside), unit="steps/s"))
    return Report(name="schnet", rows=rows)


def _row(case: str, own: list[float], theirs: list[float] | None, gate: float, folder: Path) -> Row:
    milliseconds = statistics.median(own)
    extra: dict[str, Any] = {"min [ms]": min(own), "max [ms]": max(own)}
    ok, ratio = None, None
    if theirs is not None:
        ratio = statistics.median(theirs) / milliseconds
        ok = ratio >= gate
        extra |= {"SchNetPack [ms]": statistics.median(theirs), "times faster": ratio} | _agreement(case, folder)
    return Row(case=case, measured=milliseconds, unit="ms", gate=f">= {gate:g} times SchNetPack", ok=ok, extra=extra)


def _agreement(case: str, folder: Path) -> dict[str, float]:
    """Returns how far the two programs' energies and forces lie apart, as shares of the largest."""
    if case.startswith("training"):
        return {}
    with np.load(folder / f"mindsci_{case}.npz") as ours, np.load(folder / f"schnetpack_{case}.npz") as theirs:
        return {
            f"{name} differ": float(np.abs(ours[name] - theirs[name]).max() / np.abs(theirs[name]).max())
            for name in ("energy", "forces")
        }


def _run(name: str, command: list[str], threads: int) -> dict[str, list[float]]:
    environment = os.environ | ALLOCATOR | {"OMP_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise InputError(f"{name} ended with status {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, list[float]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _write(folder: Path) -> None:
    """Writes the weights under SchNetPack's names, and the systems."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SchNet(**SHAPE)
    torch.save(model.state_dict(), folder / "weights.pt")
    np.savez(folder / "weights.npz", **_schnetpack_names(model))
    for name, atoms in systems().items():
        atoms.write(folder / f"{name}.xyz", format="extxyz")


def _schnetpack_names(model: SchNet) -> dict[str, NDArray[Any]]:
    named = {"representation.embedding.weight": torch.zeros(100, SHAPE["features"])}
    named["representation.embedding.weight"][list(model.elements or ())] = model.embedding.weight.detach()
    for number, layer in enumerate(model.interactions):
        at = f"representation.interactions.{number}"
        named[f"{at}.in2f.weight"] = layer.before.weight
        for ours, theirs in ((layer.filter, "filter_network"), (layer.after, "f2out")):
            for k, dense in enumerate((ours[0], ours[2])):
                named |= {f"{at}.{theirs}.{k}.weight": dense.weight, f"{at}.{theirs}.{k}.bias": dense.bias}
    for k, dense in enumerate((model.readout[0], model.readout[2])):
        named |= {f"output_modules.0.outnet.{k}.weight": dense.weight, f"output_modules.0.outnet.{k}.bias": dense.bias}
    return {name: tensor.detach().numpy() for name, tensor in named.items()}


def systems() -> dict[str, Any]:
    """Returns ethanol, aspirin, and boxes of 64 and 512 water molecules at the density of the liquid."""
    from ase.build import molecule

    from sponge import to_ase
    from sponge.builders import from_smiles

    aspirin = to_ase(from_smiles("CC(=O)Oc1ccccc1C(=O)O", seed=0))
    return {"ethanol": molecule("CH3CH2OH"), "aspirin": aspirin, "water192": _water(1), "water1536": _water(2)}


def _water(side: int) -> Any:
    """64 side^3 molecules turned at random on a lattice."""
    from ase import Atoms
    from ase.build import molecule

    random = np.random.default_rng(0)
    count, box = 4 * side, 12.42 * side
    shape = molecule("H2O").positions
    shape -= shape.mean(0)
    positions = [
        shape @ np.linalg.qr(random.normal(size=(3, 3)))[0] + (np.array(index) + 0.5) * box / count
        for index in np.ndindex(count, count, count)
    ]
    return Atoms("OHH" * count**3, positions=np.concatenate(positions), cell=[box] * 3, pbc=True)
