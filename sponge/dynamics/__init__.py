"""Flows, integrators and minimisers of molecular dynamics."""

from sponge.dynamics.flows import Kick, Move, OrnsteinUhlenbeck, Refreshed, langevin, velocity_verlet
from sponge.dynamics.forces import Forces
from sponge.dynamics.minimise import Minimum, minimise
from sponge.dynamics.velocities import maxwell_boltzmann, without_drift

__all__ = [
    "Forces",
    "Kick",
    "Minimum",
    "Move",
    "OrnsteinUhlenbeck",
    "Refreshed",
    "langevin",
    "maxwell_boltzmann",
    "minimise",
    "velocity_verlet",
    "without_drift",
]
