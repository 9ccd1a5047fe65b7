"""OpenMM's side of `mindsci bench md`: run by the Python that has OpenMM; it needs nothing of ours.

`export FOLDER STRUCTURE NAME` writes a solvated structure, briefly equilibrated, with every number of its force field
as arrays; `time FOLDER NAME STEPS REPEATS THREADS` prints steps per second of the CPU platform for such arrays.
"""

import json
import sys
import time

import numpy as np
import openmm as mm
from openmm import app, unit

ANGSTROM, FEMTOSECOND, DALTON = unit.angstrom, unit.femtosecond, unit.dalton
EV = 96.48533212331  # kJ/mol
CUTOFF = 9.0  # angstrom


def molecular(path):
    """A structure with Amber's ff99SB and TIP3P, hydrogens' bonds and waters rigid."""
    pdb = app.PDBFile(path)
    field = app.ForceField("amber99sb.xml", "tip3p.xml")
    system = field.createSystem(
        pdb.topology,
        nonbondedMethod=app.PME,
        nonbondedCutoff=CUTOFF * ANGSTROM,
        constraints=app.HBonds,
        rigidWater=True,
        removeCMMotion=False,
    )
    for force in system.getForces():
        if isinstance(force, mm.NonbondedForce):
            force.setUseDispersionCorrection(False)
    return pdb, system


def export(folder, path, name):
    pdb, system = molecular(path)
    integrator = mm.LangevinMiddleIntegrator(300, 1 / unit.picosecond, 2 * FEMTOSECOND)
    integrator.setRandomNumberSeed(1)
    context = mm.Context(system, integrator, mm.Platform.getPlatformByName("CPU"))
    context.setPositions(pdb.positions)
    mm.LocalEnergyMinimizer.minimize(context, 10.0, 50)
    context.setVelocitiesToTemperature(300, 1)
    integrator.step(100)
    state = context.getState(getPositions=True, getVelocities=True, getForces=True)
    n = system.getNumParticles()
    arrays = parameters(system, pdb.topology) | {
        "positions": state.getPositions(asNumpy=True).value_in_unit(ANGSTROM),
        "velocities": state.getVelocities(asNumpy=True).value_in_unit(ANGSTROM / FEMTOSECOND),
        "forces": state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / ANGSTROM) / EV,
        "cell": state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(ANGSTROM),
        "masses": np.array([system.getParticleMass(k).value_in_unit(DALTON) for k in range(n)]),
        "numbers": np.array([atom.element.atomic_number for atom in pdb.topology.atoms()]),
        "cutoff": CUTOFF,
        "pme": True,
        "source": path,
    }
    np.savez(f"{folder}/{name}.npz", **arrays)


def parameters(system, topology):
    rows = {name: [] for name in ("bonds", "angles", "torsions", "pairs14", "exclusions", "constraints", "waters")}
    held = {}
    for k in range(system.getNumConstraints()):
        i, j, length = system.getConstraintParameters(k)
        held[min(i, j), max(i, j)] = length.value_in_unit(ANGSTROM)
    for residue in topology.residues():
        atoms = [atom.index for atom in residue.atoms()]
        if residue.name == "HOH":
            o, h, g = atoms
            rows["waters"].append((o, h, g, held.pop((o, h)), held.pop((h, g))))
            held.pop((o, g))
    rows["constraints"] = [(i, j, length) for (i, j), length in held.items()]
    for force in system.getForces():
        if isinstance(force, mm.HarmonicBondForce):
            for k in range(force.getNumBonds()):
                i, j, length, stiffness = force.getBondParameters(k)
                unit_k = unit.kilojoule_per_mole / ANGSTROM**2
                rows["bonds"].append((i, j, length.value_in_unit(ANGSTROM), stiffness.value_in_unit(unit_k) / EV))
        elif isinstance(force, mm.HarmonicAngleForce):
            for k in range(force.getNumAngles()):
                *atoms, angle, stiffness = force.getAngleParameters(k)
                unit_k = unit.kilojoule_per_mole / unit.radian**2
                rows["angles"].append((*atoms, angle.value_in_unit(unit.radian), stiffness.value_in_unit(unit_k) / EV))
        elif isinstance(force, mm.PeriodicTorsionForce):
            for k in range(force.getNumTorsions()):
                *atoms, n, phase, barrier = force.getTorsionParameters(k)
                energy = barrier.value_in_unit(unit.kilojoule_per_mole) / EV
                rows["torsions"].append((*atoms, n, phase.value_in_unit(unit.radian), energy))
        elif isinstance(force, mm.NonbondedForce):
            particles = [force.getParticleParameters(k) for k in range(force.getNumParticles())]
            for k in range(force.getNumExceptions()):
                i, j, charges, sigma, epsilon = force.getExceptionParameters(k)
                charges = charges.value_in_unit(unit.elementary_charge**2)
                epsilon = epsilon.value_in_unit(unit.kilojoule_per_mole) / EV
                rows["exclusions"].append((i, j))
                if charges != 0.0 or epsilon != 0.0:
                    rows["pairs14"].append((i, j, charges, sigma.value_in_unit(ANGSTROM), epsilon))
    widths = {"bonds": 4, "angles": 5, "torsions": 7, "pairs14": 5, "exclusions": 2, "constraints": 3, "waters": 5}
    tables = {name: np.array(rows[name], dtype=float).reshape(-1, widths[name]) for name in rows}
    tables["exclusions"] = tables["exclusions"].astype(np.int64)
    charges, sigma, epsilon = zip(*particles, strict=True)
    return tables | {
        "charges": np.array([one.value_in_unit(unit.elementary_charge) for one in charges]),
        "sigma": np.array([one.value_in_unit(ANGSTROM) for one in sigma]),
        "epsilon": np.array([one.value_in_unit(unit.kilojoule_per_mole) / EV for one in epsilon]),
    }


def argon(held):
    system = mm.System()
    system.setDefaultPeriodicBoxVectors(*(held["cell"] / 10))
    force = mm.NonbondedForce()
    force.setNonbondedMethod(mm.NonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(float(held["cutoff"]) * ANGSTROM)
    force.setUseDispersionCorrection(False)
    for mass, sigma, epsilon in zip(held["masses"], held["sigma"], held["epsilon"], strict=True):
        system.addParticle(mass)
        force.addParticle(0.0, sigma / 10, epsilon * EV)
    system.addForce(force)
    return system


def timed(folder, name, steps, repeats, threads):
    held = dict(np.load(f"{folder}/{name}.npz"))
    system = molecular(str(held["source"]))[1] if bool(held["pme"]) else argon(held)
    integrator = mm.VerletIntegrator(2 * FEMTOSECOND)
    platform = mm.Platform.getPlatformByName("CPU")
    context = mm.Context(system, integrator, platform, {"Threads": str(threads)})
    context.setPeriodicBoxVectors(*(held["cell"] / 10))
    context.setPositions(held["positions"] / 10)
    context.setVelocities(held["velocities"] * 100)
    integrator.step(max(5, steps // 10))
    rates = []
    for _ in range(repeats):
        began = time.perf_counter()
        integrator.step(steps)
        context.getState(getEnergy=True)
        rates.append(steps / (time.perf_counter() - began))
    print(json.dumps(rates))


if __name__ == "__main__":
    if sys.argv[1] == "export":
        export(*sys.argv[2:5])
    else:
        timed(sys.argv[2], sys.argv[3], *map(int, sys.argv[4:7]))
