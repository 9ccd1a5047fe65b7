"""Molecular dynamics with learned and classical potentials, differentiable from end to end.

Angstrom, femtosecond, electronvolt, dalton and kelvin throughout.
"""

from sponge.neighbors import Pairs, all_pairs, neighbor_pairs
from sponge.system import System, concatenate, create, from_ase, separate, to_ase

__all__ = [
    "Pairs",
    "System",
    "all_pairs",
    "concatenate",
    "create",
    "from_ase",
    "neighbor_pairs",
    "separate",
    "to_ase",
]
