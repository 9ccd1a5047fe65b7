"""`mindsci bench md`: writes the systems, runs each program on them, and compares their rates."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mindsci.errors import InputError, UnknownNameError
from mindsci.hub.settings import Settings
from mindsci.report import Report, Row
from sponge.bench_md import cases, lammps, scaling

EXPONENT = 1.1
"""largest exponent of the cost with the number of atoms: linear, with caches that overflow on the way"""


class Case(NamedTuple):
    """A system, the steps of a repeat for us and for each peer, and the times of each peer's speed that are asked."""

    about: str
    cells: int
    structure: str
    steps: dict[str, int]
    gates: dict[str, float]


CASES = {
    "argon_864": Case(
        "argon, 864 atoms", 6, "", {"mindsci": 4000, "LAMMPS": 3000, "OpenMM": 1500}, {"LAMMPS": 1.0, "OpenMM": 2.0}
    ),
    "argon_32000": Case(
        "argon, 32 000 atoms", 20, "", {"mindsci": 200, "LAMMPS": 100, "OpenMM": 60}, {"LAMMPS": 1.0, "OpenMM": 2.0}
    ),
    "water": Case("rigid TIP3P, 2685 atoms, PME", 0, "tip3p.pdb", {"mindsci": 200, "OpenMM": 200}, {"OpenMM": 1.5}),
    "dhfr": Case(
        "DHFR, 23 558 atoms, PME", 0, "5dfr_solv-cube_equil.pdb", {"mindsci": 40, "OpenMM": 30}, {"OpenMM": 1.5}
    ),
}


def md(
    only: str = "",
    environments: str = "",
    structures: str = "",
    threads: int = 2,
    repeats: int = 3,
    effort: float = 1.0,
) -> Report:
    """Steps per second of NVE with 2 fs beside LAMMPS and OpenMM: liquid argon, rigid water, DHFR in water.

    Then how the processor time of a step grows from 10^3 to 3 10^5 atoms of argon and of water, on one thread.
    only: names of cases, with commas; all unless given. environments: a folder whose `openmm` and `lammps` are virtual
    environments with OpenMM and LAMMPS, run in the same call between two runs of our own. structures: a folder with
    tip3p.pdb and 5dfr_solv-cube_equil.pdb of OpenMM's examples, which OpenMM turns into force fields; unless given,
    biomolecular/openmm_systems of MINDSCI_MIRROR. effort scales the steps. Ours is float32 with sums in float64.
    """
    known = [*CASES, *scaling.SIZES]
    names = [name for name in only.split(",") if name] or known
    for name in names:
        if name not in known:
            raise UnknownNameError.of("case", name, known)
    mirror = Settings.from_environment().mirror_folder
    place = Path(structures) if structures else (mirror or Path()) / "biomolecular" / "openmm_systems"
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder), Path(environments) if environments else None, place, threads, repeats, effort)
        return Report(name="md", rows=[bench.row(name) if name in CASES else bench.sizes(name) for name in names])


class _Bench(NamedTuple):
    folder: Path
    environments: Path | None
    structures: Path
    threads: int
    repeats: int
    effort: float

    def row(self, name: str) -> Row:
        case = CASES[name]
        missing = self._prepare(name, case)
        gate = ", ".join(f">= {times:g} times {peer}" for peer, times in case.gates.items())
        if missing:
            return Row(case=case.about, measured=None, unit="steps/s", gate=gate, extra={"missing": missing})
        before = self._own(name, case)
        theirs = {peer: rates for peer in case.gates if (rates := getattr(self, f"_{peer.lower()}")(name, case))}
        rates = before + self._own(name, case)
        own = statistics.median(rates)
        ratios = {peer: own / statistics.median(found) for peer, found in theirs.items()}
        extra: dict[str, Any] = {"min": min(rates), "max": max(rates), "ns/day": own * 2e-6 * 86400}
        extra |= {f"{peer} [steps/s]": statistics.median(found) for peer, found in theirs.items()}
        extra |= {f"times {peer}": ratio for peer, ratio in ratios.items()} | self._agreement(name)
        tried = len(ratios) == len(case.gates)
        ok = all(ratios[peer] >= times for peer, times in case.gates.items()) if tried else None
        return Row(case=case.about, measured=own, unit="steps/s", gate=gate, ok=ok, extra=extra)

    def sizes(self, name: str) -> Row:
        """Returns how the cost of a step grows with the number of atoms."""
        about, kind = f"cost of a step, {name.removesuffix('_sizes')}", name.removesuffix("_sizes")
        gate = f"exponent of N <= {EXPONENT}"
        if kind == "water" and (missing := self._prepare(kind, CASES[kind])):
            return Row(case=about, measured=None, unit="exponent", gate=gate, extra={"missing": missing})
        atoms, seconds = [], []
        for size in scaling.SIZES[name]:
            if kind == "argon":
                arrays = cases.argon(size)
            else:
                with np.load(self.folder / f"{kind}.npz") as held:
                    arrays = scaling.replicated(dict(held), size)
            np.savez(self.folder / f"{name}.npz", **arrays)
            atoms.append(len(arrays["positions"]))
            steps = str(scaling.steps_of(atoms[-1], self.effort))
            command = [sys.executable, "-m", "sponge.bench_md.own", str(self.folder), name, steps, "3", "1"]
            printed = self._run("mindsci", command, threads=1)
            seconds.append(min(json.loads(printed.strip().splitlines()[-1])["processor"]))
        found = scaling.fitted(atoms, seconds)
        exponent = found.pop("exponent")
        return Row(case=about, measured=exponent, unit="exponent", gate=gate, ok=exponent <= EXPONENT, extra=found)

    def _prepare(self, name: str, case: Case) -> str:
        """Writes the arrays of a case; returns what is missing for it."""
        if case.cells:
            np.savez(self.folder / f"{name}.npz", **cases.argon(case.cells))
            return ""
        structure, python = self.structures / case.structure, self._python("openmm")
        if python is None or not structure.exists():
            return "OpenMM, which makes the force field" if python is None else case.structure
        self._run("OpenMM", [str(python), self._script(), "export", str(self.folder), str(structure), name])
        return ""

    def _own(self, name: str, case: Case) -> list[float]:
        command = [sys.executable, "-m", "sponge.bench_md.own", str(self.folder), name]
        printed = self._run("mindsci", [*command, *self._numbers(case, "mindsci")])
        return list(json.loads(printed.strip().splitlines()[-1])["rates"])

    def _openmm(self, name: str, case: Case) -> list[float]:
        python = self._python("openmm")
        if python is None:
            return []
        command = [str(python), self._script(), "time", str(self.folder), name]
        printed = self._run("OpenMM", [*command, *self._numbers(case, "OpenMM")])
        return list(json.loads(printed.strip().splitlines()[-1]))

    def _lammps(self, name: str, case: Case) -> list[float]:
        if self.environments is None or not (programs := self.environments / "lammps" / "bin").exists():
            return []
        with np.load(self.folder / f"{name}.npz") as held:
            steps, repeats, _ = map(int, self._numbers(case, "LAMMPS"))
            path = lammps.write(self.folder, name, dict(held), steps, repeats)
        started = [str(programs / "mpirun"), "-np", str(self.threads), str(programs / "lmp")]
        return lammps.rates(self._run("LAMMPS", [*started, "-sf", "opt", "-in", path.name, "-log", "none"], threads=1))

    def _agreement(self, name: str) -> dict[str, float]:
        """Returns how far our forces at the start lie from OpenMM's, as a share of their root mean square."""
        with np.load(self.folder / f"{name}.npz") as held:
            if "forces" not in held:
                return {}
            theirs = held["forces"]
        ours = np.load(self.folder / f"{name}_forces.npy")
        return {"forces differ": float(np.sqrt(((ours - theirs) ** 2).mean() / (theirs**2).mean()))}

    def _numbers(self, case: Case, program: str) -> list[str]:
        return [str(max(2, round(self.effort * case.steps[program]))), str(self.repeats), str(self.threads)]

    def _python(self, name: str) -> Path | None:
        if self.environments is None:
            return None
        python = self.environments / name / "bin" / "python"
        return python if python.exists() else None

    @staticmethod
    def _script() -> str:
        return str(Path(__file__).with_name("openmm_calls.py"))

    def _run(self, name: str, command: list[str], threads: int | None = None) -> str:
        count = str(threads or self.threads)
        environment = os.environ | {"OMP_NUM_THREADS": count, "NUMBA_NUM_THREADS": count}
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, cwd=self._place(name)
        )
        if done.returncode:
            raise InputError(f"{name} ended with status {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
        return done.stdout

    def _place(self, name: str) -> Path | None:
        """Where a program runs: LAMMPS beside its files."""
        return self.folder if name == "LAMMPS" else None
