"""Exported programs of potentials give their energies and forces on systems that they were not traced on.

They run in an interpreter of their own: the shape checks of the test run compare sizes, which fixes them in a graph.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import molecule

from mindsci.errors import InputError
from sponge import from_ase
from sponge.potentials import SchNet
from sponge.potentials.export import exported

SCRIPT = """
import sys
import torch
from ase.build import bulk, molecule
from sponge import from_ase, neighbor_list
from sponge.potentials import PaiNN, SchNet
from sponge.potentials.export import exported

torch.manual_seed(0)
diamond = bulk("C", "diamond", a=3.5)
kinds = {"SchNet": (SchNet, 1), "PaiNN": (PaiNN, 2)}  # the first block of PaiNN has no vectors yet
pairs_of = {"molecule": (molecule("CH3CH2OH"), molecule("CH3COOH")), "crystal": (diamond, diamond.repeat((2, 1, 1)))}
for name in sys.argv[1:]:
    (kind, interactions), (atoms, others) = (of[one] for of, one in zip((kinds, pairs_of), name.split()))
    potential = kind(elements=["H", "C", "O"], features=8, interactions=interactions, cutoff=3.0)
    potential = potential.double().requires_grad_(False)
    program, other = exported(potential, from_ase(atoms)).module(), from_ase(others)
    pairs = neighbor_list(other, potential.cutoff, half=True)
    positions = other.positions.clone().requires_grad_()
    arguments = [positions, other.atomic_numbers, pairs.centre, pairs.neighbor]
    energy = program(*arguments, *([] if pairs.shift is None else [pairs.shift, other.cell]))
    (slope,) = torch.autograd.grad(energy.sum(), positions)
    found = potential.evaluate(other, pairs)
    assert torch.allclose(energy, found.energy, rtol=0, atol=1e-12), (kind, energy, found.energy)
    assert torch.allclose(-slope, found.forces, rtol=0, atol=1e-12), (kind, slope, found.forces)
"""


@pytest.mark.parametrize(
    "cases",
    [("SchNet crystal", "PaiNN molecule"), pytest.param(("SchNet molecule", "PaiNN crystal"), marks=pytest.mark.slow)],
)
def test_an_exported_program_gives_energies_and_forces_of_another_system(
    repository: Path, cases: tuple[str, ...]
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    command = [sys.executable, "-c", SCRIPT, *cases]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_batch_is_not_exported() -> None:
    potential = SchNet(elements=["H", "O"], features=8)
    with pytest.raises(InputError, match="batch of 2"):
        exported(potential, from_ase([molecule("H2O"), molecule("H2O")]))
