"""What each process of the tests of slabs does; the first one writes what was found as JSON.

Started by torchrun with the folder to write in, and "fields" or "cases": see distributed/test_slabs.py.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from fdtd_problems import cut_metal, everything, slanted

from elec.case import AntennaCase, FieldsCase
from elec.fdtd import Walls, YeeStep, cpu
from elec.fdtd.slabs import SlabStep, slab_step
from elec.fields import Fields
from elec.grid import Grid
from mindsci import tree
from mindsci.config import load_case
from mindsci.distributed.halo import exchanged, slabs
from mindsci.runs import Interrupted, execute
from mindsci.solvers import rollout
from mindsci.train import Group, process_group

MIRROR = Walls(x=("pmc", "pec"))
BLOCH = Walls(y=("periodic", "periodic"), phase=(0.0, 0.7, 0.0))
AROUND = Walls(y=("periodic", "periodic"), z=("periodic", "periodic"))
PROBLEMS: dict[str, Callable[..., tuple[Grid, YeeStep]]] = {
    "everything": everything,
    "mirror": lambda **kind: everything(walls=MIRROR, **kind),
    "periodic": lambda **kind: everything(lossy=False, walls=AROUND, **kind),
    "bloch": lambda **kind: everything(lossy=False, walls=BLOCH, **kind),
    "slanted": slanted,
    "cut metal": cut_metal,
    # The border lies in the layers.
    "layers": lambda **kind: everything(layers=((13, 3), (3, 4), (5, 2)), **kind),
    "high layers": lambda **kind: everything(layers=((3, 13), (3, 4), (5, 2)), **kind),
}
STEPS = (13, 26)
"""Of two calls: neither is a whole number of exchanges."""
EXAMPLES = Path(__file__).resolve().parents[1] / "docs/examples"
LINE = (
    "grid.cells_across=2",
    "grid.cells_at_rim=1",
    "grid.absorber_cells=4",
    'grid.extent={x="-3, 3 mm", y="-1, 13 mm", z="0, 1 mm"}',
    "frequencies.points=5",
    "grid.cells_per_wavelength=8",
    "time.n_steps=560",
    "excitation.frequency_max=40 GHz",
    "frequencies.start=15 GHz",
    "frequencies.stop=30 GHz",
    'fields.frequencies=["20 GHz"]',
    'drive=["p2"]',
    'precision="float64"',
    'engine="reference"',
)
SPHERE = (
    "grid.cells_per_wavelength=10",
    "grid.absorber_cells=5",
    'grid.extent={x="0, 110 mm", y="0, 110 mm", z="-110, 110 mm"}',
    "time.n_steps=600",
    'far_field.frequencies=["2 GHz"]',
    'fields.frequencies=["2 GHz"]',
)


def line() -> AntennaCase:
    """Two microstrip ports, sums over their profiles across y and z, of which the second is driven."""
    return load_case(EXAMPLES / "microstrip_notch.toml", LINE)  # type: ignore[return-value]


def sphere() -> FieldsCase:
    """A sphere of metal between two mirrors, in a box of total field."""
    return load_case(EXAMPLES / "sphere_cross_section.toml", SPHERE)  # type: ignore[return-value]


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
    return found


@contextmanager
def threads() -> Iterator[None]:
    """Three threads in each process, however small the problem."""
    before, cpu.CELLS_PER_THREAD = cpu.CELLS_PER_THREAD, 1
    torch.set_num_threads(3)
    try:
        yield
    finally:
        torch.set_num_threads(1)
        cpu.CELLS_PER_THREAD = before


def halo(group: Group) -> dict[str, Any]:
    """<y, exchange x> and <transpose y, x>, x and y over all processes; and what the exchange brings."""
    slab = slabs(17, group.world, 3)[group.rank]
    generator = torch.Generator().manual_seed(group.rank)
    size = (2, slab.end - slab.first, 4)
    x, y = (torch.randn(size, dtype=torch.float64, generator=generator) for _ in range(2))
    x.requires_grad_()
    found = exchanged(x, slab, dim=1)
    (found * y).sum().backward()
    planes = torch.arange(slab.first, slab.end)
    owned = (planes >= slab.low) & (planes < slab.high)
    ours = torch.where(owned, planes, -1)[None, :, None].expand(2, -1, 4).to(torch.float64)
    return {
        "forward": float((found * y).sum().detach()),
        "backward": float((x.grad * x.detach()).sum()),
        "brought": exchanged(ours, slab, dim=1)[1, :, 2].tolist(),
        "expected": planes.tolist(),
    }


def sizes() -> dict[str, int]:
    """Bytes of the step and the fields of one process, and of one alone."""
    _, step = everything((48, 20, 22), engine="numba")
    part = slab_step(step)
    return {
        "alone": sum(leaf.nbytes for leaf in tree.leaves((step, step.start()))),
        "slab": sum(leaf.nbytes for leaf in tree.leaves((part.local, part.start()))),
    }


def refused(step: YeeStep) -> str:
    try:
        slab_step(step)
    except ValueError as error:
        return str(error)
    return ""


def cases(folder: Path, group: Group) -> list[int]:
    """A case of ports, and one of sources that is stopped by the last process alone and taken up again."""
    execute(line(), folder / "line", quiet=True)
    advance, calls = SlabStep.advance, []

    def interrupted(self: Any, *arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2 and group.rank == group.world - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return advance(self, *arguments)

    SlabStep.advance = interrupted  # type: ignore[method-assign]
    try:
        execute(sphere(), folder / "sphere", quiet=True)
    except Interrupted:
        stopped = len(calls)
    SlabStep.advance = advance  # type: ignore[method-assign]
    execute(sphere(), folder / "sphere", quiet=True, resume=True)
    return [stopped]


def main() -> None:
    top, what = Path(sys.argv[1]), sys.argv[2]
    folder = top / os.environ["TORCHELASTIC_RESTART_COUNT"]
    with process_group() as group:
        found: dict[str, Any] = {"folder": str(folder), "halo": halo(group)}
        for name in PROBLEMS if what == "fields" else ():
            for engine in ("reference", "numba"):
                found[f"{name} {engine}"] = differences(name, engine=engine)
        if what == "cases":
            found["stopped"] = cases(folder, group)
        elif group.world == 2:
            with threads():
                found["threads numba"] = differences("everything", engine="numba", nodes=(64, 20, 22))
            found["sizes"] = sizes()
            _, step = everything(lossy=False, walls=Walls(x=("periodic", "periodic")))
            found["periodic"] = refused(step)
        everyone: list[Any] = [None] * group.world
        torch.distributed.all_gather_object(everyone, found)
    if group.writes:
        (top / "found.json").write_text(json.dumps(everyone))


if __name__ == "__main__":
    main()
