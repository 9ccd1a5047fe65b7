"""Our side of `mindsci bench schnet`; run as a module on the folder that `report` wrote."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mindsci.solvers import rollout
from sponge.ase_atoms import from_ase
from sponge.ase_calculator import PotentialCalculator
from sponge.batch import replicate
from sponge.bench_schnet.report import SHAPE
from sponge.dynamics import Forces, maxwell_boltzmann, velocity_verlet
from sponge.neighbors import neighbor_list
from sponge.potentials import SchNet
from sponge.threads import suited_threads


def main(folder: Path, repeats: int, threads: int) -> None:
    """Prints the milliseconds of each call of each case, and leaves energies and forces in the folder."""
    from ase.io import read

    torch.set_num_threads(threads)
    model = SchNet(**SHAPE)
    model.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    timed: dict[str, list[float]] = {}
    for case in ("ethanol", "aspirin", "water192", "water1536"):
        atoms = read(folder / f"{case}.xyz")
        calculator = PotentialCalculator(model, dtype=torch.float32)
        calculator.calculate(atoms, ["energy", "forces"])
        found = calculator.results
        np.savez(folder / f"mindsci_{case}.npz", energy=found["energy"], forces=found["forces"])
        timed[case] = times(lambda a=atoms, c=calculator: move_and_call(a, c), repeats)
    aspirin = from_ase(read(folder / "aspirin.xyz"), dtype=torch.float32)
    compiled = model.for_use()
    many = replicate(aspirin, 64)

    def evaluate() -> Any:
        return compiled.evaluate(many, neighbor_list(many, compiled.cutoff))

    batch = evaluate()
    np.savez(folder / "mindsci_aspirin x 64.npz", energy=batch.energy.numpy(), forces=batch.forces.numpy())
    timed["aspirin x 64"] = times(evaluate, repeats)
    for size in (10, 100):
        timed[f"training, {size} aspirins"] = times(training_step(model, replicate(aspirin, size)), repeats)
    forces = Forces.of(compiled, aspirin)
    with torch.no_grad(), suited_threads(aspirin):
        start = forces(maxwell_boltzmann(aspirin, temperature=300.0, seed=0))
        steps = times(lambda: rollout(velocity_verlet(forces), start, n_steps=100, dt=0.1), 5)
    timed["NVE steps, aspirin"] = [one / 100 for one in steps]
    print(json.dumps(timed))


def move_and_call(atoms: Any, calculator: PotentialCalculator) -> None:
    """Moves the atoms together, so that no calculator answers from its memory, and asks for energy and forces."""
    atoms.positions += 1e-4
    calculator.calculate(atoms, ["energy", "forces"])


def training_step(model: SchNet, system: Any) -> Callable[[], None]:
    """Returns a step of Adam on the squares of energies and forces, lists ready."""
    neighbors = neighbor_list(system, model.cutoff)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        found = model.evaluate(system, neighbors, create_graph=True)
        loss = 0.01 * found.energy.square().mean() + 0.99 * found.forces.square().mean()
        loss.backward()
        optimizer.step()

    return step


def times(call: Callable[[], Any], repeats: int) -> list[float]:
    """Returns the milliseconds of each of `repeats` calls, after two that compile and allocate."""
    found = []
    for _ in range(repeats + 2):
        began = time.perf_counter()
        call()
        found.append(1e3 * (time.perf_counter() - began))
    return found[2:]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
