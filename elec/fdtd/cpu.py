"""The Numba engine: plain arrays from the reference flows, and the compiled kernel run on copies of the fields.

Threads work on chunks of planes. In the first phase a chunk stops one plane earlier on each side with each step,
so that it needs nothing of its neighbours; in the second phase the triangles left around each border between chunks are
filled in. Every number is computed once, by the same instructions: the result does not depend on the number of threads,
to the bit. They are Python threads, for the kernel holds no lock: they sleep while they wait, where those of OpenMP
would spin and, on a machine that does other work too, keep the one that they wait for from running.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from elec.fdtd import cpu_history
from elec.fdtd import cpu_sweep as kernels
from elec.fdtd.arrays import Pairs, Turn, around, best_turn, coefficients, edge_pairs, layers
from elec.fdtd.cpu_images import Images, parted, parted_signals
from elec.fdtd.cpu_vectors import lanes
from elec.fdtd.history import MODES, History, Products, no_samples
from elec.fdtd.places import Boxes, Edges, box_rows, pole_terms, probe_edges, source_edges, source_signals
from elec.fdtd.row_ends import row_ends
from elec.fdtd.rows import Pool, padded_copy
from elec.fdtd.threads import in_threads
from elec.fields import Fields
from mindsci import tree

if TYPE_CHECKING:
    from elec.fdtd.cpu_slabs import Neighbours
    from elec.fdtd.step import YeeStep
    from elec.fdtd.stretching import Filters

DEPTH = 4
"""Steps that one sweep carries. Measured best of 1 to 8 at 200^3 on 2 cores with 32 MiB of last-level cache."""
CACHE_BYTES = 8 * 2**20
"""Planes of one sweep that a thread may keep: its share of the last-level cache."""
CELLS_PER_THREAD = 30_000
"""Below this, waiting for one another costs threads more than the work they share."""


class NumbaEngine:
    """Runs many steps in one compiled call."""

    def __init__(
        self, step: YeeStep, fields: Fields, dt: float, like: NumbaEngine | None = None, turn: Turn | None = None
    ) -> None:
        """`like`: an engine for the same media, whose tables serve this one too; `turn`: an order of the axes."""
        self.dt = dt
        self.step = step
        self.dtype = fields.electric.real.numpy().dtype
        walls = step.ampere.walls
        self.turn = turn if turn is not None else best_turn(fields.nodes, walls)
        self.nodes = self.turn.axes(fields.nodes)
        order = self.turn.axes((0, 1, 2))
        outside = [axis for axis in range(3) if walls.periodic(axis) and (walls.complex or axis == order[0])]
        self.factors = {along: walls.factor(axis) for along, axis in enumerate(order) if axis in outside}
        tables = like.coefficients if like is not None else coefficients(step, dt, self.dtype, self.turn).padded()
        self.coefficients = tables
        slabs = layers(step, dt, self.dtype, fields.nodes, self.turn)
        self.ends = row_ends(slabs, lanes(self.dtype.itemsize))
        self.layers = self.ends.tables(slabs)
        self.around = around(fields.nodes, walls, self.turn, outside)
        self.sources = self._sources(source_edges(step, tables, self.nodes[0], self.turn, dt))
        planes, poles = self.nodes[0], step.ampere.media.poles
        self.terms, self.order = pole_terms(poles, tables.rows_e, tables.drive, planes, dt, self.turn)
        self.magnetic_terms, self.magnetic_order = pole_terms(
            step.faraday.poles, tables.rows_h, -tables.gain, planes, dt, self.turn
        )
        self.probes = probe_edges(step, self.nodes[0], self.turn)
        self.weights = step.probe.probes.weights.cpu().to(torch.float64).numpy()
        self.boxes = box_rows(step, self.turn)
        self.pairs = edge_pairs(step, dt, self.dtype, self.turn)
        self.pool = Pool()

    def advance(
        self,
        fields: Fields,
        first: int,
        n_steps: int,
        history: History | None = None,
        neighbours: Neighbours | None = None,
    ) -> Fields:
        """Returns the fields after n_steps from step `first`; a history in this engine's turn is filled on the way.

        neighbours: of a slab, in an engine that is not turned.
        """
        parts = [fields]
        if self.complex:
            parts = [tree.map(part, fields) for part in (torch.real, torch.imag)]
        signals = self._signals(first, n_steps)
        copies = [self._copy(part, n_steps, signals) for part in parts]
        monitors = self.step.probe.monitors
        phases = monitors.phases(first, n_steps, self.dt).numpy().astype(self.dtype)
        points = (self.terms, self.magnetic_terms, self.probes, Boxes(place=self.boxes, phases=phases))
        past = self._past(history, first, n_steps)
        depth, chunks = self.schedule()
        own = [self._own_rows(int(past.mode == MODES["correlate"])) for _ in range(chunks)]
        tables = (self.coefficients, self.layers, self.around)
        runs = [
            [
                (state, *tables, kernels.Points(*sources, *points, past._replace(before=before, row=row)))
                for before, row in own
            ]
            for (_, state), sources in zip(copies, self.sources, strict=True)
        ]
        planes = self.nodes[0] - 1
        borders = [planes * chunk // chunks for chunk in range(chunks + 1)]
        if neighbours is not None:
            neighbours.begin(copies)
        if self.pairs is not None or self.factors:
            images = Images([state for _, state in copies], self.nodes, self.factors)
            _run_by_laws(n_steps, borders, runs, images, self.pairs, neighbours)
        elif neighbours is not None:
            from elec.fdtd.cpu_slabs import run_slab

            run_slab(n_steps, planes, chunks, runs[0], neighbours)
        else:
            _run_threads(n_steps, depth, borders, runs[0])
        found = [self._finished(new, state, first, n_steps) for new, state in copies]
        if neighbours is not None:
            neighbours.end(copies)
        if history is not None:
            history.signals = torch.from_numpy(copies[0][1].samples)
        return tree.map(torch.complex, *found) if self.complex else found[0]

    @property
    def complex(self) -> bool:
        return self.step.ampere.walls.complex

    def _sources(self, edges: tuple[Edges, Edges]) -> list[tuple[Edges, Edges]]:
        """The electric and the magnetic sources of the run, or of its real and its imaginary part."""
        if not self.complex:
            return [edges]
        electric, magnetic = (
            parted(part, signals.shape[1], self.dtype) for part, signals in zip(edges, self._raw(0, 1), strict=True)
        )
        return list(zip(electric, magnetic, strict=True))

    def _raw(self, first: int, n_steps: int) -> list[np.ndarray]:
        sources = (self.step.ampere.sources, self.step.faraday.sources)
        dtype = np.result_type(self.dtype, np.complex64) if self.complex else self.dtype
        return [source_signals(part, first, n_steps, self.dt, dtype) for part in sources]

    def _signals(self, first: int, n_steps: int) -> list[np.ndarray]:
        """The signals of the electric and of the magnetic sources."""
        raw = self._raw(first, n_steps)
        return [parted_signals(one) for one in raw] if self.complex else raw

    def _finished(self, new: Fields, state: Any, first: int, n_steps: int) -> Fields:
        """The fields with what the kernel keeps elsewhere."""
        if self.around.periodic[2]:  # what stood for the cells before the first lies in padding that others see
            for component in self.turn.axes((0, 1, 2))[:2]:
                state.magnetic[component, :, :, self.nodes[2] - 1 :] = 0.0
        self.ends.cut(state.memory[2], self.turn.field(self.turn.axes(new.memory)[2]))
        new.polarization[:, torch.from_numpy(self.order)] = torch.from_numpy(state.current)
        new.magnetization[:, torch.from_numpy(self.magnetic_order)] = torch.from_numpy(state.magnetic_current)
        if self.weights.shape[0]:
            values = torch.from_numpy(state.samples.astype(np.float64) @ self.weights.T)
            new.records[:, first : first + n_steps] += values.T.to(new.records.dtype)
        return new

    def schedule(self) -> tuple[int, int]:
        """Returns (steps of one sweep, chunks of planes)."""
        planes = self.nodes[0] - 1
        depth = sweep_depth(self.nodes[1], self.nodes[2], self.dtype.itemsize)
        cells = int(np.prod(self.nodes))
        chunks = max(1, min(torch.get_num_threads(), cells // CELLS_PER_THREAD, planes // 2))
        return (depth if chunks == 1 else max(1, min(depth, planes // chunks // 2))), chunks

    def _past(self, history: History | None, first: int, n_steps: int) -> cpu_history.Past:
        """The kernel's view of a history; of an empty one where there is none."""
        dtype = torch.from_numpy(np.zeros(0, dtype=self.dtype)).dtype
        history = history if history is not None else History(no_samples(dtype), record=False)
        samples = history.samples
        products = history.products if history.products is not None else Products(no_samples(dtype), 0)
        names = ("held_electric", "held_magnetic", "change_electric", "mean_electric", "change_magnetic")
        return cpu_history.Past(
            MODES[history.mode],
            samples.low,
            samples.high,
            *history.slots(first, n_steps),
            samples.electric.numpy(),
            samples.magnetic.numpy(),
            *(getattr(products, name).numpy() for name in names),
            products.filters is not None,
            *self._own_rows(0),
            *(_filters(one, self.dtype) for one in products.filters or (None, None)),
        )

    def _own_rows(self, planes: int) -> tuple[np.ndarray, np.ndarray]:
        """Room of one thread for planes of three components and for a row as long as those of the filters."""
        return (
            np.zeros((3, planes * self.nodes[1], planes * self.nodes[2]), dtype=self.dtype),
            np.zeros(self.nodes[2], dtype=self.dtype),
        )

    def _copy(self, fields: Fields, n_steps: int, signals: list[np.ndarray]) -> tuple[Fields, Any]:
        """Returns a copy of the fields and the kernel's view of its memory."""
        turn = self.turn
        electric, e, _ = padded_copy(turn.field(fields.electric), pool=self.pool)
        magnetic, h, below = padded_copy(turn.field(fields.magnetic), pool=self.pool)
        x, y, z = (turn.field(memory) for memory in turn.axes(fields.memory))
        (x, m_x, _), (y, m_y, _) = (padded_copy(memory, pool=self.pool) for memory in (x, y))
        m_z = self.ends.filled(z.detach(), self.pool)
        z = torch.empty_like(z, memory_format=torch.contiguous_format)
        records, spectra = (leaf.detach().clone() for leaf in (fields.records, fields.spectra.contiguous()))
        current = np.ascontiguousarray(fields.polarization.detach().numpy()[:, self.order])
        magnetic_current = np.ascontiguousarray(fields.magnetization.detach().numpy()[:, self.magnetic_order])
        state = kernels.State(
            electric=e,
            magnetic=h,
            magnetic_below=below,
            memory=(m_x, m_y, m_z),
            axes=turn.axes((0, 1, 2)),
            current=current,
            held=np.zeros(current.shape[1], dtype=self.dtype),
            magnetic_current=magnetic_current,
            magnetic_held=np.zeros(magnetic_current.shape[1], dtype=self.dtype),
            spectra=spectra.numpy(),
            samples=np.zeros((n_steps, len(self.probes.place)), dtype=self.dtype),
            electric_signals=signals[0],
            magnetic_signals=signals[1],
        )
        back = Turn(-turn.by % 3).axes([turn.back(memory) for memory in (x, y, z)])
        new = Fields(
            electric=turn.back(electric),
            magnetic=turn.back(magnetic),
            memory=back,
            polarization=fields.polarization.detach().clone(),
            magnetization=fields.magnetization.detach().clone(),
            records=records,
            spectra=spectra,
        )
        return new, state


def sweep_depth(nodes_y: int, nodes_z: int, itemsize: int) -> int:
    """Returns the steps that a sweep over planes of so many nodes carries at most."""
    return int(np.clip(CACHE_BYTES // (6 * nodes_y * nodes_z * itemsize) - 1, 1, DEPTH))


def _filters(filters: Filters | None, dtype: np.dtype) -> cpu_history.Stretched:
    """The kernel's view of the filters of one field."""
    if filters is None:
        state, table = np.zeros((0, 0, 0, 0), dtype=dtype), np.zeros((0, 0), dtype=dtype)
        return cpu_history.Stretched((state,) * 3, (table,) * 3, (table,) * 3, (table,) * 3)
    x, y, z = (part.numpy() for part in filters.state)
    tables = [tuple(part[which].numpy() for part in filters.tables) for which in range(3)]
    return cpu_history.Stretched((x, y, z), *tables)


def _run_threads(n_steps: int, depth: int, borders: list[int], rests: list[tuple[Any, ...]]) -> None:
    """Advances by n_steps, one thread for each chunk between two borders (the first is 0, the last the end)."""
    chunks = len(borders) - 1

    def work(chunk: int, wait: Callable[[], Any]) -> None:
        low, high = borders[chunk : chunk + 2]
        left, right = int(chunk > 0), int(chunk < chunks - 1)
        for first in range(0, n_steps, depth):
            now = min(depth, n_steps - first)
            kernels.sweep((low, high), (left, -right), (left, 0), first, now, *rests[chunk])
            wait()
            if left:
                kernels.sweep((low, low), (-1, 1), (0, 1), first, now, *rests[chunk])
            wait()

    in_threads(work, chunks)


def _run_by_laws(
    n_steps: int,
    borders: list[int],
    runs: list[list[tuple[Any, ...]]],
    images: Images,
    pairs: Pairs | None,
    neighbours: Neighbours | None,
) -> None:
    """Advances runs by n_steps with one law on all planes, then the other.

    For images at walls that come between, and for edges that act on those of the planes beside them.
    """

    def work(chunk: int, wait: Callable[[], Any]) -> None:
        planes = (borders[chunk], borders[chunk + 1])
        for step in range(n_steps):
            for run in runs:
                kernels.magnetic_planes(planes, step, *run[chunk])
            wait()
            if chunk == 0:
                images.close_magnetic()
            wait()
            for run in runs:
                _electric_law(run[chunk], planes, step, pairs, chunk, wait)
            wait()
            if chunk == 0:
                images.close_electric()
                if neighbours is not None:
                    neighbours.after(step + 1, n_steps)
            wait()

    in_threads(work, len(borders) - 1)
    images.clear()


def _electric_law(
    run: tuple[Any, ...],
    planes: tuple[int, int],
    step: int,
    pairs: Pairs | None,
    chunk: int,
    wait: Callable[[], Any],
) -> None:
    """Ampère's law on a stack of planes, with the edges that act on one another where there are any."""
    if pairs is None:
        kernels.electric_planes(planes, step, *run)
        return
    state, _, _, around, points = run
    if chunk == 0:
        kernels.hold_pairs(state, pairs)
    wait()
    kernels.electric_laws(planes, step, *run)
    wait()
    if chunk == 0:
        kernels.couple_pairs(state, pairs)
    wait()
    kernels.electric_known(planes, step, state, around, points)
