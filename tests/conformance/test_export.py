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
from sponge.potentials import Ensemble, MolCT, SchNet
from sponge.potentials.export import exported

SCRIPT = """
import sys
import torch
from ase.build import bulk, molecule
from sponge import from_ase, neighbor_list
from sponge.potentials import PaiNN, PhysNet, SchNet
from sponge.potentials.export import exported

torch.manual_seed(0)
diamond = bulk("C", "diamond", a=3.5)
options = {"features": 8, "cutoff": 3.0}
kinds = {
    "SchNet": lambda **o: SchNet(interactions=1, **o),
    "PaiNN": lambda **o: PaiNN(interactions=2, **o),  # its first block has no vectors yet
    "PhysNet": lambda **o: PhysNet(modules=1, basis=8, coulomb_cutoff=4.0, **o),
}
systems = {"molecule": (molecule("CH3CH2OH"), molecule("CH3COOH")), "crystal": (diamond, diamond.repeat((2, 1, 1)))}
for case in sys.argv[1:]:
    name, system, *rest = case.split()
    potential = kinds[name](elements=["H", "C", "O"], **options).double().requires_grad_(False)
    for parameter in potential.parameters():  # some begin at zero
        parameter.add_(0.1 * torch.randn_like(parameter))
    atoms, others = systems[system]
    program, other = exported(potential, from_ase(atoms), forces="forces" in rest), from_ase(others)
    pairs = neighbor_list(other, potential.cutoff, half=True)
    positions = other.positions.clone().requires_grad_()
    arguments = [positions, other.atomic_numbers, pairs.centre, pairs.neighbor]
    arguments += [] if pairs.shift is None else [pairs.shift, other.cell]
    if "forces" in rest:
        run = program.module()
        if "compiled" in rest:
            path = torch._inductor.aoti_compile_and_package(program, package_path=sys.argv[0] + ".pt2")
            run = torch._inductor.aoti_load_package(path)
        energy, forces = run(positions.detach(), *arguments[1:])
    else:
        energy = program.module()(*arguments)
        forces = -torch.autograd.grad(energy.sum(), positions)[0]
    found = potential.evaluate(other, pairs)
    assert torch.allclose(energy, found.energy, rtol=0, atol=1e-12), (case, energy, found.energy)
    assert torch.allclose(forces, found.forces, rtol=0, atol=1e-12), (case, forces, found.forces)
"""


@pytest.mark.parametrize(
    "cases",
    [
        ("SchNet molecule forces", "PaiNN crystal"),
        pytest.param(
            ("SchNet crystal", "PaiNN molecule forces", "PhysNet molecule", "PhysNet crystal"), marks=pytest.mark.slow
        ),
        pytest.param(("SchNet molecule forces compiled",), marks=pytest.mark.slow),
    ],
)
def test_an_exported_program_gives_energies_and_forces_of_another_system(
    repository: Path, tmp_path: Path, cases: tuple[str, ...]
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), *cases]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_batch_is_not_exported() -> None:
    potential = SchNet(elements=["H", "O"], features=8)
    with pytest.raises(InputError, match="batch of 2"):
        exported(potential, from_ase([molecule("H2O"), molecule("H2O")]))


def test_a_potential_that_is_no_graph_of_fixed_sizes_is_not_exported() -> None:
    schnet = SchNet(elements=["H", "O"], features=8)
    for potential in (MolCT(elements=["H", "O"], features=8, heads=2), Ensemble(members=[schnet, schnet])):
        with pytest.raises(InputError, match=f"a {potential.kind} has no such program"):
            exported(potential, from_ase(molecule("H2O")))
    with pytest.raises(InputError, match="not that of for_use"):
        exported(schnet.for_use(engine="numba"), from_ase(molecule("H2O")))


def test_an_example_whose_sizes_are_equal_is_not_exported_with_forces() -> None:
    potential = SchNet(elements=["H", "O"], features=8)
    with pytest.raises(InputError, match="3 atoms and 3 pairs"):
        exported(potential, from_ase(molecule("H2O")), forces=True)
