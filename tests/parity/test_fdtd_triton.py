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

import pytest

SCRIPT = """
import json, torch
from mindsci import tree
from fdtd_problems import everything

worst = {}
for dtype in (torch.float64, torch.float32):
    grid, reference = everything((20, 18, 17), dtype=dtype)
    _, fused = everything((20, 18, 17), dtype=dtype, engine="triton")
    dt = 0.9 * grid.courant_limit()
    start = reference.start(16)
    expected = reference.advance(start, 0.0, dt, 16)
    found = fused.advance(fused.advance(start, 0.0, dt, 7), 7 * dt, dt, 9)
    worst[str(dtype)] = {
        name: float((a - b).abs().max() / b.abs().max())
        for (name, a), (_, b) in zip(tree.named_leaves(found), tree.named_leaves(expected), strict=True)
    }
print(json.dumps(worst))
"""


def test_the_triton_step_gives_the_numbers_of_the_reference(repository: Path) -> None:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("needs the package triton: pip install 'mindsci[interpret]'")
    path = os.pathsep.join([str(repository), str(repository / "tests")])
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, cwd=repository, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    worst = json.loads(done.stdout.splitlines()[-1])
    assert set(worst["torch.float64"]) == {
        "electric",
        "magnetic",
        "memory.0",
        "memory.1",
        "memory.2",
        "records",
        "spectra",
    }
    assert max(worst["torch.float64"].values()) < 1e-12
    assert max(worst["torch.float32"].values()) < 1e-5
