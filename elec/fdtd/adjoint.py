"""The derivative of a run by a second run of the same kernels, backwards in time.

The forward run keeps what it takes to meet its fields again where the media's gradients are wanted (`retrace`); the
adjoint run goes through the steps from the last to the first, and meets samples of them (`adjoint_run`).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from elec.fdtd import subgrid
from elec.fdtd.adjoint_run import AdjointRun
from elec.fdtd.retrace import Retrace, Wanted, cheapest, with_places
from elec.fdtd.sources import Source
from elec.fdtd.stretching import along_axes, in_layers
from elec.fdtd.transpose import drives, reader, widths
from elec.fdtd.undone import Undone
from elec.fields import Fields
from mindsci import tree
from mindsci.errors import InputError

if TYPE_CHECKING:
    from elec.fdtd.step import YeeStep

FIELDS = ("electric", "magnetic", "memory", "polarization", "magnetization")
POLES = ("rate", "jump", "drive")


def cannot(step: YeeStep, fields: Fields) -> str | None:
    """Returns why the fused adjoint does not serve, None where it does."""
    if step.engine == "reference":
        return "the reference flows are differentiated by themselves"
    if step.ampere.walls.complex:
        return "it gives no gradients of complex fields, which Bloch-periodic walls make"
    media = step.ampere.media
    filled = [media.permittivity, media.conductivity, media.permeability, *tree.parameters(media.poles)]
    if media.coupling is not None and any(one.requires_grad for one in (*filled, media.coupling.capacity)):
        return (
            "it gives no gradients of media in which edges at slanted interfaces act on one another "
            "(make them with cross_terms=False, first order there, to have them)"
        )
    covered = [media.permittivity, media.conductivity, media.permeability, step.faraday.permeability]
    if media.poles is not None:
        covered += [getattr(media.poles, name) for name in POLES]
    for source in (*step.ampere.sources, *step.faraday.sources):
        covered += [source.amplitude, *tree.parameters(source.waveform)]
    if {id(one) for one in tree.parameters(step)} - {id(one) for one in covered}:
        return "it gives no gradients of the grid, the absorbing layers, magnetic loss or the weights of probes"
    for name in FIELDS:
        leaves = tree.leaves(getattr(fields, name))
        if any(leaf.requires_grad for leaf in leaves):
            return "it gives no gradients of the fields that a run begins with"
        if any(bool(leaf.any()) for leaf in leaves):
            return "it needs fields that begin at rest"
    along = along_axes(step, 1.0)
    if media.coupling is not None and bool(in_layers(along, media.coupling.edges.cpu()).any()):
        return "edges at slanted interfaces act on one another in absorbing layers; end bodies before the layers"
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
    step: YeeStep,
    fields: Fields,
    first: int,
    n_steps: int,
    dt: float,
    *,
    region: Any = None,
    every: int = 1,
    undo: bool = False,
) -> Fields:
    """Returns the fields after n_steps from step `first`, with their derivative.

    region: (low, high), the box of nodes low .. high - 1 outside which the media's gradients are taken as zero; None
    for the whole grid. every: samples only each so many steps, enough while 1 / (2 every dt) is above the highest
    frequency that the fields and the gradients' signals share. undo: the steps of the forward run are undone on the way
    back instead of run once more.
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
    poles_wanted = any(one.requires_grad for one in inputs.poles)
    wanted = Wanted(
        low=tuple(low),
        high=tuple(high),
        every=every,
        electric=inputs.media[0].requires_grad or inputs.media[1].requires_grad,
        loss=inputs.media[1].requires_grad,
        magnetic=inputs.media[2].requires_grad,
        poles=subgrid.terms_inside(poles, low, high) if poles_wanted else torch.zeros(0, dtype=torch.int64),
        first=first,
        n_steps=n_steps,
        dt=dt,
    )
    run = Run(step, fields, wanted, inputs, undo)
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

    def __init__(self, step: YeeStep, fields: Fields, wanted: Wanted, inputs: Inputs, undo: bool) -> None:
        self.step, self.start, self.wanted = tree.detach(step), tree.detach(fields), wanted
        self.needs = [tensor.requires_grad for tensor in inputs.flat()]
        self.zeros = [tensor.detach().new_zeros(()).expand(tensor.shape) for tensor in inputs.flat()]
        self.readers = [reader(step, source) for source, *_ in inputs.sources]
        self.signals = [signals.detach() for *_, signals in inputs.sources]
        self.way = Undone(self.step, wanted) if undo else self._run_again()
        self.engine: Any = None

    def _run_again(self) -> Retrace:
        wanted, nodes = self.wanted, self.start.nodes
        part = subgrid.part(self.step, *subgrid.box_around(self.step, wanted.low, wanted.high))
        if all(a == 0 and b == size for a, b, size in zip(wanted.low, wanted.high, nodes, strict=True)):
            part = part._replace(surface=part.surface[:0])
        return cheapest(self.step, wanted, part, self.start)

    def forward(self) -> Fields:
        """Returns the last fields."""
        n_own, way, first = len(self.step.probe.probes.edges), self.way, self.wanted.first
        watched = with_places(self.step, way.places)
        fields = self.start
        self.engine = watched.prepared(fields, self.wanted.dt)
        for chunk, (begin, end) in enumerate(itertools.pairwise(way.chunks)):
            history = way.watch(fields, chunk, self.engine.turn)
            fields = self.engine.advance(fields, first + begin, end - begin, history)
            way.take(chunk, history.signals[:, n_own:])
        way.finish(fields)
        return fields

    def backward(self, records: Tensor | None, spectra: Tensor | None) -> list[Tensor | None]:
        """Returns the gradients of the inputs, None for those that need none."""
        wanted = self.wanted
        found = drives(self.step, records, spectra, wanted.first, wanted.n_steps, wanted.dt)
        largest = max((drive.largest() for drive in found), default=0.0)
        if largest == 0.0:
            return [zero if need else None for zero, need in zip(self.zeros, self.needs, strict=True)]
        size = widths(self.step)
        volume = max(float(size.volume(drive.places).max()) for drive in found)
        scale = volume / largest  # a linear run: fields of moderate size stay within the range of float32
        run = AdjointRun(self.step, self.engine, self.way, wanted, self.readers, found, size, scale)
        gradients = run.gradients(self.start, self.signals)
        return [one if need else None for one, need in zip(gradients, self.needs, strict=True)]
