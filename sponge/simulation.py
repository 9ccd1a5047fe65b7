"""The run of a molecular dynamics case: minimise, then stage after stage in chunks that can be interrupted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy
import torch

from mindsci import tree
from mindsci.errors import InputError
from mindsci.runs import Folder, Run, chunks
from mindsci.solvers import Flow, rollout
from sponge import formats, reporting, restart, soundness, trajectory
from sponge.ase_atoms import to_ase
from sponge.batch import replicate, select, separate
from sponge.dynamics import check_forces, maxwell_boltzmann, minimise
from sponge.model import Model
from sponge.potentials.ensemble import Ensemble, without_deviation
from sponge.system import System
from sponge.trajectory import Journal, Topology

if TYPE_CHECKING:
    from sponge.case import MolecularDynamicsCase

JOURNAL = "trajectory.journal"
CHUNK = 100
"""steps, at least, between two looks at the world"""
SAVE_EVERY = 2.0
"""seconds between two restarts; when they are written does not change what is computed"""


class Simulation:
    """A system, or its replicas as one batch, on the way through the stages of a case: the state, and where it is."""

    def __init__(self, case: MolecularDynamicsCase, run: Run, model: Model) -> None:
        self.case, self.run, self.model = case, run, model
        self.forces, self.system = model.forces, model.system
        self._limit = None if case.potential is None else case.potential.uncertainty_limit
        if self._limit is not None and not isinstance(self.forces.potential, Ensemble):
            raise InputError("potential.uncertainty_limit needs an ensemble; give models = [...], two or more")
        self.stage, self.done, self.n_frames = 0, 0, 0
        """stage, its steps taken, frames in the journal"""
        dtype = self.system.positions.cpu().numpy().dtype
        formats.check_formats(case.output.formats)
        topology = Topology.of(self.system, model.topology)
        self.journal = Journal(run.path(JOURNAL), topology, dtype, self.system.n_systems)
        self._saved = time.monotonic()
        self._simulated, self._began = 0.0, 0.0

    def finish(self) -> None:
        """Does what remains of the case and writes its results."""
        saved = self.run.load_restart()
        if saved is not None and saved[1]["complete"]:
            self.run.log(f"'{self.run.folder}' is complete already; nothing is left to do")
            return
        if saved is not None:
            self._restore(*saved)
        else:
            self.journal.begin(0)
            self._relax()
            self._save()
        total = sum(stage.n_steps for stage in self.case.stages)
        with self.run.progress(total, "dynamics", unit="steps", done=self._step()) as bar:
            for number in range(self.stage, len(self.case.stages)):
                self._run_stage(number, bar)
        self._save()
        self._export()
        self.run.results(reporting.summary([self._figures(replica) for replica in range(self.system.n_systems)]))
        self._save(complete=True)
        self.journal.path.unlink()

    def _restore(self, tensors: dict[str, torch.Tensor], where: dict[str, Any]) -> None:
        self.system = restart.restored(self.system, tensors, self.forces)
        self.stage, self.done, self.n_frames = where["stage"], where["done"], where["frames"]
        self.journal.begin(self.n_frames)
        self.run.log(f"continuing at step {self.done} of stage {self.stage}, with {self.n_frames} frames kept")

    def _save(self, *, complete: bool = False) -> None:
        where = {"stage": self.stage, "done": self.done, "frames": self.n_frames, "complete": complete}
        self.run.save_restart(restart.kept(self.system), where)
        self._saved = time.monotonic()

    def _relax(self) -> None:
        """Minimises the energy if the case asks for it, and always sets the first forces."""
        asked = self.case.minimise
        with torch.no_grad():
            # Replicas begin at one and the same place; the topology of a force field is that of all of them.
            alone = self.model.topology is None
            one = self.forces(select(self.system, 0) if alone else self.system)
            check_forces(one)
            if asked is not None:
                before = float(one.energy[0])
                options: dict[str, Any] = dict(asked) | {"constraints": self.model.constraints}
                found = minimise(self.forces, one, **options)
                one = found.system
                self.run.log(
                    f"minimised in {found.n_steps} steps: energy {before:.6f} -> {float(one.energy[0]):.6f} eV, "
                    f"largest force {found.max_force:.2e} eV/angstrom"
                )
                self._write_structure("minimised.xyz", select(one, 0))
            self.system = self.forces(replicate(one, self.system.n_systems)) if alone else one
        soundness.check_start(self.system, self.model, self.case.stages[0].dt, minimised=asked is not None)

    def _write_structure(self, name: str, batch: System) -> None:
        from ase.io import write

        images = []
        for system in separate(batch):
            images.append(to_ase(system))
            if system.deviation is not None:
                images[-1].arrays["force_deviation"] = system.deviation.cpu().numpy()
        with self.run.writing(name) as temporary:
            write(temporary, images, format="extxyz")

    def _run_stage(self, number: int, bar: Any) -> None:
        stage = self.case.stages[number]
        # Stages draw from separate streams, and a resumed stage from the one it began with.
        seed = (self.case.seed << 16) + number
        if number != self.stage:
            self.stage, self.done = number, 0
        if self.done == 0:
            self.system = stage.entered(self.model, self.system)
            self._begin_stage(stage, seed)
        integrator, self.system = stage.begin(self.model, self.system, seed)
        self.run.log(f"stage {number}: {stage.kind}, {stage.n_steps} steps of {stage.dt:g} fs")
        self._simulated, self._began = 0.0, time.monotonic()
        for first, count in chunks(self.done, stage.n_steps, self._chunk()):
            self._take(first, count, *self._advance(integrator, first, count))
            self._simulated += count * stage.dt
            bar.advance(count, **self._shown())
            self._between_chunks()

    def _begin_stage(self, stage: Any, seed: int) -> None:
        """Draws momenta where they are asked for, or where a first stage would start at rest."""
        at_rest = not bool(self.system.momenta.any())
        draws = stage.momenta == "draw" or (stage.momenta is None and self.stage == 0 and at_rest)
        if draws:
            if stage.temperature is None:
                raise InputError(
                    f'stages.{self.stage}: the system is at rest; add temperature = "300 K" to draw momenta, '
                    'or momenta = "keep" to start from rest'
                )
            options = {"temperature": stage.kelvin(), "constraints": self.model.constraints}
            self.system = maxwell_boltzmann(self.system, seed=seed, **options)
        if self._step() == 0:
            seen = observe(self.system, self.model)
            self._record(tree.map(lambda leaf: leaf[None], seen), numpy.zeros(1, dtype=numpy.int64))

    def _chunk(self) -> int:
        """Steps between two looks at the world: a multiple of `every`, so that frames fall on the same steps."""
        every = self.case.output.every
        return every * -(-CHUNK // every)

    def _advance(self, integrator: Flow, first: int, count: int) -> tuple[System, Any]:
        """Returns the state after a chunk, and its frames. Raises InputError at the step that goes wrong."""
        stage, every = self.case.stages[self.stage], self.case.output.every
        start = without_deviation(self.system)

        def seen_at(system: System) -> dict[str, torch.Tensor]:
            return observe(stage.abreast(system, self.model), self.model)

        try:
            after, seen = rollout(
                integrator,
                stage.behind(start, self.model),
                n_steps=count,
                dt=stage.dt,
                start=first,
                observe=seen_at,
                every=every,
            )
            after = stage.abreast(after, self.model)
        except InputError:  # told again at its step
            after, seen = start, None
        else:
            if soundness.is_sound(after, seen, self._limit):
                return after, seen
        self._walk(integrator, start, first, count)
        return after, seen

    def _walk(self, integrator: Flow, system: System, first: int, count: int) -> None:
        """Takes a chunk step by step up to the one that fails, keeps the frames before it, and raises InputError."""
        stage, every = self.case.stages[self.stage], self.case.output.every
        system = stage.behind(system, self.model)
        for index in range(first, first + count):
            try:
                system, _ = rollout(integrator, system, n_steps=1, dt=stage.dt, start=index)
                soundness.check(system, self._limit, self.model)
            except soundness.Uncertain as error:
                self._write_structure("uncertain.xyz", system)
                fix = "train on structures such as that in 'uncertain.xyz', or raise the limit"
                self._fail(index + 1, f"{error}; {fix}", error)
            except InputError as error:
                fix = f"use a dt below {stage.dt:g} fs, or start from a minimised structure"
                self._fail(index + 1, f"the dynamics blew up: {error}; {fix}", error)
            if (index + 1 - first) % every == 0:
                present = stage.abreast(system, self.model)
                frame = tree.map(lambda leaf: leaf[None], observe(present, self.model))
                self._take(index + 1 - every, every, present, frame)

    def _fail(self, step: int, what: str, error: InputError) -> None:
        """Leaves the trajectory and a restart at its last frame, and raises InputError."""
        self._save()
        self._export()
        stage = self.case.stages[self.stage]
        raise InputError(
            f"stages.{self.stage}, step {step} ({self._time_before() + step * stage.dt:g} fs): {what}. "
            f"The frames until then ({self.n_frames}) are in '{self.run.folder}'"
        ) from error

    def _take(self, first: int, count: int, system: System, seen: Any) -> None:
        """Keeps the state after a chunk, and its frames."""
        every = self.case.output.every
        self.system, self.done = system, first + count
        frames = count // every
        if frames:
            self._record(seen, self._step() - count + every * numpy.arange(1, frames + 1))

    def _record(self, seen: dict[str, torch.Tensor], steps: Any) -> None:
        when = {
            "step": steps,
            "time": self._time_before() + (steps - self._steps_before()) * self.case.stages[self.stage].dt,
            "stage": numpy.full(len(steps), self.stage),
        }
        self.n_frames += self.journal.append(when | {name: values.cpu().numpy() for name, values in seen.items()})

    def _between_chunks(self) -> None:
        if self.run.stop_requested:
            self._save()
            self._export()
            self.run.stop()
        if time.monotonic() - self._saved > SAVE_EVERY:
            self._save()

    def _steps_before(self) -> int:
        return sum(stage.n_steps for stage in self.case.stages[: self.stage])

    def _time_before(self) -> float:
        return sum(stage.n_steps * stage.dt for stage in self.case.stages[: self.stage])

    def _step(self) -> int:
        return self._steps_before() + self.done

    def _shown(self) -> dict[str, Any]:
        replicas = range(self.system.n_systems)
        simulated = self._simulated * len(replicas)
        shown: dict[str, Any] = {"ns/day": simulated * 1e-6 / max(time.monotonic() - self._began, 1e-9) * 86400}
        if self.n_frames:
            kelvin = [float(self.journal.read(replica)["temperature"][-1]) for replica in replicas]
            shown["T/K"] = sum(kelvin) / len(kelvin)
        return shown

    def _place(self, replica: int) -> Folder:
        """Where the files of a replica are: the run's own folder where there is one alone."""
        return self.run if self.system.n_systems == 1 else self.run.within(f"replica_{replica:03d}")

    def _figures(self, replica: int) -> dict[str, Any]:
        """What a replica found, the analysis of the last stage included."""
        frames = self.journal.read(replica)
        found = reporting.figures(self.case.stages, frames, self.journal.topology)
        if self.case.analysis is not None:
            last = frames[frames["stage"] == len(self.case.stages) - 1]
            found |= self.case.analysis.analyse(self.journal.topology.trajectory(last), self._place(replica))
        return found

    def _export(self) -> None:
        """Writes the formats that other programs read from the journal."""
        topology = self.journal.topology
        everything = [self.journal.read(replica) for replica in range(self.system.n_systems)]
        for replica, frames in enumerate(everything):
            place = self._place(replica)
            for name, write in (formats.WRITERS[one] for one in self.case.output.formats):
                with place.writing(name) as temporary:
                    write(temporary, frames, topology)
            with place.writing("energies.csv") as temporary:
                trajectory.write_energies(temporary, frames, topology)
        with self.run.writing("energies.png") as temporary:
            reporting.plot(temporary, self.case.stages, everything)


def observe(system: System, model: Model) -> dict[str, torch.Tensor]:
    """Returns what a frame keeps: positions, velocities, potential energy, cell, and a pressure where there is one."""
    seen = {
        "positions": system.positions,
        "velocities": system.velocities,
        "potential": system.energy,
        "cell": system.cell.double(),
    }
    if system.virial is not None and bool(system.periodic.all()):
        # Of whole molecules: the same in the mean as that of atoms, and free of the forces of constraints.
        seen["pressure"] = model.bodies.pressure(system).mean(-1)
    return seen
