"""The Numba engine: plain arrays from the reference flows, and the compiled kernel run on copies of the fields.

Threads work on chunks of planes. In the first phase a chunk stops one plane earlier on each side with each step,
so that it needs nothing of its neighbours; in the second phase the triangles left around each border between chunks are
filled in. Every number is computed once, by the same instructions: the result does not depend on the number of threads,
to the bit. They are Python threads, for the kernel holds no lock: they sleep while they wait, where those of OpenMP
would spin and, on a machine that does other work too, keep the one that they wait for from running.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from elec.fdtd import cpu_kernels as kernels
from elec.fdtd.arrays import Boxes, Turn, best_turn, box_rows, coefficients, layers, probe_edges, source_edges
from elec.fdtd.rows import padded_copy
from elec.fields import Fields

if TYPE_CHECKING:
    from elec.fdtd.step import YeeStep

DEPTH = 4
"""Steps that one sweep carries. Measured best of 1 to 8 at 200^3 on 2 cores with 32 MiB of last-level cache."""
CACHE_BYTES = 8 * 2**20
"""Planes of one sweep that a thread may keep: its share of the last-level cache."""
CELLS_PER_THREAD = 30_000
"""Below this, waiting for one another costs threads more than the work they share."""


class NumbaEngine:
    """Runs many steps in one compiled call."""

    def __init__(self, step: YeeStep, fields: Fields, dt: float) -> None:
        self.dt = dt
        self.step = step
        self.dtype = fields.electric.numpy().dtype
        self.turn = best_turn(fields.nodes)
        self.nodes = self.turn.axes(fields.nodes)
        self.coefficients = coefficients(step, dt, self.dtype, self.turn).padded()
        self.layers = layers(step, dt, self.dtype, fields.nodes, self.turn)
        self.sources = source_edges(step, self.coefficients, self.nodes[0], self.turn)
        self.probes = probe_edges(step, self.nodes[0], self.turn)
        self.weights = step.probe.probes.weights.cpu().to(torch.float64).numpy()
        self.boxes = box_rows(step, self.turn)

    def advance(self, fields: Fields, first: int, n_steps: int) -> Fields:
        """Returns the fields after n_steps from step `first`."""
        new, state = self._copy(fields, first, n_steps)
        monitors = self.step.probe.monitors
        phases = monitors.phases(first, n_steps, self.dt).numpy().astype(self.dtype)
        boxes = Boxes(place=self.boxes, phases=phases)
        rest = (state, self.coefficients, self.layers, self.sources, self.probes, boxes)
        depth, chunks = self.schedule()
        planes = self.nodes[0] - 1
        _run_threads(n_steps, depth, [planes * chunk // chunks for chunk in range(chunks + 1)], rest)
        if self.weights.shape[0]:
            values = torch.from_numpy(state.samples.astype(np.float64) @ self.weights.T)
            new.records[:, first : first + n_steps] += values.T.to(new.records.dtype)
        return new

    def schedule(self) -> tuple[int, int]:
        """Returns (steps of one sweep, chunks of planes)."""
        planes = self.nodes[0] - 1
        plane_bytes = 6 * self.nodes[1] * self.nodes[2] * self.dtype.itemsize
        depth = int(np.clip(CACHE_BYTES // plane_bytes - 1, 1, DEPTH))
        cells = int(np.prod(self.nodes))
        chunks = max(1, min(torch.get_num_threads(), cells // CELLS_PER_THREAD, planes // 2))
        return (depth if chunks == 1 else max(1, min(depth, planes // chunks // 2))), chunks

    def _copy(self, fields: Fields, first: int, n_steps: int) -> tuple[Fields, Any]:
        """Returns a copy of the fields and the kernel's view of its memory."""
        turn = self.turn
        electric, e, _ = padded_copy(turn.field(fields.electric))
        magnetic, h, below = padded_copy(turn.field(fields.magnetic))
        (x, m_x, _), (y, m_y, _), (z, m_z, _) = (
            padded_copy(turn.field(memory), pad=axis < 2) for axis, memory in enumerate(turn.axes(fields.memory))
        )
        records, spectra = (leaf.detach().clone() for leaf in (fields.records, fields.spectra.contiguous()))
        steps = torch.arange(first, first + n_steps)
        signals = [source.signal(steps, self.dt) for source in self.step.ampere.sources]
        stacked = torch.stack(signals, dim=1).numpy() if signals else np.zeros((n_steps, 0))
        state = kernels.State(
            electric=e,
            magnetic=h,
            magnetic_below=below,
            memory=(m_x, m_y, m_z),
            axes=turn.axes((0, 1, 2)),
            spectra=spectra.numpy(),
            samples=np.zeros((n_steps, len(self.probes.place)), dtype=self.dtype),
            signals=stacked.astype(self.dtype),
        )
        back = Turn(-turn.by % 3).axes([turn.back(memory) for memory in (x, y, z)])
        new = Fields(
            electric=turn.back(electric), magnetic=turn.back(magnetic), memory=back, records=records, spectra=spectra
        )
        return new, state


def _run_threads(n_steps: int, depth: int, borders: list[int], rest: tuple[Any, ...]) -> None:
    """Advances by n_steps, one thread for each chunk between two borders (the first is 0, the last the end)."""
    chunks = len(borders) - 1
    barrier = threading.Barrier(chunks)
    errors: list[BaseException] = []

    def work(chunk: int) -> None:
        low, high = borders[chunk : chunk + 2]
        left, right = int(chunk > 0), int(chunk < chunks - 1)
        try:
            for first in range(0, n_steps, depth):
                now = min(depth, n_steps - first)
                kernels.sweep((low, high), (left, -right), (left, 0), first, now, *rest)
                barrier.wait()
                if left:
                    kernels.sweep((low, low), (-1, 1), (0, 1), first, now, *rest)
                barrier.wait()
        except threading.BrokenBarrierError:
            pass  # another thread failed, and has said why
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(chunk,)) for chunk in range(1, chunks)]
    for thread in threads:
        thread.start()
    work(0)
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
