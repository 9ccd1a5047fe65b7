"""What a training step of a model is made of, from the model itself, without memory for its weights.

The model is built and run once on tensors that have shapes but no numbers (torch's FakeTensorMode); what autograd keeps
for the way back is counted as it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mindsci.distributed.again import is_product
from mindsci.distributed.divide import halve
from mindsci.distributed.kept import view_key
from mindsci.errors import InputError
from mindsci.nn import Experts, Transformer
from mindsci.tree import Tree


class Kept(Tree):
    """Bytes that a token keeps for the way back."""

    inside: float
    """in all blocks"""
    products: float
    """of all blocks' inputs and matrix products"""
    block: float
    """in the block that keeps most"""
    away: float
    """in all blocks where each view is kept by itself, not the storage it shares"""


class Profile(Tree):
    """Sizes of a model of equal blocks. Counts of parameters; bytes are those of bfloat16."""

    blocks: int
    block: int
    """parameters of all blocks that are no experts'"""
    experts: int
    """parameters of all experts"""
    rest: int
    """parameters outside blocks: embedding, last norm, head"""
    n_experts: int
    choices: int
    heads: int
    features: int
    hidden: int
    """width inside a feed-forward network"""
    tokens: int
    """tokens of the sequence that was run"""
    kept: float
    """bytes that a token keeps in all blocks for the way back"""
    kept_input: float
    """bytes that a token keeps of all blocks' inputs alone"""
    kept_products: float
    """bytes that a token keeps of all blocks' inputs and matrix products"""
    kept_rest: float
    """bytes that a token keeps outside the blocks, the logits' gradient included"""
    kept_block: float
    """bytes that a token keeps in the block that keeps most"""
    kept_away: float
    """bytes that a token keeps in all blocks where each view is kept by itself, not the storage it shares"""
    whole: Kept
    """what each process keeps of these however its matrices are divided"""

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.block + self.experts + self.rest

    @property
    def active(self) -> float:
        """Parameters that a token meets."""
        return self.block + self.rest + self.experts * self.choices / max(self.n_experts, 1)


def profile(build: Callable[..., nn.Module], config: dict[str, Any], length: int) -> Profile:
    """Returns the profile of build(**config), a decoder with `blocks`, for sequences of `length` tokens."""
    with _without_memory():
        model = build(**config)
        blocks = getattr(model, "blocks", None)
        if not isinstance(blocks, nn.ModuleList):
            raise InputError(f"{type(model).__name__} has no ModuleList `blocks`, which a plan cuts and shards by")
        parts = [module for module in model.modules() if isinstance(module, Experts)]
        experts = sum(parameter.numel() for part in parts for parameter in part.parameters())
        in_blocks = sum(parameter.numel() for parameter in blocks.parameters())
        total = sum(parameter.numel() for parameter in model.parameters())
        tokens = torch.zeros(1, length, dtype=torch.long)
        kept, rest = _kept(model, blocks, tokens)
        if isinstance(model, Transformer):
            halve(model)
            halves, _ = _kept(model, blocks, tokens)
        else:
            halves = kept
    features, vocabulary = int(config["features"]), int(config["vocabulary"])
    return Profile(
        blocks=len(blocks),
        block=in_blocks - experts,
        experts=experts,
        rest=total - in_blocks,
        n_experts=int(config.get("experts", 0)) if parts else 0,
        choices=int(config.get("choices", 2)),
        heads=int(config["heads"]),
        features=features,
        hidden=int(config.get("hidden") or 4 * features),
        tokens=length,
        kept=kept.inside,
        kept_input=2.0 * features * len(blocks),
        kept_products=kept.products,
        # The cross entropy keeps its log-probabilities, and hands back their gradient, in float32.
        kept_rest=rest + 2 * 4.0 * vocabulary,
        kept_block=kept.block,
        kept_away=kept.away,
        # What is divided is there once in the one and half in the other.
        whole=Kept(**{name: 2 * getattr(halves, name) - getattr(kept, name) for name in Kept.__dataclass_fields__}),
    )


class _Products(TorchDispatchMode):
    """Counts the bytes of the matrix products in blocks, and of the blocks' inputs."""

    def __init__(self, place: list[int]) -> None:
        super().__init__()
        self.bytes, self._place = 0, place

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if self._place[0] >= 0 and is_product(func):
            self.bytes += sum(leaf.nbytes for leaf in tree_leaves(found) if isinstance(leaf, Tensor))
        return found


def _kept(model: nn.Module, blocks: nn.ModuleList, tokens: Tensor) -> tuple[Kept, float]:
    """What a token keeps in the blocks, and the bytes outside; a weight is kept anyway and not counted."""
    weights = {id(parameter) for parameter in model.parameters()}
    storages = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    found: dict[int, dict[int, int]] = {}
    views: dict[int, dict[Any, int]] = {}
    place = [-1]
    products = _Products(place)

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if id(tensor) not in weights and storage._cdata not in storages:
            found.setdefault(place[0], {})[storage._cdata] = storage.nbytes()
            if place[0] >= 0:
                views.setdefault(place[0], {})[view_key(tensor)] = tensor.nbytes
        return tensor

    def enter(index: int) -> Callable[..., None]:
        def entered(block: nn.Module, arguments: Any, *_: Any) -> None:
            place[0] = index
            products.bytes += arguments[0].nbytes if index >= 0 else 0

        return entered

    hooks = []
    for index, block in enumerate(blocks):
        hooks += [block.register_forward_pre_hook(enter(index)), block.register_forward_hook(enter(-1))]
    with products, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept_alive = model(tokens)
    for hook in hooks:
        hook.remove()
    del kept_alive
    length = tokens.numel()
    within = {index: sum(sizes.values()) / length for index, sizes in found.items()}
    rest = within.pop(-1, 0.0)
    kept = Kept(
        inside=sum(within.values()),
        products=products.bytes / length,
        block=max(within.values()),
        away=sum(sum(sizes.values()) for sizes in views.values()) / length,
    )
    return kept, rest


@contextmanager
def _without_memory() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with FakeTensorMode():
            yield
    finally:
        torch.set_default_dtype(before)
