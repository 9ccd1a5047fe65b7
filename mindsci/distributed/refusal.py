"""What cannot be spread, and why."""

from __future__ import annotations

import torch.distributed as dist

from mindsci.distributed.table import Layout
from mindsci.errors import InputError


def check(layout: Layout, second_order: bool = False) -> None:
    """Raises InputError where a layout is wrong for any model, or for the number of processes that run."""
    reason = refusal(layout) or (_of_second_order(layout) if second_order else "")
    if reason:
        raise InputError(reason)
    running = dist.get_world_size() if dist.is_initialized() else 1
    if layout.ranks != running:
        raise InputError(
            f"the layout is for {layout.ranks} processes, and {running} run in an open group; start it with "
            f"torchrun --nproc-per-node {layout.ranks}"
        )


def refusal(layout: Layout) -> str:
    """Returns why a layout cannot be run, empty where it can."""
    if layout.expert not in (1, layout.data):
        return (
            f"parallel.expert = {layout.expert}: experts are dealt to all {layout.data} processes that take different "
            f"data, or to none; use expert = {layout.data} or 1"
        )
    if layout.recompute == "selective" and layout.offload == "activations":
        return (
            'parallel.recompute = "selective" keeps products on the device, and offload = "activations" would move '
            'inputs of blocks alone; use recompute = "none" or "full"'
        )
    if layout.pipeline > 1:
        return _of_pipelines(layout)
    if layout.offload == "parameters":
        if layout.tensor > 1:
            return 'parallel.offload = "parameters" streams whole matrices, not divided ones; use offload = "optimizer"'
        if layout.expert > 1:
            return 'parallel.offload = "parameters" streams no experts of this process alone; use offload = "optimizer"'
        if layout.data > 1 and layout.shard != "parameters":
            return 'parallel.offload = "parameters" streams shards; with several processes use shard = "parameters" too'
    return ""


def _of_second_order(layout: Layout) -> str:
    """Returns why gradients of a loss that holds derivatives, such as forces, would be wrong under a layout."""
    if layout.pipeline > 1:
        return (
            f"parallel.pipeline = {layout.pipeline}: a loss with forces goes back through all stages before it is "
            "known, and schedules go through them once; use data or shard"
        )
    if layout.tensor > 1:
        return (
            f"parallel.tensor = {layout.tensor}: a loss with forces needs gradients of second order, which torch's "
            "divided matrices get wrong without a word; use data or shard"
        )
    if layout.offload == "activations" or layout.precision == "bfloat16":
        return (
            "a loss with forces needs gradients of second order, for which activations on the host and weights in "
            "bfloat16 are not exact; leave parallel.offload and parallel.precision out"
        )
    return ""


def _of_pipelines(layout: Layout) -> str:
    if layout.shard in ("gradients", "parameters") or layout.offload == "parameters":
        return (
            "parallel.pipeline would gather sharded or streamed weights again for every micro-batch; use "
            'shard = "none" or "optimizer", and offload = "optimizer"'
        )
    if layout.expert > 1:
        return "parallel.pipeline does not carry the balance losses of experts from stage to stage; use expert without"
    if layout.schedule == "zero_bubble" and layout.recompute != "none":
        return (
            'parallel.schedule = "zero_bubble" takes gradients of inputs and of weights apart: blocks would have to be '
            'computed twice again; use "1f1b" with recompute'
        )
    if layout.schedule == "interleaved" and layout.micro_batches % layout.pipeline:
        return (
            f'parallel.schedule = "interleaved" works through micro-batches in groups of pipeline = {layout.pipeline}; '
            f"use micro_batches that are a multiple of it, not {layout.micro_batches}"
        )
    return ""
