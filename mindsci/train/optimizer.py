"""The optimizer of a model, as its table in the case file says."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn, optim

from mindsci.distributed import Layout, optimizer_for
from mindsci.train.config import OptimizerConfig
from mindsci.train.muon import Muon


def build_optimizer(
    model: nn.Module, config: OptimizerConfig, layout: Layout | None = None, device: torch.device | str = "cpu"
) -> optim.Optimizer:
    """Returns the optimizer over the parameters that ask for a gradient, as a layout spreads its states.

    Weight decay skips those with fewer than two axes: biases and norms have no scale to shrink.
    """
    parameters: list[Tensor] = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    options: dict[str, Any] = {"lr": config.learning_rate, "betas": config.betas, "eps": config.epsilon}
    implementation = _implementation(parameters, config)
    options["fused"] = implementation == "fused"
    if config.name != "muon":
        options["foreach"] = implementation == "foreach"
    kind = {"adamw": optim.AdamW, "adam": optim.Adam, "muon": Muon}[config.name]
    return optimizer_for(model, layout or Layout(), kind, torch.device(device).type, groups=groups, **options)


def _implementation(parameters: list[Tensor], config: OptimizerConfig) -> str:
    if config.implementation != "auto":
        return config.implementation
    # torch's fused kernels take real numbers only; spectral layers have complex weights.
    return "foreach" if any(p.is_complex() for p in parameters) else "fused"
