"""How the Numba engine's sweeps meet neighbouring slabs: border planes first, then the inside while they travel.

In a sweep of k steps the planes at both ends are carried through all of them at once, as far inwards as the neighbours'
halos ask for; these planes leave, and the inside follows, with the slopes that the ends have left. It is the order in
which threads share planes (`elec.fdtd.cpu`): each number is made once, by the same instructions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from elec.fdtd import cpu_sweep as kernels
from elec.fdtd.threads import in_threads
from mindsci.distributed.halo import Border, Layout, Pending, Slab

if TYPE_CHECKING:
    from elec.fdtd.cpu import NumbaEngine
    from elec.fields import Fields


class Neighbours:
    """The exchange of what the kernel keeps; `samples` are the fields at the places of the probes, of the last call."""

    def __init__(self, slab: Slab, every: int, engine: NumbaEngine, whole: Mapping[str, Layout]) -> None:
        """whole: of the fields of all slabs, by name."""
        self.slab, self.every = slab, every
        self.complex = engine.complex
        kept = {name: layout.of(slab) for name, layout in whole.items()}
        for name, order in (("polarization", engine.order), ("magnetization", engine.magnetic_order)):
            kept[name] = Layout(kept[name].dim, kept[name].planes[torch.from_numpy(order)])
        self.border = Border(slab, list(kept.values()) * (2 if self.complex else 1))
        self.tensors: list[Tensor] = []
        self.samples = torch.zeros(0, 0)

    def begin(self, copies: Sequence[tuple[Fields, Any]]) -> None:
        """Takes up the memory in which the kernel works, in the order of the layouts."""
        self.tensors = []
        for new, state in copies:
            along_rows, *terms = (
                torch.from_numpy(part) for part in (state.memory[2], state.current, state.magnetic_current)
            )
            self.tensors += [new.electric, new.magnetic, *new.memory[:2], along_rows, *terms]
        self._close()

    def end(self, copies: Sequence[tuple[Fields, Any]]) -> None:
        """Keeps what was read, and lets go of the memory."""
        parts = [torch.from_numpy(state.samples) for _, state in copies]
        self.samples = torch.complex(*parts) if self.complex else parts[0]
        self.tensors = []

    def start(self) -> Pending:
        return self.border.start(self.tensors)

    def after(self, done: int, n_steps: int) -> None:
        """Exchanges after a step of those whose laws take turns."""
        if done % self.every == 0 or done == n_steps:
            self.finish(self.start())

    def finish(self, pending: Pending) -> None:
        pending.finish()
        self._close()

    def _close(self) -> None:
        """The kernel takes the magnetic field before the first plane from the last one, where it is zero in a whole
        grid; no plane that counts needs it there."""
        if self.slab.above:
            for magnetic in self.tensors[1 :: len(self.tensors) // (2 if self.complex else 1)]:
                magnetic[:, -1] = 0.0

    def ends(self, now: int, planes: int) -> tuple[int, int]:
        """Returns the planes between which the inside lies in a sweep of `now` steps; no inside: the first beyond."""
        slab = self.slab
        low = slab.low - slab.first + slab.width + now - 1 if slab.below else 0
        high = slab.high - slab.first - slab.width - now if slab.above else planes
        return low, high


def run_slab(n_steps: int, planes: int, chunks: int, rests: Sequence[tuple[Any, ...]], own: Neighbours) -> None:
    """Advances a slab by n_steps, exchanging after every sweep; one thread for each chunk of the inside."""
    low, high = own.ends(min(own.every, n_steps), planes)
    chunks = max(1, min(chunks, (high - low) // (2 * own.every)))

    def work(chunk: int, wait: Callable[[], Any]) -> None:
        for first in range(0, n_steps, own.every):
            now = min(own.every, n_steps - first)
            _sweep_slab(own, planes, (chunk, chunks), (first, now), rests[chunk], wait)

    in_threads(work, chunks)


def _sweep_slab(
    own: Neighbours,
    planes: int,
    share: tuple[int, int],
    steps: tuple[int, int],
    rest: tuple[Any, ...],
    wait: Callable[[], Any],
) -> None:
    """One sweep, as one thread has a part in it."""
    (chunk, chunks), below, above = share, own.slab.below, own.slab.above
    low, high = own.ends(steps[1], planes)
    if high <= low:  # the ends meet: nothing is left to hide the exchange behind
        if chunk == 0:
            kernels.sweep((0, planes), (int(below), -int(above)), (int(below), 0), *steps, *rest)
            own.finish(own.start())
        wait()
        return
    if chunk == 0 and below:
        kernels.sweep((0, low), (1, -1), (1, 0), *steps, *rest)
    if chunk == chunks - 1 and above:
        kernels.sweep((high, planes), (1, -1), (1, 0), *steps, *rest)
    wait()
    pending = own.start() if chunk == 0 else None
    begin, end = (low + (high - low) * border // chunks for border in (chunk, chunk + 1))
    # An end grows into what the planes at the border have left, or leaves the same to a neighbouring thread.
    down = 1 if chunk else -int(below)
    up = -1 if chunk < chunks - 1 else int(above)
    kernels.sweep((begin, end), (down, up), (max(down, 0), max(up, 0)), *steps, *rest)
    wait()
    if chunk:
        kernels.sweep((begin, begin), (-1, 1), (0, 1), *steps, *rest)
    wait()
    if pending is not None:
        own.finish(pending)
    wait()
