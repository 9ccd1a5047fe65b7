"""Biomolecules: structures of the Protein Data Bank, and force fields in OpenMM's form."""

from sponge.builders.biomolecules.definitions import ForceFieldFiles, read_force_field
from sponge.builders.biomolecules.parametrise import from_pdb, parametrise
from sponge.builders.biomolecules.pdb import read_structure
from sponge.builders.biomolecules.structure import Structure

__all__ = ["ForceFieldFiles", "Structure", "from_pdb", "parametrise", "read_force_field", "read_structure"]
