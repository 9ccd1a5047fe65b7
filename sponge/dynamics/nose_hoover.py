"""The Nosé-Hoover chain thermostat, deterministic and reversible [Martyna1992; Martyna1996]."""

from __future__ import annotations

import itertools
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci import tree, units
from mindsci.errors import InputError
from mindsci.solvers import Splitting
from mindsci.tree import Tree
from sponge.dynamics.constraints import Constraints
from sponge.dynamics.flows import verlet_flows
from sponge.dynamics.forces import Forces
from sponge.dynamics.velocities import of_each_system
from sponge.system import System
from sponge.thermodynamics import degrees_of_freedom, kinetic_energy

POSITIONS, RATES = "nose_hoover_positions", "nose_hoover_rates"
SUZUKI = (1.0 / (2.0 - 2.0 ** (1 / 3)), 1.0 - 2.0 / (2.0 - 2.0 ** (1 / 3)), 1.0 / (2.0 - 2.0 ** (1 / 3)))
"""weights of a fourth-order composition of three steps [Yoshida1990]"""


class NoseHooverChain(Tree):
    """N: a chain of thermostats, each ruling the one before, that scales the momenta of each system.

    Its variables travel in the state (`start` sets them): positions, without dimension, and rates [1/fs].
    The step is split as [Martyna1996], each substep composed of three [Yoshida1990].
    """

    reversible: ClassVar[bool] = True
    temperature: Float[Tensor, " systems"]
    """[K]"""
    period: Float[Tensor, " systems"]
    """of the thermostat's own swing [fs]"""
    freedom: Float[Tensor, " systems"]
    links: int = 3
    substeps: int = 1

    @classmethod
    def of(
        cls,
        system: System,
        *,
        temperature: float | Tensor,
        period: float | Tensor = 100.0,
        removed: int | Tensor = 3,
        links: int = 3,
        substeps: int = 1,
    ) -> NoseHooverChain:
        """Returns the thermostat of a batch; temperature [K] and period [fs] are one for all or one for each system.

        removed: degrees of freedom without kinetic energy; the chain keeps a total momentum of zero at zero. Raises
        InputError where a value is not positive.
        """
        if links < 1 or substeps < 1:
            raise InputError(f"links = {links}, substeps = {substeps}; use 1 or more of each")
        return cls(
            temperature=of_each_system(system, temperature, "temperature", "K", positive=True),
            period=of_each_system(system, period, "period", "fs", positive=True),
            freedom=degrees_of_freedom(system, removed=removed).to(system.positions.dtype),
            links=links,
            substeps=substeps,
        )

    def start(self, system: System) -> System:
        """Returns the system with the chain at rest, unless it has one of this length."""
        held = system.auxiliary.get(RATES)
        if held is not None and held.shape == (system.n_systems, self.links):
            return system
        still = torch.zeros(system.n_systems, self.links, dtype=torch.float64, device=system.positions.device)
        return tree.replace(system, auxiliary=system.auxiliary | {POSITIONS: still, RATES: still.clone()})

    def masses(self) -> list[Float[Tensor, " systems"]]:
        """Returns the mass of each link [eV fs^2]: f k_B T and k_B T times (period / 2 pi)^2 [Martyna1992]."""
        thermal = units.BOLTZMANN_EV * self.temperature.double()
        square = (self.period.double() / (2.0 * torch.pi)) ** 2
        return [self.freedom.double() * thermal * square, *[thermal * square] * (self.links - 1)]

    def __call__(self, system: System, t: float, dt: float) -> System:
        if RATES not in system.auxiliary:
            raise InputError("the state has no Nosé-Hoover chain; begin with thermostat.start(system)")
        places, rates = system.auxiliary[POSITIONS], system.auxiliary[RATES]
        scale, places, rates = self.propagate(2.0 * kinetic_energy(system), places, rates, system.step_of_systems(dt))
        chain = {POSITIONS: places, RATES: rates}
        factors = scale.to(system.momenta.dtype)[system.system, None]
        return tree.replace(system, momenta=factors * system.momenta, auxiliary=system.auxiliary | chain)

    def propagate(
        self,
        twice_kinetic: Float[Tensor, " systems"],
        places: Float[Tensor, "systems links"],
        rates: Float[Tensor, "systems links"],
        step: float | Tensor,
    ) -> tuple[Float[Tensor, " systems"], Float[Tensor, "systems links"], Float[Tensor, "systems links"]]:
        """Returns the factor of the momenta after a time step [fs], and the chain's positions and rates."""
        positions, speeds = list(places.unbind(-1)), list(rates.unbind(-1))
        scale = torch.ones_like(twice_kinetic)
        for _, weight in itertools.product(range(self.substeps), SUZUKI):
            share = step * weight / self.substeps
            twice_kinetic, factor = self._advance(twice_kinetic, positions, speeds, share)
            scale = scale * factor
        return scale, torch.stack(positions, -1), torch.stack(speeds, -1)

    def _advance(
        self, twice_kinetic: Tensor, places: list[Tensor], rates: list[Tensor], step: float | Tensor
    ) -> tuple[Tensor, Tensor]:
        """One symmetric step: rates from the far end of the chain, the momenta, positions, and rates back."""
        masses, thermal = self.masses(), units.BOLTZMANN_EV * self.temperature.double()
        last = self.links - 1

        def pull(k: int) -> Tensor:
            if k == 0:
                return (twice_kinetic - self.freedom * thermal) / masses[0]
            return (masses[k - 1] * rates[k - 1] ** 2 - thermal) / masses[k]

        def kick(k: int) -> None:
            if k == last:
                rates[k] = rates[k] + 0.5 * step * pull(k)
                return
            drag = torch.exp(-0.25 * step * rates[k + 1])
            rates[k] = (rates[k] * drag + 0.5 * step * pull(k)) * drag

        for k in reversed(range(self.links)):
            kick(k)
        factor = torch.exp(-step * rates[0])
        twice_kinetic = twice_kinetic * factor**2
        for k in range(self.links):
            places[k] = places[k] + step * rates[k]
        for k in range(self.links):
            kick(k)
        return twice_kinetic, factor

    def conserved(self, system: System) -> Float[Tensor, " systems"]:
        """Returns energy, kinetic energy and what the chain holds [eV]: constant to the order of the integrator."""
        held = self.energy_of(system.auxiliary[POSITIONS], system.auxiliary[RATES])
        return system.energy + kinetic_energy(system) + held

    def energy_of(
        self, places: Float[Tensor, "systems links"], rates: Float[Tensor, "systems links"]
    ) -> Float[Tensor, " systems"]:
        """Returns what a chain holds [eV]."""
        thermal = units.BOLTZMANN_EV * self.temperature.double()
        total = self.freedom * thermal * places[:, 0]
        for k, mass in enumerate(self.masses()):
            total = total + 0.5 * mass * rates[:, k] ** 2 + (thermal * places[:, k] if k else 0.0)
        return total


def nose_hoover(forces: Forces, thermostat: NoseHooverChain, constraints: Constraints | None = None) -> Splitting:
    """Returns the integrator "NBABN": velocity Verlet between two halves of the chain [Martyna1996]."""
    return Splitting(flows={"N": thermostat, **verlet_flows(forces, constraints)}, order="NBABN")
