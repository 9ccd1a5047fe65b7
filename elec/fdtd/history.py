"""What a run keeps for its derivative: samples of the fields in a box, and sums of their products with the adjoint run.

`elec.fdtd.adjoint` says what the sums mean. Everything here lies in the order of axes of the engine that fills it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from elec.fdtd.arrays import UNTURNED, Turn

if TYPE_CHECKING:
    from elec.fdtd.stretching import Filters

MODES = {"off": 0, "record": 1, "correlate": 2}


class Samples:
    """E(m) and H(m - 1/2) in a box of nodes, for the numbers m in first + 1 .. last that `every` divides.

    After the magnetic ones lies room for one more, number last + 1, that the stretch of steps behind this one hands on.
    """

    def __init__(
        self,
        low: Sequence[int],
        high: Sequence[int],
        steps: tuple[int, int],
        *,
        every: int = 1,
        electric: bool = True,
        magnetic: bool = True,
        turn: Turn = UNTURNED,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        self.turn, self.every = turn, every
        self.low, self.high = turn.axes(low), turn.axes(high)
        size = [after - before for before, after in zip(self.low, self.high, strict=True)]
        self.size = (3, *size)
        self.move(*steps)
        count, options = self.count, {"dtype": dtype, "device": device}
        self.electric = torch.zeros(count if electric else 0, *self.size, **options)
        self.magnetic = torch.zeros(count + 1 if magnetic else 0, *self.size, **options)
        self.handed_on = False

    def move(self, first: int, last: int) -> None:
        """Gives the room to another stretch of steps, which may not be longer."""
        self.first, self.last = first, last

    def within(self, corner: Sequence[int]) -> Samples:
        """Returns the same room with the box named in the nodes of a part that begins at node `corner`."""
        part = copy.copy(self)
        part.low, part.high = (
            tuple(a - b for a, b in zip(side, self.turn.axes(corner), strict=True)) for side in (self.low, self.high)
        )
        return part

    def begin_with(self, electric: Tensor, magnetic: Tensor) -> None:
        """Takes E(last) and H(last + 1/2), from which the steps are undone."""
        cut = History(self).cut
        (slot,) = self.slots(np.array([self.last]), self.electric)
        if slot >= 0:
            self.electric[slot].copy_(electric[cut])
        if len(self.magnetic) and self.every == 1:
            self.magnetic[-1].copy_(magnetic[cut])
            self.handed_on = True

    def hand_on(self) -> None:
        """Keeps the first magnetic sample for the stretch of steps before this one."""
        if len(self.magnetic) and self.every == 1:
            self.magnetic[-1].copy_(self.magnetic[0])
            self.handed_on = True

    @property
    def count(self) -> int:
        return self.last // self.every - self.first // self.every

    def slots(self, number: np.ndarray, samples: Tensor) -> np.ndarray:
        """Returns the place of each number among the samples, -1 where there is none."""
        there = (number % self.every == 0) & (number > self.first) & (number <= self.last) & (len(samples) > 0)
        slot = np.where(there, number // self.every - self.first // self.every - 1, -1)
        if samples is self.magnetic and self.handed_on:
            slot = np.where(number == self.last + 1, len(samples) - 1, slot)
        return slot.astype(np.int32)


class Products:
    """Sums over the adjoint run of n_steps + 1 steps that follows a forward run ending after step `end` - 1.

    Its step t meets m = end - t. With the adjoint fields e, h before and after it: change_electric += E(m) (after -
    before), mean_electric += E(m) (after + before) / 2, change_magnetic += H(m + 1/2) (after - before). In absorbing
    layers e and h are the fields of the adjoint run stretched by the filters.
    """

    def __init__(
        self, samples: Samples, end: int, filters: tuple[Filters, Filters] | None = None, *, mean: bool = True
    ) -> None:
        """mean: whether the sums of E with the mean are wanted."""
        self.end = end
        electric, magnetic = samples.electric, samples.magnetic
        size = samples.size

        def room(like: Tensor, wanted: bool = True) -> Tensor:
            shape = size if len(like) and wanted else (0, 0, 0, 0)
            if like.device.type == "cpu":  # memory that an engine leaves untouched is then never taken
                return torch.from_numpy(np.zeros(shape, dtype=like[:0].numpy().dtype))
            return like.new_zeros(shape)

        self.held_electric, self.held_magnetic = room(electric), room(magnetic)
        self.change_electric, self.mean_electric = room(electric), room(electric, mean)
        self.change_magnetic = room(magnetic)
        self.filters = filters


class History:
    """One engine call's view of the samples: to fill them, or to add their products.

    `signals` receives the raw values at the places of the probes, (steps, places). undone: the steps run backwards,
    from E(undone) and H(undone + 1/2) at step 0.
    """

    def __init__(
        self,
        samples: Samples,
        products: Products | None = None,
        *,
        record: bool = True,
        undone: int | None = None,
    ) -> None:
        self.samples, self.products, self.undone = samples, products, undone
        self.mode: Literal["off", "record", "correlate"] = "correlate" if products else "record" if record else "off"
        self.signals = torch.zeros(0, 0)

    @property
    def cut(self) -> tuple[slice, ...]:
        """The box, in a field of the engine's axes."""
        box = zip(self.samples.low, self.samples.high, strict=True)
        return (slice(None), *(slice(low, high) for low, high in box))

    def slots(self, first: int, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the sample of E, and that of H, that belongs to each step from `first`.

        -1 where there is none; -2 where, besides, the field need not be kept, for no product follows at the next step.
        """
        step, samples = np.arange(first, first + n_steps + 1), self.samples
        if self.undone is not None:
            left = self.undone - step[:-1]
            return samples.slots(left - 1, samples.electric), samples.slots(left, samples.magnetic)
        if self.products is None:
            return samples.slots(step + 1, samples.electric)[:-1], samples.slots(step + 1, samples.magnetic)[:-1]
        electric = samples.slots(self.products.end - step, samples.electric)
        magnetic = samples.slots(self.products.end - step + 1, samples.magnetic)

        def shown(slot: np.ndarray, used: Tensor) -> np.ndarray:
            idle = (slot[:-1] < 0) & (slot[1:] < 0) & (np.arange(n_steps) < n_steps - 1)
            return np.where(idle | (len(used) == 0), -2, slot[:-1]).astype(np.int32)

        return shown(electric, samples.electric), shown(magnetic, samples.magnetic)

    def after(self, name: str, field: Tensor, slot: int) -> None:
        """Takes a sample of a field after its update, or adds its products with one."""
        if self.mode == "off":
            return
        samples = getattr(self.samples, name)
        if self.products is None:
            if slot >= 0:
                samples[slot].copy_(field[self.cut])
            return
        products = self.products
        if not len(samples):
            return
        if products.filters is not None:
            field = products.filters[name == "magnetic"].stretched(field)
        if slot == -2:
            return
        now, held = field[self.cut], getattr(products, f"held_{name}")
        if slot >= 0:
            getattr(products, f"change_{name}").add_(samples[slot] * (now - held))
            if name == "electric" and len(products.mean_electric):
                products.mean_electric.add_(0.5 * samples[slot] * (now + held))
        held.copy_(now)


def no_samples(dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu") -> Samples:
    """Returns room for nothing."""
    nowhere = (0, 0, 0)
    return Samples(nowhere, nowhere, (0, 0), electric=False, magnetic=False, dtype=dtype, device=device)


def sample_bytes(low: Sequence[int], high: Sequence[int], fields: int, itemsize: int) -> int:
    """Returns the memory [bytes] of the samples of one step."""
    return 3 * math.prod(after - before for before, after in zip(low, high, strict=True)) * itemsize * fields
