"""What a run keeps for its derivative: samples of the fields in a box, and sums of their products with another run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from elec.fdtd.arrays import UNTURNED, Turn

MODES = {"off": 0, "record": 1, "correlate": 2}


class History:
    """Samples of E and H in a box of nodes, every `every` steps, in the order of axes of the engine that fills it.

    Recording, step n keeps E(n + 1) and H(n + 1/2) where n + 1 is a multiple of `every`. Correlating, the run is the
    adjoint one of n_steps + 1 steps: its step t meets m = n_steps - t, and with the fields before and after it
    change_electric += E(m) (after - before), mean_electric += E(m) (after + before) / 2, and change_magnetic
    += H(m + 1/2) (after - before).
    """

    def __init__(
        self,
        low: Sequence[int],
        high: Sequence[int],
        *,
        n_steps: int,
        every: int,
        electric: bool,
        magnetic: bool,
        turn: Turn = UNTURNED,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        self.turn = turn
        self.low, self.high = turn.axes(low), turn.axes(high)
        self.n_steps, self.every = n_steps, every
        self.mode: Literal["off", "record", "correlate"] = "record"
        size = [after - before for before, after in zip(self.low, self.high, strict=True)]
        slots, options = n_steps // every, {"dtype": dtype, "device": device}

        def room(wanted: bool, *shape: int) -> Tensor:
            return torch.zeros(shape if wanted else (0,) * len(shape), **options)

        self.electric = room(electric, slots, 3, *size)
        self.magnetic = room(magnetic, slots, 3, *size)
        self.held_electric, self.held_magnetic = room(electric, 3, *size), room(magnetic, 3, *size)
        self.change_electric, self.mean_electric = room(electric, 3, *size), room(electric, 3, *size)
        self.change_magnetic = room(magnetic, 3, *size)

    @property
    def cut(self) -> tuple[slice, ...]:
        """The box, in a field of the engine's axes."""
        return (slice(None), *(slice(low, high) for low, high in zip(self.low, self.high, strict=True)))

    def slots(self, first: int, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the sample of E, and that of H, that belongs to each step from `first`; -1 where there is none."""
        step = np.arange(first, first + n_steps)
        if self.mode == "record":
            electric = magnetic = step + 1
        else:
            electric, magnetic = self.n_steps - step, self.n_steps - step + 1

        def slot(number: np.ndarray, has: bool) -> np.ndarray:
            there = (number % self.every == 0) & (number >= 1) & (number <= self.n_steps) & has
            return np.where(there, number // self.every - 1, -1).astype(np.int32)

        return slot(electric, len(self.electric) > 0), slot(magnetic, len(self.magnetic) > 0)

    def before(self, name: str, field: Tensor, slot: int) -> None:
        """Keeps a field from before its update, where the products will need it."""
        if self.mode == "correlate" and slot >= 0:
            getattr(self, f"held_{name}").copy_(field[self.cut])

    def after(self, name: str, field: Tensor, slot: int) -> None:
        """Takes a sample of a field after its update, or adds its products with one."""
        if slot < 0:
            return
        samples, held = getattr(self, name), getattr(self, f"held_{name}")
        now = field[self.cut]
        if self.mode == "record":
            samples[slot].copy_(now)
            return
        getattr(self, f"change_{name}").add_(samples[slot] * (now - held))
        if name == "electric":
            self.mean_electric.add_(0.5 * samples[slot] * (now + held))


NO_HISTORY = History((0, 0, 0), (0, 0, 0), n_steps=0, every=1, electric=False, magnetic=False)


def history_bytes(low: Sequence[int], high: Sequence[int], n_samples: int, fields: int, itemsize: int) -> int:
    """Returns the memory [bytes] that a history of one or two fields takes."""
    cells = math.prod(after - before for before, after in zip(low, high, strict=True))
    return 3 * cells * itemsize * fields * (n_samples + 3)
