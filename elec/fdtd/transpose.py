"""The adjoint run as a Yee step: the same media and layers, driven by gradients, read where the sources are.

With V the volume of an edge or a face, e = drive lambda_E / V and h = -(dt / mu) lambda_H / V obey the step itself,
backwards in time: the curls are transposes of one another under V. docs/theory/adjoint.md has the derivation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from elec.fdtd.sources import Kind, Source
from elec.fdtd.stretching import Along, along_axes, in_layers, shrunk_series
from elec.fields import Widths
from mindsci.tree import Tree

if TYPE_CHECKING:
    from elec.fdtd.step import YeeStep

OFFSETS: dict[Kind, float] = {"current": 0.5, "field": 1.0, "magnetic current": 0.0}


class Table(Tree):
    """A waveform from samples: row n of values (steps, signals) is the signal of step first + n."""

    values: Tensor
    dt: float
    kind: Kind
    first: int = 0

    def __call__(self, t: Tensor) -> Tensor:
        index = torch.round(t / self.dt - OFFSETS[self.kind]).to(torch.int64) - self.first
        if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < len(self.values):
            raise IndexError(
                f"steps {self.first + int(index.min())} to {self.first + int(index.max())} of a waveform that was "
                f"sampled for {self.first} to {self.first + len(self.values) - 1}"
            )
        return self.values[index]


def widths(step: YeeStep) -> Widths:
    """Returns the widths; before magnetic walls the outermost dual cells are cut in half."""
    spacing, duals = (
        [part.detach().cpu().to(torch.float64) for part in flow.spacing] for flow in (step.faraday, step.ampere)
    )
    cells = tuple(torch.cat([part, part[-1:]]) for part in spacing)
    return Widths(cells, tuple(step.ampere.walls.halved(dual, axis) for axis, dual in enumerate(duals)))


class Drive(NamedTuple):
    """What enters the adjoint run at places: amplitude times a column of signals (steps of the forward run, columns).

    Row n belongs to the fields that step n leaves. Components 3 to 5 are magnetic.
    """

    places: Tensor
    amplitude: Tensor
    columns: Tensor
    signals: Tensor

    def largest(self) -> float:
        if not len(self.places) or not self.signals.numel():
            return 0.0
        return float((self.amplitude.abs() * self.signals.abs().amax(0)[self.columns]).max())


def drives(
    step: YeeStep, records: Tensor | None, spectra: Tensor | None, first: int, n_steps: int, dt: float
) -> list[Drive]:
    """Returns what the gradients of the records and of the spectra do to the fields of each step."""
    found = []
    probes, monitors = step.probe.probes, step.probe.monitors
    if records is not None and len(probes.weights):
        row, place = probes.weights.nonzero(as_tuple=True)
        signals = records[:, first : first + n_steps].T.to(torch.float64).cpu()
        found.append(
            Drive(probes.edges[place].cpu(), probes.weights[row, place].to(torch.float64).cpu(), row.cpu(), signals)
        )
    if spectra is not None and monitors.n_points:
        phases, start = monitors.phases(first, n_steps, dt), 0
        for box in monitors.boxes:
            size = int(torch.tensor(box.shape).prod())
            part = spectra[:, :, start : start + size].detach().cpu().to(torch.float64)
            start += size
            which, f, point = part.nonzero(as_tuple=True)
            _, x, y, z = box.shape
            component = point // (x * y * z) + (0 if box.field == "electric" else 3)
            nodes = [point // (y * z) % x, point // z % y, point % z]
            places = torch.stack([component, *(n + low for n, low in zip(nodes, box.low, strict=True))], dim=1)
            signals = phases[:, 0 if box.field == "electric" else 1].reshape(n_steps, -1)
            found.append(Drive(places, part[which, f, point], 2 * f + which, signals))
    return [folded(step, one) for one in found if len(one.places)]


def images(step: YeeStep, places: Tensor) -> Tensor:
    """Returns the places with those on the last node of a periodic axis moved to the first, whose image they are."""
    places = places.clone()
    for axis in range(3):
        if step.ampere.walls.periodic(axis):
            across = (places[:, 0] % 3 == axis) == (places[:, 0] >= 3)
            last = step.ampere.media.metal.shape[axis + 1] - 1
            places[:, 1 + axis] = torch.where(across & (places[:, 1 + axis] == last), 0, places[:, 1 + axis])
    return places


def folded(step: YeeStep, drive: Drive) -> Drive:
    return drive._replace(places=images(step, drive.places))


def adjoint_sources(
    step: YeeStep, found: Sequence[Drive], size: Widths, scale: float, dt: float
) -> tuple[list[Source], list[Source]]:
    """Returns the electric and the magnetic currents of the adjoint run of n_steps + 1 steps."""
    along = along_axes(step, dt)
    electric: list[Source] = []
    magnetic: list[Source] = []
    for drive in found:
        layered = in_layers(along, drive.places)
        for inside in (False, True):
            chosen = layered == inside
            if not bool(chosen.any()):
                continue
            places, amplitude, columns = drive.places[chosen], drive.amplitude[chosen], drive.columns[chosen]
            signals = drive.signals.flip(0)
            if inside:  # each place gets a signal of its own
                assert along is not None
                signals = _shrunk(signals, amplitude, columns, places, along)
                amplitude, columns = torch.ones(len(places), dtype=torch.float64), torch.arange(len(places))
            amplitude = amplitude * scale / size.volume(places)
            for is_magnetic, sources in ((False, electric), (True, magnetic)):
                mine = (places[:, 0] >= 3) == is_magnetic
                if bool(mine.any()):
                    kind: Kind = "magnetic current" if is_magnetic else "current"
                    place = places[mine] % torch.tensor([3, 1 << 30, 1 << 30, 1 << 30])
                    sources.append(
                        Source(
                            places=place,
                            amplitude=amplitude[mine] * (1.0 if is_magnetic else -1.0),
                            waveform=Table(values=_timed(signals, is_magnetic), dt=dt, kind=kind),
                            kind=kind,
                            columns=columns[mine],
                        )
                    )
    return electric, magnetic


def _shrunk(signals: Tensor, amplitude: Tensor, columns: Tensor, places: Tensor, along: Sequence[Along]) -> Tensor:
    return shrunk_series(signals[:, columns] * amplitude, along, places)


def _timed(signals: Tensor, magnetic: bool) -> Tensor:
    """Signals of the adjoint steps: E of the last forward step enters at step 0, H at step 1."""
    none = signals.new_zeros(1, signals.shape[1])
    return torch.cat([none, signals] if magnetic else [signals, none])


class Reader(NamedTuple):
    """Places whose adjoint field gives the gradient of one source: columns first .. last of the run's signals.

    For a held field there are four faces to each edge, with the weights of the curl.
    """

    source: Source
    places: Tensor
    weights: Tensor


def reader(step: YeeStep, source: Source) -> Reader:
    """Returns what has to be read for a source."""
    places = source.places.cpu()
    if source.kind == "magnetic current":
        places = places + torch.tensor([3, 0, 0, 0])
    if source.kind != "field":
        return Reader(source, images(step, places), torch.ones(len(places), dtype=torch.float64))
    faces, weights = [], []
    for place in images(step, places).tolist():
        component = place[0]
        for axis, face, sign in (
            ((component + 1) % 3, (component + 2) % 3, 1.0),
            ((component + 2) % 3, (component + 1) % 3, -1.0),
        ):
            wall = step.ampere.walls.sides(axis)[0]
            inverse = sign / float(step.ampere.spacing[axis][place[1 + axis]])
            before = place.copy()
            before[0] = face + 3
            after = before.copy()
            before[1 + axis] -= 1
            if before[1 + axis] < 0:
                # Beyond the first node: the other side, the mirror image with the other sign, or a conductor.
                before[1 + axis] = step.ampere.media.metal.shape[axis + 1] - 2 if wall == "periodic" else 0
                weights += [2 * inverse, 0.0] if wall == "pmc" else [inverse, -inverse]
            else:
                weights += [inverse, -inverse]
            faces += [after, before]
    return Reader(source, torch.tensor(faces).reshape(-1, 4), torch.tensor(weights, dtype=torch.float64))
