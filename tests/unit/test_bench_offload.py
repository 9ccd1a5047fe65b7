"""What one training of `mindsci bench offload` takes, as the kernel counts it, is what the ledger says."""

from __future__ import annotations

import pytest

from mindsci.distributed import Layout
from mindsci.distributed.bench_offload import trained
from mindsci.errors import InputError


@pytest.mark.slow
@pytest.mark.parametrize("offload", ["none", "optimizer", "parameters"])
def test_a_process_takes_the_memory_that_the_ledger_foretells(offload: str) -> None:
    found = trained(Layout(precision="bfloat16", offload=offload), 6, 2, "cpu")
    for pool in ("device", "host"):
        # 32 MiB for workspaces and for what the small training before has left.
        assert found[pool] == pytest.approx(found["foretold"][pool], rel=0.1, abs=32 * 2**20), pool


@pytest.mark.slow
def test_a_limit_on_a_processs_own_pages_stops_a_model_without_offload_alone() -> None:
    layouts = [Layout(precision="bfloat16", offload=offload) for offload in ("none", "optimizer")]
    plain, away = (trained(layout, 12, 2, "cpu", limit=3e8) for layout in layouts)
    assert "failed" in plain and away["parameters"] > 3e7


def test_a_benchmark_of_offload_needs_blocks() -> None:
    from mindsci.distributed.bench_offload import offload

    with pytest.raises(InputError, match="use 2 layers or more"):
        offload(layers=1)
