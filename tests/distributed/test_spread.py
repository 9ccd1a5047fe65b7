"""A decoder spread over two processes takes the steps of one, and holds what the ledger says.

Tolerances. float32: sums in another order differ by 1e-7 of a loss of 4 and of a gradient; Adam's epsilon of 1e-3 keeps
a step of 1e-2 smooth, so five steps leave 1e-5 of a weight. bfloat16 rounds to 2^-9: weights at the start by
1e-3 of them at most, each of the ten or so products on a token's way by 2e-3, at random. That is 1 % of the loss. A
gradient errs by as much, and the way that weights have moved by a tenth, of which half is the rounding at the start.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from launching import torchrun
from spread_layouts import CASES, LARGE_CASES, LENGTH, SECOND_ORDER, alone, sizes

from mindsci.distributed import Layout, ledger, profile
from mindsci.distributed.refusal import check
from mindsci.errors import InputError
from mindsci.nn import Transformer

EACH, EACH_LARGE = (
    pytest.mark.parametrize(
        "index", range(len(cases)), ids=[f"{layout}{' experts' if mixed else ''}" for layout, mixed in cases]
    )
    for cases in (CASES, LARGE_CASES)
)


@pytest.fixture(scope="module")
def of_two(made_once: Callable[[str, Callable[[Path], None]], Path]) -> list[dict[str, Any]]:
    """What each of the two processes found: the launch of test_processes.py."""
    folder = made_once("ranks", lambda folder: torchrun("distributed_ranks.py", str(folder)))
    return json.loads((folder / "found.json").read_text())


@pytest.fixture(scope="module")
def found(of_two: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """What each of the two processes found of decoders."""
    return [rank["decoders"] for rank in of_two]


@pytest.fixture(scope="module")
def found_of_four(made_once: Callable[[str, Callable[[Path], None]], Path]) -> list[list[dict[str, Any]]]:
    """What each of four processes found."""
    folder = made_once("four ranks", lambda folder: torchrun("spread_layouts.py", str(folder), processes=4))
    return json.loads((folder / "found.json").read_text())


def check_steps(layout: Layout, ranks: list[dict[str, Any]], mixed: bool) -> None:
    """The processes took the steps of one; together they hold all weights."""
    kind = sizes(layout, mixed)
    losses, weights, _ = alone(kind["experts"], kind["layers"])
    exact = layout.precision == "float32"
    for one in ranks:
        assert one["losses"] == pytest.approx(losses, rel=1e-5 if exact else 1e-2)
        if exact:
            assert one["off"] < 1e-5
        else:
            assert one["off of moved"] < 0.1
    assert losses[-1] < 0.9 * losses[0]
    assert {name for one in ranks for name in one["names"]} == weights.keys()


def check_ledger(layout: Layout, ranks: list[dict[str, Any]], mixed: bool) -> None:
    """The process that holds most holds what the ledger says."""
    foretold = ledger(profile(Transformer, sizes(layout, mixed), LENGTH), layout, 8 * LENGTH)
    # A sharded optimizer deals out whole parameters, of which this model has few; divided matrices leave norms whole.
    uneven = layout.shard == "optimizer" or layout.tensor > 1
    for kind in ("weights", "gradients", "optimizer", "host_weights", "host_gradients", "host_optimizer"):
        measured = max(one["held"][kind] for one in ranks)
        assert measured == pytest.approx(getattr(foretold, kind), rel=0.1 if uneven else 0.02), kind
    # Tensors below a few KiB stay where they are, and those of the router are float32 in any precision. Bytes are
    # counted in bfloat16, where norms work in float32, and doubled: beside divided matrices whole norms weigh more.
    kept = max(one["held"]["host_activations"] for one in ranks)
    if layout.tensor > 1:
        assert 0.7 * foretold.host_activations <= kept <= foretold.host_activations
    else:
        assert kept == pytest.approx(foretold.host_activations, rel=0.2)


@EACH
def test_two_processes_take_the_steps_of_one_whatever_the_layout(found: list[list[dict[str, Any]]], index: int) -> None:
    keywords, mixed = CASES[index]
    check_steps(Layout(**keywords), [rank[index] for rank in found], mixed)


@EACH
def test_the_ledger_foretells_the_bytes_of_real_shards(found: list[list[dict[str, Any]]], index: int) -> None:
    keywords, mixed = CASES[index]
    check_ledger(Layout(**keywords), [rank[index] for rank in found], mixed)


@pytest.mark.slow
@EACH_LARGE
def test_four_processes_take_the_steps_of_one_whatever_the_layout(
    found_of_four: list[list[dict[str, Any]]], index: int
) -> None:
    keywords, mixed = LARGE_CASES[index]
    check_steps(Layout(**keywords), [rank[index] for rank in found_of_four], mixed)
    check_ledger(Layout(**keywords), [rank[index] for rank in found_of_four], mixed)


@pytest.mark.parametrize("index", range(len(SECOND_ORDER)), ids=[str(layout) for layout in SECOND_ORDER])
def test_a_loss_with_forces_takes_the_steps_of_one_process(of_two: list[dict[str, Any]], index: int) -> None:
    assert max(rank["second order"][index] for rank in of_two) < 1e-5


@pytest.mark.parametrize(
    "keywords", [{"pipeline": 2}, {"tensor": 2}, {"offload": "activations"}, {"precision": "bfloat16"}], ids=str
)
def test_a_loss_with_forces_is_refused_where_its_gradients_would_be_wrong(keywords: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="a loss with forces"):
        check(Layout(**keywords), second_order=True)
