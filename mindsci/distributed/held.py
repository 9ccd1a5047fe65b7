"""What a spread model and its optimizer really hold in this process, as a ledger of what lies where."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn, optim

from mindsci.distributed.host import local, on_host
from mindsci.distributed.ledger import Ledger
from mindsci.distributed.master import MasterOptimizer


def held(model: nn.Module, optimizer: optim.Optimizer, device: torch.device | str = "cpu") -> Ledger:
    """Returns the bytes of weights, gradients and states; of activations the most that was on the host.

    What is gathered and what blocks keep on the device passes within a step and is 0 here.
    """
    device = torch.device(device)
    inner = getattr(optimizer, "optim", optimizer)  # ZeroRedundancyOptimizer's own
    weights = [local(weight) for weight in model.parameters()]
    gradients = [local(weight.grad) for weight in model.parameters() if weight.grad is not None]
    states = [state for of_one in inner.state.values() for state in of_one.values() if state.numel() > 1]
    masters: list[Tensor] = []
    if isinstance(optimizer, MasterOptimizer):
        theirs = {weight.data_ptr() for weight in weights}
        masters = [master for master in optimizer.masters.values() if master.data_ptr() not in theirs]
        gradients += optimizer.gradients_on_host()

    def split(tensors: Iterable[Tensor]) -> tuple[int, int]:
        found = [0, 0]
        for tensor in tensors:
            found[on_host(tensor, device)] += local(tensor).nbytes
        return found[0], found[1]

    here, there = zip(*(split(kind) for kind in (weights, gradients, states, masters)), strict=True)
    kept = getattr(getattr(model, "module", model), "kept_on_host", None)
    return Ledger(
        weights=here[0],
        gradients=here[1],
        optimizer=here[2] + here[3],
        gathered=0.0,
        activations=0.0,
        host_weights=there[0] + there[3],
        host_gradients=there[1],
        host_optimizer=there[2],
        host_activations=kept.peak if kept is not None else 0.0,
    )
