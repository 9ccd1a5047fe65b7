"""Potentials: modules from a system to the energy of each system in the batch."""

from sponge.potentials.atomwise import AtomwisePotential
from sponge.potentials.lennard_jones import LennardJones
from sponge.potentials.molct import MolCT
from sponge.potentials.physnet import PhysNet
from sponge.potentials.potential import Evaluation, Potential, energy_and_forces
from sponge.potentials.schnet import SchNet

__all__ = [
    "AtomwisePotential",
    "Evaluation",
    "LennardJones",
    "MolCT",
    "PhysNet",
    "Potential",
    "SchNet",
    "energy_and_forces",
]
