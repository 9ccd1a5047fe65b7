"""The DHFR benchmark, 23 558 atoms, term by term beside OpenMM's Reference platform."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import torch
from numpy.typing import NDArray

from mindsci import tree, units
from mindsci.errors import InputError
from mindsci.report import Row
from sponge.builders import from_amber
from sponge.forcefield import ForceField, Options, pme
from sponge.neighbors import neighbor_list
from sponge.system import System
from sponge.topology import Topology
from sponge.validation.rows import lacking, not_run

COULOMB = 138.93545764438198 * 10.0 * units.KJ_PER_MOL_EV
"""OpenMM's constant [eV angstrom]"""
PARTS = {
    "bonds": ("bonds",),
    "angles": ("angles",),
    "torsions": ("torsions", "impropers"),
    "lennard_jones": ("lennard_jones", "lennard_jones_14", "long_range_correction"),
    "coulomb": (
        "coulomb_14",
        "coulomb_real",
        "coulomb_reciprocal",
        "coulomb_self",
        "coulomb_excluded",
        "coulomb_background",
    ),
}
"""OpenMM's terms as sums of ours"""
ENERGY, FORCES = 1e-5, 1e-4
SECONDS = 900


def openmm(data: Path | None, python: str = "") -> list[Row]:
    """Returns a row of energy and one of forces of each term; without OpenMM, or without the data, they say so."""
    prmtop, restart = "openmmtools/JAC.prmtop", "openmmtools/JAC.inpcrd"
    absent = lacking("DHFR beside OpenMM", data, prmtop, restart)
    if absent is not None or data is None:
        return [] if absent is None else [absent]
    interpreter = interpreter_of(python)
    if not interpreter:
        gate = f"energies {ENERGY:g}, forces {FORCES:g} relative"
        return [not_run("DHFR beside OpenMM", gate, "no OpenMM: pip install openmm, or give --peer-python")]
    system, topology = from_amber(data / prmtop, data / restart, rigid_water=False)
    # OpenMM's splines are of order 5.
    options = Options(coulomb="pme", long_range_correction=True, spline_order=5, coulomb_constant=COULOMB)
    options = pme.with_grid(options, system.cell)
    theirs = _their_terms(interpreter, data / prmtop, system, options)
    ours = _our_terms(system, topology, options)
    return [row for name in PARTS for row in _compare(name, ours[name], theirs)]


def interpreter_of(python: str) -> str:
    """Returns the interpreter that was given, or ours, if it has OpenMM; else nothing.

    Raises InputError for one that does not run.
    """
    found = python or (sys.executable if importlib.util.find_spec("openmm") else "")
    if not found:
        return ""
    try:
        done = subprocess.run([found, "-c", "import openmm"], capture_output=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"--peer-python {found} does not run ({error}); give the path of an interpreter") from None
    return found if done.returncode == 0 else ""


def run_script(python: str, script: str, arguments: list[str], folder: Path) -> None:
    """Runs a script of this package in another interpreter. Raises InputError with its last line where it fails."""
    command = [python, str(Path(__file__).with_name(script)), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=folder)
    except subprocess.TimeoutExpired:
        raise InputError(f"OpenMM took more than {SECONDS} s; free the machine and run again") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"OpenMM ended with status {done.returncode}: {last}")


def _their_terms(python: str, prmtop: Path, system: System, options: Options) -> dict[str, NDArray[numpy.float64]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = {
            "prmtop": str(prmtop.resolve()),
            "cutoff": 0.1 * options.cutoff,
            "alpha": 10.0 * options.alpha,
            "grid": options.grid,
        }
        (folder / "job.json").write_text(json.dumps(job))
        positions, cell = 0.1 * system.positions.numpy(), 0.1 * system.cell[0].numpy()
        numpy.savez(folder / "start.npz", positions=positions, cell=cell)
        run_script(python, "openmm_calls.py", [str(folder)], folder)
        with numpy.load(folder / "openmm.npz") as held:
            return {key: held[key] for key in held.files}


def _our_terms(system: System, topology: Topology, options: Options) -> dict[str, tuple[float, NDArray[numpy.float64]]]:
    positions = system.positions.clone().requires_grad_()
    neighbors = neighbor_list(system, options.cutoff, half=True)
    energies = ForceField(topology, options).energies(tree.replace(system, positions=positions), neighbors)
    found = {}
    for name, parts in PARTS.items():
        energy = torch.stack([energies[part].sum() for part in parts if part in energies]).sum()
        (gradient,) = torch.autograd.grad(energy, positions, retain_graph=True)
        found[name] = (
            float(energy.detach()) / units.KJ_PER_MOL_EV,
            -gradient.numpy() * 10.0 / units.KJ_PER_MOL_EV,
        )
    return found


def _compare(
    name: str, ours: tuple[float, NDArray[numpy.float64]], theirs: dict[str, NDArray[numpy.float64]]
) -> list[Row]:
    energy, forces = float(theirs[f"{name} energy"]), theirs[f"{name} forces"]
    error = abs(ours[0] / energy - 1.0)
    difference = ours[1] - forces
    rms = float(numpy.sqrt((difference**2).mean() / (forces**2).mean()))
    largest = float(numpy.abs(difference).max() / numpy.sqrt((forces**2).mean()))
    return [
        Row(
            case=f"DHFR beside OpenMM: {name}",
            measured=ours[0],
            unit="kJ/mol",
            reference=energy,
            gate=f"{ENERGY:g} relative",
            ok=error < ENERGY,
            extra={"error": error},
        ),
        Row(
            case=f"DHFR beside OpenMM: forces of {name}",
            measured=rms,
            unit="rms over rms",
            gate=f"below {FORCES:g}",
            ok=rms < FORCES,
            extra={"largest error of a component": largest},
        ),
    ]
