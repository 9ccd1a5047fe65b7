"""OpenMM's side of `mindsci validate md`: a script for the interpreter that has OpenMM; it imports nothing of ours.

It takes a folder with `job.json` and `start.npz`, and leaves `openmm.npz`: of each term the energy [kJ/mol] and the
forces [kJ/mol/nm], by the Reference platform.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(folder: Path) -> None:
    import openmm
    from openmm import app, unit

    job = json.loads((folder / "job.json").read_text())
    start = np.load(folder / "start.npz")
    vectors = [openmm.Vec3(*row) for row in start["cell"].tolist()]
    prmtop = app.AmberPrmtopFile(job["prmtop"], periodicBoxVectors=vectors * unit.nanometer)
    system = prmtop.createSystem(
        nonbondedMethod=app.PME,
        nonbondedCutoff=job["cutoff"] * unit.nanometer,
        constraints=None,
        rigidWater=False,
        removeCMMotion=False,
    )
    groups = groups_of(system, job)
    integrator = openmm.VerletIntegrator(1e-3)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(start["positions"])
    found: dict[str, Any] = {}
    for name, group in groups.items():
        state = context.getState(getEnergy=True, getForces=True, groups={group})
        found[f"{name} energy"] = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        found[f"{name} forces"] = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    np.savez(folder / "openmm.npz", **found)
    print(json.dumps({"openmm": openmm.version.full_version}))


def groups_of(system: Any, job: dict[str, Any]) -> dict[str, int]:
    """Returns the group of each term; the nonbonded force becomes two, of charges and of Lennard-Jones."""
    import openmm

    names = {
        "HarmonicBondForce": "bonds",
        "HarmonicAngleForce": "angles",
        "PeriodicTorsionForce": "torsions",
        "CMAPTorsionForce": "torsion_maps",
        "NonbondedForce": "coulomb",
    }
    groups: dict[str, int] = {}
    extra = None
    for force in system.getForces():
        name = names[force.getName()]
        force.setForceGroup(groups.setdefault(name, len(groups)))
        if name == "coulomb":
            force.setPMEParameters(job["alpha"], *job["grid"])
            extra = openmm.XmlSerializer.clone(force)
            silence(extra, charges=True)
            silence(force, charges=False)
            force.setUseDispersionCorrection(False)
            extra.setUseDispersionCorrection(True)
    groups["lennard_jones"] = len(groups)
    extra.setForceGroup(groups["lennard_jones"])
    system.addForce(extra)
    return groups


def silence(force: Any, *, charges: bool) -> None:
    """Sets the charges of a nonbonded force to zero, or its Lennard-Jones energies."""
    for index in range(force.getNumParticles()):
        charge, sigma, epsilon = force.getParticleParameters(index)
        force.setParticleParameters(
            index, 0.0 * charge if charges else charge, sigma, epsilon * (1.0 if charges else 0)
        )
    for index in range(force.getNumExceptions()):
        i, j, product, sigma, epsilon = force.getExceptionParameters(index)
        product, epsilon = (0.0 * product, epsilon) if charges else (product, 0.0 * epsilon)
        force.setExceptionParameters(index, i, j, product, sigma, epsilon)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
