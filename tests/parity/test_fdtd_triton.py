"""The Triton kernels against the reference flows, under Triton's interpreter: their meaning, not their speed.

The interpreter is chosen by an environment variable before Triton is imported, hence a process of its own. Tolerances
as in test_fdtd_engines.py.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
import json, torch
from mindsci import tree
from elec.fdtd import Walls
from fdtd_problems import everything, slanted

worst = {}
open_sides = Walls(x=("pmc", "pec"), y=("periodic", "periodic"), z=("pmc", "pec"))
bloch = Walls(x=("periodic", "periodic"), y=("periodic", "periodic"), z=("periodic", "periodic"), phase=(0.7, 0, -1.1))
cases = ((torch.float64, Walls()), (torch.float32, Walls()), ("walls", open_sides), ("bloch", bloch))
for dtype, walls in cases:
    options = {"dtype": torch.float64 if isinstance(dtype, str) else dtype, "walls": walls}
    grid, reference = everything((20, 18, 17), **options)
    _, fused = everything((20, 18, 17), **options, engine="triton")
    dt = 0.9 * grid.courant_limit()
    start = reference.start(16)
    expected = reference.advance(start, 0.0, dt, 16)
    found = fused.advance(fused.advance(start, 0.0, dt, 7), 7 * dt, dt, 9)
    worst[str(dtype)] = {
        name: float((a - b).abs().max() / b.abs().max())
        for (name, a), (_, b) in zip(tree.named_leaves(found), tree.named_leaves(expected), strict=True)
        if a.numel()
    }
grid, reference = slanted()
_, fused = slanted(engine="triton")
dt = 0.9 * grid.courant_limit()
expected, found = (step.advance(step.start(12), 0.0, dt, 12) for step in (reference, fused))
worst["slanted"] = {
    name: float((a - b).abs().max() / b.abs().max().clamp(min=1e-300))
    for (name, a), (_, b) in zip(tree.named_leaves(found), tree.named_leaves(expected), strict=True)
    if a.numel()
}
print(json.dumps(worst))
"""


GRADIENT_SCRIPT = """
import json, torch
import fdtd_unknowns as problems
from elec.fdtd import retrace
from mindsci.solvers import Checkpoint, Fused

problems.STEPS = 12
retrace.stretches = lambda *_: [0, 5, 9, 12]
expected = problems.gradients("reference", Checkpoint())
worst = {}
for box in (None, ((6, 7, 8), (14, 13, 14))):
    found = problems.gradients("triton", Fused(region=box))
    cut = (slice(None), *(slice(a, b) for a, b in zip(*box))) if box else slice(None)
    for name, value in expected.items():
        place = cut if value.ndim == 4 else slice(None)
        if box is None or value.ndim == 4:
            error = (found[name][place] - value[place]).abs().max() / value[place].abs().max().clamp(min=1e-300)
            worst[f"{name} {box is None}"] = float(error)
print(json.dumps(worst))
"""


def in_the_interpreter(script: str, repository: Path) -> dict[str, Any]:
    """What the last line of a script's output says."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("needs the package triton: pip install 'mindsci[interpret]'")
    path = os.pathsep.join(str(repository / folder) for folder in ("", "tests", "tests/gradients"))
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=repository, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_the_fused_adjoint_in_triton_is_the_derivative_of_the_reference(repository: Path) -> None:
    worst = in_the_interpreter(GRADIENT_SCRIPT, repository)
    assert len(worst) > 10
    assert max(worst.values()) < 1e-10


def test_the_triton_step_gives_the_numbers_of_the_reference(repository: Path) -> None:
    worst = in_the_interpreter(SCRIPT, repository)
    assert set(worst["torch.float64"]) == {
        "electric",
        "magnetic",
        "memory.0",
        "memory.1",
        "memory.2",
        "polarization",
        "magnetization",
        "records",
        "spectra",
    }
    assert max(worst["torch.float64"].values()) < 1e-12
    # What the last nodes of the periodic axis remember of the layers is read by nothing.
    for case in ("walls", "bloch"):
        assert max(error for name, error in worst[case].items() if not name.startswith("memory")) < 1e-12
    assert max(worst["torch.float32"].values()) < 1e-5
    assert max(worst["slanted"].values()) < 1e-12
