"""What each process of the tests of slabs does; the first one writes what was found as JSON.

Started by torchrun with the folder to write in: see distributed/test_slabs.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from fdtd_problems import everything, slanted

from elec.fdtd import Walls, YeeStep
from elec.fdtd.slabs import slab_step
from elec.fields import Fields
from elec.grid import Grid
from mindsci import tree
from mindsci.solvers import rollout
from mindsci.train import process_group

MIRROR = Walls(x=("pmc", "pec"), y=("pec", "pec"))
BLOCH = Walls(y=("periodic", "periodic"), phase=(0.0, 0.7, 0.0))
AROUND = Walls(y=("periodic", "periodic"), z=("periodic", "periodic"))
LONG = (40, 12, 14)
PROBLEMS: dict[str, Callable[..., tuple[Grid, YeeStep]]] = {
    "everything": everything,
    "mirror": lambda **kind: everything(walls=MIRROR, **kind),
    "periodic": lambda **kind: everything(lossy=False, walls=AROUND, **kind),
    "bloch": lambda **kind: everything(lossy=False, walls=BLOCH, **kind),
    "slanted": slanted,
}
STEPS = (23, 36)
"""Of two calls: neither is a whole number of exchanges."""


def marched(step: Any, grid: Grid) -> Fields:
    fields, done, dt = step.start(sum(STEPS)), 0, 0.9 * grid.courant_limit()
    for count in STEPS:
        fields, _ = rollout(step, fields, n_steps=count, dt=dt, start=done)
        done += count
    return fields


def differences(name: str, **kind: Any) -> dict[str, float]:
    """Of each tensor, the largest difference from one process over the largest value; on the first process."""
    grid, step = PROBLEMS[name](**kind)
    part = slab_step(step)
    fields = marched(part, grid)
    whole = part.gathered(fields)
    if whole is None:
        return {}
    alone = dict(tree.named_leaves(marched(step, grid)))
    found = {}
    for leaf, values in tree.named_leaves(whole):
        if values.numel():
            scale = float(alone[leaf].abs().max())
            found[leaf] = float((values - alone[leaf]).abs().max()) / max(scale, 1e-300)
            assert scale > 0 or leaf.startswith("memory"), f"nothing in {leaf}"
    return found


def main() -> None:
    import faulthandler

    faulthandler.dump_traceback_later(60, exit=True)
    top = Path(sys.argv[1])
    with process_group() as group:
        found = {}
        for name in PROBLEMS:
            print(group.rank, name, file=sys.stderr, flush=True)
            found[f"{name} reference"] = differences(name, engine="reference")
            found[f"{name} numba"] = differences(name, engine="numba")
        everyone: list[Any] = [None] * group.world
        torch.distributed.all_gather_object(everyone, found)
    if group.writes:
        (top / "found.json").write_text(json.dumps(everyone))
        for k, v in found.items():
            print(k, v)


if __name__ == "__main__":
    main()
