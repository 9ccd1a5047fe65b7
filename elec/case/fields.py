"""The task "elec/fields": parts and field sources in a case file; fields, radiation and cross-sections out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from elec.case.base import FieldCase
from elec.case.progress import SAVE_EVERY, Clock
from elec.case.setting import as_lines
from elec.case.signals import SignalTable
from elec.case.source_model import SourceModel, Sums, Watch, assemble_sources, prepare_sources
from elec.case.sources import SourceTable
from elec.case.team import Team, team_of
from mindsci import tree
from mindsci.errors import InputError

if TYPE_CHECKING:
    import torch

    from elec.case.team import AnyStep
    from elec.fields import Fields
    from mindsci.runs import Run


class FieldsCase(FieldCase):
    """What dipoles, plane waves and Gaussian beams do to parts, by FDTD: fields, patterns, cross-sections."""

    sources: list[SourceTable] = Field(min_length=1)
    excitation: SignalTable

    @property
    def wanted(self) -> tuple[float, ...]:
        """Frequencies of the figures [Hz]."""
        return tuple(dict.fromkeys([*self.fields.frequencies, *self.far_field.frequencies]))

    @model_validator(mode="after")
    def _band(self) -> FieldsCase:
        if not self.wanted:
            raise InputError(
                'nothing is asked for; give fields.frequencies or far_field.frequencies, such as ["10 GHz"]'
            )
        signal = self.excitation
        if signal.continuous and set(self.wanted) != {signal.highest}:
            raise InputError(
                f"a continuous wave of {signal.highest / 1e9:g} GHz holds no other frequency, and "
                f"{', '.join(f'{one / 1e9:g}' for one in self.wanted)} GHz are asked for; use that one, or a pulse"
            )
        if signal.continuous and self.time.step is not None:
            raise InputError("the step of a continuous wave is a whole part of its period; leave time.step out")
        if max(self.wanted) > 1.5 * signal.highest:
            raise InputError(
                f"frequencies up to {max(self.wanted) / 1e9:g} GHz are asked for, but the signal ends at "
                f"{signal.highest / 1e9:g} GHz; raise the frequency of the excitation"
            )
        return self

    @model_validator(mode="after")
    def _named(self) -> FieldsCase:
        names = [table.name or f"source {number}" for number, table in enumerate(self.sources, start=1)]
        if len(set(names)) != len(names):
            raise InputError(f"two sources have one name: {', '.join(names)}; give each its own")
        return self

    def preflight(self, folder: Path | None = None, device: str = "cpu") -> list[str]:
        """Returns what is known before the run, one finding a line; the mesh is drawn into the folder, if any."""
        import torch

        from elec.pictures import plot_mesh
        from elec.preflight import cost, measured_rate

        model, findings = assemble_sources(self, device)
        if model is not None:
            rate = measured_rate(self.engine, getattr(torch, self.precision), device)
            findings.append(cost(model.grid, self.time.n_steps, 1, rate))
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                plot_mesh(folder / "mesh.png", model.setting.mesh, model.setting.scene)
        return as_lines(findings)

    def run(self, run: Run) -> None:
        """Computes the fields and writes what is known of them into the run's folder."""
        from elec.outputs import write_geometry
        from elec.source_outputs import write_source_results

        with team_of(run) as team:
            model = prepare_sources(self, run.device)
            for line in model.notes:
                run.log(line)
            if team.writes:
                write_geometry(run, model.setting.scene, model.setting.mesh, model.media)
            step = team.step(model.step())
            for line in team.notes(step):
                run.log(line)
            if not team.writes:  # it keeps its slab alone
                model = tree.replace(model, media=step.local.ampere.media)
            sums = _march(self, model, run, step, team)
            if team.writes:
                write_source_results(run, self, model, sums)


def solve_sources(case: FieldsCase, device: torch.device | str = "cpu") -> tuple[SourceModel, Sums]:
    """Returns the model of a case and what its run gives, without a folder."""
    model = prepare_sources(case, device)
    step, watch = model.step(), Watch(case, model)
    fields, done = step.start(), 0
    for now, count in watch.march(step, fields, case.time.n_steps, 0):
        fields, done = now, count
    return model, watch.sums(fields, done)


def _march(case: FieldsCase, model: SourceModel, run: Run, step: AnyStep, team: Team) -> Sums:
    """Returns what the run gives, with progress, restarts, and an orderly stop."""
    watch, limit = Watch(case, model, step, team), case.time.n_steps
    fields, done, over = step.start(), 0, False
    if (stored := run.load_restart()) is not None:
        tensors, meta = stored
        own = {name.removeprefix("fields."): part for name, part in tensors.items() if name.startswith("fields.")}
        fields, done, over = team.taken_up(step, fields, own), meta["step"], meta["over"]
        watch.take_up(tensors, meta)
        run.log(f"continuing at step {done}")
    saved, clock = time.monotonic(), Clock(model.grid.n_cells)
    with run.progress(limit, "FDTD", done=done) as progress:
        for now, count in () if over else watch.march(step, fields, limit, done):
            rate = clock.rate(count - done)
            progress.advance(count - done, **{"Mcells/s": rate or 0.0, "left dB": watch.level})
            fields, done = now, count
            stop, due = team.any(run.stop_requested, time.monotonic() - saved > SAVE_EVERY)
            if stop or due:
                _save(run, watch, team.whole(step, fields), done)
                saved = time.monotonic()
            if stop:
                run.stop()
    _save(run, watch, team.whole(step, fields), done, over=True)
    sums = watch.sums(fields, done)
    return tree.replace(sums, spectra=team.sums(step, sums.spectra), rate=clock.rate(0))


def _save(run: Run, watch: Watch, fields: Fields | None, done: int, *, over: bool = False) -> None:
    """Writes the fields and what was seen of them, where this process writes."""
    tensors, meta = watch.state()
    if fields is None:
        return
    tensors |= {f"fields.{name}": part for name, part in tree.named_leaves(fields)}
    run.save_restart(tensors, meta | {"step": done, "over": over})
