"""What one process holds under a layout, in bytes, device and host apart."""

from __future__ import annotations

from mindsci.distributed.profile import Profile
from mindsci.distributed.table import Layout
from mindsci.tree import Tree


class Ledger(Tree):
    """Bytes of the process that holds most."""

    weights: float
    gradients: float
    optimizer: float
    """moments, and float32 weights beside bfloat16 ones"""
    gathered: float
    """whole blocks beside their shards, while they are at work"""
    activations: float
    host: float
    """on the host"""

    @property
    def device(self) -> float:
        """On the device."""
        return self.weights + self.gradients + self.optimizer + self.gathered + self.activations


class Share(Tree):
    """Parameters of one process before sharding, and the processes among which each kind is sharded."""

    common: float
    experts: float
    over: int
    experts_over: int

    def kept(self, sharded: bool) -> float:
        """Parameters kept, whole or the process's shard of them."""
        if not sharded:
            return self.common + self.experts
        return self.common / self.over + self.experts / self.experts_over


def share(model: Profile, layout: Layout) -> Share:
    """Returns what a stage that holds an end of the model has of it."""
    parts = layout.tensor * layout.pipeline
    ends = model.rest / (layout.tensor * min(layout.pipeline, 2))  # embedding and head are at the two ends
    return Share(
        common=model.block / parts + ends,
        experts=model.experts / (parts * layout.expert),
        over=layout.data,
        experts_over=layout.data // layout.expert,
    )


def ledger(model: Profile, layout: Layout, tokens: int) -> Ledger:
    """Returns the bytes under a layout, `tokens` in the whole batch of a step.

    A parameter takes 4 bytes of weight, 4 of gradient and 8 of Adam's moments in float32; in bfloat16 2, 2 and 8, and
    4 for its float32 copy.
    """
    mixed = layout.precision == "bfloat16"
    item = 2 if mixed else 4
    own = share(model, layout)
    weights = item * own.kept(layout.shard == "parameters")
    gradients = item * own.kept(layout.shard in ("gradients", "parameters"))
    states = (12 if mixed else 8) * own.kept(layout.shard != "none")
    of_block = (own.common + own.experts) * layout.pipeline / model.blocks
    gathered = 0.0
    if layout.shard == "parameters" and layout.data > 1:
        gathered = item * 3.0 * of_block  # one at work, the next on its way, the gradient of one
    elif layout.offload == "optimizer":
        gathered = item * of_block  # room through which a block's gradients leave and its weights come back
    host = 0.0
    if layout.offload == "optimizer":
        host, states = states, 0.0
    return Ledger(
        weights=weights,
        gradients=gradients,
        optimizer=states,
        gathered=gathered,
        activations=activations(model, layout, tokens),
        host=host,
    )


def activations(model: Profile, layout: Layout, tokens: int) -> float:
    """Returns what is kept for the way back of as many micro-batches as a 1F1B pipeline has under way at once."""
    at_once = tokens / (layout.data * layout.micro_batches)
    under_way = min(layout.pipeline, layout.micro_batches)
    item = 1.0 if layout.precision == "bfloat16" else 2.0
    kept = model.kept / (layout.tensor * layout.pipeline) * under_way
    if layout.recompute == "full":
        kept = model.kept_input / layout.pipeline * under_way + model.kept_block / layout.tensor
    return item * at_once * (kept + model.kept_rest / layout.tensor)
