"""The derivative of a run by a second run of the same kernels, backwards in time.

The forward run keeps what a stretch of steps needs to be run once more in the box where the media's gradients are
wanted: the tangential field on the box's surface at every step, and its fields at the stretch's first step. The adjoint
run goes through the stretches from the last to the first, and meets in each the samples of the box's fields.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from elec.fdtd import subgrid
from elec.fdtd.adjoint_poles import PoleSums
from elec.fdtd.history import History, Products, Samples, no_samples, sample_bytes
from elec.fdtd.sources import Source
from elec.fdtd.stretching import along_axes, filters, in_layers, stretched_series
from elec.fdtd.transpose import (
    Drive,
    Reader,
    Table,
    Widths,
    adjoint_sources,
    drives,
    images,
    reader,
    widths,
)
from elec.fields import Fields
from mindsci import tree
from mindsci.errors import InputError
from mindsci.units import VACUUM_PERMEABILITY, VACUUM_PERMITTIVITY

if TYPE_CHECKING:
    from elec.fdtd.step import YeeStep

FIELDS = ("electric", "magnetic", "memory", "polarization")
POLES = ("rate", "jump", "drive")


def cannot(step: YeeStep, fields: Fields) -> str | None:
    """Returns why the fused adjoint does not serve, None where it does."""
    if step.engine == "reference":
        return "the reference flows are differentiated by themselves"
    media = step.ampere.media
    covered = [media.permittivity, media.conductivity, media.permeability, step.faraday.permeability]
    if media.poles is not None:
        covered += [getattr(media.poles, name) for name in POLES]
    for source in (*step.ampere.sources, *step.faraday.sources):
        covered += [source.amplitude, *tree.parameters(source.waveform)]
    if {id(one) for one in tree.parameters(step)} - {id(one) for one in covered}:
        return "it gives no gradients of the grid, the absorbing layers or the weights of probes"
    for name in FIELDS:
        leaves = tree.leaves(getattr(fields, name))
        if any(leaf.requires_grad for leaf in leaves):
            return "it gives no gradients of the fields that a run begins with"
        if any(bool(leaf.any()) for leaf in leaves):
            return "it needs fields that begin at rest"
    along = along_axes(step, 1.0)
    for source in step.ampere.sources:
        wanted = source.amplitude.requires_grad or tree.parameters(source.waveform)
        if source.kind == "field" and wanted and bool(in_layers(along, source.places.cpu()).any()):
            return "it gives no gradients of fields that are held in absorbing layers"
    return None


class Inputs(NamedTuple):
    """The tensors through which gradients pass: media, poles, and each source's amplitude and signals."""

    media: list[Tensor]
    poles: list[Tensor]
    sources: list[tuple[Source, Tensor, Tensor]]

    def flat(self) -> list[Tensor]:
        return [*self.media, *self.poles, *(part for _, *both in self.sources for part in both)]


def differentiable_advance(
    step: YeeStep, fields: Fields, first: int, n_steps: int, dt: float, region: Any = None, every: int = 1
) -> Fields:
    """Returns the fields after n_steps from step `first`, with their derivative.

    region: (low, high), the box of nodes low .. high - 1 outside which the media's gradients are taken as zero; None
    for the whole grid. every: samples only each so many steps, enough while 1 / (2 every dt) is above the highest
    frequency that the fields and the gradients' signals share.
    """
    media, poles = step.ampere.media, step.ampere.media.poles
    steps = torch.arange(first, first + n_steps)
    sources = [
        (source, source.amplitude, source.signal(steps, dt))
        for source in (*step.ampere.sources, *step.faraday.sources)
        if source.amplitude.requires_grad or tree.parameters(source.waveform)
    ]
    inputs = Inputs(
        media=[media.permittivity, media.conductivity, step.faraday.permeability],
        poles=[getattr(poles, name) for name in POLES] if poles is not None else [],
        sources=sources,
    )
    nodes = fields.nodes
    low, high = region if region is not None else ((0, 0, 0), nodes)
    if not all(0 <= a < b <= size for a, b, size in zip(low, high, nodes, strict=True)):
        raise InputError(f"the region from node {tuple(low)} to {tuple(high)} is not a box within {nodes} nodes")
    run = Run(step, fields, first, n_steps, dt, (tuple(low), tuple(high)), every, inputs)
    outputs = _Adjoint.apply(run, fields.records, fields.spectra, *inputs.flat())
    return tree.with_leaves(tree.map(torch.Tensor.detach, fields), list(outputs))


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, run: Run, *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        # Kept for autograd alone: it refuses a backward pass after one of them was changed in place.
        ctx.save_for_backward(*inputs)
        ctx.run = run
        return tuple(tree.leaves(run.forward()))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        run: Run = ctx.run
        _ = ctx.saved_tensors  # raises where an input was changed in place since the forward pass
        electric, magnetic, *others, records, spectra = gradients
        if any(one is not None and bool(one.any()) for one in (electric, magnetic, *others)):
            raise InputError(
                "the fused adjoint takes gradients of records and spectra, not of the last fields; "
                "give rollout(adjoint=Checkpoint())"
            )
        return (None, records, spectra, *run.backward(records, spectra))


class Run:
    """One forward run, and what it keeps for the adjoint one."""

    def __init__(
        self,
        step: YeeStep,
        fields: Fields,
        first: int,
        n_steps: int,
        dt: float,
        region: tuple[tuple[int, ...], tuple[int, ...]],
        every: int,
        inputs: Inputs,
    ) -> None:
        self.step, self.start = tree.detach(step), tree.detach(fields)
        self.first, self.n_steps, self.dt, self.every = first, n_steps, dt, every
        self.low, self.high = region
        self.needs = [tensor.requires_grad for tensor in inputs.flat()]
        self.zeros = [tensor.detach().new_zeros(()).expand(tensor.shape) for tensor in inputs.flat()]
        self.electric = inputs.media[0].requires_grad or inputs.media[1].requires_grad
        self.magnetic = inputs.media[2].requires_grad
        self.poles = any(one.requires_grad for one in inputs.poles)
        self.readers = [reader(step, source) for source, *_ in inputs.sources]
        self.signals = [signals.detach() for *_, signals in inputs.sources]
        self.dtype, self.device = fields.electric.dtype, fields.electric.device
        whole = all(a == 0 and b == size for a, b, size in zip(self.low, self.high, fields.nodes, strict=True))
        low, high = subgrid.box_around(step, self.low, self.high)
        self.part = subgrid.part(self.step, low, high)
        if whole:
            self.part = self.part._replace(surface=self.part.surface[:0])
        self.bounds, self.kept = self._plan()
        self.engine: Any = None
        self.surface = torch.zeros(0, 0)
        self.begins: list[Fields] = []
        self.samples = no_samples(self.dtype, self.device)
        self.pole_signals = torch.zeros(0, 0)
        self.replay: Any = None

    def _plan(self) -> tuple[list[int], bool]:
        """Returns the first steps of the stretches, and whether all samples of the run are kept at once.

        k stretches cost k times the fields of the box and one k-th of all its samples: k as the root of the ratio.
        """
        n_fields, item = int(self.electric) + int(self.magnetic), self.start.electric.element_size()
        box = self.part.step.start()
        state = sum(leaf.nbytes for leaf in tree.leaves(box)) or 1
        one = (
            sample_bytes(self.low, self.high, n_fields, item) / self.every
            + item * 2 * len(self.part.terms) * self.poles
        )
        surface = len(self.part.surface) * item
        count = max(1, math.isqrt(int(self.n_steps * one / state)))
        again = self.n_steps * (surface + one / count) + count * state
        if self.n_steps * one <= max(again, 0.25 * sum(leaf.nbytes for leaf in tree.leaves(self.start))):
            count, kept = 1, True
        else:
            kept = False
        inner = [
            (self.first + self.n_steps * k // count) // self.every * self.every - self.first for k in range(1, count)
        ]
        return [0, *sorted({bound for bound in inner if bound > 0}), self.n_steps], kept

    @property
    def samples_wanted(self) -> bool:
        return self.electric or self.magnetic or self.poles

    def _room(self, low: Sequence[int], high: Sequence[int], turn: Any) -> Samples:
        longest = max(b - a for a, b in itertools.pairwise(self.bounds))
        return Samples(
            low,
            high,
            (0, longest + self.every),
            every=self.every,
            electric=self.electric,
            magnetic=self.magnetic,
            turn=turn,
            dtype=self.dtype,
            device=self.device,
        )

    def forward(self) -> Fields:
        """Returns the last fields."""
        probes = self.step.probe.probes
        n_own = len(probes.edges)
        again = self.samples_wanted and not self.kept
        extra = self.part.surface if again else self._pole_places()
        watched = self._with_places(self.step, extra)
        fields = self.start
        self.engine = watched.prepared(fields, self.dt)
        samples = no_samples(self.dtype, self.device)
        if self.samples_wanted and self.kept:
            samples = self._room(self.low, self.high, self.engine.turn)
        for begin, end in itertools.pairwise(self.bounds):
            if again:
                self.begins.append(self.part.fields(fields))
            samples.move(self.first + begin, self.first + end)
            history = History(samples)
            fields = self.engine.advance(fields, self.first + begin, end - begin, history)
            if again and len(self.part.surface):
                if not self.surface.numel():
                    self.surface = history.signals.new_empty(self.n_steps, len(self.part.surface))
                self.surface[begin:end] = history.signals[:, n_own:]
        if self.kept:
            self.samples, self.pole_signals = samples, history.signals[:, n_own:].clone()
        return fields

    def _with_places(self, step: YeeStep, places: Tensor) -> YeeStep:
        """The step with places that are read besides those of its probes."""
        probes = step.probe.probes
        edges = torch.cat([probes.edges, places.to(probes.edges)])
        weights = torch.cat([probes.weights, probes.weights.new_zeros(len(probes.weights), len(places))], dim=1)
        return tree.replace(step, probe=tree.replace(step.probe, probes=subgrid.Probes(edges=edges, weights=weights)))

    def _pole_places(self) -> Tensor:
        """The edges of the poles in the box, in the whole grid, where their gradients are wanted."""
        poles = self.step.ampere.media.poles
        if poles is None or not self.poles:
            return torch.zeros(0, 4, dtype=torch.int64)
        return poles.edges.cpu()[self.part.terms]

    def backward(self, records: Tensor | None, spectra: Tensor | None) -> list[Tensor | None]:
        """Returns the gradients of the inputs, None for those that need none."""
        found = drives(self.step, records, spectra, self.first, self.n_steps, self.dt)
        largest = max((drive.largest() for drive in found), default=0.0)
        if largest == 0.0:
            return [zero if need else None for zero, need in zip(self.zeros, self.needs, strict=True)]
        size = widths(self.step)
        volume = max(float(size.volume(drive.places).max()) for drive in found)
        scale = volume / largest  # a linear run: fields of moderate size stay within the range of float32
        return _Backward(self, found, size, scale).gradients()

    def replayed(self, samples: Samples, stretch: int) -> tuple[Samples, Tensor]:
        """Fills the samples of a stretch, and returns them with the fields at the poles' edges."""
        if self.kept:
            return self.samples, self.pole_signals
        begin, end = self.bounds[stretch : stretch + 2]
        part, edges = self.part, self._pole_places()
        edges = edges - torch.tensor([0, *part.low])
        samples.hand_on()
        samples.move(self.first + begin, self.first + end)
        step = self._with_places(part.step, edges)
        if len(part.surface):
            source = Source(
                places=part.surface - torch.tensor([0, *part.low]),
                amplitude=torch.ones(len(part.surface), dtype=torch.float64),
                waveform=Table(values=self.surface, dt=self.dt, kind="field", first=self.first),
                kind="field",
                columns=torch.arange(len(part.surface)),
            )
            step = tree.replace(step, ampere=tree.replace(step.ampere, sources=(*step.ampere.sources, source)))
        fields = self.begins[stretch]
        if self.replay is None:
            self.replay = step.prepared(fields, self.dt, turn=samples.turn)
        samples.low, samples.high = (
            samples.turn.axes([a - b for a, b in zip(corner, part.low, strict=True)])
            for corner in (self.low, self.high)
        )
        history = History(samples)
        self.replay.advance(fields, self.first + begin, end - begin, history)
        return samples, history.signals


class _Backward:
    """The adjoint run of one forward run."""

    def __init__(self, run: Run, found: Sequence[Drive], size: Widths, scale: float) -> None:
        self.run, self.found, self.size, self.scale = run, found, size, scale
        step = run.step
        electric, magnetic = adjoint_sources(step, found, size, scale, run.dt)
        self.places = [one.places for one in run.readers]
        self.pole_places = images(step, run._pole_places())
        places = torch.cat([*self.places, self.pole_places]).reshape(-1, 4)
        self.step = tree.replace(
            step,
            faraday=tree.replace(step.faraday, sources=tuple(magnetic)),
            ampere=tree.replace(step.ampere, sources=tuple(electric)),
            probe=tree.replace(step.probe, probes=subgrid.no_probes(places), monitors=subgrid.Monitors()),
        )

    def gradients(self) -> list[Tensor | None]:
        run, n = self.run, self.run.n_steps
        fields = self.step.start()
        engine = self.step.prepared(fields, run.dt, like=run.engine)
        samples = no_samples(run.dtype, run.device)
        if run.samples_wanted and not run.kept:
            samples = run._room(run.low, run.high, engine.turn)
        sums = self._pole_sums()
        products, read = None, []
        for stretch in reversed(range(len(run.bounds) - 1)):
            begin, end = run.bounds[stretch : stretch + 2]
            pole_signals = torch.zeros(0, 0)
            if run.samples_wanted:
                samples, pole_signals = run.replayed(samples, stretch)
            met = self._met(samples, engine)
            if products is None:
                products = self._products(met, engine)
            count = end - begin + (stretch == 0)
            history = History(met, products)
            fields = engine.advance(fields, n - end, count, history)
            read.append(history.signals[:, : len(history.signals[0]) - len(self.pole_places)])
            if sums is not None:
                adjoint = history.signals[: end - begin, len(history.signals[0]) - len(self.pole_places) :]
                sums.add(adjoint, pole_signals, None if run.kept else run.begins[stretch])
        assert products is not None
        media = self._media(products)
        poles = sums.gradients() if sums is not None else [None] * (3 if run.step.ampere.media.poles is not None else 0)
        wanted = [*media, *poles, *self._sources(torch.cat(read))]
        return [one if need else None for one, need in zip(wanted, run.needs, strict=True)]

    def _met(self, samples: Samples, engine: Any) -> Samples:
        """The samples with the box named in the nodes of the whole grid."""
        samples.low, samples.high = engine.turn.axes(self.run.low), engine.turn.axes(self.run.high)
        return samples

    def _products(self, samples: Samples, engine: Any) -> Products:
        run = self.run
        absorber, nodes = run.step.ampere.absorber, run.start.nodes
        layered = absorber is not None and any(
            run.low[axis] < absorber.layers[axis][0] or run.high[axis] > nodes[axis] - 1 - absorber.layers[axis][1]
            for axis in range(3)
        )
        both = None
        if layered and (run.electric or run.magnetic):
            both = filters(run.step, run.dt, nodes, engine.turn, run.dtype, run.device)
        return Products(samples, run.first + run.n_steps, both)

    def _pole_sums(self) -> PoleSums | None:
        run, poles = self.run, self.run.step.ampere.media.poles
        if not run.poles or poles is None:
            return None
        weight = -self.size.volume(self.pole_places) / self.scale
        local = run._pole_places() - torch.tensor([0, *run.part.low])
        return PoleSums(poles, run.part.terms, run.dt, weight, along_axes(run.step, run.dt), self.pole_places, local)

    def _media(self, products: Products) -> list[Tensor | None]:
        """The gradients of permittivity, conductivity and permeability."""
        run, turn = self.run, self.run.engine.turn
        found: list[Tensor | None] = []
        for sums, factor, magnetic in (
            (products.change_electric, -VACUUM_PERMITTIVITY / run.dt, False),
            (products.mean_electric, -1.0, False),
            (products.change_magnetic, VACUUM_PERMEABILITY / run.dt, True),
        ):
            if not sums.numel():
                found.append(None)
                continue
            box = self.size.weigh(turn.back(sums), run.low, magnetic=magnetic)
            box = box * (factor * run.every / self.scale)
            whole = box.new_zeros(3, *run.start.nodes)
            whole[(slice(None), *(slice(a, b) for a, b in zip(run.low, run.high, strict=True)))] = box
            for axis in range(3):
                if run.step.ampere.walls.periodic(axis):  # images of the first nodes: their own media do nothing
                    whole.select(axis + 1, -1).zero_()
            found.append(whole)
        return found

    def _sources(self, read: Tensor) -> list[Tensor | None]:
        """The gradients of amplitude and signals of each source that has any."""
        run, first, found = self.run, 0, []
        for one, signals in zip(run.readers, run.signals, strict=True):
            series = read[:, first : first + len(one.places)].to(torch.float64).cpu()
            first += len(one.places)
            value = self._values(one, series)  # (steps, places): dL / d(amplitude times signal)
            column = one.source.column().cpu()
            signal = signals.to(torch.float64).cpu()
            amplitude = (value * signal[:, column]).sum(0)
            by_signal = torch.zeros(signal.shape, dtype=torch.float64)
            by_signal.index_add_(1, column, value * one.source.amplitude.detach().cpu().to(torch.float64))
            found += [amplitude.to(one.source.amplitude), by_signal.to(signals)]
        return found

    def _values(self, one: Reader, series: Tensor) -> Tensor:
        run, n, along = self.run, self.run.n_steps, along_axes(self.run.step, self.run.dt)
        layered = in_layers(along, one.places)
        # The curl at a held edge outside layers is that of the unstretched field, on its faces inside them too.
        if along is not None and bool(layered.any()) and one.source.kind != "field":
            series = series.clone()
            series[:, layered] = stretched_series(series[:, layered], along, one.places[layered])
        if one.source.kind == "magnetic current":
            return series[1:].flip(0) * self.size.volume(one.places) / self.scale
        series = series[:n].flip(0)
        if one.source.kind == "current":
            return -series * self.size.volume(one.places) / self.scale
        edges = images(run.step, one.source.places.cpu())
        held = (series * one.weights).reshape(n, len(edges), -1).sum(-1) * self.size.volume(edges) / self.scale
        return held + self._direct(edges)

    def _direct(self, edges: Tensor) -> Tensor:
        """What probes and monitors read at held edges themselves, (steps, edges)."""
        total = torch.zeros(self.run.n_steps, len(edges), dtype=torch.float64)
        for drive in self.found:
            same = (drive.places[:, None] == edges[None]).all(-1)
            for place, edge in same.nonzero().tolist():
                total[:, edge] += drive.amplitude[place] * drive.signals[:, drive.columns[place]]
        return total
