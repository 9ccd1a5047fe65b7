"""The task "elec/antenna": parts and ports in a case file; S-parameters, patterns and field pictures out."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from elec.case.base import FieldCase
from elec.case.march import Column, column_of
from elec.case.model import Model, assemble, prepare
from elec.case.ports import PortTable
from elec.case.progress import SAVE_EVERY, Clock
from elec.case.setting import as_lines
from elec.case.tables import ExcitationTable, FrequencyTable
from elec.case.team import Team, team_of
from mindsci import tree
from mindsci.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from torch import Tensor

    from elec.fields import Fields
    from mindsci.runs import Run


class AntennaCase(FieldCase):
    """An antenna or a circuit: S-parameters of its ports, fields and patterns, from its parts by FDTD."""

    ports: list[PortTable] = Field(min_length=1)
    drive: list[str] | None = None
    """names of the ports that are driven, a run for each; all unless given: columns of S for the others are left out"""
    excitation: ExcitationTable
    frequencies: FrequencyTable

    @model_validator(mode="after")
    def _band(self) -> AntennaCase:
        if not self.geometry.parts:
            raise InputError("geometry.parts is empty, and ports lie between conductors; add a part")
        highest = max([self.frequencies.stop, *self.fields.frequencies, *self.far_field.frequencies])
        if highest > 1.5 * self.excitation.frequency_max:
            raise InputError(
                f"frequencies up to {highest / 1e9:g} GHz are asked for, but the pulse ends at "
                f"frequency_max = {self.excitation.frequency_max / 1e9:g} GHz; raise excitation.frequency_max"
            )
        return self

    @model_validator(mode="after")
    def _named(self) -> AntennaCase:
        names = self.port_names
        if len(set(names)) != len(names):
            raise InputError(f"two ports have one name: {', '.join(names)}; give each its own")
        if self.drive is not None and not self.drive:
            raise InputError("drive names no port; leave it out to drive all of them")
        for name in self.drive or ():
            if name not in names:
                raise UnknownNameError.of("port", name, names)
        return self

    @property
    def port_names(self) -> tuple[str, ...]:
        """Names of the ports, in order."""
        return tuple(port.name or f"p{number}" for number, port in enumerate(self.ports, start=1))

    @property
    def driven(self) -> tuple[int, ...]:
        """Numbers of the ports that are driven, from 0."""
        names = self.port_names
        return tuple(range(len(names))) if self.drive is None else tuple(sorted({names.index(n) for n in self.drive}))

    def preflight(self, folder: Path | None = None, device: str = "cpu") -> list[str]:
        """Returns what is known before the run, one finding a line; the mesh is drawn into the folder, if any.

        Raises InputError, after the lines are complete, for what cannot work: `mindsci run --dry-run` shows both.
        """
        import torch

        from elec.pictures import plot_mesh
        from elec.preflight import cost, measured_rate

        model, findings = assemble(self, device)
        if model is not None:
            rate = measured_rate(self.engine, getattr(torch, self.precision), device)
            findings.append(cost(model.grid, self.time.n_steps, len(self.driven), rate))
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                plot_mesh(folder / "mesh.png", model.mesh, model.scene)
        return as_lines(findings)

    def run(self, run: Run) -> None:
        """Computes the fields and writes what is known of them into the run's folder."""
        from elec.outputs import write_geometry, write_results

        with team_of(run) as team:
            model = prepare(self, run.device)
            for line in model.notes:
                run.log(line)
            if team.writes:
                write_geometry(run, model.scene, model.mesh, model.media)
            runner = _Runner(self, model, run, team)
            del model  # a process of several keeps its slab alone
            columns = runner.all()
            if team.writes:
                write_results(run, self, runner.model, columns)


class _Runner:
    """The runs of a case in its folder: progress, restarts, and an orderly stop; each restart holds what earlier runs
    gave."""

    def __init__(self, case: AntennaCase, model: Model, run: Run, team: Team) -> None:
        self.case, self.model, self.run, self.team = case, model, run, team
        self.columns: list[Column] = []
        self.steps = self._steps()
        if not team.writes:
            self.model = model.in_media(self.steps[case.driven[0]].local.ampere.media)

    def _steps(self) -> dict[int, Any]:
        """This process's part of the step of each run, where several run the case; else each is made for its run."""
        model, team, order = self.model, self.team, self.case.driven
        if team.world == 1:
            return {}
        first = team.step(model.step(order[0]))
        for line in team.notes(first):
            self.run.log(line)
        others = {
            driven: team.driven_by(first, model.ports[driven].sources, functools.partial(model.step, driven))
            for driven in order[1:]
        }
        return {order[0]: first} | others

    def all(self) -> list[Column]:
        """Returns the columns of all runs, those of a restart as they were."""
        stored, order = self.run.load_restart(), self.case.driven
        tensors, meta = stored if stored is not None else ({}, {"driven": order[0], "step": 0, "steps": []})
        for index, n_steps in enumerate(meta["steps"]):
            records, spectra = (tensors[f"columns.{index}.{name}"] for name in ("records", "spectra"))
            self.columns.append(Column(driven=order[index], records=records, spectra=spectra, n_steps=n_steps))
        for driven in order[len(self.columns) :]:
            again = (tensors, meta["step"]) if driven == meta["driven"] and stored is not None else None
            self.columns.append(self.one(driven, again))
        return self.columns

    def one(self, driven: int, again: tuple[dict[str, Tensor], int] | None) -> Column:
        """Returns the column of the run in which one port is driven, continued from a restart where there is one."""
        model, run, limits = self.model, self.run, self.case.time
        step, team = self.steps.get(driven) or model.step(driven), self.team
        if len(model.ports) > 1:
            run.log(f"port {driven + 1} of {len(model.ports)} ('{self.case.port_names[driven]}') driven")
        fields, done = step.start(limits.n_steps), 0
        if again is not None:
            own = {name.removeprefix("fields."): part for name, part in again[0].items() if name.startswith("fields.")}
            fields, done = team.taken_up(step, fields, own), again[1]
            run.log(f"continuing at step {done}")
        saved, clock = time.monotonic(), Clock(model.grid.n_cells)
        with run.progress(limits.n_steps, "FDTD", done=done) as progress:
            for now, count in model.march(step, fields, limits, done):
                rate = clock.rate(count - done)
                progress.advance(count - done, **{"Mcells/s": rate or 0.0, "port dB": model.level(now.records, count)})
                fields, done = now, count
                stop, due = team.any(run.stop_requested, time.monotonic() - saved > SAVE_EVERY)
                if stop or due:
                    self.save(team.whole(step, fields), driven, done)
                    saved = time.monotonic()
                if stop:
                    run.stop()
        self.save(team.whole(step, fields), driven, done)
        fields = tree.replace(fields, spectra=team.sums(step, fields.spectra))
        column, foretold = column_of(self.case, model, driven, fields, done)
        if foretold is not None:
            run.log(
                f"the records of port {driven + 1}'s run, {done} steps, are continued to {column.records.shape[1]} by "
                f"their free oscillations, which foretell their last third to {foretold:.2g} of the peak; fields and "
                "far fields are those of the steps that were run"
            )
        return tree.replace(column, rate=clock.rate(0))

    def save(self, fields: Fields | None, driven: int, done: int) -> None:
        """Writes the fields and what the runs before this one gave, where this process writes."""
        if fields is None:
            return
        tensors = {f"fields.{name}": part for name, part in tree.named_leaves(fields)}
        for index, column in enumerate(self.columns):
            tensors |= {f"columns.{index}.records": column.records, f"columns.{index}.spectra": column.spectra}
        steps = [column.n_steps for column in self.columns]
        self.run.save_restart(tensors, {"driven": driven, "step": done, "steps": steps})
