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
    host_weights: float = 0.0
    """float32, or a CPU's own where they are streamed"""
    host_gradients: float = 0.0
    host_optimizer: float = 0.0
    host_activations: float = 0.0

    @property
    def host(self) -> float:
        """On the host."""
        return self.host_weights + self.host_gradients + self.host_optimizer + self.host_activations

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
    4 for its float32 copy. The room in which an update rounds gradients to float32, 16 MB at a time, is left out.
    """
    item, own = _item(layout), share(model, layout)
    states = 12 if layout.precision == "bfloat16" else 8
    streamed, away = layout.offload == "parameters", layout.offload in ("parameters", "optimizer")
    divided = streamed or layout.shard in ("gradients", "parameters")
    # Gradients that must still be averaged with others', or divided by micro-batches, stay until all are there.
    early = away and (divided or layout.data == 1) and layout.pipeline == 1
    updated = own.kept(streamed or layout.shard != "none")
    kept_here, kept_there = activations(model, layout, tokens)
    return Ledger(
        weights=0.0 if streamed else item * own.kept(divided),
        gradients=0.0 if early else item * own.kept(divided),
        optimizer=0.0 if away else states * updated,
        gathered=_gathered(model, layout, own),
        activations=kept_here,
        host_weights=4.0 * updated if away else 0.0,
        host_gradients=_arriving(layout, early) * updated if away else 0.0,
        host_optimizer=8.0 * updated if away else 0.0,
        host_activations=kept_there,
    )


def _arriving(layout: Layout, early: bool) -> float:
    """Bytes of a parameter in which its gradient arrives, and float32 ones for the sum over micro-batches."""
    sums = 4.0 if early and layout.micro_batches > 1 else 0.0
    return (4.0 if layout.offload == "parameters" else float(_item(layout))) + sums


def _item(layout: Layout) -> int:
    return 2 if layout.precision == "bfloat16" else 4


def _gathered(model: Profile, layout: Layout, own: Share) -> float:
    item = _item(layout)
    of_block = (own.common + own.experts) * layout.pipeline / model.blocks
    if layout.offload == "parameters" or (layout.shard in ("gradients", "parameters") and layout.data > 1):
        # One at work, the next on its way, the gradient of one.
        group = max(of_block, model.rest / 2)
        if layout.shard == "gradients":
            return item * (own.common + of_block)
        return item * 3.0 * group
    if layout.offload == "optimizer":
        return item * of_block  # gradients on their way out
    return 0.0


def activations(model: Profile, layout: Layout, tokens: int) -> tuple[float, float]:
    """Returns what is kept for the way back of as many micro-batches as the pipeline has under way at once: on the
    device, and on the host."""
    at_once = tokens / (layout.data * layout.micro_batches)
    parallel = under_way(layout)
    item = 1.0 if layout.precision == "bfloat16" else 2.0

    def part(kept: float, whole: float) -> float:
        return whole + (kept - whole) / layout.tensor

    inside, away = part(model.kept, model.whole.inside), part(model.kept_away, model.whole.away)
    of_block, block = part(model.kept_block, model.whole.block), 0.0
    if layout.recompute == "full":
        inside, away, block = model.kept_input, model.kept_input, of_block
    elif layout.recompute == "selective":
        inside = part(model.kept_products, model.whole.products)
        block = of_block - inside / model.blocks
    kept, away = (one / layout.pipeline * parallel for one in (inside, away))
    if layout.offload == "activations":
        kept, block = 0.0, of_block  # until the block at work has ended
    else:
        away = 0.0
    # Logits are gathered from the parts of a divided head: the loss keeps them whole.
    return item * at_once * (kept + block + model.kept_rest), item * at_once * away


def under_way(layout: Layout) -> float:
    """Micro-batches whose way back the first process has not begun, at most; two runs of layers each count half.

    1F1B lets as many in as there are stages, and so does the zero-bubble schedule that is run (ZB-H1) [Qi2024];
    interleaved 1 + (p - 1) / (2 p) times as many [Narayanan2021, section 2.2]; GPipe all of them [Huang2019].
    """
    stages, parts = layout.pipeline, layout.micro_batches
    if layout.schedule == "gpipe":
        return parts if stages > 1 else 1
    wanted = stages + (stages - 1) / 2 if layout.schedule == "interleaved" and stages > 1 else stages
    return min(wanted, parts)
