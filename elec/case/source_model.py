"""From a case of field sources to its model: the sources on the grid and the step of the run; every check before it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from elec.case.ports import all_stations
from elec.case.setting import Drive, Setting, as_lines, check_room, media_of, set_out, time_note, tried
from elec.case.signals import signal_spectrum
from elec.case.sources import PlacedSource, Surroundings, open_sides
from elec.case.team import Team
from elec.fdtd.absorber import absorbing_layers
from elec.fdtd.media import Media, in_precision
from elec.fdtd.step import YeeStep, engine_note, yee_step
from elec.fields import Fields
from elec.grid import Grid
from elec.materials import find_material
from elec.numbers import along, plain_real
from elec.observables.decay import pieces
from elec.preflight import Finding, error, warning
from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree

if TYPE_CHECKING:
    from elec.case.fields import FieldsCase
    from elec.case.team import AnyStep

EVERY = 200
"""Least steps between two looks at the fields."""
WEAKEST = 1e-3
"""Spectrum of the signal at a wanted frequency, of its largest: below it rounding is seen, not fields."""


class SourceModel(Tree):
    """All that the run of a case of sources needs, checked."""

    setting: Setting
    media: Media
    sources: tuple[PlacedSource, ...]
    continuous: bool
    background: tuple[float, float]
    """relative permittivity and permeability"""
    engine: str
    notes: tuple[str, ...] = ()

    @property
    def grid(self) -> Grid:
        return self.setting.grid

    def step(self) -> YeeStep:
        """Returns the step of the run."""
        return yee_step(
            self.grid,
            self.media,
            absorber=absorbing_layers(self.grid),
            walls=self.setting.walls,
            sources=[source for placed in self.sources for source in placed.sources],
            monitors=self.setting.monitors,
            engine=self.engine,
        )

    @property
    def piece(self) -> int:
        """Steps between two looks at the fields: whole periods of a continuous wave."""
        if not self.continuous:
            return EVERY
        period = round(1.0 / (self.setting.monitors.frequencies[0] * self.setting.dt))
        return period * max(1, round(EVERY / period))


class Sums(Tree):
    """Fourier sums of a run, and the steps that they belong to."""

    spectra: Float[Tensor, "2 f points"]
    steps: tuple[int, int]
    """first and last of the window: from rest, or the last periods of a continuous wave"""
    level: float
    """what is left of the energy, or how far the last periods differ from those before [dB]"""
    rate: float | None = None
    """million cells a second"""

    def unpacked(self, case: FieldsCase, model: SourceModel) -> list[Complex[Tensor, "f 3 _ _ _"]]:
        """Returns the fields in each box, for a signal that is a sine of one: with their amplitudes, [V/m], [A/m]."""
        monitors = model.setting.monitors
        signal = signal_spectrum(case.excitation.signal(), model.setting.dt, self.steps, monitors.frequencies)
        boxes = monitors.unpack(self.spectra.cpu().to(torch.float64))
        return [box / signal[:, None, None, None, None] for box in boxes]


class Watch:
    """Looks at a run of sources between its pieces: whether it is over, and what its sums are worth.

    A pulse is over once the energy in the fields has fallen by `decay`; a continuous wave once the Fourier sums of its
    last periods are, to that, those of the periods before.
    """

    def __init__(
        self, case: FieldsCase, model: SourceModel, step: AnyStep | None = None, team: Team | None = None
    ) -> None:
        """step, team: where several processes run the case, the part of the step that this one takes."""
        self.model, self.decay = model, case.time.decay
        self.step, self.team = step, team if team is not None else Team()
        self.settled = case.excitation.signal().duration
        # Poles hold energy too, but not all kinds of them say how much: the fields alone tell when it is over.
        self.energy = self.team.energy(step, model.grid, model.media, model.setting.walls)
        self.highest, self.level, self.span = 0.0, math.inf, (0, 0)
        self.before: Tensor | None = None
        """sums at the start of the last periods"""
        self.window: Tensor | None = None
        """sums over the last periods"""

    def march(self, step: AnyStep, fields: Fields, n_steps: int, done: int) -> Iterator[tuple[Fields, int]]:
        """Yields the fields and the steps done, piece by piece, until the run is over or the steps are used up."""
        if self.before is None:
            self.before = torch.zeros_like(fields.spectra)
        yield from pieces(
            step, fields, dt=self.model.setting.dt, n_steps=n_steps, quiet=self.quiet, every=self.model.piece, done=done
        )

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Returns what was seen, for a restart."""
        sums = {"before": self.before, "window": self.window}
        tensors = {
            f"watch.{name}": self.team.sums(self.step, part)  # type: ignore[arg-type]
            for name, part in sums.items()
            if part is not None
        }
        return tensors, {"highest": self.highest, "level": self.level, "span": self.span}

    def take_up(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Takes what an earlier part of the run saw."""
        device = self.model.media.permittivity.device
        for name in ("before", "window"):
            part = tensors.get(f"watch.{name}")
            own = None if part is None else self.team.own_sums(self.step, part.to(device))  # type: ignore[arg-type]
            setattr(self, name, own)
        self.highest, self.level, self.span = meta["highest"], meta["level"], tuple(meta["span"])

    def quiet(self, fields: Fields, first: int, last: int) -> bool:
        """Whether the run is over. Raises InputError where the fields grow without bound."""
        if not self.model.continuous:
            self.level = self._left(fields, first, last)
        elif last - first == self.model.piece:  # what is left at the end of the steps is no whole number of periods
            self.level = self._steadiness(fields, first, last)
        return last * self.model.setting.dt > self.settled and self.level <= self.decay

    def _left(self, fields: Fields, first: int, last: int) -> float:
        energy = self.energy(fields, first, last)
        if not math.isfinite(energy):
            raise InputError(f"the fields grew without bound by step {last}; use a smaller time.courant")
        self.highest = max(self.highest, energy)
        return 10.0 * math.log10(max(energy, 1e-40 * self.highest) / self.highest) if self.highest > 0 else math.inf

    def _steadiness(self, fields: Fields, first: int, last: int) -> float:
        window = fields.spectra - self.before
        if self.team.any(not bool(window.isfinite().all()))[0]:
            raise InputError(f"the fields grew without bound after step {first}; use a smaller time.courant")
        level = math.inf
        if self.window is not None:
            change, size = self.team.norm(window - self.window), self.team.norm(window)
            level = 20.0 * math.log10(max(change, 1e-20 * size) / size) if size > 0 else math.inf
        self.span, self.window, self.before = (first, last), window, fields.spectra.clone()
        return level

    def sums(self, fields: Fields, done: int) -> Sums:
        """Returns what the run gives."""
        if self.model.continuous and self.window is not None:
            return Sums(spectra=self.window, steps=self.span, level=self.level)
        return Sums(spectra=fields.spectra, steps=(0, done), level=self.level)


def prepare_sources(case: FieldsCase, device: torch.device | str = "cpu") -> SourceModel:
    """Returns the model of a case of sources. Raises InputError with the fix for anything that cannot work."""
    model, findings = assemble_sources(case, device)
    faults = [finding.text for finding in findings if finding.severity == "error"]
    if faults or model is None:
        raise InputError("\n".join(faults))
    return model


def assemble_sources(case: FieldsCase, device: torch.device | str = "cpu") -> tuple[SourceModel | None, list[Finding]]:
    """Returns the model, or None where a source does not fit, and what is to be said about it before the run."""
    findings: list[Finding] = []
    signal, wanted = case.excitation, case.wanted
    drive = Drive(
        frequency_max=signal.highest,
        duration=signal.signal().duration,
        band=(min(wanted), max(wanted)),
        comb=(),
        stations=tuple(tuple(axis) for axis in all_stations([*case.sources, *case.elements])),
        period=1.0 / signal.highest if signal.continuous else None,
    )
    setting = set_out(case, drive, findings)
    findings += [*_check_signal(case, setting), *_check_far_field(case)]
    if faults := check_room(case, setting, device):
        return None, [*findings, *faults]
    media = media_of(case, setting, findings)
    background = tried(findings, lambda: _background(case, setting))
    if background is None:
        return None, findings
    placed = _placed(case, setting, media, background, findings)
    findings += [time_note(case, setting), Finding(severity="note", text=f"signal: {signal.note()}")]
    if placed is None:
        return None, findings
    model = SourceModel(
        setting=setting,
        media=tree.to(in_precision(media, getattr(torch, case.precision)), device=device),
        sources=placed,
        continuous=signal.continuous,
        background=background,
        engine=case.engine,
    )
    step = tried(findings, model.step)
    findings += [Finding(severity="note", text=engine_note(step))] if step is not None else []
    return tree.replace(model, notes=tuple(as_lines(findings))), findings


def _placed(
    case: FieldsCase, setting: Setting, media: Media, background: tuple[float, float], findings: list[Finding]
) -> tuple[PlacedSource, ...] | None:
    """The sources on the grid; what is wrong with any is added to the findings."""
    around = Surroundings(
        grid=setting.grid,
        media=media,
        walls=setting.walls,
        open_sides=open_sides(case.boundaries.sides),
        dt=setting.dt,
        n_steps=case.time.n_steps,
        signal=case.excitation.signal(),
        continuous=case.excitation.continuous,
        frequencies=case.wanted,
        permittivity=background[0],
        permeability=background[1],
    )
    placed = []
    for number, table in enumerate(case.sources, start=1):
        name = table.name or f"source {number}"
        try:
            source, found = table.place(name, around)
        except InputError as fault:
            findings.append(error(f"{name}: {fault}"))
            continue
        findings += [*found, Finding(severity="note", text=f"{name}: {source.note}")] if source.sources else found
        placed += [source] if source.sources else []
    return tuple(placed) if len(placed) == len(case.sources) else None


def _background(case: FieldsCase, setting: Setting) -> tuple[float, float]:
    """Relative permittivity and permeability of the background. Raises InputError where waves in it are not simple."""
    material = find_material(case.geometry.background, setting.scene.materials)
    found = []
    for what in ("relative_permittivity", "relative_permeability"):
        values = {plain_real(along(getattr(material, what), axis)) for axis in range(3)}
        if len(values) > 1:
            raise InputError(f"the background '{material.name}' is anisotropic, which waves and far fields do not know")
        found.append(values.pop())
    lossy = any(plain_real(along(material.conductivity, axis)) > 0 for axis in range(3))
    needs = bool(case.far_field.frequencies) or any(table.kind != "dipole" for table in case.sources)
    if needs and (lossy or material.poles or material.kind != "dielectric"):
        raise InputError(
            f"the background '{material.name}' is lossy or dispersive, which incident waves and far fields do not "
            "know; use a lossless one, and a part of that material"
        )
    return found[0], found[1]


def _check_signal(case: FieldsCase, setting: Setting) -> list[Finding]:
    """Returns errors for frequencies of which the signal has nothing, warnings for signals that leave charge behind."""
    found, signal = [], case.excitation
    if not signal.continuous:
        n_steps = min(case.time.n_steps, math.ceil(signal.signal().duration / setting.dt))
        probed = tuple(float(f) for f in torch.linspace(0.0, signal.highest, 41, dtype=torch.float64))
        size = signal_spectrum(signal.signal(), setting.dt, (0, n_steps), (*probed, *case.wanted)).abs()
        for frequency, part in zip(case.wanted, size[len(probed) :], strict=True):
            if float(part) < WEAKEST * float(size.max()):
                found.append(
                    error(
                        f"at {frequency / 1e9:g} GHz the signal ({signal.note()}) is below {WEAKEST:g} of its largest; "
                        "leave that frequency out, or give the excitation a band that holds it"
                    )
                )
    if signal.waveform == "gaussian" and any(table.kind == "dipole" for table in case.sources):
        found.append(
            warning(
                "a Gaussian signal leaves charges at the ends of a dipole, whose static field never decays: the run "
                'goes on for all of time.n_steps; use waveform = "pulse"'
            )
        )
    return found


def _check_far_field(case: FieldsCase) -> list[Finding]:
    """Returns an error where no far field follows from the sources."""
    kinds = [table.kind for table in case.sources]
    if not case.far_field.frequencies or set(kinds) == {"dipole"} or kinds == ["plane_wave"]:
        return []
    beam = "gaussian_beam" in kinds
    return [
        error(
            "no far field with these sources: "
            + ("the sheet of a beam reaches across the whole grid, so that nothing encloses it; " if beam else "")
            + "a far field is that of dipoles, or what one plane wave is scattered into; leave [far_field] out, or "
            "put the other sources into a case of their own"
        )
    ]
