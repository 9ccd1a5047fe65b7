"""Flows, integrators, thermostats, barostats, constraints and minimisers of molecular dynamics."""

from sponge.dynamics.averages import Reweighting, TrajectoryAverage
from sponge.dynamics.barostats import (
    Bodies,
    CellRescaling,
    MonteCarloBarostat,
    Pistons,
    at_pressure,
    martyna_tobias_klein,
)
from sponge.dynamics.berendsen import BerendsenBarostat, BerendsenThermostat
from sponge.dynamics.constraints import Constraints
from sponge.dynamics.flows import Kick, Move, OrnsteinUhlenbeck, Refreshed, langevin, velocity_verlet
from sponge.dynamics.forces import Forces, check_forces
from sponge.dynamics.leap_frog import leap_frog
from sponge.dynamics.minimise import Minimum, minimise
from sponge.dynamics.nose_hoover import NoseHooverChain, nose_hoover
from sponge.dynamics.rescaling import StochasticRescaling, stochastic_rescaling
from sponge.dynamics.resident import Resident
from sponge.dynamics.respa import fast_and_slow, multiple_steps, slow_started
from sponge.dynamics.velocities import maxwell_boltzmann, without_drift

__all__ = [
    "BerendsenBarostat",
    "BerendsenThermostat",
    "Bodies",
    "CellRescaling",
    "Constraints",
    "Forces",
    "Kick",
    "Minimum",
    "MonteCarloBarostat",
    "Move",
    "NoseHooverChain",
    "OrnsteinUhlenbeck",
    "Pistons",
    "Refreshed",
    "Resident",
    "Reweighting",
    "StochasticRescaling",
    "TrajectoryAverage",
    "at_pressure",
    "check_forces",
    "fast_and_slow",
    "langevin",
    "leap_frog",
    "martyna_tobias_klein",
    "maxwell_boltzmann",
    "minimise",
    "multiple_steps",
    "nose_hoover",
    "slow_started",
    "stochastic_rescaling",
    "velocity_verlet",
    "without_drift",
]
