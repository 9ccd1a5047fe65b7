"""How long the processes of a pipeline are idle and what they have under way, in the orders of torch's own schedules.

A forward pass takes one unit, a backward pass two, one of them for the gradients of weights; nothing takes time on its
way. The orders are run as their data allow, and compared with the formulas that plans use.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.pipelining import schedules

from mindsci.distributed import Layout
from mindsci.distributed.ledger import under_way
from mindsci.distributed.pipeline import Pipeline
from mindsci.distributed.planner import bubble

KINDS = {"FORWARD": ("F", 1), "FULL_BACKWARD": ("B", 2), "BACKWARD_INPUT": ("B", 1), "BACKWARD_WEIGHT": ("W", 1)}


def order_of(layout: Layout) -> tuple[dict[int, list[tuple[str, int, int, int]]], int]:
    """What each process does in turn: kind, duration, stage, micro-batch; and the number of stages."""
    name, each = Pipeline.schedules[layout.schedule]
    n_stages = each * layout.pipeline
    stages: list[Any] = [
        SimpleNamespace(
            stage_index=layout.pipeline * turn,
            num_stages=n_stages,
            group_size=layout.pipeline,
            group_rank=0,
            device=torch.device("cpu"),
            stage_index_to_group_rank={stage: stage % layout.pipeline for stage in range(n_stages)},
            is_first=turn == 0,
            is_last=False,
            has_backward=True,
            submod=nn.Linear(1, 1),
        )
        for turn in range(each)
    ]
    made = getattr(schedules, name)(stages, layout.micro_batches, loss_fn=lambda output, target: output)
    return {
        rank: [
            (*KINDS[action.computation_type.name], action.stage_index, action.microbatch_index)
            for action in actions
            if action is not None
        ]
        for rank, actions in made.pipeline_order.items()
    }, n_stages


def idle_share(order: dict[int, list[tuple[str, int, int, int]]], n_stages: int) -> float:
    """Runs the order; returns the idle time of the process that idles most over the time that it works."""
    done: dict[tuple[str, int, int], int] = {}
    clocks, left = dict.fromkeys(order, 0), {rank: list(actions) for rank, actions in order.items()}
    while any(left.values()):
        before = len(done)
        for rank, actions in left.items():
            while actions:
                kind, duration, stage, part = actions[0]
                wanted = {
                    "F": [("F", stage - 1, part)] if stage else [],
                    "B": [("F", stage, part)] + ([("B", stage + 1, part)] if stage < n_stages - 1 else []),
                    "W": [("B", stage, part)],
                }[kind]
                if any(one not in done for one in wanted):
                    break
                clocks[rank] = max([clocks[rank], *(done[one] for one in wanted)]) + duration
                done[kind, stage, part] = clocks[rank]
                actions.pop(0)
        assert len(done) > before
    work = [sum(duration for _, duration, _, _ in actions) for actions in order.values()]
    return (max(clocks.values()) - min(work)) / min(work)


@pytest.mark.parametrize(("pipeline", "micro_batches"), [(2, 2), (2, 8), (4, 8), (4, 16)])
@pytest.mark.parametrize("schedule", ["interleaved", "zero_bubble"])
def test_a_plan_knows_how_long_processes_are_idle(schedule: Any, pipeline: int, micro_batches: int) -> None:
    layout = Layout(pipeline=pipeline, micro_batches=micro_batches, schedule=schedule)
    order, n_stages = order_of(layout)
    assert idle_share(order, n_stages) == pytest.approx(bubble(layout))
    begun = most = 0
    for kind, _, _, _ in order[0]:
        begun += {"F": 1, "B": -1, "W": 0}[kind]
        most = max(most, begun)
    assert most * pipeline / n_stages == pytest.approx(under_way(layout))
