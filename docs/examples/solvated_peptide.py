"""Alanine dipeptide from its heavy atoms to a run in salt water: hydrogens, parameters, water, minimum, dynamics.

`python docs/examples/solvated_peptide.py PEPTIDE.pdb` with force fields of an installed OpenMM, or of MINDSCI_MIRROR.
"""

from __future__ import annotations

import sys

import torch

from mindsci import units
from mindsci.solvers import rollout
from sponge.builders import add_hydrogens, parametrise, read_force_field, read_structure, solvate
from sponge.builders.biomolecules.structure import take_atoms
from sponge.dynamics import Constraints, Forces, OrnsteinUhlenbeck, langevin, maxwell_boltzmann, minimise
from sponge.forcefield import ForceField, Options, pme
from sponge.system import System


def main(path: str, n_steps: int = 1000) -> None:
    """Prints what each step made."""
    field = read_force_field(["amber14/protein.ff14SB.xml", "amber14/tip3p.xml"])
    peptide = read_structure(path)
    heavy = take_atoms(peptide, peptide.atomic_numbers > 1)
    peptide = add_hydrogens(heavy, field)
    print(f"{heavy.n_atoms} heavy atoms, {peptide.n_atoms} with hydrogens")
    wet = solvate(peptide, field, shape="octahedron", padding=10.0, salt=0.15)
    system, topology = parametrise(wet, field, constraints="hydrogens", dtype=torch.float32)
    names = [residue.name for residue in topology.residues]
    print(f"{system.n_atoms} atoms: {names.count('HOH')} waters, {names.count('NA')} Na+, {names.count('CL')} Cl-")
    options = pme.with_grid(Options(cutoff=9.0, coulomb="pme", long_range_correction=True), system.cell)
    held = Constraints.of(topology, system)
    forces = Forces.of(ForceField(topology, options), system, skin=1.5)
    with torch.no_grad():
        start = forces(held.start(system))
        lowest = minimise(forces, start, max_force=1.0, max_steps=2000, constraints=held)
        print(f"{kcal(start):.0f} kcal/mol, minimised in {lowest.n_steps} steps: {kcal(lowest.system):.0f} kcal/mol")
        warm = maxwell_boltzmann(lowest.system, temperature=300.0, seed=0, constraints=held)
        bath = OrnsteinUhlenbeck.of(warm, temperature=300.0, friction=0.005, seed=0, constraints=held)
        last, _ = rollout(langevin(forces, bath), forces(warm), n_steps=n_steps, dt=2.0)
    kinetic = 0.5 * (last.momenta.double() ** 2 / last.masses.double().clamp(min=1e-9)[:, None]).sum()
    assert last.held is not None
    degrees = 3 * last.n_atoms - float(last.held.sum())
    temperature = 2.0 * float(kinetic) / units.ACCELERATION / (degrees * units.BOLTZMANN_EV)
    print(f"after {n_steps} steps of 2 fs: {kcal(last):.0f} kcal/mol, {temperature:.0f} K")


def kcal(system: System) -> float:
    """Returns the potential energy [kcal/mol]."""
    return float(system.energy.sum()) / units.KCAL_PER_MOL_EV


if __name__ == "__main__":
    main(sys.argv[1])
