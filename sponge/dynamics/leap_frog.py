"""The leap-frog scheme: momenta half a step behind the positions [Hockney1970]."""

from __future__ import annotations

from mindsci.solvers import Splitting
from sponge.dynamics.constraints import Constraints
from sponge.dynamics.flows import Kick, verlet_flows
from sponge.dynamics.forces import Forces
from sponge.system import System


def leap_frog(forces: Forces, constraints: Constraints | None = None) -> Splitting:
    """Returns the integrator "BA", whose positions are those of velocity Verlet; one kick a step.

    Momenta are those of half a step before: `behind` sets them back at the start, `abreast` gives those of the time of
    the positions, for energies and temperatures.
    """
    return Splitting(flows=verlet_flows(forces, constraints), order="BA")


def behind(system: System, dt: float, constraints: Constraints | None = None) -> System:
    """Returns the system with momenta of half a step before its positions; its forces are set."""
    return Kick(constraints=constraints)(system, 0.0, -0.5 * dt)


def abreast(system: System, dt: float, constraints: Constraints | None = None) -> System:
    """Returns the system with momenta of the time of its positions."""
    return Kick(constraints=constraints)(system, 0.0, 0.5 * dt)
