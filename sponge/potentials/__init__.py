"""Potentials: modules from a system to the energy of each system in the batch."""

from sponge.potentials.lennard_jones import LennardJones
from sponge.potentials.potential import Evaluation, Potential, energy_and_forces
from sponge.potentials.schnet import SchNet

__all__ = ["Evaluation", "LennardJones", "Potential", "SchNet", "energy_and_forces"]
