"""Flows, integrators, thermostats and minimisers of molecular dynamics."""

from sponge.dynamics.averages import Reweighting, TrajectoryAverage
from sponge.dynamics.constraints import Constraints
from sponge.dynamics.flows import Kick, Move, OrnsteinUhlenbeck, Refreshed, langevin, velocity_verlet
from sponge.dynamics.forces import Forces, check_forces
from sponge.dynamics.minimise import Minimum, minimise
from sponge.dynamics.nose_hoover import NoseHooverChain, nose_hoover
from sponge.dynamics.rescaling import StochasticRescaling, stochastic_rescaling
from sponge.dynamics.resident import Resident
from sponge.dynamics.velocities import maxwell_boltzmann, without_drift

__all__ = [
    "Constraints",
    "Forces",
    "Kick",
    "Minimum",
    "Move",
    "NoseHooverChain",
    "OrnsteinUhlenbeck",
    "Refreshed",
    "Resident",
    "Reweighting",
    "StochasticRescaling",
    "TrajectoryAverage",
    "check_forces",
    "langevin",
    "maxwell_boltzmann",
    "minimise",
    "nose_hoover",
    "stochastic_rescaling",
    "velocity_verlet",
    "without_drift",
]
