"""A small decoder spread over processes as each layout says, and by one process: what both must agree in."""

from __future__ import annotations

import dataclasses
import functools
import gc
import json
import re
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn, optim

from mindsci.distributed import Layout, MasterOptimizer, expert_group, held, optimizer_for, spread
from mindsci.distributed.pipeline import Pipeline
from mindsci.nn import MixtureOfExperts, Transformer
from mindsci.train import process_group

LAYOUTS: list[dict[str, Any]] = [
    {"data": 2},
    {"data": 2, "shard": "parameters"},
    {"data": 2, "shard": "gradients"},
    {"data": 2, "expert": 2},
    {"data": 2, "expert": 2, "shard": "parameters"},
    {"data": 2, "shard": "optimizer"},
    {"data": 2, "expert": 2, "shard": "optimizer"},
    {"data": 2, "recompute": "full"},
    {"data": 2, "expert": 2, "shard": "gradients", "recompute": "full"},
    {"tensor": 2},
    {"tensor": 2, "recompute": "full"},
    {"tensor": 2, "recompute": "selective"},
    {"data": 2, "expert": 2, "shard": "parameters", "recompute": "selective"},
    {"data": 2, "offload": "optimizer"},
    {"data": 2, "offload": "optimizer", "shard": "optimizer"},
    {"data": 2, "offload": "optimizer", "shard": "gradients"},
    {"data": 2, "offload": "optimizer", "shard": "parameters", "expert": 2},
    {"tensor": 2, "offload": "optimizer"},
    {"data": 2, "offload": "parameters", "shard": "parameters"},
    {"data": 2, "offload": "activations"},
    {"data": 2, "offload": "activations", "shard": "parameters", "recompute": "full"},
    {"tensor": 2, "offload": "activations"},
    {"data": 2, "precision": "bfloat16"},
    {"data": 2, "precision": "bfloat16", "shard": "optimizer", "offload": "optimizer"},
    {"data": 2, "precision": "bfloat16", "shard": "gradients"},
    {"data": 2, "precision": "bfloat16", "shard": "parameters", "offload": "parameters"},
    {"tensor": 2, "precision": "bfloat16"},
    {"pipeline": 2, "micro_batches": 4, "schedule": "gpipe"},
    {"pipeline": 2, "micro_batches": 4, "schedule": "1f1b"},
    {"pipeline": 2, "micro_batches": 4, "schedule": "interleaved"},
    {"pipeline": 2, "micro_batches": 4, "schedule": "zero_bubble"},
    {"pipeline": 2, "micro_batches": 2, "recompute": "selective", "offload": "optimizer"},
    {"pipeline": 2, "micro_batches": 2, "offload": "activations", "recompute": "full"},
    {"pipeline": 2, "micro_batches": 2, "precision": "bfloat16", "offload": "optimizer"},
]
MIXED: list[dict[str, Any]] = [
    {"tensor": 2},
    {"tensor": 2, "recompute": "selective"},
    {"tensor": 2, "offload": "optimizer"},
]
"""Divided experts."""
LARGE_LAYOUTS: list[dict[str, Any]] = [
    {"data": 4, "shard": "gradients"},
    {"data": 4, "expert": 4, "shard": "parameters"},
    {"data": 4, "shard": "parameters", "offload": "parameters", "precision": "bfloat16"},
    {"data": 2, "tensor": 2},
    {"data": 2, "tensor": 2, "shard": "optimizer"},
    {"data": 2, "tensor": 2, "shard": "optimizer", "offload": "optimizer"},
    {"data": 2, "tensor": 2, "shard": "parameters"},
    {"data": 2, "tensor": 2, "shard": "gradients", "offload": "optimizer"},
    *(
        {"data": 2, "pipeline": 2, "micro_batches": 2, "schedule": schedule}
        for schedule in ("gpipe", "1f1b", "interleaved", "zero_bubble")
    ),
    {"data": 2, "pipeline": 2, "micro_batches": 2, "shard": "optimizer", "offload": "optimizer"},
    {"tensor": 2, "pipeline": 2, "micro_batches": 2, "schedule": "interleaved"},
    {"pipeline": 4, "micro_batches": 8, "schedule": "zero_bubble"},
]
"""For four processes."""
LARGE_MIXED: list[dict[str, Any]] = [
    {"data": 2, "tensor": 2},
    {"data": 2, "tensor": 2, "expert": 2},
    {"data": 2, "tensor": 2, "expert": 2, "shard": "parameters", "recompute": "full"},
    {"data": 2, "tensor": 2, "expert": 2, "shard": "gradients", "offload": "optimizer"},
    {"data": 2, "tensor": 2, "expert": 2, "shard": "optimizer"},
    {"data": 2, "tensor": 2, "shard": "parameters"},
]
CASES = [(keywords, False) for keywords in LAYOUTS] + [(keywords, True) for keywords in MIXED]
LARGE_CASES = [(keywords, False) for keywords in LARGE_LAYOUTS] + [(keywords, True) for keywords in LARGE_MIXED]
"""Each with whether the decoder has divided experts."""
SECOND_ORDER: list[dict[str, Any]] = [
    {"data": 2},
    {"data": 2, "shard": "optimizer"},
    {"data": 2, "shard": "gradients"},
    {"data": 2, "shard": "parameters"},
    {"data": 2, "offload": "optimizer"},
    {"data": 2, "offload": "optimizer", "shard": "parameters"},
    {"data": 2, "offload": "parameters", "shard": "parameters"},
]
"""For a loss that holds forces."""
DECODER: dict[str, Any] = {"vocabulary": 40, "features": 32, "heads": 4, "layers": 2, "experts": 4}
LENGTH = 12
STEPS = 5
ADAM: dict[str, Any] = {"lr": 1e-2, "eps": 1e-3}
"""With so large an epsilon a step is smooth in its gradient: rounding of 1e-8 moves a weight by 1e-7, not by 1e-2."""


def sizes(layout: Layout, mixed: bool = False) -> dict[str, Any]:
    """A mixture; a dense decoder where matrices or layers are divided, and where roundings would send tokens to other
    experts."""
    dense = (layout.tensor > 1 and not mixed) or layout.pipeline > 1 or layout.precision == "bfloat16"
    return DECODER | ({"experts": 0} if dense else {}) | ({"layers": 4} if layout.pipeline > 1 else {})


def sequences() -> Tensor:
    return torch.randint(0, 40, (8, LENGTH + 1), generator=torch.Generator().manual_seed(6))


def decode(model: nn.Module, rows: Tensor, optimizer: optim.Optimizer) -> list[float]:
    """Five steps on the same sequences; returns the losses."""
    losses = []
    for _ in range(STEPS):
        if isinstance(model, Pipeline):
            optimizer.zero_grad()
            losses.append(float(model.step(rows[:, :-1], rows[:, 1:])))
            optimizer.step()
            continue
        logits, _ = model(rows[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@functools.cache
def alone(experts: int, layers: int) -> tuple[list[float], dict[str, Tensor], dict[str, Tensor]]:
    """The losses of one process in float32, its weights, and those it began with."""
    torch.manual_seed(7)
    model = Transformer(**DECODER | {"experts": experts, "layers": layers})
    began = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    losses = decode(model, sequences(), optim.Adam(model.parameters(), **ADAM))
    return losses, {name: weight.detach() for name, weight in model.named_parameters()}, began


def whole(model: nn.Module, layout: Layout) -> dict[str, Tensor]:
    """Returns all weights as one process has them, of a pipeline those of this process."""
    found = {}
    mixtures = [part for part in model.modules() if isinstance(part, MixtureOfExperts)]
    experts = {id(weight): part.group for part in mixtures for weight in part.experts.parameters()}
    for name, weight in model.named_parameters():
        value = weight.full_tensor() if hasattr(weight, "full_tensor") else weight
        if layout.expert > 1 and id(weight) in experts:
            parts = [torch.empty_like(value) for _ in range(layout.expert)]
            dist.all_gather(parts, value.detach().contiguous(), group=experts[id(weight)])
            value = torch.cat(parts)
        name = re.sub(r"^(module\.|stages\.\d+\.)", "", name).replace("_checkpoint_wrapped_module.", "")
        found[name] = value.detach().float()
    return found


def tried(layout: Layout, mixed: bool = False) -> dict[str, Any]:
    """What this process finds: losses, how far weights are from those of one process, what it holds."""
    torch.manual_seed(7)
    model = Transformer(**sizes(layout, mixed), group=expert_group(layout))
    made = spread(model, layout)
    optimizer = optimizer_for(made, layout, optim.Adam, **ADAM)
    rank = dist.get_rank() // layout.tensor % layout.data
    losses = torch.tensor(decode(made, sequences()[rank :: layout.data], optimizer))
    dist.all_reduce(losses, dist.ReduceOp.AVG)
    _, expected, began = alone(sizes(layout, mixed)["experts"], sizes(layout)["layers"])
    values = whole(made, layout)
    assert layout.pipeline > 1 or values.keys() == expected.keys(), values.keys() ^ expected.keys()
    off = torch.cat([(value - expected[name]).flatten() for name, value in values.items()])
    moved = torch.cat([(expected[name] - began[name]).flatten() for name in values])
    found = {
        "losses": losses.tolist(),
        "off": float(off.abs().max()),
        "off of moved": float(off.norm() / moved.norm()),
        "names": sorted(values),
        "held": dataclasses.asdict(held(made, optimizer)) | {"masters": isinstance(optimizer, MasterOptimizer)},
    }
    del made, model, optimizer
    gc.collect()
    return found


def decoders(cases: list[tuple[dict[str, Any], bool]] = CASES) -> list[dict[str, Any]]:
    """Each layout in turn."""
    return [tried(Layout(**keywords), mixed) for keywords, mixed in cases]


class Forces(nn.Module):
    """The squared error of -dE/dx of a small network."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(8)
        last = nn.Linear(16, 1, bias=False)  # which no force depends on
        self.energy = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), last)

    def forward(self, positions: Tensor) -> Tensor:
        positions = positions.detach().requires_grad_()
        forces = -torch.autograd.grad(self.energy(positions).sum(), positions, create_graph=True)[0]
        return (forces + positions).square().mean()


def forces(layout: Layout) -> Tensor:
    """All weights after five steps."""
    inside = Forces()
    made = inside if layout.ranks == 1 else spread(inside.energy, layout, outer=inside, second_order=True)
    optimizer = optimizer_for(made, layout, optim.Adam, **ADAM)
    positions = torch.randn(8, 3, generator=torch.Generator().manual_seed(9))
    rank = dist.get_rank() if layout.ranks > 1 else 0
    for _ in range(STEPS):
        optimizer.zero_grad()
        made(positions[rank :: layout.data]).backward()
        optimizer.step()
    return torch.cat([weight.flatten() for weight in whole(made, layout).values()])


def second_order() -> list[float]:
    """How far each layout's weights are from those of one process, the largest."""
    alone = forces(Layout())
    return [float((forces(Layout(**keywords)) - alone).abs().max()) for keywords in SECOND_ORDER]


def main() -> None:
    """One process of four: writes what they found in the folder."""
    folder = Path(sys.argv[1])
    with process_group() as group:
        everyone: list[Any] = [None] * group.world
        dist.all_gather_object(everyone, decoders(LARGE_CASES))
    if group.writes:
        (folder / "found.json").write_text(json.dumps(everyone))


if __name__ == "__main__":
    main()
