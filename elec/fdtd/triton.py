"""The Triton engine: the two laws as CUDA kernels; sources, probes and monitors as operations on the same device.

Nothing waits for the host between steps. The kernels run on the CPU too, under TRITON_INTERPRET=1, for tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from elec.fdtd import triton_kernels as kernels
from elec.fdtd.arrays import UNTURNED, coefficients, edge_pairs, layers
from elec.fdtd.history import History, no_samples
from elec.fdtd.places import source_places, source_signals, source_weights
from elec.fdtd.poles import Recursion, both_parts, product, real_product
from elec.fields import Fields
from mindsci import tree

if TYPE_CHECKING:
    from elec.fdtd.poles import Poles
    from elec.fdtd.sources import Source
    from elec.fdtd.step import YeeStep

BLOCK = 256
"""Nodes of one program on a GPU."""
INTERPRETED_BLOCK = 16384
"""Nodes of one program in the interpreter, which takes as long for a large block as for a small one."""


class TritonEngine:
    """Runs steps one after the other on the device of the fields."""

    def __init__(self, step: YeeStep, fields: Fields, dt: float, like: TritonEngine | None = None) -> None:
        """`like`: an engine for the same media, whose tables serve this one too."""
        self.step, self.turn = step, UNTURNED
        self.dt = dt
        self.nodes = fields.nodes
        device = fields.electric.device
        dtype = torch.empty(0, dtype=fields.electric.real.dtype).numpy().dtype
        tables = like.tables if like is not None else coefficients(step, dt, dtype)
        slabs = layers(step, dt, dtype, self.nodes)
        self.tables = tables

        def on_device(*arrays: np.ndarray) -> list[Tensor]:
            return [torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays]

        places = on_device(slabs.slab_x, slabs.slab_y, slabs.slab_z)
        self.faraday = [*on_device(tables.rows_h, tables.decay_h, tables.gain, *tables.inverse_h), *places]
        self.faraday += on_device(*slabs.b_h, *slabs.c_h)
        self.ampere = [*on_device(tables.rows_e, tables.decay, tables.drive, *tables.inverse_e), *places]
        self.ampere += on_device(*slabs.b_e, *slabs.c_e)
        self.sizes = [*self.nodes, *(memory.shape[axis + 1] for axis, memory in enumerate(fields.memory))]
        walls = step.ampere.walls
        self.factors = {axis: walls.factor(axis) for axis in range(3) if walls.periodic(axis)}
        before = 1 if self.complex else 2
        self.last = [size - before if walls.periodic(axis) else -1 for axis, size in enumerate(self.nodes)]
        self.block = BLOCK if device.type == "cuda" else INTERPRETED_BLOCK
        self.grid = (-(-int(np.prod(self.nodes)) // self.block),)
        weights = source_weights(step, tables)
        self.electric_sources = _Driven(self, step.ampere.sources, weights[0], device)
        self.magnetic_sources = _Driven(self, step.faraday.sources, weights[1], device)
        self.probe_places = self.flat(step.probe.probes.edges.cpu()).to(device)
        self.pairs = _Coupled.of(self, step, device)
        self.poles = _Terms.of(self, step.ampere.media.poles, tables.rows_e, tables.drive, device)
        self.magnetic_poles = _Terms.of(self, step.faraday.poles, tables.rows_h, -tables.gain, device)

    @property
    def complex(self) -> bool:
        return self.step.ampere.walls.complex

    def advance(self, fields: Fields, first: int, n_steps: int, history: History | None = None) -> Fields:
        """Returns the fields after n_steps from step `first`; a history is filled on the way."""
        parts = [fields]
        if self.complex:  # two real runs; only the phase at the walls joins them
            parts = [tree.map(part, fields) for part in (torch.real, torch.imag)]
        parts = [
            tree.map(lambda leaf: leaf.detach().clone(memory_format=torch.contiguous_format), part) for part in parts
        ]
        like = parts[0].electric
        phases = self.step.probe.monitors.phases(first, n_steps, self.dt).to(like)
        samples = [like.new_zeros(n_steps, len(self.probe_places)) for _ in parts]
        driven = self.electric_sources.signals(like, first, n_steps, self.dt)
        driven_magnetic = self.magnetic_sources.signals(like, first, n_steps, self.dt)
        past = history if history is not None else History(no_samples(like.dtype), record=False)
        slots = list(zip(*past.slots(first, n_steps), strict=True))
        for index in range(n_steps):
            electric_slot, magnetic_slot = slots[index]
            self._magnetic(parts, driven_magnetic[index])
            if past.mode == "correlate":
                past.after("magnetic", parts[0].magnetic, magnetic_slot)
            self._electric(parts, driven[index])
            past.after("electric", parts[0].electric, electric_slot)
            if past.mode == "record":
                past.after("magnetic", parts[0].magnetic, magnetic_slot)
            for part, sample in zip(parts, samples, strict=True):
                if len(self.probe_places):
                    sample[index] = torch.cat([part.electric.view(-1), part.magnetic.view(-1)])[self.probe_places]
                self._accumulate(part, first + index, phases[index])
        past.signals = samples[0]
        if len(self.step.probe.probes.weights):
            weights = self.step.probe.probes.weights.to(like.device, torch.float64)
            for part, sample in zip(parts, samples, strict=True):
                part.records[:, first : first + n_steps] += (weights @ sample.T.to(torch.float64)).to(part.records)
        return tree.map(torch.complex, *parts) if self.complex else parts[0]

    def _magnetic(self, parts: Sequence[Fields], signal: Tensor) -> None:
        """Faraday's law and what acts on the magnetic field."""
        for part, values in zip(parts, self.magnetic_sources.values(signal, len(parts)), strict=True):
            magnetic = part.magnetic.view(-1)
            held = self.magnetic_poles.hold(magnetic)
            fields = (part.electric, part.magnetic, *part.memory)
            kernels.faraday_kernel[self.grid](*fields, *self.faraday, *self.sizes, BLOCK=self.block)
            self.magnetic_sources.add(magnetic, values)
            self.magnetic_poles.act(magnetic, held, part.magnetization)
        fields = [part.magnetic for part in parts]
        for axis, factor in self.factors.items():
            _image(fields, axis, [axis], (-1, 0), factor)
        if self.complex:  # beyond the last cell, where no field lives, Ampère's law finds those before the first
            for axis, factor in self.factors.items():
                _image(fields, axis, [other for other in range(3) if other != axis], (-1, -2), 1 / factor)

    def _electric(self, parts: Sequence[Fields], signal: Tensor) -> None:
        """Ampère's law and what acts on the electric field."""
        for part, values in zip(parts, self.electric_sources.values(signal, len(parts)), strict=True):
            electric = part.electric.view(-1)
            held, uncoupled = self.poles.hold(electric), self.pairs.hold(electric)
            fields = (part.electric, part.magnetic, *part.memory)
            kernels.ampere_kernel[self.grid](*fields, *self.ampere, *self.sizes, *self.last, BLOCK=self.block)
            self.electric_sources.add(electric, values)
            self.poles.act(electric, held, part.polarization)
            self.pairs.act(electric, uncoupled)
        for axis, factor in self.factors.items():
            across = [other for other in range(3) if other != axis]
            _image([part.electric for part in parts], axis, across, (-1, 0), factor)
            if self.complex:
                for part in parts:
                    for component in across:
                        part.magnetic[component].select(axis, -1).zero_()

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

    def flat(self, places: Tensor) -> Tensor:
        """Positions of places in the fields seen as one vector, the magnetic ones (3 to 5) after the others."""
        n_x, n_y, n_z = self.nodes
        component, i, j, k = places.unbind(1)
        return ((component * n_x + i) * n_y + j) * n_z + k


class _Terms(NamedTuple):
    """The poles of one law: where they are, by what a curl is multiplied there, and their recursion."""

    places: Tensor
    drive: Tensor
    recursion: Recursion

    @classmethod
    def of(cls, engine: TritonEngine, poles: Poles | None, rows: np.ndarray, drive: np.ndarray, device: Any) -> _Terms:
        if poles is None:
            none = torch.zeros(0, dtype=torch.int64, device=device)
            return cls(none, none, Recursion(none, none, none, none))
        component, i, j, k = poles.edges.cpu().numpy().T
        own = torch.from_numpy(drive[rows[component, i, j], k]).to(device)
        recursion = Recursion(*(part.detach().to(device) for part in poles.recursion(engine.dt)))
        return cls(engine.flat(poles.edges.cpu()).to(device), own, recursion)

    def hold(self, field: Tensor) -> Tensor:
        """Returns the field of before the step where the poles need it."""
        return field[self.places] if len(self.places) else field

    def act(self, field: Tensor, before: Tensor, current: Tensor) -> None:
        """Lets the currents act on the field, then advances them."""
        if not len(self.places):
            return
        step = self.recursion
        field.index_add_(0, self.places, -self.drive * real_product(step.share, current))
        after = field[self.places]
        gained = both_parts(step.after, after) + both_parts(step.before, before)
        current.copy_(product(step.keep, current) + gained)


class _Coupled:
    """Edges that act on one another at slanted interfaces."""

    def __init__(self, places: Tensor, rows: Tensor, columns: Tensor, weights: Tensor) -> None:
        self.places, self.rows, self.columns, self.weights = places, rows, columns, weights

    @classmethod
    def of(cls, engine: TritonEngine, step: YeeStep, device: torch.device) -> _Coupled:
        pairs = edge_pairs(step, engine.dt, engine.tables.drive.dtype)
        if pairs is None:
            none = torch.zeros(0, dtype=torch.int64, device=device)
            return cls(none, none, none, none)
        rows = np.repeat(np.arange(len(pairs.edges)), np.diff(pairs.start))
        places = engine.flat(torch.from_numpy(pairs.edges).to(torch.int64)).to(device)
        column, weight = torch.from_numpy(pairs.column).to(torch.int64), torch.from_numpy(pairs.weight)
        return cls(places, places[torch.from_numpy(rows).to(device)], column.to(device), weight.to(device))

    def hold(self, electric: Tensor) -> Tensor:
        return electric[self.places]

    def act(self, electric: Tensor, before: Tensor) -> None:
        if len(self.places):
            change = electric[self.places] - before
            electric.index_add_(0, self.rows, self.weights * change[self.columns])


class _Driven:
    """Where sources of one law act, what a signal of one adds there, and whose signal it is."""

    def __init__(
        self, engine: TritonEngine, sources: tuple[Source, ...], weights: list[np.ndarray], device: torch.device
    ) -> None:
        places, columns = source_places(sources, engine.dt)
        self.sources = sources
        self.dtype = np.complex128 if engine.complex else np.float64
        self.places = engine.flat(torch.from_numpy(places)).to(device)
        self.columns = torch.from_numpy(columns).to(device)
        self.weights = torch.from_numpy(np.concatenate([np.zeros(0), *weights])).to(device)

    def signals(self, like: Tensor, first: int, n_steps: int, dt: float) -> Tensor:
        """Returns the signals of all columns on the device, (steps, columns)."""
        return torch.from_numpy(source_signals(self.sources, first, n_steps, dt, self.dtype)).to(like.device)

    def values(self, signal: Tensor, n_parts: int) -> Sequence[Tensor]:
        """Returns what one step adds at the places: to the field, or to its real and to its imaginary part."""
        values = self.weights * signal[self.columns]
        if n_parts == 1:
            return [values]
        return [values.real, values.imag if values.is_complex() else torch.zeros_like(values)]

    def add(self, field: Tensor, values: Tensor) -> None:
        """Adds values to a field."""
        if len(self.places):
            field.index_add_(0, self.places, values.to(field))


def _image(
    fields: Sequence[Tensor], axis: int, components: Sequence[int], places: tuple[int, int], factor: complex
) -> None:
    """Writes factor times what lies at places[1] along an axis to places[0], in the parts of a field."""
    to, source = places
    for component in components:
        values = [field[component].select(axis, source) for field in fields]
        if len(values) == 2:
            real, imaginary = values
            values = [
                factor.real * real - factor.imag * imaginary,
                factor.imag * real + factor.real * imaginary,
            ]
        for field, value in zip(fields, values, strict=True):
            field[component].select(axis, to).copy_(value)
