"""Stochastic cell rescaling: a barostat of first order with noise, whose volumes are canonical [Bernetti2020]."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindsci import random, tree, units
from mindsci.errors import InputError
from mindsci.tree import Tree
from sponge.dynamics.barostats.bodies import Bodies
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
from sponge.thermodynamics import kinetic_energy, volume
from sponge.topology import Topology

WORK, BEGAN = "cell_rescaling_work", "cell_rescaling_volume"
WATER = 72.0
"""compressibility of water at 300 K, 4.5e-5 / bar [angstrom^3/eV]"""


class CellRescaling(Tree):
    """R: the logarithm e of the size of each part of the cell drifts with the excess of pressure, and diffuses.

    de = D ((P_int - P) V / k_B T + 1) dt + sqrt(2 D) dW with D = d/3 beta k_B T / (tau V_0), d the axes of the part:
    sizes v then have the density V^N exp(-(U + P V) / k_B T) with respect to the product of dv, to first order in the
    step over tau. [Bernetti2020] lets D go as 1 / V, which is the same where V is near V_0, the volume at the start;
    with a constant one the noise is additive in e, in every coupling. Centres of the bodies scale with the cell, their
    momenta against it.
    """

    reversible: ClassVar[bool] = False
    forces: Forces
    bodies: Bodies
    parts: Float[Tensor, "parts 3"]
    temperature: Float[Tensor, " systems"]
    """[K], of the thermostat"""
    pressure: Float[Tensor, " systems"]
    """[eV/angstrom^3]"""
    time: Float[Tensor, " systems"]
    """in which a pressure relaxes where `compressibility` is the system's own [fs]"""
    compressibility: Float[Tensor, " systems"]
    """[angstrom^3/eV]"""
    removed: Float[Tensor, " systems"]
    stream: Int[Tensor, " systems"]
    every: int

    @classmethod
    def of(
        cls,
        forces: Forces,
        system: System,
        *,
        temperature: float | Tensor,
        pressure: float | Tensor,
        time: float | Tensor = 1000.0,
        compressibility: float | Tensor = WATER,
        topology: Topology | None = None,
        coupling: str = "isotropic",
        every: int = 10,
        removed: int | Tensor = 3,
        seed: int,
    ) -> CellRescaling:
        """Returns the barostat of a batch; each value is one for all systems or one for each.

        pressure [eV/angstrom^3], time [fs], compressibility [angstrom^3/eV]: the latter two set the pace alone.
        topology: whose molecules move as they are; atoms move by themselves unless given. coupling: isotropic,
        semi_isotropic (x and y together, z) or anisotropic. every: steps between two moves, which cost an evaluation of
        the forces each. removed: 3 where the total momentum is zero and kept, else 0; either way V^N. Raises
        InputError for values out of range, and for forces without a virial.
        """
        check_every(every)
        check_virial(forces)
        return cls(
            forces=forces,
            bodies=Bodies.of(system, topology),
            parts=parts_of(system, coupling),
            temperature=of_each_system(system, temperature, "temperature", "K", positive=True).double(),
            pressure=of_each_system(system, pressure, "pressure", "eV/angstrom^3", signed=True).double(),
            time=of_each_system(system, time, "time", "fs", positive=True).double(),
            compressibility=of_each_system(
                system, compressibility, "compressibility", "angstrom^3/eV", positive=True
            ).double(),
            removed=of_each_system(system, removed, "removed", "degrees of freedom").double(),
            stream=random.stream(seed, system.stream),
            every=every,
        )

    def start(self, system: System) -> System:
        """Returns the system with whole molecules, its volume noted and no work done yet, unless that is there."""
        system = self.bodies.start(system)
        if WORK in system.auxiliary:
            return system
        begin = {WORK: torch.zeros_like(system.energy), BEGAN: volume(system)}
        return tree.replace(system, auxiliary=system.auxiliary | begin)

    def __call__(self, system: System, t: float, dt: float) -> System:
        step = round(t / dt)
        if not acts_after(step, self.every):
            return system
        if WORK not in system.auxiliary:
            raise InputError("the state has no count of work; begin with barostat.start(system)")
        span = (system.step_of_systems(self.every * dt) * torch.ones_like(system.energy))[:, None]
        noise = random.normal(
            system.energy.new_zeros(system.n_systems, len(self.parts)),
            seed=self.stream[:, None],
            counter=step,
            element=torch.arange(len(self.parts), device=self.stream.device)[None],
        )
        drift, width = self._drift(system) * span, torch.sqrt(2.0 * self._diffusion(system) * span)
        change = drift + width * noise
        strain = strain_of_axes(self.parts, change)
        after = self.forces(rescaled_momenta(self.bodies.scaled(system, strain.exp()), self.bodies, strain))
        # By how much the way there is likelier than the way back; at equilibrium that is the free energy gained.
        returned = (-change - self._drift(after) * span) / width
        bias = 0.5 * (returned**2 - noise**2).sum(-1)
        work = system.auxiliary[WORK] - units.BOLTZMANN_EV * self.temperature * bias
        return tree.replace(after, auxiliary=after.auxiliary | {WORK: work})

    def _diffusion(self, system: System) -> Float[Tensor, "systems parts"]:
        """D of each part [1/fs]."""
        thermal = units.BOLTZMANN_EV * self.temperature
        pace = self.compressibility * thermal / (self.time * system.auxiliary[BEGAN])
        return pace[:, None] * self.parts.sum(1) / 3.0

    def _drift(self, system: System) -> Float[Tensor, "systems parts"]:
        """Mean rate of the logarithm of each part's size [1/fs]."""
        thermal = units.BOLTZMANN_EV * self.temperature[:, None]
        excess = mean_of_parts(self.parts, self.bodies.pressure(system)) - self.pressure[:, None]
        # 1 for the density by dv, not de; a total momentum that is kept at zero is missing in the pressure.
        measure = 1.0 + self.removed[:, None] / 3.0
        return self._diffusion(system) * (excess * volume(system)[:, None] / thermal + measure)

    def conserved(self, system: System) -> Float[Tensor, " systems"]:
        """Returns energy, kinetic energy and P V less the work of the barostat [eV], to add what a thermostat holds.

        Constant to the order of the step, where the thermostat's heat is taken off as well.
        """
        thermal = units.BOLTZMANN_EV * self.temperature
        V = volume(system)
        # The sum of the logarithms of the parts' sizes is that of the volume.
        measure = (1.0 + self.removed / 3.0) * torch.log(V)
        held = system.energy + kinetic_energy(system) + self.pressure * V - thermal * measure
        return held - system.auxiliary[WORK]


def rescaled_momenta(system: System, bodies: Bodies, strain: Float[Tensor, "systems 3"]) -> System:
    """Returns the system with momenta of bodies scaled against their places, which keeps the volume of phase space."""
    lost = torch.expm1(-strain).index_select(0, bodies.owner) * bodies.momenta(system)
    change = bodies.shares(system) * lost.index_select(0, bodies.body)
    return tree.replace(system, momenta=(system.momenta.double() + change).to(system.momenta.dtype))
