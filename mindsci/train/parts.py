"""What a process differentiates in each step: its parts of the batch, as the warm-ups and the selection have them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from mindsci.train.batches import Batches
from mindsci.train.config import TrainerConfig
from mindsci.train.parallel import Group
from mindsci.train.task import Task

Move = Callable[[Any], Any]
"""brings a batch to the device of its process"""


class Parts:
    """The parts of each training batch that a process computes, one after the other; they are asked for in order.

    With prefetching a thread begins the one after. What a part holds does not depend on when it is made, so a
    training is the same with and without.
    """

    def __init__(
        self, task: Task, config: TrainerConfig, batches: Batches, group: Group, device: torch.device, move: Move
    ) -> None:
        self._task, self._config, self._move = task, config, move
        accumulate = config.accumulate
        parts = accumulate * group.parts
        self._parts = [batches.shard(group.part * accumulate + index, parts) for index in range(accumulate)]
        self.n_items, self.batch_size = batches.n_items, batches.batch_size
        self._pool: ThreadPoolExecutor | None = None
        self._threaded = config.prefetch == "always" or (config.prefetch == "auto" and device.type != "cpu")
        self._begun: tuple[tuple[int, int], Future[Any]] | None = None

    def __len__(self) -> int:
        """Returns the number of parts of a step."""
        return len(self._parts)

    def at(self, step: int, index: int) -> Any:
        """Returns a part of the batch of a step, on the process's device."""
        if not self._threaded:
            return self._made(step, index)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        begun, self._begun = self._begun, None
        value = begun[1].result() if begun is not None and begun[0] == (step, index) else self._made(step, index)
        following = (step, index + 1) if index + 1 < len(self) else (step + 1, 0)
        self._begun = following, self._pool.submit(self._made, *following)
        return value

    def weight(self, step: int, index: int) -> float:
        """Returns the total weight of the items in `at(step, index)`."""
        return self._parts[index].weight(step, self._share(step))

    def whole_weight(self, step: int) -> float:
        """Returns the total weight of the batch of a step, over all parts and processes."""
        return self._parts[0].whole_weight(step, self._share(step))

    def chosen(self, step: int, batch: Any) -> Any:
        """Returns the items of a batch with the largest losses, in the steps that differentiate those alone."""
        selective = self._config.selective
        if selective is None or not selective.at(step, self._config.steps):
            return batch
        with torch.no_grad():
            losses = self._task.item_losses(batch)
        kept = max(round(selective.keep * len(losses)), 1)
        return self._task.choose(batch, losses.topk(kept, sorted=False).indices)

    def close(self) -> None:
        """Ends the thread."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = self._begun = None

    def _made(self, step: int, index: int) -> Any:
        batch = self._move(self._parts[index].at(step, self._share(step)))
        warmup = self._config.resolution_warmup
        share = 1.0 if warmup is None else warmup.at(step, self._config.steps)
        return batch if share >= 1.0 else self._task.coarsened(batch, share)

    def _share(self, step: int) -> float:
        warmup = self._config.batch_warmup
        return 1.0 if warmup is None else warmup.at(step, self._config.steps)
