"""Blocks that are computed again on the way back, as a whole or all but their matrix products."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    apply_activation_checkpointing,
    checkpoint_wrapper,
)
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

PRODUCTS = {
    getattr(torch.ops.aten, name)
    for name in (
        "mm",
        "addmm",
        "bmm",
        "baddbmm",
        "_grouped_mm",
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_cudnn_attention",
    )
    if hasattr(torch.ops.aten, name)
}
"""Nearly all arithmetic of a block, whose results are a small part of what it keeps."""


def is_product(operation: Any) -> bool:
    """Whether an operation multiplies matrices."""
    return getattr(operation, "overloadpacket", None) in PRODUCTS


def recompute(model: nn.Module, blocks: list[nn.Module], how: Literal["full", "selective"]) -> None:
    """Wraps blocks of a model, in place, so that they keep their inputs, and of the rest nothing or products alone."""
    chosen = set(blocks)
    wrapper = checkpoint_wrapper
    if how == "selective":
        wrapper = partial(checkpoint_wrapper, context_fn=partial(create_selective_checkpoint_contexts, _policy))
    apply_activation_checkpointing(model, checkpoint_wrapper_fn=wrapper, check_fn=lambda module: module in chosen)


def _policy(context: Any, operation: Any, *arguments: Any, **keywords: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if is_product(operation) else CheckpointPolicy.PREFER_RECOMPUTE
