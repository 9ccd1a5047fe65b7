"""The Triton engine: the two laws as CUDA kernels; sources, probes and monitors as operations on the same device.

Nothing waits for the host between steps. The kernels run on the CPU too, under TRITON_INTERPRET=1, for tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from elec.fdtd import triton_kernels as kernels
from elec.fdtd.arrays import Coefficients, coefficients, layers, source_weights
from elec.fields import Fields
from mindsci import tree

if TYPE_CHECKING:
    from elec.fdtd.step import YeeStep

BLOCK = 256
"""Nodes of one program on a GPU."""
INTERPRETED_BLOCK = 16384
"""Nodes of one program in the interpreter, which takes as long for a large block as for a small one."""


class TritonEngine:
    """Runs steps one after the other on the device of the fields."""

    def __init__(self, step: YeeStep, fields: Fields, dt: float) -> None:
        self.step = step
        self.dt = dt
        self.nodes = fields.nodes
        device = fields.electric.device
        dtype = torch.empty(0, dtype=fields.electric.dtype).numpy().dtype
        tables, slabs = coefficients(step, dt, dtype), layers(step, dt, dtype, self.nodes)

        def on_device(*arrays: np.ndarray) -> list[Tensor]:
            return [torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays]

        places = on_device(slabs.slab_x, slabs.slab_y, slabs.slab_z)
        self.faraday = [*on_device(tables.rows_h, tables.gain, *tables.inverse_h), *places]
        self.faraday += on_device(*slabs.b_h, *slabs.c_h)
        self.ampere = [*on_device(tables.rows_e, tables.decay, tables.drive, *tables.inverse_e), *places]
        self.ampere += on_device(*slabs.b_e, *slabs.c_e)
        self.sizes = [*self.nodes, *(memory.shape[axis + 1] for axis, memory in enumerate(fields.memory))]
        self.block = BLOCK if device.type == "cuda" else INTERPRETED_BLOCK
        self.grid = (-(-int(np.prod(self.nodes)) // self.block),)
        self.source_places, self.source_gains, self.columns = self._sources(tables, device)
        self.probe_places = self._flat(step.probe.probes.edges.cpu()).to(device)

    def advance(self, fields: Fields, first: int, n_steps: int) -> Fields:
        """Returns the fields after n_steps from step `first`."""
        new = tree.map(lambda leaf: leaf.detach().clone(memory_format=torch.contiguous_format), fields)
        signals = self._signals(new.electric, first, n_steps)
        phases = self.step.probe.monitors.phases(first, n_steps, self.dt).to(new.electric)
        samples = new.electric.new_zeros(n_steps, len(self.probe_places))
        parts = (new.electric, new.magnetic, *new.memory)
        flat = new.electric.view(-1)
        for index in range(n_steps):
            kernels.faraday_kernel[self.grid](*parts, *self.faraday, *self.sizes, BLOCK=self.block)
            kernels.ampere_kernel[self.grid](*parts, *self.ampere, *self.sizes, BLOCK=self.block)
            if len(self.source_places):
                flat.index_add_(0, self.source_places, signals[index])
            if len(self.probe_places):
                samples[index] = flat[self.probe_places]
            self._accumulate(new, first + index, phases[index])
        if len(self.probe_places):
            weights = self.step.probe.probes.weights.to(flat.device, torch.float64)
            new.records[:, first : first + n_steps] += (weights @ samples.T.to(torch.float64)).to(new.records.dtype)
        return new

    def _accumulate(self, new: Fields, step: int, phases: Tensor) -> None:
        monitors = self.step.probe.monitors
        if not monitors.n_points or (step + 1) % monitors.every:
            return
        start = 0
        for box in monitors.boxes:
            values = box.cut(getattr(new, box.field)).reshape(-1)
            weight = phases[0 if box.field == "electric" else 1]
            new.spectra[:, :, start : start + len(values)] += weight.T[:, :, None] * values
            start += len(values)

    def _flat(self, edges: Tensor) -> Tensor:
        """Positions of edges in the fields seen as one vector."""
        n_x, n_y, n_z = self.nodes
        component, i, j, k = edges.unbind(1)
        return ((component * n_x + i) * n_y + j) * n_z + k

    def _sources(self, tables: Coefficients, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Where sources act, what a signal of one adds there, and whose signal it is."""
        sources = self.step.ampere.sources
        edges = torch.cat([torch.zeros(0, 4, dtype=torch.int64), *(source.edges.cpu() for source in sources)])
        gains = np.concatenate([np.zeros(0), *source_weights(self.step, tables)])
        columns = [number for number, source in enumerate(sources) for _ in source.edges]
        return self._flat(edges).to(device), torch.from_numpy(gains), torch.tensor(columns, dtype=torch.int64)

    def _signals(self, like: Tensor, first: int, n_steps: int) -> Tensor:
        """What every source edge gains in each step."""
        steps = torch.arange(first, first + n_steps)
        sources = self.step.ampere.sources
        if not sources:
            return like.new_zeros(n_steps, 0)
        signals = torch.stack([source.signal(steps, self.dt) for source in sources], dim=1)
        return (signals[:, self.columns] * self.source_gains).to(like)
