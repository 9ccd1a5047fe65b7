"""Molecular dynamics with learned and classical potentials, differentiable from end to end.

Angstrom, femtosecond, electronvolt, dalton and kelvin throughout.
"""

from sponge.ase_atoms import from_ase, to_ase
from sponge.batch import concatenate, replicate, select, separate
from sponge.neighbors import Neighbors, NeighborSearch, all_pairs, displacements, neighbor_list
from sponge.system import System, create
from sponge.thermodynamics import degrees_of_freedom, kinetic_energy, pressure, temperature

__all__ = [
    "NeighborSearch",
    "Neighbors",
    "System",
    "all_pairs",
    "concatenate",
    "create",
    "degrees_of_freedom",
    "displacements",
    "from_ase",
    "kinetic_energy",
    "neighbor_list",
    "pressure",
    "replicate",
    "select",
    "separate",
    "temperature",
    "to_ase",
]
