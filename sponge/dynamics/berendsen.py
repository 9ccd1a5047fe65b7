"""Weak coupling to a bath: fast to equilibrate, but no ensemble [Berendsen1984]."""

from __future__ import annotations

import logging
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci import tree
from mindsci.tree import Tree
from sponge.dynamics.barostats.bodies import Bodies
from sponge.dynamics.barostats.cell_rescaling import WATER
from sponge.dynamics.barostats.coupling import (
    acts_after,
    check_every,
    check_virial,
    mean_of_parts,
    parts_of,
    strain_of_axes,
)
from sponge.dynamics.forces import Forces
from sponge.dynamics.velocities import of_each_system
from sponge.system import System
from sponge.thermodynamics import temperature as kinetic_temperature
from sponge.topology import Topology

logger = logging.getLogger(__name__)

WARNING = "Berendsen's %s samples no ensemble: its fluctuations are too small. Equilibrate with it, then use %s"


class BerendsenThermostat(Tree):
    """T: momenta scaled so that the temperature decays to that of the bath; a warning is logged when it is made."""

    reversible: ClassVar[bool] = False
    temperature: Float[Tensor, " systems"]
    """[K]"""
    time: Float[Tensor, " systems"]
    """[fs]"""
    removed: int | Tensor

    @classmethod
    def of(
        cls, system: System, *, temperature: float | Tensor, time: float | Tensor = 100.0, removed: int | Tensor = 3
    ) -> BerendsenThermostat:
        """Returns the thermostat of a batch; temperature [K] and time [fs] are one for all or one for each system."""
        logger.warning(WARNING, "thermostat", "StochasticRescaling")
        return cls(
            temperature=of_each_system(system, temperature, "temperature", "K").double(),
            time=of_each_system(system, time, "time", "fs", positive=True).double(),
            removed=removed,
        )

    def __call__(self, system: System, t: float, dt: float) -> System:
        present = kinetic_temperature(system, removed=self.removed)
        moving = present > 0
        share = system.step_of_systems(dt) / self.time
        excess = self.temperature / torch.where(moving, present, 1.0) - 1.0
        # A step longer than the time would turn the square negative where it is hot.
        factor = torch.where(moving, torch.sqrt((1.0 + share * excess).clamp(min=0.0)), 1.0)
        return tree.replace(system, momenta=factor.to(system.momenta.dtype)[system.system, None] * system.momenta)


class BerendsenBarostat(Tree):
    """V: the cell and the centres of its bodies scale so that the pressure decays to that outside; it logs a warning.

    The strain of an axis in a step is beta / (3 tau) (P_int - P) dt.
    """

    reversible: ClassVar[bool] = False
    forces: Forces
    bodies: Bodies
    parts: Float[Tensor, "parts 3"]
    pressure: Float[Tensor, " systems"]
    """[eV/angstrom^3]"""
    rate: Float[Tensor, " systems"]
    """compressibility over time [angstrom^3/eV/fs]"""
    every: int

    @classmethod
    def of(
        cls,
        forces: Forces,
        system: System,
        *,
        pressure: float | Tensor,
        time: float | Tensor = 1000.0,
        compressibility: float | Tensor = WATER,
        topology: Topology | None = None,
        coupling: str = "isotropic",
        every: int = 10,
    ) -> BerendsenBarostat:
        """Returns the barostat of a batch; the arguments are those of `CellRescaling.of`."""
        check_every(every)
        check_virial(forces)
        logger.warning(WARNING, "barostat", "CellRescaling")
        beta = of_each_system(system, compressibility, "compressibility", "angstrom^3/eV", positive=True)
        return cls(
            forces=forces,
            bodies=Bodies.of(system, topology),
            parts=parts_of(system, coupling),
            pressure=of_each_system(system, pressure, "pressure", "eV/angstrom^3", signed=True).double(),
            rate=(beta / of_each_system(system, time, "time", "fs", positive=True)).double(),
            every=every,
        )

    def start(self, system: System) -> System:
        """Returns the system with whole molecules."""
        return self.bodies.start(system)

    def __call__(self, system: System, t: float, dt: float) -> System:
        if not acts_after(round(t / dt), self.every):
            return system
        excess = mean_of_parts(self.parts, self.bodies.pressure(system)) - self.pressure[:, None]
        span = self.rate * system.step_of_systems(self.every * dt)
        change = span[:, None] * excess * self.parts.sum(1) / 3.0
        return self.forces(self.bodies.scaled(system, strain_of_axes(self.parts, change).exp()))
