"""Potentials: modules from a system to the energy of each system in the batch."""

from sponge.potentials.atomwise import AtomwisePotential
from sponge.potentials.ensemble import Ensemble
from sponge.potentials.lennard_jones import LennardJones
from sponge.potentials.molct import MolCT
from sponge.potentials.painn import PaiNN
from sponge.potentials.pair_spline import PairSpline
from sponge.potentials.physnet import PhysNet
from sponge.potentials.potential import Evaluation, Potential, energy_and_forces
from sponge.potentials.schnet import SchNet

__all__ = [
    "AtomwisePotential",
    "Ensemble",
    "Evaluation",
    "LennardJones",
    "MolCT",
    "PaiNN",
    "PhysNet",
    "PairSpline",
    "Potential",
    "SchNet",
    "energy_and_forces",
]
