"""Our side of `mindsci bench md`; run as a module on the folder that `report` wrote."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from mindsci.solvers import rollout
from sponge.bench_md import cases
from sponge.dynamics import Constraints, Forces, velocity_verlet
from sponge.forcefield import ForceField


def main(folder: Path, name: str, steps: int, repeats: int, threads: int) -> None:
    """Prints steps per second and processor seconds of a step, of each repeat; leaves the forces at the start."""
    torch.set_num_threads(threads)
    system, topology, options = cases.load(folder / f"{name}.npz", torch.float32)
    held = None
    if topology.constraints is not None or topology.waters is not None:
        held = Constraints.of(topology, system)
    # Hydrogens at 300 K use a skin up three times as fast as argon.
    forces = Forces.of(ForceField(topology, options), system, skin=1.0 if held is None else 1.6)
    with torch.no_grad():
        np.save(folder / f"{name}_forces.npy", forces(system).forces.numpy())
        system = forces(system if held is None else held.start(system))
        step = velocity_verlet(forces, held)
        system, _ = rollout(step, system, n_steps=max(10, steps // 10), dt=2.0)
        rates, processor = [], []
        for _ in range(repeats):
            began, worked = time.perf_counter(), time.process_time()
            system, _ = rollout(step, system, n_steps=steps, dt=2.0)
            rates.append(steps / (time.perf_counter() - began))
            processor.append((time.process_time() - worked) / steps)
    print(json.dumps({"rates": rates, "processor": processor}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:6]))
