"""The flows that integrators of molecular dynamics are made of [Leimkuhler2013].

B kicks the momenta by the forces, A drifts the positions, O is the Ornstein-Uhlenbeck process of a Langevin
thermostat. Forces belong to the positions: whoever moves these refreshes those, `Refreshed`.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindsci import random, tree, units
from mindsci.errors import InputError
from mindsci.solvers import Flow, Splitting
from mindsci.tree import Tree
from sponge.neighbors import Pairs
from sponge.potentials.potential import Potential, constant_pairs, energy_and_forces
from sponge.system import System


class Forces(Tree):
    """Sets the energy and the forces of a system from a potential.

    pairs: a list that stays valid whatever the atoms do; None looks for the pairs within the cutoff each time.
    """

    potential: Potential
    pairs: Pairs | None = None

    @classmethod
    def of(cls, potential: Potential, system: System) -> Forces:
        """Returns the forces of a potential on this system and all its later states.

        Raises InputError for an element that the potential does not know.
        """
        potential.check(system)
        return cls(potential=potential, pairs=constant_pairs(system))

    def __call__(self, system: System) -> System:
        # The tape costs memory and a third more time: it is kept only for someone who will differentiate.
        differentiate = torch.is_grad_enabled() and (
            system.positions.requires_grad or bool(tree.parameters(self.potential))
        )
        energy, forces = energy_and_forces(self.potential, system, self.pairs, create_graph=differentiate)
        return tree.replace(system, energy=energy, forces=forces)


class Kick(Tree):
    """B: the momenta change by the forces on the atoms."""

    reversible: ClassVar[bool] = True

    def __call__(self, system: System, t: float, dt: float) -> System:
        return tree.replace(system, momenta=system.momenta + (dt * units.ACCELERATION) * system.forces)


class Move(Tree):
    """The positions change by the velocities; the forces are left behind."""

    reversible: ClassVar[bool] = True

    def __call__(self, system: System, t: float, dt: float) -> System:
        return tree.replace(system, positions=system.positions + dt * system.momenta / system.masses[:, None])


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

    The noise is a function of (seed of the system, step, atom within its system): a resumed or differentiated
    run sees the same, and so does a system that is moved to another batch.
    """

    reversible: ClassVar[bool] = False
    temperature: Float[Tensor, " systems"]
    """[K]"""
    friction: float
    """[1/fs]"""
    seed: Int[Tensor, " systems"]
    element: Int[Tensor, "atoms 3"]
    """number of each component within its system"""

    @classmethod
    def of(
        cls, system: System, *, temperature: float | Tensor, friction: float, seed: int | Tensor
    ) -> OrnsteinUhlenbeck:
        """Returns the thermostat of a batch.

        One seed for all gives the systems the seeds seed, seed + 1, ... Raises InputError below zero.
        """
        kelvin = torch.as_tensor(temperature, dtype=system.positions.dtype, device=system.positions.device)
        if bool((kelvin < 0).any()) or friction < 0:
            raise InputError(f"temperature = {temperature} K, friction = {friction} / fs; neither may be negative")
        return cls(
            temperature=kelvin.expand(system.n_systems),
            friction=friction,
            seed=_seeds(system, seed),
            element=component_numbers(system),
        )

    def __call__(self, system: System, t: float, dt: float) -> System:
        kept = math.exp(-self.friction * dt)
        noise = random.normal(
            system.momenta, seed=self.seed[system.system, None], counter=round(t / dt), element=self.element
        )
        momenta = kept * system.momenta + math.sqrt(1.0 - kept**2) * thermal_momentum(system, self.temperature) * noise
        return tree.replace(system, momenta=momenta)


def thermal_momentum(system: System, temperature: Float[Tensor, " systems"]) -> Float[Tensor, "atoms 1"]:
    """Returns the standard deviation sqrt(m k_B T) of a momentum component of each atom [Da angstrom/fs]."""
    energy = units.BOLTZMANN_EV * units.ACCELERATION * temperature[system.system]
    return torch.sqrt(system.masses * energy)[:, None]


def component_numbers(system: System) -> Int[Tensor, "atoms 3"]:
    """Returns 3 * (number of the atom within its system) + axis."""
    counts = torch.bincount(system.system, minlength=system.n_systems)
    first = counts.cumsum(0) - counts
    own = torch.arange(system.n_atoms, device=system.system.device) - first[system.system]
    return 3 * own[:, None] + torch.arange(3, device=own.device)


def _seeds(system: System, seed: int | Tensor) -> Tensor:
    if isinstance(seed, Tensor):
        return seed
    return seed + torch.arange(system.n_systems, device=system.positions.device)


def velocity_verlet(forces: Forces) -> Splitting:
    """Returns the NVE integrator "BAB" [Swope1982]: symplectic, reversible, second order in dt."""
    return Splitting(flows={"B": Kick(), "A": Refreshed(flow=Move(), forces=forces)}, order="BAB")


def langevin(forces: Forces, thermostat: OrnsteinUhlenbeck) -> Splitting:
    """Returns the Langevin integrator "BAOAB" [Leimkuhler2013], with one evaluation of the forces a step.

    The inner "AOA" is one flow, as nothing reads the forces until it is over.
    """
    inner = Splitting(flows={"A": Move(), "O": thermostat}, order="AOA")
    return Splitting(flows={"B": Kick(), "M": Refreshed(flow=inner, forces=forces)}, order="BMB")


def maxwell_boltzmann(system: System, *, temperature: float | Tensor, seed: int | Tensor) -> System:
    """Returns the system with momenta drawn at a temperature [K], each system's total momentum removed."""
    kelvin = torch.as_tensor(temperature, dtype=system.positions.dtype, device=system.positions.device)
    if bool((kelvin < 0).any()):
        raise InputError(f"temperature = {temperature} K; it may not be negative")
    kelvin = kelvin.expand(system.n_systems)
    # Counter -1: no step of a thermostat with the same seed draws this noise again.
    noise = random.normal(
        system.momenta, seed=_seeds(system, seed)[system.system, None], counter=-1, element=component_numbers(system)
    )
    return without_drift(tree.replace(system, momenta=thermal_momentum(system, kelvin) * noise))


def without_drift(system: System) -> System:
    """Returns the system with the velocity of each system's centre of mass taken from every atom."""
    drift = system.sum_over_atoms(system.momenta) / system.sum_over_atoms(system.masses)[:, None]
    return tree.replace(system, momenta=system.momenta - system.masses[:, None] * drift[system.system])
