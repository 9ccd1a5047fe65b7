"""A start without a GPU asks for none: a run on the CPU with every call to CUDA forbidden."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import sys
import torch

def forbidden(*arguments, **keywords):
    raise AssertionError("a run on the CPU called CUDA")

for name in ("_cuda_init", "_cuda_getDeviceCount", "_cuda_isInBadFork", "_cuda_getDevice", "_cuda_setDevice"):
    if hasattr(torch._C, name):
        setattr(torch._C, name, forbidden)
for name in ("is_available", "init", "_lazy_init", "device_count", "current_device", "set_device", "mem_get_info",
             "synchronize", "manual_seed", "manual_seed_all", "get_rng_state", "get_rng_state_all"):
    setattr(torch.cuda, name, forbidden)

import mindsci, mindsci.cli, mindsci.distributed, mindsci.nn, mindsci.train, elec, elec.case, elec.fdtd, sponge
from mindsci.cli import main

import tempfile
from pathlib import Path
from mindsci.runs import execute
from training_tasks import RegressionCase

tables = {"task": "test/regression", "trainer": {"steps": 4, "validate_every": 2, "monitor": "error"}}
execute(RegressionCase.model_validate(tables), Path(tempfile.mkdtemp()) / "run")
sys.argv = ["mindsci", "run", *sys.argv[1:]]
main()
"""

FIELDS = (
    'task = "elec/fields"\n'
    "[[sources]]\n"
    'kind = "dipole"\nposition = "0, 0, 0 mm"\ndirection = "z"\n'
    '[excitation]\nwaveform = "pulse"\nfrequency_max = "10 GHz"\n'
    '[fields]\nfrequencies = ["8 GHz"]\n'
    '[grid]\ncell = "3 mm"\nmargin = "15 mm"\nabsorber_cells = 4\n'
    "[time]\nn_steps = 150\n"
)


def test_a_training_and_a_run_of_fields_on_the_cpu_never_call_cuda(tmp_path: Path) -> None:
    path = tmp_path / "case.toml"
    path.write_text(FIELDS)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(path), "--out", str(tmp_path / "run")],
        capture_output=True, text=True, timeout=240, check=False,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "run/results.json").exists()
    assert "test error" in done.stdout
