"""The flows that integrators of molecular dynamics are made of [Leimkuhler2013].

B kicks the momenta by the forces, A drifts the positions, O is the Ornstein-Uhlenbeck process of a Langevin
thermostat. Forces belong to the positions: whoever moves these refreshes those, `Refreshed`. Each system of a
batch advances by its own time step, dt * pace.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindsci import random, tree, units
from mindsci.solvers import Flow, Splitting
from mindsci.tree import Tree
from sponge.dynamics.forces import Forces
from sponge.dynamics.velocities import component_numbers, of_each_system, thermal_momentum
from sponge.system import System


class Kick(Tree):
    """B: the momenta change by the forces on the atoms."""

    reversible: ClassVar[bool] = True

    def __call__(self, system: System, t: float, dt: float) -> System:
        step = system.step_of_atoms(dt * units.ACCELERATION)
        return tree.replace(system, momenta=system.momenta + step * system.forces)


class Move(Tree):
    """The positions change by the velocities; the forces are left behind."""

    reversible: ClassVar[bool] = True

    def __call__(self, system: System, t: float, dt: float) -> System:
        step = system.step_of_atoms(dt)
        return tree.replace(system, positions=system.positions + step * system.momenta / system.masses[:, None])


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

    @classmethod
    def of(
        cls, system: System, *, temperature: float | Tensor, friction: float | Tensor, seed: int
    ) -> OrnsteinUhlenbeck:
        """Returns the thermostat of a batch; temperature and friction are one for all or one for each system.

        Raises InputError below zero.
        """
        return cls(
            temperature=of_each_system(system, temperature, "temperature", "K"),
            friction=of_each_system(system, friction, "friction", "/ fs"),
            stream=random.stream(seed, system.stream),
            element=component_numbers(system),
        )

    def __call__(self, system: System, t: float, dt: float) -> System:
        kept = torch.exp(-self.friction * system.step_of_systems(dt))[system.system, None]
        noise = random.normal(
            system.momenta, seed=self.stream[system.system, None], counter=round(t / dt), element=self.element
        )
        width = torch.sqrt(1.0 - kept**2) * thermal_momentum(system, self.temperature)
        return tree.replace(system, momenta=kept * system.momenta + width * noise)


def velocity_verlet(forces: Forces) -> Splitting:
    """Returns the NVE integrator "BAB" [Swope1982]: symplectic, reversible, second order in dt."""
    return Splitting(flows={"B": Kick(), "A": Refreshed(flow=Move(), forces=forces)}, order="BAB")


def langevin(forces: Forces, thermostat: OrnsteinUhlenbeck) -> Splitting:
    """Returns the Langevin integrator "BAOAB" [Leimkuhler2013], with one evaluation of the forces a step.

    The inner "AOA" is one flow, as nothing reads the forces until it is over.
    """
    inner = Splitting(flows={"A": Move(), "O": thermostat}, order="AOA")
    return Splitting(flows={"B": Kick(), "M": Refreshed(flow=inner, forces=forces)}, order="BMB")
