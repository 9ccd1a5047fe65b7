"""Flows, integrators and minimisers of molecular dynamics."""

from sponge.dynamics.flows import (
    Forces,
    Kick,
    Move,
    OrnsteinUhlenbeck,
    Refreshed,
    langevin,
    maxwell_boltzmann,
    velocity_verlet,
    without_drift,
)
from sponge.dynamics.minimise import Minimum, minimise

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
