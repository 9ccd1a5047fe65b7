"""Biomolecules: structures of the Protein Data Bank, and force fields in OpenMM's form."""

from sponge.builders.biomolecules.chain_ends import close_chains
from sponge.builders.biomolecules.definitions import ForceFieldFiles, read_force_field
from sponge.builders.biomolecules.hydrogens import add_hydrogens
from sponge.builders.biomolecules.parametrise import from_pdb, parametrise
from sponge.builders.biomolecules.pdb import read_structure
from sponge.builders.biomolecules.solvent import solvate
from sponge.builders.biomolecules.structure import Structure

__all__ = [
    "ForceFieldFiles",
    "Structure",
    "add_hydrogens",
    "close_chains",
    "from_pdb",
    "parametrise",
    "read_force_field",
    "read_structure",
    "solvate",
]
