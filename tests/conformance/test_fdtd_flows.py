"""The flows of the Yee scheme keep the contract of a flow: pure, undone by -dt where they say so, differentiable."""

from __future__ import annotations

import pytest
import torch
from fdtd_problems import LAYERS, everything

from elec.fdtd import YeeStep
from elec.fields import Fields
from mindsci import tree
from mindsci.testing import check_flow

NONE = ((0, 0), (0, 0), (0, 0))


def moving(layers: tuple[tuple[int, int], ...], *, lossy: bool) -> tuple[Fields, YeeStep, float]:
    """Fields in the middle of a run, the step and dt."""
    grid, step = everything((18, 17, 17), layers=layers, lossy=lossy)
    dt = 0.9 * grid.courant_limit()
    return step.advance(step.start(60), 0.0, dt, 40), step, dt


@pytest.mark.parametrize("lossy", [False, True], ids=["lossless", "lossy"])
@pytest.mark.parametrize("layers", [NONE, LAYERS], ids=["walls", "layers"])
@pytest.mark.parametrize("name", ["faraday", "ampere", "probe"])
def test_each_flow_keeps_the_contract(name: str, layers: tuple[tuple[int, int], ...], lossy: bool) -> None:
    fields, step, dt = moving(layers, lossy=lossy)
    flow = getattr(step, name)
    undone = dict.fromkeys(("faraday", "ampere"), layers == NONE and not lossy) | {"probe": True}
    assert flow.reversible == undone[name]
    check_flow(flow, fields, dt, t=40 * dt)


def test_the_step_undoes_itself_without_layers_and_loss() -> None:
    fields, step, dt = moving(NONE, lossy=False)
    after = step(fields, 40 * dt, dt)
    back = step(after, 41 * dt, -dt)
    for (name, a), (_, b) in zip(tree.named_leaves(back), tree.named_leaves(fields), strict=True):
        if a.numel():
            assert float((a - b).abs().max()) <= 1e-12 * float(b.abs().max()), name
    assert not torch.equal(after.electric, fields.electric)
