"""All legal layouts of a training on a number of processes, what each takes, and which is the fastest that fits.

The time is a model, not a measurement: arithmetic at a sustained rate, every transfer at a link's rate, none hidden
behind the other. It ranks layouts; docs/how_to/plan_a_training.md says what it leaves out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from mindsci.distributed.ledger import Ledger, activations, ledger, share
from mindsci.distributed.profile import Profile
from mindsci.distributed.refusal import refusal
from mindsci.distributed.table import Layout
from mindsci.errors import InputError
from mindsci.nn.experts import ALIGNMENT
from mindsci.tree import Tree


class Machine(Tree):
    """One process's device and its ways out."""

    memory: float
    """[bytes] of the device"""
    host_memory: float = float("inf")
    """[bytes] of the host for each process"""
    arithmetic: float = 150e12
    """sustained in bfloat16 [1/s]; float32 at half of it"""
    link: float = 100e9
    """to other processes [bytes/s]"""
    host_link: float = 20e9
    """to the host [bytes/s]"""
    memory_link: float = 2e12
    """to its own memory [bytes/s]"""
    host_update: float = 1e9
    """parameters that the host's Adam updates in a second"""
    device_update: float = 50e9


class Estimate(Tree):
    """A layout with what it takes. `reason` says why it cannot be used, empty where it can."""

    layout: Layout
    ledger: Ledger
    seconds: float
    """of a step"""
    times: dict[str, float]
    reason: str


def estimates(
    model: Profile,
    ranks: int,
    machine: Machine,
    *,
    tokens: int,
    precision: Literal["float32", "bfloat16"] = "bfloat16",
    micro_batches: Sequence[int] = (1, 2, 4, 8, 16, 32),
) -> list[Estimate]:
    """Returns all legal layouts, those that fit first, fastest first; `tokens` is the size of a step's batch.

    Raises InputError where the batch cannot be cut for any.
    """
    found = []
    for layout in layouts(model, ranks, precision=precision, micro_batches=micro_batches):
        sequences = tokens // model.tokens
        if sequences % (layout.data * layout.micro_batches):
            continue
        needs = ledger(model, layout, tokens)
        times = step_times(model, layout, machine, tokens)
        reason = ""
        if needs.device > machine.memory:
            reason = f"needs {needs.device / 2**30:.1f} of {machine.memory / 2**30:.1f} GiB on the device"
        elif needs.host > machine.host_memory:
            reason = f"needs {needs.host / 2**30:.1f} of {machine.host_memory / 2**30:.1f} GiB on the host"
        found.append(Estimate(layout=layout, ledger=needs, seconds=sum(times.values()), times=times, reason=reason))
    if not found:
        raise InputError(
            f"a batch of {tokens // model.tokens} sequences cannot be cut equally for {ranks} processes; make "
            f"batch_size a multiple of {ranks}"
        )
    # Equally fast ones: the one that leaves most memory free.
    return sorted(found, key=lambda one: (bool(one.reason), round(one.seconds, 9), one.ledger.device))


def layouts(
    model: Profile, ranks: int, *, precision: Literal["float32", "bfloat16"], micro_batches: Sequence[int]
) -> Iterator[Layout]:
    """Yields the layouts that can be run and divide processes, layers, heads, widths and experts equally."""
    for tensor, pipeline in itertools.product(_divisors(ranks), repeat=2):
        if ranks % (tensor * pipeline) or model.heads % tensor or model.hidden % tensor or model.blocks % pipeline:
            continue
        if model.n_experts and tensor > 1 and 2 * model.hidden // tensor % ALIGNMENT:
            continue  # experts would be multiplied one by one
        data = ranks // (tensor * pipeline)
        experts = [n for n in _divisors(data) if model.n_experts % n == 0] if model.n_experts else [1]
        shards: tuple[Any, ...] = ("none", "optimizer", "gradients", "parameters") if data > 1 else ("none",)
        schedules = ("1f1b", "interleaved", "zero_bubble") if pipeline > 1 else ("1f1b",)
        choices: Any = itertools.product(
            experts, shards, OFFLOADS, ("none", "selective", "full"), schedules, micro_batches
        )
        for expert, shard, offload, recompute, schedule, parts in choices:
            if pipeline > 1 and parts < pipeline:
                continue  # stages would stand idle for more than half of the time
            if pipeline > 1 and (model.n_experts or (schedule == "interleaved" and model.blocks % (2 * pipeline))):
                continue
            layout = Layout(
                data=data,
                tensor=tensor,
                pipeline=pipeline,
                expert=expert,
                shard=shard,
                offload=offload,
                recompute=recompute,
                precision=precision,
                schedule=schedule,
                micro_batches=parts,
            )
            if not refusal(layout):
                yield layout


OFFLOADS = ("none", "optimizer", "parameters", "activations")


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def bubble(layout: Layout) -> float:
    """Returns the time that a process of a pipeline is idle, as a share of that in which it works.

    (p - 1) / m of GPipe and 1F1B [Huang2019]; half of it with two runs of layers each [Narayanan2021, section 2.2]; a
    third where gradients of weights, as long as those of inputs and as the forward pass, fill it (ZB-H1) [Qi2024].
    """
    filled = {"gpipe": 1.0, "1f1b": 1.0, "interleaved": 0.5, "zero_bubble": 1 / 3}[layout.schedule]
    return filled * (layout.pipeline - 1) / layout.micro_batches


def step_times(model: Profile, layout: Layout, machine: Machine, tokens: int) -> dict[str, float]:
    """Returns the seconds of each part of a step.

    A ring moves 2 (n - 1) / n of what it sums, (n - 1) / n of what it gathers or scatters. A token is multiplied with
    each active parameter once forward, twice backward, once more where blocks are computed again as a whole; what is
    not kept is then written and read once more.
    """
    item = 2.0 if layout.precision == "bfloat16" else 4.0
    rate = machine.arithmetic * (1.0 if layout.precision == "bfloat16" else 0.5)
    passes = 4.0 if layout.recompute == "full" else 3.0
    walks = 3.0 if layout.recompute == "none" else 4.0  # of what travels between processes inside of blocks
    own, at_once = share(model, layout), tokens / layout.data
    parts, blocks = layout.micro_batches, model.blocks / layout.pipeline
    work = passes * 2.0 * model.active * tokens / (layout.ranks * rate)
    times = {"arithmetic": work, "idle": work * bubble(layout)}
    remaining = {"none": model.kept, "selective": model.kept_products, "full": model.kept_input}[layout.recompute]
    again = item / 2.0 * (model.kept - remaining) * at_once / (layout.tensor * layout.pipeline)
    times["again"] = 2.0 * again / machine.memory_link

    gathers = {"none": 0, "optimizer": 0, "gradients": 0, "parameters": 2}[layout.shard] * parts
    sums = parts if layout.shard in ("gradients", "parameters") else 1
    travelling = 0.0
    for parameters, over in ((own.common, own.over), (own.experts, own.experts_over)):
        ring = (over - 1) / over * item * parameters
        # A sum is scattered and gathered; where shards are kept it is scattered, and the update gathered.
        again = 0 if layout.shard == "parameters" else 1
        travelling += ring * (sums + again + gathers)
    times["gradients"] = travelling / machine.link

    row = item * at_once * model.features
    # Two sums forward and two backward in each block, and those of the blocks computed again.
    times["tensor"] = blocks * 2 * (walks - 1) * 2 * (layout.tensor - 1) / layout.tensor * row / machine.link
    away = (layout.expert - 1) / layout.expert
    mixtures = blocks if model.n_experts else 0
    times["experts"] = mixtures * 2 * (walks - 1) * model.choices * away * row / machine.link
    runs = 2 if layout.schedule == "interleaved" else 1
    times["stages"] = 2 * runs * row / machine.link if layout.pipeline > 1 else 0.0

    streamed = layout.offload == "parameters"
    updated = own.kept(streamed or layout.shard != "none")
    times["update"] = updated / machine.device_update
    if layout.offload in ("optimizer", "parameters"):
        # Out as gradients, back as weights; streamed ones come in float32, twice for each micro-batch. Gradients that
        # others need not be averaged with leave with each micro-batch.
        early = layout.pipeline == 1 and (layout.data == 1 or layout.shard in ("gradients", "parameters"))
        travelling = (12 * parts if streamed else item * ((parts if early else 1) + 1)) * updated
        times["update"] = updated / machine.host_update + travelling / machine.host_link
    times["host"] = 2 * parts * activations(model, layout, tokens)[1] / machine.host_link
    return times
