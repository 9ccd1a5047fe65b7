"""How water_box.csv was made: `python -m sponge.builders.biomolecules.equilibrate_water FORCE_FIELD 25000`, its output.

216 rigid TIP3P waters [Jorgensen1983] at 0.997 g/cm3 from a lattice of random turns, minimised, then Langevin dynamics
at 300 K with 2 fs; cutoff 8 angstrom, reaction field. FORCE_FIELD is a file with water: amber14/tip3p.xml.
"""

from __future__ import annotations

import sys

import numpy
import torch

from mindsci.solvers import rollout
from sponge.builders.biomolecules.hydrogens import add_hydrogens
from sponge.builders.biomolecules.parametrise import parametrise
from sponge.builders.biomolecules.structure import Structure
from sponge.dynamics import Constraints, Forces, OrnsteinUhlenbeck, langevin, maxwell_boltzmann, minimise
from sponge.forcefield import ForceField, Options
from sponge.topology import Residue

SIDE = 6
DENSITY = 0.033328
"""molecules in a cubic angstrom, of 0.997 g/cm3"""


def main(force_field: str, n_steps: int) -> None:
    """Prints the edge of the box, then x, y, z of each atom, oxygen first, molecules whole [angstrom]."""
    count = SIDE**3
    edge = (count / DENSITY) ** (1 / 3)
    lattice = numpy.stack(numpy.meshgrid(*[numpy.arange(SIDE)] * 3, indexing="ij"), -1).reshape(-1, 3) * edge / SIDE
    oxygens = Structure(
        atom_names=("O",) * count,
        atomic_numbers=numpy.full(count, 8),
        residues=tuple(Residue(name="HOH", number=str(number)) for number in range(count)),
        residue_of_atom=numpy.arange(count),
        positions=lattice,
        bonds=numpy.zeros((0, 2), dtype=numpy.int64),
        cell=edge * numpy.eye(3),
    )
    system, topology = parametrise(add_hydrogens(oxygens, force_field), force_field)
    field = ForceField(topology, Options(cutoff=8.0, lennard_jones="switch", switch_from=7.0, coulomb="reaction_field"))
    held = Constraints.of(topology, system)
    forces = Forces.of(field, system, skin=1.2)
    system = minimise(forces, held.start(system), max_force=2.0, max_steps=2000, constraints=held).system
    bath = OrnsteinUhlenbeck.of(system, temperature=300.0, friction=0.002, seed=1, constraints=held)
    with torch.no_grad():
        system = forces(held.start(maxwell_boltzmann(system, temperature=300.0, seed=1, constraints=held)))
        system, _ = rollout(langevin(forces, bath), system, n_steps=n_steps, dt=2.0)
    positions = system.positions.reshape(count, 3, 3)
    shift = torch.floor(positions[:, :1] / edge) * edge
    print(f"{edge:.4f}")
    for x, y, z in (positions - shift).reshape(-1, 3).tolist():
        print(f"{x:.3f},{y:.3f},{z:.3f}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
