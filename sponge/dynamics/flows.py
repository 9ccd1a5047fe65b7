"""The flows that integrators of molecular dynamics are made of [Leimkuhler2013].

B kicks the momenta by the forces, A drifts the positions, O is the Ornstein-Uhlenbeck process of a Langevin
thermostat. Forces belong to the positions: whoever moves these refreshes those, `Refreshed`. Each system of a
batch advances by its own time step, dt * pace.

With constraints each flow leaves positions and momenta on them: velocity Verlet becomes RATTLE [Andersen1983], BAOAB
becomes g-BAOAB with one geodesic step a drift [Leimkuhler2016].
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindsci import random, tree, units
from mindsci.solvers import Flow, Splitting
from mindsci.tree import Tree
from sponge.dynamics.compiled_verlet import compiled_verlet, compiles
from sponge.dynamics.constraints import Constraints
from sponge.dynamics.forces import Forces
from sponge.dynamics.velocities import component_numbers, of_each_system, projected, thermal_momentum
from sponge.system import System


class Kick(Tree):
    """B: the momenta change by the forces on the atoms."""

    reversible: ClassVar[bool] = True
    constraints: Constraints | None = None

    def __call__(self, system: System, t: float, dt: float) -> System:
        step = system.step_of_atoms(dt * units.ACCELERATION)
        return projected(tree.replace(system, momenta=system.momenta + step * system.forces), self.constraints)


class Move(Tree):
    """The positions change by the velocities; the forces are left behind.

    Constraints pull along their forces at the start, by as much as keeps them, and the momenta feel it.
    """

    reversible: ClassVar[bool] = True
    constraints: Constraints | None = None

    def __call__(self, system: System, t: float, dt: float) -> System:
        step = system.step_of_atoms(dt)
        if self.constraints is None:
            return tree.replace(system, positions=system.positions + step * system.velocities)
        # In float64 also between two states in float32, where rounding would heat what is held.
        before = system.positions.double()
        after = before + step * system.velocities.double()
        pulled = self.constraints.displacements(system, before, after)
        momenta = system.momenta + (system.masses[:, None] * pulled / step).to(system.momenta.dtype)
        positions = (after + pulled).to(system.positions.dtype)
        return self.constraints.project(tree.replace(system, positions=positions, momenta=momenta))


class Refreshed(Tree):
    """A flow that moves atoms, followed by the forces at their new positions."""

    flow: Flow
    forces: Forces

    @property
    def reversible(self) -> bool:
        return self.flow.reversible

    def __call__(self, system: System, t: float, dt: float) -> System:
        return self.forces(self.flow(system, t, dt))


class OrnsteinUhlenbeck(Tree):
    """O: friction and noise that keep the momenta at a temperature, solved exactly [Leimkuhler2013].

    The noise is a function of (seed, stream of the system, step, atom within its system): a resumed or differentiated
    run sees the same, and so does a system that is moved to another batch.
    """

    reversible: ClassVar[bool] = False
    temperature: Float[Tensor, " systems"]
    """[K]"""
    friction: Float[Tensor, " systems"]
    """[1/fs]"""
    stream: Int[Tensor, " systems"]
    element: Int[Tensor, "atoms 3"]
    """number of each component within its system"""
    constraints: Constraints | None = None

    @classmethod
    def of(
        cls,
        system: System,
        *,
        temperature: float | Tensor,
        friction: float | Tensor,
        seed: int,
        constraints: Constraints | None = None,
    ) -> OrnsteinUhlenbeck:
        """Returns the thermostat of a batch; temperature and friction are one for all or one for each system.

        Raises InputError below zero.
        """
        return cls(
            temperature=of_each_system(system, temperature, "temperature", "K"),
            friction=of_each_system(system, friction, "friction", "/ fs"),
            stream=random.stream(seed, system.stream),
            element=component_numbers(system),
            constraints=constraints,
        )

    def __call__(self, system: System, t: float, dt: float) -> System:
        kept = torch.exp(-self.friction * system.step_of_systems(dt))[system.system, None]
        noise = random.normal(
            system.momenta, seed=self.stream[system.system, None], counter=round(t / dt), element=self.element
        )
        width = torch.sqrt(1.0 - kept**2) * thermal_momentum(system, self.temperature)
        return projected(tree.replace(system, momenta=kept * system.momenta + width * noise), self.constraints)


def verlet_flows(forces: Forces, constraints: Constraints | None) -> dict[str, Flow]:
    """Returns B, which kicks, and A, which drifts and takes the forces anew."""
    return {
        "B": Kick(constraints=constraints),
        "A": Refreshed(flow=Move(constraints=constraints), forces=forces),
    }


def velocity_verlet(forces: Forces, constraints: Constraints | None = None) -> Splitting:
    """Returns the NVE integrator "BAB" [Swope1982]: symplectic, reversible, second order in dt."""
    flows = verlet_flows(forces, constraints)
    if compiles(forces):
        return compiled_verlet(flows, Move(constraints=constraints), forces, constraints)
    return Splitting(flows=flows, order="BAB")


def langevin(forces: Forces, thermostat: OrnsteinUhlenbeck) -> Splitting:
    """Returns the Langevin integrator "BAOAB" [Leimkuhler2013], with one evaluation of the forces a step.

    The inner "AOA" is one flow, as nothing reads the forces until it is over. Constraints are those of the thermostat.
    """
    held = thermostat.constraints
    inner = Splitting(flows={"A": Move(constraints=held), "O": thermostat}, order="AOA")
    return Splitting(flows={"B": Kick(constraints=held), "M": Refreshed(flow=inner, forces=forces)}, order="BMB")
