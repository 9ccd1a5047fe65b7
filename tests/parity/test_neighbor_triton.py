"""The Triton search against the reference, under Triton's interpreter: its meaning, not its speed.

The interpreter is chosen by an environment variable before Triton is imported, hence a process of its own.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import torch
from neighbor_cases import random_atoms, same_edges
from mindsci import tree
from sponge import concatenate, from_ase, neighbor_list, NeighborSearch
from sponge.neighbors import device

flags = [(True, True, True), (False, False, False), (True, False, True), (True, True, True)]
cases = [
    (concatenate([from_ase(random_atoms(k, 2 + k, 6.0, pbc)) for k, pbc in enumerate(flags)]), 2.5, (True,)),
    (from_ase(random_atoms(1, 2, 4.0, (True, True, True))), 4.5, (False,)),
    (from_ase(random_atoms(5, 6, 5.0, (True, True, True)), dtype=torch.float32), 2.6, (False,)),
]
for system, cutoff, kinds in cases:
    for half in kinds:
        found = neighbor_list(system, cutoff, half=half, engine="triton")
        assert found.n_edges > 3
        same_edges(found, neighbor_list(system, cutoff, half=half, engine="reference"))
        assert torch.equal(torch.arange(system.n_atoms).repeat_interleave(found.rows.diff()), found.centre)
# A list of fixed capacity: all edges where there is room, else the first of them and the number that there would be.
system = cases[1][0]
search = NeighborSearch(cutoff=4.5, half=True, engine="triton")
found = neighbor_list(system, 4.5, half=True, engine="triton")
wide = search.build_within(system, found.n_edges + 7)
assert wide.n_edges == found.n_edges + 7 and float(wide.worst[1]) < 1
same_edges(tree.replace(wide, worst=None), found)
short = search.build_within(system, found.n_edges - 3)
assert torch.equal(short.rows, found.rows) and float(short.worst[1]) > 1
assert torch.equal(short.neighbor, found.neighbor[: short.n_edges])
# No more bins than atoms, however long and thin the cell.
spans = torch.tensor([[1e-6, 0.5, 2.0], [0.1, 0.1, 0.1], [3.0, 3.0, 3.0], [1e-3, 1e-3, 1e-3]], dtype=torch.float64)
atoms = torch.tensor([10, 50, 1, 30000])
assert bool((device._bins(spans, atoms).prod(-1) <= atoms).all())
print("same")
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton: pip install 'mindsci[interpret]'")
def test_the_kernel_finds_the_edges_of_the_reference(repository: Path) -> None:
    path = os.pathsep.join([str(repository), str(repository / "tests")])
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=570)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "same"
