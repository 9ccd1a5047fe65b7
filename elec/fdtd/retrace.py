"""How the adjoint run meets the forward fields of a box, from the last step to the first: kept, or run again.

A run again starts from what a stretch of steps needs: the tangential field on the box's surface at every step, and its
fields at the stretch's first step. `elec.fdtd.undone` has the third way, the steps undone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor

from elec.fdtd import subgrid
from elec.fdtd.arrays import Turn
from elec.fdtd.history import History, Samples, no_samples, sample_bytes
from elec.fdtd.sources import Source
from elec.fdtd.transpose import Table
from elec.fields import Fields
from mindsci import tree

if TYPE_CHECKING:
    from elec.fdtd.step import YeeStep

AtPoles = tuple[Tensor, tuple[Tensor, Tensor] | None]


class Wanted(NamedTuple):
    """The samples that the adjoint run asks for: the fields of the nodes low .. high - 1 at each `every`-th step of a
    run of n_steps from step `first`, and at every step the field at the edges of the poles.
    """

    low: tuple[int, ...]
    high: tuple[int, ...]
    every: int
    electric: bool
    loss: bool
    """whether the electric ones are for the conductivity too"""
    magnetic: bool
    poles: Tensor
    """which of the media's poles"""
    first: int
    n_steps: int
    dt: float

    @property
    def fields(self) -> bool:
        return self.electric or self.magnetic

    def room(self, steps: int, turn: Turn, like: Tensor) -> Samples:
        """Returns room for stretches of as many steps."""
        if not self.fields:
            return no_samples(like.dtype, like.device)
        return Samples(
            self.low,
            self.high,
            (0, steps + self.every),
            every=self.every,
            electric=self.electric,
            magnetic=self.magnetic,
            turn=turn,
            dtype=like.dtype,
            device=like.device,
        )

    def bytes_of_a_step(self, itemsize: int) -> float:
        """Returns the mean memory [bytes] of what one step leaves."""
        fields = sample_bytes(self.low, self.high, int(self.electric) + int(self.magnetic), itemsize)
        return fields / self.every + 2 * itemsize * len(self.poles)


class Retrace(Protocol):
    """One way. The forward run goes chunk by chunk, the adjoint run through stretches, from the last to the first."""

    chunks: list[int]
    """steps between which the forward run is cut; the last is n_steps"""
    bounds: list[int]
    """the same of the adjoint run"""
    places: Tensor
    """edges that the forward run reads at every step"""

    def watch(self, fields: Fields, chunk: int, turn: Turn) -> History:
        """Returns what the engine fills in a chunk that begins with these fields."""

    def take(self, chunk: int, signals: Tensor) -> None:
        """Takes what was read at the places in a chunk, (steps, places)."""

    def finish(self, fields: Fields) -> None:
        """Takes the last fields."""

    def met(self, stretch: int, turn: Turn) -> Samples:
        """Returns the samples of a stretch."""

    def at_poles(self, stretch: int) -> AtPoles | None:
        """Returns the field at the poles' edges after each step since the last call, and E and currents before them.

        None: they come with an earlier stretch, or where the run begins at rest.
        """


def pole_places(step: YeeStep, wanted: Wanted) -> Tensor:
    """Returns the edges of the poles, in the whole grid."""
    poles = step.ampere.media.poles
    if poles is None:
        return torch.zeros(0, 4, dtype=torch.int64)
    return poles.edges.cpu()[wanted.poles]


def with_places(step: YeeStep, places: Tensor) -> YeeStep:
    """Returns the step with places that are read besides those of its probes."""
    probes = step.probe.probes
    edges = torch.cat([probes.edges, places.to(probes.edges)])
    weights = torch.cat([probes.weights, probes.weights.new_zeros(len(probes.weights), len(places))], dim=1)
    return tree.replace(step, probe=tree.replace(step.probe, probes=subgrid.Probes(edges=edges, weights=weights)))


class Kept:
    """Every sample of the run, as it goes."""

    def __init__(self, step: YeeStep, wanted: Wanted) -> None:
        self.wanted, self.places = wanted, pole_places(step, wanted)
        self.chunks = self.bounds = [0, wanted.n_steps]

    def watch(self, fields: Fields, chunk: int, turn: Turn) -> History:
        self.samples = self.wanted.room(self.wanted.n_steps, turn, fields.electric)
        self.samples.move(self.wanted.first, self.wanted.first + self.wanted.n_steps)
        return History(self.samples)

    def take(self, chunk: int, signals: Tensor) -> None:
        self.signals = signals.clone()

    def finish(self, fields: Fields) -> None:
        pass

    def met(self, stretch: int, turn: Turn) -> Samples:
        return self.samples

    def at_poles(self, stretch: int) -> AtPoles | None:
        return self.signals, None


class Again:
    """The steps of a stretch run once more in a box around the samples, from its fields at the stretch's first step."""

    def __init__(self, step: YeeStep, wanted: Wanted, part: subgrid.Part, bounds: list[int]) -> None:
        self.wanted, self.part = wanted, part
        self.chunks = self.bounds = bounds
        self.places, self.pole_places = part.surface, pole_places(step, wanted)
        self.begins: list[Fields] = []
        self.surface = torch.zeros(0, 0)
        self.engine: Any = None

    def watch(self, fields: Fields, chunk: int, turn: Turn) -> History:
        self.begins.append(self.part.fields(fields))
        return History(no_samples(fields.electric.dtype, fields.electric.device))

    def take(self, chunk: int, signals: Tensor) -> None:
        begin, end = self.chunks[chunk : chunk + 2]
        if not self.surface.numel():
            self.surface = signals.new_empty(self.wanted.n_steps, len(self.places))
        self.surface[begin:end] = signals

    def finish(self, fields: Fields) -> None:
        pass

    def met(self, stretch: int, turn: Turn) -> Samples:
        begin, end = self.bounds[stretch : stretch + 2]
        fields, first = self.begins[stretch], self.wanted.first
        if self.engine is None:
            longest = max(after - before for before, after in itertools.pairwise(self.bounds))
            self.samples = self.wanted.room(longest, turn, fields.electric)
            self.engine = self._driven().prepared(fields, self.wanted.dt, turn=turn)
        samples = self.samples
        samples.hand_on()
        samples.move(first + begin, first + end)
        history = History(samples.within(self.part.low))
        self.engine.advance(fields, first + begin, end - begin, history)
        self.signals = history.signals
        return samples

    def _driven(self) -> YeeStep:
        """The box, its surface held at what was recorded, read at the poles."""
        part, corner = self.part, torch.tensor([0, *self.part.low])
        step = with_places(part.step, self.pole_places - corner)
        if not len(part.surface):
            return step
        source = Source(
            places=part.surface - corner,
            amplitude=torch.ones(len(part.surface), dtype=torch.float64),
            waveform=Table(values=self.surface, dt=self.wanted.dt, kind="field", first=self.wanted.first),
            kind="field",
            columns=torch.arange(len(part.surface)),
        )
        return tree.replace(step, ampere=tree.replace(step.ampere, sources=(*step.ampere.sources, source)))

    def at_poles(self, stretch: int) -> AtPoles | None:
        begin = self.begins[stretch]
        component, i, j, k = (self.pole_places.cpu() - torch.tensor([0, *self.part.low])).unbind(1)
        both = begin.polarization.to(torch.float64).cpu()[:, torch.isin(self.part.terms, self.wanted.poles)]
        return self.signals, (begin.electric.cpu()[component, i, j, k].to(torch.float64), torch.complex(*both))


def stretches(step: YeeStep, wanted: Wanted, part: subgrid.Part, fields: Fields) -> list[int] | None:
    """Returns the first steps of the stretches that take the least memory, None where keeping all samples takes less.

    k stretches cost k times the fields of the box and one k-th of all its samples: k as the root of the ratio.
    """
    item, n_steps = fields.electric.element_size(), wanted.n_steps
    state = sum(leaf.nbytes for leaf in tree.leaves(part.step.start())) or 1
    one = wanted.bytes_of_a_step(item)
    count = max(1, math.isqrt(int(n_steps * one / state)))
    again = n_steps * (len(part.surface) * item + one / count) + count * state
    if n_steps * one <= max(again, 0.25 * sum(leaf.nbytes for leaf in tree.leaves(fields))):
        return None
    return cut(wanted, [n_steps * k // count for k in range(1, count)])


def cut(wanted: Wanted, inner: Sequence[int]) -> list[int]:
    """Returns the bounds of stretches, those within the run moved to where samples are taken."""
    moved = {(wanted.first + bound) // wanted.every * wanted.every - wanted.first for bound in inner}
    return [0, *sorted(bound for bound in moved if bound > 0), wanted.n_steps]


def cheapest(step: YeeStep, wanted: Wanted, part: subgrid.Part, fields: Fields) -> Retrace:
    """Returns the way that takes the least memory of those that run no step backwards."""
    bounds = stretches(step, wanted, part, fields)
    return Kept(step, wanted) if bounds is None else Again(step, wanted, part, bounds)
