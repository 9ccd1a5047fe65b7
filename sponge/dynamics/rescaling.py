"""Canonical sampling through velocity rescaling: a thermostat that draws the kinetic energy [Bussi2007]."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindsci import random, tree, units
from mindsci.solvers import Splitting
from mindsci.tree import Tree
from sponge.dynamics.constraints import Constraints
from sponge.dynamics.flows import verlet_flows
from sponge.dynamics.forces import Forces
from sponge.dynamics.velocities import of_each_system
from sponge.system import System
from sponge.thermodynamics import degrees_of_freedom, kinetic_energy

HEAT = "rescaling_heat"


class StochasticRescaling(Tree):
    """C: scales the momenta of each system so that its kinetic energy follows the canonical distribution [Bussi2007].

    The noise of the degrees of freedom but one enters as a chi-squared value, the sum of their squares. What the
    thermostat has given to each system is summed in the state, where `start` has set it to zero.
    """

    reversible: ClassVar[bool] = False
    temperature: Float[Tensor, " systems"]
    """[K]"""
    time: Float[Tensor, " systems"]
    """in which the kinetic energy forgets itself [fs]"""
    freedom: Float[Tensor, " systems"]
    stream: Int[Tensor, " systems"]

    @classmethod
    def of(
        cls,
        system: System,
        *,
        temperature: float | Tensor,
        time: float | Tensor = 100.0,
        removed: int | Tensor = 3,
        seed: int,
    ) -> StochasticRescaling:
        """Returns the thermostat of a batch; temperature [K] and time [fs] are one for all or one for each system.

        removed: degrees of freedom without kinetic energy; a total momentum of zero stays zero. Raises InputError for
        a temperature below zero or a time that is not positive.
        """
        freedom = degrees_of_freedom(system, removed=removed)
        return cls(
            temperature=of_each_system(system, temperature, "temperature", "K"),
            time=of_each_system(system, time, "time", "fs", positive=True),
            freedom=freedom,
            stream=random.stream(seed, system.stream),
        )

    def start(self, system: System) -> System:
        """Returns the system with no heat given yet, unless it has a count already."""
        if HEAT in system.auxiliary:
            return system
        return tree.replace(system, auxiliary=system.auxiliary | {HEAT: torch.zeros_like(system.energy)})

    def __call__(self, system: System, t: float, dt: float) -> System:
        kinetic = kinetic_energy(system)
        kept = torch.exp(-system.step_of_systems(dt) / self.time.double())
        # The mean kinetic energy of one degree of freedom over the present one; nothing to scale where all is at rest.
        moving = kinetic > 0
        share = 0.5 * units.BOLTZMANN_EV * self.temperature.double() / torch.where(moving, kinetic, 1.0)
        first, others = self._noise(system, round(t / dt))
        # [Bussi2007, eq. A7]; below zero only by rounding.
        square = kept + share * (1.0 - kept) * (first**2 + others) + 2.0 * first * torch.sqrt(kept * (1 - kept) * share)
        # The sign of the factor decides which way the momenta point [Bussi2007, eq. A8].
        sign = torch.where(first + torch.sqrt(kept / ((1.0 - kept) * share)) < 0, -1.0, 1.0)
        factor = torch.where(moving, sign * torch.sqrt(square.clamp(min=0.0)), 1.0)
        momenta = factor.to(system.momenta.dtype)[system.system, None] * system.momenta
        auxiliary = system.auxiliary
        if HEAT in auxiliary:
            auxiliary = auxiliary | {HEAT: auxiliary[HEAT] + (factor**2 - 1.0) * kinetic}
        return tree.replace(system, momenta=momenta, auxiliary=auxiliary)

    def _noise(self, system: System, step: int) -> tuple[Tensor, Tensor]:
        """One normal value of each system, and the sum of squares of one less than it has degrees of freedom."""
        first = random.normal(system.energy, seed=self.stream, counter=step, element=torch.zeros_like(self.stream))
        return first, random.chi_squared(self.freedom - 1.0, seed=self.stream, counter=step)

    def conserved(self, system: System) -> Float[Tensor, " systems"]:
        """Returns energy and kinetic energy less the heat given [eV]: constant to the order of the integrator."""
        return system.energy + kinetic_energy(system) - system.auxiliary[HEAT]


def stochastic_rescaling(
    forces: Forces, thermostat: StochasticRescaling, constraints: Constraints | None = None
) -> Splitting:
    """Returns the integrator "BABC": velocity Verlet, then the kinetic energy is drawn [Bussi2007]."""
    return Splitting(flows={"C": thermostat, **verlet_flows(forces, constraints)}, order="BABC")
