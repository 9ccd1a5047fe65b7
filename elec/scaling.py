"""The field solver's part of `mindsci bench scaling`."""

from __future__ import annotations

import torch

from elec.fdtd.absorber import absorbing_layers
from elec.fdtd.media import uniform_media
from elec.fdtd.slabs import SlabStep, slab_step
from elec.fdtd.sources import dipole
from elec.fdtd.step import yee_step
from elec.fdtd.waveforms import GaussianDerivative
from elec.grid import Grid
from mindsci.distributed.scaling import Part
from mindsci.train.parallel import Group

PLANES, ACROSS, LAYERS, CELL, STEPS = 96, 96, 8, 1e-3, 24


def slabs() -> Part:
    """Slabs of 96 x 96 x 96 cells, absorbing layers around, one dipole; single precision, the compiled engine."""
    group = Group.current()
    sizes = (PLANES * group.world, ACROSS, ACROSS)
    grid = Grid(
        **{name: CELL * torch.arange(size + 1, dtype=torch.float64) for name, size in zip("xyz", sizes, strict=True)},
        absorber_cells=LAYERS,
    )
    source = dipole(grid, 2, [size // 2 for size in sizes], GaussianDerivative(frequency_max=20e9))
    media = uniform_media(grid, dtype=torch.float32)
    whole = yee_step(grid, media, absorber=absorbing_layers(grid), sources=[source], engine="numba")
    step = slab_step(whole) if group.world > 1 else whole
    fields, dt = step.start(), 0.9 * grid.courant_limit()
    every = step.every if isinstance(step, SlabStep) else 1

    def exchange() -> None:
        for _ in range(STEPS // every):
            step.border.exchange(step.kept(fields))

    sent = sum(part.nbytes for part in (fields.electric, fields.magnetic)) / fields.electric.shape[1] * every
    return Part(
        step=lambda: step.advance(fields, 0.0, dt, STEPS),
        exchange=exchange,
        pattern="neighbours",
        messages=STEPS // every,
        bytes=sent,
        work=f"{STEPS} steps of {PLANES} x {ACROSS} x {ACROSS} cells",
    )
