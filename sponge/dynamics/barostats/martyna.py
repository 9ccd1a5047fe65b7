"""The barostat of Martyna, Tobias and Klein: a piston for each part of the cell, with a chain of thermostats."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci import tree, units
from mindsci.errors import InputError
from mindsci.solvers import Flow, Splitting
from mindsci.tree import Tree
from sponge.dynamics.barostats.bodies import Bodies
from sponge.dynamics.barostats.coupling import check_virial, mean_of_parts, parts_of
from sponge.dynamics.constraints import Constraints
from sponge.dynamics.flows import Move, Refreshed
from sponge.dynamics.forces import Forces
from sponge.dynamics.nose_hoover import NoseHooverChain
from sponge.dynamics.velocities import of_each_system, projected
from sponge.system import System
from sponge.thermodynamics import volume
from sponge.topology import Topology

RATES, CHAIN_POSITIONS, CHAIN_RATES = "piston_rates", "piston_chain_positions", "piston_chain_rates"


class Pistons(Tree):
    """P: a kick of the rates at which the cell grows, by the pressure that is too much [Martyna1994; Martyna1996].

    The rate w of each part of the cell, the same along its d axes, has the mass d/3 (N_f + 3) k_B T (period / 2 pi)^2.
    N_f counts the bodies' degrees of freedom. Sizes v have the density V^N exp(-(U + P V) / k_B T) with respect to the
    product of dv; where the total momentum is zero that takes a force of k_B T on each axis more [Tuckerman2001].
    Rates [1/fs] and the chain travel in the state, where `start` sets them.
    """

    reversible: ClassVar[bool] = True
    bodies: Bodies
    parts: Float[Tensor, "parts 3"]
    pressure: Float[Tensor, " systems"]
    """[eV/angstrom^3]"""
    freedom: Float[Tensor, " systems"]
    """of the bodies' centres"""
    removed: Float[Tensor, " systems"]
    chain: NoseHooverChain
    """of the pistons: its temperature and period are theirs"""

    @classmethod
    def of(
        cls,
        forces: Forces,
        system: System,
        *,
        temperature: float | Tensor,
        pressure: float | Tensor,
        period: float | Tensor = 1000.0,
        topology: Topology | None = None,
        coupling: str = "isotropic",
        removed: int | Tensor = 3,
        links: int = 3,
    ) -> Pistons:
        """Returns the barostat of a batch; each value is one for all systems or one for each.

        temperature [K], pressure [eV/angstrom^3], period [fs]. topology: whose molecules move as they are; atoms move
        by themselves unless given. coupling: isotropic, semi_isotropic (x and y together, z) or anisotropic. removed: 3
        where the total momentum is zero and kept, else 0. Raises InputError for values out of range, and for forces
        without a virial.
        """
        check_virial(forces)
        bodies, parts = Bodies.of(system, topology), parts_of(system, coupling)
        gone = of_each_system(system, removed, "removed", "degrees of freedom").double()
        chain = NoseHooverChain.of(system, temperature=temperature, period=period, links=links)
        count = torch.full_like(chain.freedom, float(len(parts)))
        return cls(
            bodies=bodies,
            parts=parts,
            pressure=of_each_system(system, pressure, "pressure", "eV/angstrom^3", signed=True).double(),
            freedom=(3.0 * bodies.count(system) - gone).clamp(min=1.0),
            removed=gone,
            chain=tree.replace(chain, freedom=count),
        )

    def start(self, system: System) -> System:
        """Returns the system with whole molecules and pistons at rest, unless they move already."""
        system = self.bodies.start(system)
        if RATES in system.auxiliary:
            return system
        still = system.energy.new_zeros(system.n_systems, len(self.parts))
        chain = system.energy.new_zeros(system.n_systems, self.chain.links)
        begin = {RATES: still, CHAIN_POSITIONS: chain, CHAIN_RATES: chain.clone()}
        return tree.replace(system, auxiliary=system.auxiliary | begin)

    def masses(self) -> Float[Tensor, "systems parts"]:
        """Returns the mass of each piston [eV fs^2]."""
        thermal = units.BOLTZMANN_EV * self.chain.temperature.double()
        square = (self.chain.period.double() / (2.0 * torch.pi)) ** 2
        return ((self.freedom + 3.0) * thermal * square)[:, None] * self.parts.sum(1) / 3.0

    def rates_of_axes(self, system: System) -> Float[Tensor, "systems 3"]:
        """Returns the rate at which each axis grows [1/fs]."""
        return _rates(system) @ self.parts

    def __call__(self, system: System, t: float, dt: float) -> System:
        before = _rates(system)
        axes, V = self.parts.sum(1), volume(system)[:, None]
        thermal = units.BOLTZMANN_EV * self.chain.temperature.double()
        inside = mean_of_parts(self.parts, self.bodies.pressure(system))
        extra = self.bodies.kinetic(system).sum(-1) / self.freedom + self.removed / 3.0 * thermal
        force = axes * (V * (inside - self.pressure[:, None]) + extra[:, None])
        step = dt * (torch.ones_like(system.energy) if system.pace is None else system.pace.double())
        rates = before + step[:, None] * force / self.masses()
        return tree.replace(system, auxiliary=system.auxiliary | {RATES: rates})

    def conserved(self, system: System) -> Float[Tensor, " systems"]:
        """Returns P V and what the pistons and their chain hold [eV], to add to what the thermostat conserves."""
        thermal, V = units.BOLTZMANN_EV * self.chain.temperature.double(), volume(system)
        kept = system.auxiliary
        moving = 0.5 * (self.masses() * kept[RATES] ** 2).sum(-1)
        measure = self.removed / 3.0 * thermal * torch.log(V)
        chain = self.chain.energy_of(kept[CHAIN_POSITIONS], kept[CHAIN_RATES])
        return self.pressure * V - measure + moving + chain


class PistonChain(Tree):
    """Q: the chain of thermostats of the pistons."""

    reversible: ClassVar[bool] = True
    pistons: Pistons

    def __call__(self, system: System, t: float, dt: float) -> System:
        kept, pistons = system.auxiliary, self.pistons
        twice = (pistons.masses() * kept[RATES] ** 2).sum(-1)
        step = system.step_of_systems(dt)
        scale, places, rates = pistons.chain.propagate(twice, kept[CHAIN_POSITIONS], kept[CHAIN_RATES], step)
        changed = {RATES: scale[:, None] * kept[RATES], CHAIN_POSITIONS: places, CHAIN_RATES: rates}
        return tree.replace(system, auxiliary=kept | changed)


class PistonKick(Tree):
    """B: the forces kick the momenta, those of the bodies under the drag of the pistons; solved exactly."""

    reversible: ClassVar[bool] = True
    pistons: Pistons
    constraints: Constraints | None = None

    def __call__(self, system: System, t: float, dt: float) -> System:
        bodies, rates = self.pistons.bodies, self.pistons.rates_of_axes(system)
        drag = (rates + rates.sum(-1, keepdim=True) / self.pistons.freedom[:, None]).index_select(0, bodies.owner)
        step = step_of_bodies(system, bodies, dt)
        push = units.ACCELERATION * bodies.sum(system.forces.double())
        of_body = torch.expm1(-drag * step) * bodies.momenta(system) + (_slope(-drag * step) - 1.0) * step * push
        change = bodies.shares(system) * of_body.index_select(0, bodies.body)
        change = change + units.ACCELERATION * system.step_of_atoms(dt) * system.forces.double()
        momenta = (system.momenta.double() + change).to(system.momenta.dtype)
        return projected(tree.replace(system, momenta=momenta), self.constraints)


class PistonMove(Tree):
    """A: the atoms move by their velocities, the centres of the bodies with the cell as well; solved exactly."""

    reversible: ClassVar[bool] = True
    pistons: Pistons
    constraints: Constraints | None = None

    def __call__(self, system: System, t: float, dt: float) -> System:
        bodies, rates = self.pistons.bodies, self.pistons.rates_of_axes(system)
        step = step_of_bodies(system, bodies, dt)
        growth = step * rates.index_select(0, bodies.owner)
        velocity = bodies.momenta(system) / bodies.sum(system.masses.double())[:, None]
        shift = torch.expm1(growth) * bodies.centres(system) + (_slope(growth) - 1.0) * step * velocity
        span = dt * (torch.ones_like(system.energy) if system.pace is None else system.pace.double())
        cell = (system.cell.double() * torch.exp(span[:, None] * rates)[:, None, :]).to(system.cell.dtype)
        moved = Move(constraints=self.constraints)(system, t, dt)
        positions = (moved.positions.double() + shift.index_select(0, bodies.body)).to(moved.positions.dtype)
        return tree.replace(moved, positions=positions, cell=cell)


def _rates(system: System) -> Float[Tensor, "systems parts"]:
    if RATES not in system.auxiliary:
        raise InputError("the state has no pistons; begin with barostat.start(system)")
    return system.auxiliary[RATES]


def step_of_bodies(system: System, bodies: Bodies, dt: float) -> float | Float[Tensor, "bodies 1"]:
    """Returns the time step of each body's system [fs]."""
    return dt if system.pace is None else (dt * system.pace.double()).index_select(0, bodies.owner)[:, None]


def _slope(x: Tensor) -> Tensor:
    """(e^x - 1) / x, by its series where the quotient would lose its digits."""
    small = x.abs() < 1e-4
    divisor = torch.where(small, 1.0, x)
    return torch.where(small, 1.0 + x * (0.5 + x / 6.0), torch.expm1(x) / divisor)


def martyna_tobias_klein(
    forces: Forces, pistons: Pistons, thermostat: Flow, constraints: Constraints | None = None
) -> Splitting:
    """Returns the integrator "NQPBABPQN" at constant temperature and pressure [Martyna1996].

    thermostat: of the particles, a NoseHooverChain, or another that keeps the total momentum where `removed` says so.
    Raises InputError where a constraint joins two bodies, which the cell would pull apart.
    """
    if constraints is not None:
        body = pistons.bodies.body[constraints.pairs]
        if bool((body[:, 0] != body[:, 1]).any()):
            raise InputError("a constraint joins two bodies of the barostat; give the topology: Pistons.of(topology=)")
    flows = {
        "N": thermostat,
        "Q": PistonChain(pistons=pistons),
        "P": pistons,
        "B": PistonKick(pistons=pistons, constraints=constraints),
        "A": Refreshed(flow=PistonMove(pistons=pistons, constraints=constraints), forces=forces),
    }
    return Splitting(flows=flows, order="NQPBABPQN")
