"""The steps of a run undone: the adjoint run meets the forward fields of a box again, from its last fields alone.

Without loss the step with -dt undoes the step, to rounding. What cannot be undone is held at what the forward run
recorded: the tangential electric field on the inner face of the absorbing layers (and on the sides of the box), and the
field at edges with poles or with so much loss that undoing it would multiply rounding errors more than tenfold over the
run. All else in the box follows from these and from its last fields. docs/theory/adjoint.md bounds the error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from elec.fdtd import subgrid
from elec.fdtd.arrays import Turn
from elec.fdtd.history import History, Samples, no_samples
from elec.fdtd.record import CHUNK, Record, error_bound, highest_frequency
from elec.fdtd.retrace import AtPoles, Wanted, cut, pole_places
from elec.fdtd.sources import Source
from elec.fdtd.transpose import images
from elec.fields import Fields
from mindsci import tree
from mindsci.errors import InputError
from mindsci.units import VACUUM_PERMEABILITY, VACUUM_PERMITTIVITY

if TYPE_CHECKING:
    from elec.fdtd.step import YeeStep

STRETCH = 32
"""Steps undone between two calls of the adjoint run: their samples are all that is kept of them."""
SOURCE_NOISE = 0.05
"""Share of a rounding of the largest field at sources, which is 10^3 to 10^4 times that around: as waves of all
frequencies it is noise everywhere in the forward run. Asking the record for less than that would keep noise."""
GROWTH = 10.0
"""Most by which undoing the losses of a run may multiply a rounding error."""


def between_layers(step: YeeStep) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns (low, high): the nodes low .. high - 1 of whose edges and faces none lies in absorbing layers."""
    nodes = step.ampere.media.metal.shape[1:]
    absorber = step.ampere.absorber
    layers = absorber.layers if absorber is not None else ((0, 0),) * 3
    low = tuple(first for first, _ in layers)
    high = tuple(size - 1 - last if last else size for size, (_, last) in zip(nodes, layers, strict=True))
    return low, high


class Undone:
    """`retrace.Retrace` by undoing."""

    def __init__(self, step: YeeStep, wanted: Wanted) -> None:
        """Raises InputError for a box that reaches into absorbing layers, or that is lossy all through."""
        first, last = between_layers(step)
        if any(a < c or b > d for a, b, c, d in zip(wanted.low, wanted.high, first, last, strict=True)):
            raise InputError(
                f"Reversible cannot undo absorbing layers, and the media of nodes {wanted.low} to {wanted.high} reach "
                f"into them; give region=({first}, {last}), what lies between them, or adjoint=Fused()"
            )
        nodes = step.ampere.media.metal.shape[1:]
        low, high = subgrid.box_around(step, wanted.low, wanted.high)
        low = tuple(max(a, b) for a, b in zip(low, first, strict=True))
        high = tuple(min(a, b + 1, size - 1) for a, b, size in zip(high, last, nodes, strict=True))
        lossy = lossy_edges(step, low, high, wanted.n_steps, wanted.dt)
        sides = len(subgrid.part(step, low, high).surface)
        faces = lossy_faces(step, low, high, wanted.n_steps, wanted.dt)
        if wanted.magnetic and len(faces):
            raise InputError(
                f"Reversible cannot undo the field of {len(faces)} faces with magnetic loss or poles, which the "
                "gradient of the permeability asks for; use adjoint=Fused()"
            )
        self.wanted, self.sides = wanted, sides
        self.part = _without_losses(subgrid.part(step, low, high, lossy), faces)
        self.pole_places = pole_places(step, wanted)
        currents = [one.places.cpu() for one in step.ampere.sources]
        self.places = torch.cat([self.part.surface, self.pole_places, *currents])
        self.noise = 0.0
        self.chunks = [*range(0, wanted.n_steps, CHUNK), wanted.n_steps]
        longest = max(STRETCH, 4 * wanted.every)
        self.bounds = cut(wanted, range(longest, wanted.n_steps, longest))
        dtype = step.ampere.media.permittivity.dtype
        bound = error_bound(dtype)
        sources = (*step.ampere.sources, *step.faraday.sources)
        band = highest_frequency(sources, wanted.first, wanted.n_steps, wanted.dt, 0.1 * bound)
        self.records = (Record(band, bound), Record(band, bound))
        self._check_memory(step, len(self.part.surface) - sides, band)
        self.pole_signals: list[Tensor] = []
        self.engine: Any = None

    def _check_memory(self, step: YeeStep, lossy: int, band: float) -> None:
        """Raises InputError where the record of lossy edges takes more than running the steps again."""
        wanted, item = self.wanted, step.ampere.media.permittivity.element_size()
        needed = lossy * wanted.n_steps * item * min(1.0, 2.0 * band + 0.2)
        state = sum(leaf.nbytes for leaf in tree.leaves(self.part.step.start()))
        if needed > max(2.0 * (wanted.n_steps * wanted.bytes_of_a_step(item) * state) ** 0.5, state):
            raise InputError(
                f"Reversible cannot undo {lossy} edges with loss or poles over {wanted.n_steps} steps, and their "
                f"record of {needed / 2**20:.0f} MiB takes more than running the steps again; use adjoint=Fused()"
            )

    def watch(self, fields: Fields, chunk: int, turn: Turn) -> History:
        return History(no_samples(fields.electric.dtype, fields.electric.device))

    def take(self, chunk: int, signals: Tensor) -> None:
        parts = [self.sides, len(self.part.surface) - self.sides, len(self.pole_places)]
        sides, lossy, poles, sources = signals.split([*parts, signals.shape[1] - sum(parts)], dim=1)
        if sources.numel():
            share = SOURCE_NOISE * torch.finfo(signals.dtype).eps
            self.noise = max(self.noise, share * float(sources.abs().max()))
        self.records[0].add(sides, self.noise)
        self.records[1].add(lossy, self.noise)
        self.pole_signals.append(poles.clone())

    def finish(self, fields: Fields) -> None:
        """Keeps E after the last step, and H half a step later: undoing begins with Faraday's law."""
        wanted = self.wanted
        last = self.part.fields(fields)
        with torch.no_grad():
            self.fields = self.part.step.faraday(last, (wanted.first + wanted.n_steps) * wanted.dt, wanted.dt)

    def met(self, stretch: int, turn: Turn) -> Samples:
        wanted, fields = self.wanted, self.fields
        begin, end = self.bounds[stretch : stretch + 2]
        if self.engine is None:
            longest = max(b - a for a, b in zip(self.bounds, self.bounds[1:], strict=False))
            self.samples = wanted.room(longest, turn, fields.electric)
            self.engine = self._undoing().prepared(fields, -wanted.dt, turn=turn)
        samples = self.samples
        samples.move(wanted.first + begin, wanted.first + end)
        within = samples.within(self.part.low)
        within.begin_with(turn.field(fields.electric), turn.field(fields.magnetic))
        samples.handed_on = within.handed_on
        history = History(within, undone=wanted.first + wanted.n_steps)
        self.fields = self.engine.advance(fields, wanted.n_steps - end, end - begin, history)
        return samples

    def _undoing(self) -> YeeStep:
        """The box with its sources backwards: step r undoes Faraday's law of step n - r, Ampere's of n - 1 - r."""
        step, wanted, corner = self.part.step, self.wanted, torch.tensor([0, *self.part.low])

        def backwards(source: Source) -> Source:
            return tree.replace(source, waveform=_Backwards(source, wanted))

        electric = [backwards(source) for source in step.ampere.sources]
        if len(self.part.surface):
            electric.append(
                Source(
                    places=self.part.surface - corner,
                    amplitude=torch.ones(len(self.part.surface), dtype=torch.float64),
                    waveform=_Recorded(self.records, wanted),
                    kind="field",
                    columns=torch.arange(len(self.part.surface)),
                )
            )
        magnetic = tuple(backwards(source) for source in step.faraday.sources)
        return tree.replace(
            step,
            ampere=tree.replace(step.ampere, sources=tuple(electric)),
            faraday=tree.replace(step.faraday, sources=magnetic),
        )

    def at_poles(self, stretch: int) -> AtPoles | None:
        return (torch.cat(self.pole_signals), None) if stretch == 0 else None


OFFSETS = {"magnetic current": (0.0, 0), "current": (0.5, 1), "field": (1.0, 2)}
"""Where in its step a source acts, and how many steps before n - r lies the one whose signal undoing step r takes."""


def _steps(t: Tensor, wanted: Wanted, kind: str) -> Tensor:
    """The forward steps, counted from the run's first, that belong to times of steps backwards."""
    offset, before = OFFSETS[kind]
    return wanted.n_steps - before - torch.round(-t / wanted.dt - offset).to(torch.int64)


class _Backwards:
    """A source's signals for steps that undo."""

    def __init__(self, source: Source, wanted: Wanted) -> None:
        self.source, self.wanted = source, wanted

    def __call__(self, t: Tensor) -> Tensor:
        steps = _steps(t, self.wanted, self.source.kind)
        signals = self.source.signal(self.wanted.first + steps, self.wanted.dt)
        return torch.where((steps >= 0).to(signals.device)[:, None], signals, 0.0)  # a run begins at rest


class _Recorded:
    """Recorded fields for steps that undo."""

    def __init__(self, records: tuple[Record, ...], wanted: Wanted) -> None:
        self.records, self.wanted = records, wanted

    def __call__(self, t: Tensor) -> Tensor:
        steps = _steps(t, self.wanted, "field")
        if len(steps) == 0:
            return torch.cat([record.rows(0, 1)[:0] for record in self.records], dim=1)
        low, high = max(int(steps.min()), 0), int(steps.max()) + 1
        if high <= 0:
            return torch.cat([record.rows(0, 1) * 0.0 for record in self.records], dim=1)
        rows = torch.cat([record.rows(low, high) for record in self.records], dim=1).flip(0)
        rest = len(steps) - len(rows)
        return torch.cat([rows, rows.new_zeros(rest, rows.shape[1])]) if rest else rows


def _without_losses(part: subgrid.Part, faces: Tensor) -> subgrid.Part:
    """The part with what is undone alone: without layers and without what makes the named faces lossy.

    The layers' cell behind the surface is there for engines, which leave the last nodes out; nothing needs it.
    """
    step = part.step
    media, faraday = step.ampere.media, step.faraday
    media = tree.replace(media, conductivity=media.conductivity.masked_fill(media.metal, 0.0), magnetic_poles=None)
    conductivity = faraday.conductivity
    if conductivity is not None:
        place = tuple((faces - torch.tensor([0, *part.low])).to(conductivity.device).unbind(1))
        conductivity = conductivity.index_put(place, conductivity.new_zeros(()))
    return part._replace(
        step=tree.replace(
            step,
            ampere=tree.replace(step.ampere, absorber=None, media=media),
            faraday=tree.replace(faraday, absorber=None, poles=None, conductivity=conductivity),
        ),
        magnetic_terms=part.magnetic_terms[:0],
    )


def lossy_edges(step: YeeStep, low: tuple[int, ...], high: tuple[int, ...], n_steps: int, dt: float) -> Tensor:
    """Returns the edges (component, i, j, k) of nodes low .. high that cannot be undone over the run.

    Those around such faces are among them: then nothing depends on the faces.
    """
    media, faces = step.ampere.media, lossy_faces(step, low, high, n_steps, dt)
    cut_out = (slice(None), *(slice(a, b + 1) for a, b in zip(low, high, strict=True)))
    around = []
    for turn in (1, 2):  # a face acts on the edges around it
        edges = faces.clone()
        edges[:, 0] = (faces[:, 0] + turn) % 3
        beyond = edges.clone()
        beyond[torch.arange(len(faces)), 1 + (faces[:, 0] + 3 - turn) % 3] += 1
        around += [edges, beyond]
    found = images(step, torch.cat(around))
    found = found[(found[:, 1:] <= torch.tensor(high)).all(1)]
    found = found[~media.metal.cpu()[found.unbind(1)]]
    conductivity, metal = media.conductivity[cut_out], media.metal[cut_out]
    if bool((conductivity != 0).any()):
        inertia = VACUUM_PERMITTIVITY * media.permittivity[cut_out]
        grown = _grows(conductivity, inertia, n_steps, dt) & ~metal
        found = torch.cat([found, grown.nonzero().cpu() + torch.tensor([0, *low])])
    if media.poles is not None:
        edges = media.poles.edges.cpu()
        found = torch.cat([found, edges[subgrid.terms_inside(media.poles, low, [b + 1 for b in high])]])
    return torch.unique(found, dim=0)


def _grows(conductivity: Tensor, inertia: Tensor, n_steps: int, dt: float) -> Tensor:
    """Where n steps of |decay| = |1 - s| / (1 + s), s = sigma dt / (2 epsilon), are below 1 / GROWTH."""
    least = GROWTH ** (-1.0 / n_steps)
    return 0.5 * dt * conductivity / inertia > (1.0 - least) / (1.0 + least)


def lossy_faces(step: YeeStep, low: tuple[int, ...], high: tuple[int, ...], n_steps: int, dt: float) -> Tensor:
    """Returns the faces that cannot be undone, like `lossy_edges`."""
    faraday, found = step.faraday, torch.zeros(0, 4, dtype=torch.int64)
    if faraday.conductivity is not None:
        cut_out = (slice(None), *(slice(a, b + 1) for a, b in zip(low, high, strict=True)))
        inertia = VACUUM_PERMEABILITY * faraday.permeability[cut_out]
        grown = _grows(faraday.conductivity[cut_out], inertia, n_steps, dt)
        found = grown.nonzero().cpu() + torch.tensor([0, *low])
    if faraday.poles is not None:
        inside = subgrid.terms_inside(faraday.poles, low, [b + 1 for b in high])
        found = torch.cat([found, faraday.poles.edges.cpu()[inside]])
    return torch.unique(found, dim=0)
