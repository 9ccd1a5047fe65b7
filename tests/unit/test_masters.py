"""Masters and what blocks keep, on one process: on the device, on the host, streamed. Several: tests/distributed."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn, optim
from training_tasks import sentences, trainer

from mindsci.distributed import Layout, MasterOptimizer, held, ledger, optimizer_for, profile, spread
from mindsci.distributed.host import host_tensor, mapped_bytes
from mindsci.distributed.refusal import refusal
from mindsci.errors import InputError
from mindsci.nn import Transformer

SIZES: dict[str, Any] = {"vocabulary": 64, "features": 64, "heads": 4, "layers": 3}
LENGTH = 32
ROWS = torch.randint(0, 64, (4, LENGTH + 1), generator=torch.Generator().manual_seed(1))
OFFLOADS = [{"offload": name} for name in ("optimizer", "parameters", "activations")]


@pytest.fixture(autouse=True)
def closed_group() -> Iterator[None]:
    """A mesh of size 1 opens a group of one process."""
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


def pages(kind: str) -> int:
    """Bytes of this process that the kernel counts as RssAnon or RssShmem."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(kind))


def loss_of(model: nn.Module, rows: Tensor) -> Tensor:
    logits, _ = model(rows[:, :-1])
    return nn.functional.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten())


def trained(layout: Layout, parts: int = 1) -> tuple[nn.Module, optim.Optimizer]:
    """Three steps, each on the rows in so many parts."""
    torch.manual_seed(2)
    made = spread(Transformer(**SIZES), layout)
    optimizer = optimizer_for(made, layout, lr=1e-2, eps=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        for part in ROWS.chunk(parts):
            (loss_of(made, part) / parts).backward()
        optimizer.step()
    return made, optimizer


def values(model: nn.Module) -> Tensor:
    whole = [weight.full_tensor() if hasattr(weight, "full_tensor") else weight for weight in model.parameters()]
    return torch.cat([weight.detach().flatten() for weight in whole])


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
@pytest.mark.parametrize("keywords", OFFLOADS, ids=str)
def test_what_lies_on_the_host_changes_no_step(keywords: dict[str, Any], recompute: str, parts: int) -> None:
    if refusal(Layout(recompute=recompute, **keywords)):
        pytest.skip("products that stay on the device")
    plain, _ = trained(Layout(), parts)
    made, optimizer = trained(Layout(recompute=recompute, **keywords), parts)
    torch.testing.assert_close(values(made), values(plain), rtol=0, atol=1e-6)
    if parts == 1:
        foretold = ledger(profile(Transformer, SIZES, LENGTH), Layout(recompute=recompute, **keywords), 4 * LENGTH)
        found = held(made, optimizer)
        for kind in ("weights", "gradients", "optimizer", "host_weights", "host_gradients", "host_optimizer"):
            assert getattr(found, kind) == getattr(foretold, kind), kind
        # Bytes are counted in bfloat16, where norms work in float32, and doubled: too many by what norms keep.
        assert 0.8 * foretold.host_activations <= found.host_activations <= foretold.host_activations


@pytest.mark.parametrize("keywords", [{"offload": "optimizer"}, {"offload": "parameters"}], ids=str)
def test_gradients_that_have_left_add_up_and_are_clipped(keywords: dict[str, Any], tmp_path: Path) -> None:
    found = []
    for name, layout in (("plain", {}), ("away", keywords)):
        # Adam with a small epsilon would not see the factor.
        options = {"optimizer": {"learning_rate": 1e-2, "epsilon": 1e-2}, "validate_every": 0}
        made = trainer(
            tmp_path / name, sentences(), layout=layout, steps=4, accumulate=2, clip_norm=0.05, log_every=1, **options
        )
        made.fit()
        found.append(values(made.model))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-6)


def test_the_ledger_foretells_what_blocks_keep_on_the_host() -> None:
    layout = Layout(offload="activations", precision="bfloat16")
    made, optimizer = trained(layout)
    foretold = ledger(profile(Transformer, SIZES, LENGTH), layout, 4 * LENGTH)
    # Inverse roots of the norms are below the size that travels.
    assert held(made, optimizer).host_activations == pytest.approx(foretold.host_activations, rel=0.02)


def test_a_bfloat16_model_steps_on_float32_masters() -> None:
    torch.manual_seed(3)
    model = nn.Linear(8, 4).bfloat16()
    x = torch.randn(16, 8).bfloat16()
    other, began = copy.deepcopy(model), model.weight.detach().float()
    masters = [nn.Parameter(weight.detach().float()) for weight in other.parameters()]
    by_hand = optim.AdamW(masters, lr=1e-5, fused=True)
    optimizer = MasterOptimizer(model.parameters(), lr=1e-5)
    for _ in range(20):
        for one, step in ((model, None), (other, by_hand)):
            one.zero_grad()
            one(x).float().square().mean().backward()
            if step is None:
                optimizer.step()
                continue
            for master, weight in zip(masters, other.parameters(), strict=True):
                master.grad = weight.grad.float()
            step.step()
            with torch.no_grad():
                for master, weight in zip(masters, other.parameters(), strict=True):
                    weight.copy_(master)
    assert all(torch.equal(a, b) for a, b in zip(optimizer.masters.values(), masters, strict=True))
    assert torch.equal(model.weight, other.weight)
    # Each of the twenty is below half a unit in the last place of a weight of 0.3, 2^-10: bfloat16 would lose it.
    assert float((masters[0] - began).abs().median().detach()) > 1e-4


@pytest.mark.parametrize("host", [False, True])
def test_masters_go_on_from_their_saved_state(host: bool) -> None:
    def model() -> nn.Linear:
        torch.manual_seed(4)
        return nn.Linear(8, 4).bfloat16()

    def step(one: nn.Linear, optimizer: optim.Optimizer) -> None:
        optimizer.zero_grad()
        one(torch.linspace(-1, 1, 32).view(4, 8).bfloat16()).float().square().sum().backward()
        optimizer.step()

    first = model()
    optimizer = MasterOptimizer(first.parameters(), lr=1e-2, host=host)
    step(first, optimizer)
    saved = copy.deepcopy(optimizer.state_dict())
    step(first, optimizer)
    second = model()
    resumed = MasterOptimizer(second.parameters(), lr=1e-2, host=host)
    resumed.load_state_dict(saved)
    step(second, resumed)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(optimizer.masters.values(), resumed.masters.values(), strict=True))


def test_the_kernel_counts_the_host_pool_apart() -> None:
    size = 1 << 26
    before = pages("RssShmem"), pages("RssAnon"), mapped_bytes()
    tensor = host_tensor((size // 4,), torch.float32, torch.device("cpu")).fill_(1.0)
    assert pages("RssShmem") - before[0] == pytest.approx(size, rel=1e-3)
    assert pages("RssAnon") - before[1] < size / 8
    assert mapped_bytes() - before[2] == size
    del tensor
    gc.collect()
    assert pages("RssShmem") - before[0] < size / 8


@pytest.mark.parametrize(
    ("keywords", "reason"),
    [
        ({"data": 4, "expert": 2}, "use expert = 4 or 1"),
        ({"data": 2, "offload": "parameters"}, 'use shard = "parameters" too'),
        ({"tensor": 2, "offload": "parameters"}, 'use offload = "optimizer"'),
        ({"data": 2, "expert": 2, "shard": "parameters", "offload": "parameters"}, "of this process alone"),
    ],
)
def test_what_is_wrong_is_refused_with_its_reason(keywords: dict[str, Any], reason: str) -> None:
    assert reason in refusal(Layout(**keywords))
    with pytest.raises(InputError, match=reason):
        spread(nn.Linear(2, 2), Layout(**keywords))


def test_masters_are_of_adam() -> None:
    with pytest.raises(InputError, match="use torch"):
        MasterOptimizer(nn.Linear(2, 2).parameters(), optim.SGD)
