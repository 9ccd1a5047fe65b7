"""Batches as a pure function of the step: a run that resumes needs no state of an iterator."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError

POOL = 16
"""batches whose items are sorted by size together"""


def take(items: Any, indices: Int[Tensor, " batch"]) -> Any:
    """Returns the rows `indices` of every tensor in a tree (dict, tuple, Tree) of tensors."""
    return tree.map(lambda leaf: leaf[indices], items)


class Batches:
    """The batches of one split; `at(step)` wraps around, one pass over the items an epoch.

    items: a tree of tensors with one row an item, or anything with a length that `collate` understands.
    collate: makes a batch of (items, indices); `take` by default.
    shuffle_seed: None keeps the order of the items; a number gives each epoch its own permutation.
    weights: what each item counts for in the average over a split; 1 by default.
    sizes: of the items; those of like size then make a batch, and the batches come in random order.
    """

    def __init__(
        self,
        items: Any,
        batch_size: int,
        collate: Callable[[Any, Tensor], Any] = take,
        *,
        shuffle_seed: int | None = None,
        drop_last: bool = False,
        weights: Float[Tensor, " items"] | None = None,
        sizes: Int[Tensor, " items"] | None = None,
    ) -> None:
        self.items, self.collate = items, collate
        self.n_items = _count(items)
        if batch_size < 1 or self.n_items < 1:
            raise InputError(f"{self.n_items} items in batches of {batch_size}: both must be at least 1")
        if drop_last and self.n_items < batch_size:
            raise InputError(
                f"{self.n_items} items make no batch of {batch_size} with drop_last; use smaller ones or keep the last"
            )
        if weights is not None and weights.shape != (self.n_items,):
            raise InputError(f"weights have shape {list(weights.shape)}, expected [{self.n_items}], one for each item")
        if sizes is not None and sizes.shape != (self.n_items,):
            raise InputError(f"sizes have shape {list(sizes.shape)}, expected [{self.n_items}], one for each item")
        self.batch_size, self.shuffle_seed, self.weights, self.sizes = batch_size, shuffle_seed, weights, sizes
        self._length = self.n_items // batch_size if drop_last else -(-self.n_items // batch_size)
        self._rank, self._world = 0, 1
        self._order: tuple[int, Tensor] | None = None  # (epoch, permutation) of the last epoch asked for

    def __len__(self) -> int:
        """Returns the number of batches an epoch."""
        return self._length

    def shard(self, rank: int, world: int) -> Batches:
        """Returns the batches cut into `world` parts, of which these hold the part `rank`.

        Parts differ by at most one item. A part with no item holds the first item of its batch with weight 0, so
        that every process has a batch at every step.
        """
        if not 0 <= rank < world:
            raise InputError(f"shard {rank} of {world}: the rank must be in 0 to {world - 1}")
        part = copy.copy(self)
        part._rank, part._world = self._rank * world + rank, self._world * world
        return part

    def at(self, step: int, share: float = 1.0) -> Any:
        """Returns the batch of a step, or its first items: a pure function of step, share, items and seed."""
        indices, empty = self._part(step, share)
        return self.collate(self.items, indices if not empty else self._whole(step)[:1])

    def weight(self, step: int, share: float = 1.0) -> float:
        """Returns the total weight of the items in `at(step)`: their number unless `weights` were given."""
        return self._weigh(self._part(step, share)[0])

    def whole_weight(self, step: int, share: float = 1.0) -> float:
        """Returns the total weight of the batch that the shards of this step make up together."""
        return self._weigh(self._whole(step, share))

    def _weigh(self, indices: Tensor) -> float:
        return float(len(indices)) if self.weights is None else float(self.weights[indices].double().sum())

    def _part(self, step: int, share: float) -> tuple[Tensor, bool]:
        whole = self._whole(step, share)
        start = self._rank * len(whole) // self._world
        stop = (self._rank + 1) * len(whole) // self._world
        return whole[start:stop], start == stop

    def _whole(self, step: int, share: float = 1.0) -> Tensor:
        epoch, position = divmod(step, self._length)
        start = position * self.batch_size
        stop = min(start + self.batch_size, self.n_items)
        stop = start + max(round(share * (stop - start)), 1)
        if self.shuffle_seed is None:
            return torch.arange(start, stop)
        return self._permutation(epoch)[start:stop]

    def _permutation(self, epoch: int) -> Tensor:
        if self._order is None or self._order[0] != epoch:
            seed = numpy.random.SeedSequence([self.shuffle_seed or 0, epoch]).generate_state(1, numpy.uint64)[0]
            generator = torch.Generator().manual_seed(int(seed >> numpy.uint64(1)))
            order = torch.randperm(self.n_items, generator=generator)
            self._order = epoch, order if self.sizes is None else self._bucketed(order, self.sizes, generator)
        return self._order[1]

    def _bucketed(self, order: Tensor, sizes: Tensor, generator: torch.Generator) -> Tensor:
        """Sorts each pool of a random order by size, cuts it in batches, and brings the whole batches in random order.

        Pools, not all items: which items meet in a batch still differs from epoch to epoch.
        """
        pools = order.split(POOL * self.batch_size)
        order = torch.cat([pool[sizes[pool].argsort(stable=True)] for pool in pools])
        whole = self.n_items // self.batch_size * self.batch_size
        batches = order[:whole].reshape(-1, self.batch_size)
        batches = batches[torch.randperm(len(batches), generator=generator)]
        return torch.cat([batches.flatten(), order[whole:]])


def _count(items: Any) -> int:
    lengths = {len(leaf) for leaf in tree.leaves(items)}
    if len(lengths) > 1:
        raise InputError(f"the tensors of a data set have {sorted(lengths)} rows; every one needs one row an item")
    return lengths.pop() if lengths else len(items)
