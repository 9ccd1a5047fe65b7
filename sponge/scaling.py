"""SchNet's part of `mindsci bench scaling`."""

from __future__ import annotations

import tempfile

import torch

from mindsci import plugins
from mindsci.distributed.scaling import Part
from mindsci.distributed.scaling_parts import averaged
from mindsci.train.randomness import own_randomness, seed_step
from mindsci.train.workspace import Quiet
from sponge.trainings import schnet as training


def schnet() -> Part:
    """Losses of energies and forces, and gradients that `DistributedDataParallel` averages."""
    tables = training()
    case = plugins.get("tasks", tables["task"]).model_validate(tables)
    device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder, own_randomness(device):
        seed_step(device, 0, 0, 0)
        task = case.build(Quiet(folder))
    return averaged(task, f"{tables['data']['batch_size']} frames of ethanol")
