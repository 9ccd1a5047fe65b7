"""Systems from SMILES strings, structure files and the topologies of other programs."""

from sponge.builders.amber import from_amber
from sponge.builders.biomolecules import (
    add_hydrogens,
    close_chains,
    from_pdb,
    parametrise,
    read_force_field,
    read_structure,
    solvate,
)
from sponge.builders.born_radii import with_born_radii
from sponge.builders.coordinates import Coordinates, read_coordinates
from sponge.builders.gromacs import from_gromacs
from sponge.builders.hydrogen_mass import repartition_hydrogen_mass
from sponge.builders.joining import join_topologies
from sponge.builders.molecules import from_file, from_smiles
from sponge.builders.openmm_system import from_openmm_system
from sponge.builders.replicas import replicate_topology
from sponge.builders.restraints import restrain_distances, restrain_positions
from sponge.builders.small_molecules import join_systems, read_molecule, with_parameters_of

__all__ = [
    "Coordinates",
    "add_hydrogens",
    "close_chains",
    "from_amber",
    "from_file",
    "from_gromacs",
    "from_openmm_system",
    "from_pdb",
    "from_smiles",
    "join_systems",
    "join_topologies",
    "parametrise",
    "read_coordinates",
    "read_force_field",
    "read_molecule",
    "read_structure",
    "repartition_hydrogen_mass",
    "replicate_topology",
    "restrain_distances",
    "restrain_positions",
    "solvate",
    "with_born_radii",
    "with_parameters_of",
]
