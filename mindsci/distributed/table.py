"""The `[parallel]` table of a case: how a training is spread over processes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mindsci.config import Table


class Layout(Table):
    """One way to spread a training. data * tensor * pipeline is the number of processes; expert divides data.

    Blocks are cut into `pipeline` stages of layers, the matrices of each into `tensor` parts; the rest of the processes
    take different data, and those that share experts hold `expert` different parts of each mixture.
    """

    data: int = Field(default=1, ge=1)
    tensor: int = Field(default=1, ge=1)
    pipeline: int = Field(default=1, ge=1)
    expert: int = Field(default=1, ge=1)
    shard: Literal["none", "optimizer", "gradients", "parameters"] = "none"
    """What those that take different data keep a share of, instead of all of it; each includes the ones before it."""
    offload: Literal["none", "optimizer", "parameters", "activations"] = "none"
    """"optimizer": float32 weights, moments and the update live on the host. "parameters": these, and weights come to
    the device block by block. "activations": what blocks keep for the way back waits on the host."""
    recompute: Literal["none", "selective", "full"] = "none"
    """"full": a block keeps its input alone, and is computed again on the way back. "selective": it keeps the results
    of its matrix products too, and computes the rest again."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """"bfloat16": weights and gradients of the steps in bfloat16, the optimizer's in float32."""
    schedule: Literal["gpipe", "1f1b", "interleaved", "zero_bubble"] = "1f1b"
    """The order in which a pipeline's processes work on micro-batches; "interleaved" gives each two runs of layers."""
    micro_batches: int = Field(default=1, ge=1)
    """Parts that a pipeline cuts a process's batch into; without a pipeline they are computed one after another."""

    @property
    def ranks(self) -> int:
        """The number of processes."""
        return self.data * self.tensor * self.pipeline
