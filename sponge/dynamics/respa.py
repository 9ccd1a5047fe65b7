"""Multiple time steps: forces that are dear and change slowly kick less often [Tuckerman1992]."""

from __future__ import annotations

from typing import Any, ClassVar

from mindsci import tree
from mindsci.errors import InputError
from mindsci.solvers import Flow, Splitting
from mindsci.tree import Tree
from sponge.dynamics.constraints import Constraints
from sponge.dynamics.flows import Kick
from sponge.dynamics.forces import Forces
from sponge.system import System
from sponge.topology import Topology


class SlowKick(Tree):
    """S: the momenta change by the slow forces alone."""

    reversible: ClassVar[bool] = True
    constraints: Constraints | None = None

    def __call__(self, system: System, t: float, dt: float) -> System:
        if system.slow_forces is None:
            raise InputError("the state has no slow forces; begin with slow_started(system, fast, slow)")
        kicked = Kick(constraints=self.constraints)(tree.replace(system, forces=system.slow_forces), t, dt)
        return tree.replace(system, momenta=kicked.momenta)


class FastSteps(Tree):
    """F: so many steps of a flow under the fast forces, whose start and end have forces and energy of both."""

    flow: Flow
    slow: Forces
    count: int

    @property
    def reversible(self) -> bool:
        return self.flow.reversible

    def __call__(self, system: System, t: float, dt: float) -> System:
        if system.slow_forces is None:
            raise InputError("the state has no slow forces; begin with slow_started(system, fast, slow)")
        share = dt / self.count
        system = tree.replace(system, forces=system.forces - system.slow_forces)
        for index in range(self.count):
            system = self.flow(system, t + index * share, share)
        return _with_slow(system, self.slow)


def slow_started(system: System, fast: Forces, slow: Forces) -> System:
    """Returns the system with the forces and the energy of both."""
    return _with_slow(fast(system), slow)


def _with_slow(system: System, slow: Forces) -> System:
    """The slow forces evaluated and added to the fast ones, which the system has."""
    found = slow(system)
    virial = None
    if system.virial is not None and found.virial is not None:
        virial = system.virial + found.virial
    forces, energy = system.forces + found.forces, system.energy + found.energy
    return tree.replace(found, forces=forces, slow_forces=found.forces, energy=energy, virial=virial)


def multiple_steps(flow: Flow, slow: Forces, *, count: int) -> Splitting:
    """Returns the integrator "SFS": `count` steps of a flow between two halves of a kick by slow forces.

    flow: an integrator with the fast forces, such as `velocity_verlet(fast)`, with its thermostat and constraints,
    which the slow kick takes over; a step of the whole is `count` of its own. A step near half the period of the
    fastest motion meets resonances. Both forces see one neighbour list, which is made for the longer cutoff: give both
    that one. Raises InputError below one step.
    """
    if count < 1:
        raise InputError(f"count = {count}; use 1 or more fast steps")
    inner = FastSteps(flow=flow, slow=slow, count=count)
    return Splitting(flows={"S": SlowKick(constraints=constraints_of(flow)), "F": inner}, order="SFS")


def constraints_of(flow: Any) -> Constraints | None:
    """Returns the constraints that a flow, or a part of it, keeps; None where there are none."""
    own = getattr(flow, "constraints", None)
    if own is not None:
        return own  # type: ignore[no-any-return]
    parts = [*getattr(flow, "flows", {}).values(), getattr(flow, "flow", None)]
    return next((found for part in parts if part is not None and (found := constraints_of(part)) is not None), None)


def fast_and_slow(topology: Topology) -> tuple[Topology, Topology]:
    """Returns the covalent terms with 1-4 pairs and restraints, and the nonbonded ones: what is fast, and slow."""
    covalent = (
        *("bonds", "angles", "urey_bradley", "torsions", "impropers", "harmonic_impropers", "torsion_maps"),
        *("position_restraints", "distance_restraints"),
    )
    fast = tree.replace(topology, nonbonded=None, generalised_born=None)
    return fast, tree.replace(topology, pairs14=None, **dict.fromkeys(covalent))
