"""What the motion of each system of a batch amounts to: kinetic energy, temperature, pressure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci import units
from mindsci.errors import InputError
from sponge.system import System

if TYPE_CHECKING:
    from sponge.dynamics.constraints import Constraints


def kinetic_energy(system: System) -> Float[Tensor, " systems"]:
    """Returns the kinetic energy of each system [eV], in float64."""
    return kinetic_energy_at(system, system.momenta[None])[0]


def kinetic_energy_at(system: System, momenta: Float[Tensor, "frames atoms 3"]) -> Float[Tensor, "frames systems"]:
    """Returns the kinetic energy of each system at momenta of several moments [eV], in float64."""
    masses = system.masses.double()
    double = (momenta.double() ** 2).sum(-1) / (2.0 * torch.where(masses > 0, masses, 1.0))
    return system.sum_over_atoms(double.T).T / units.ACCELERATION


def kinetic_tensor(system: System) -> Float[Tensor, "systems 3 3"]:
    """Returns sum over atoms of p p / m of each system [eV], in float64; its trace is twice the kinetic energy."""
    momenta, masses = system.momenta.double(), system.masses.double()
    outer = momenta[:, :, None] * momenta[:, None, :] / torch.where(masses > 0, masses, 1.0)[:, None, None]
    return system.sum_over_atoms(outer) / units.ACCELERATION


def degrees_of_freedom(system: System, *, removed: int | Tensor = 3) -> Float[Tensor, " systems"]:
    """Returns 3 N - constraints - removed of each system, at least 1; N counts atoms with mass, not virtual sites.

    removed: degrees of freedom that carry no kinetic energy, beside those that constraints hold (`System.held`); 3
    where the total momentum is zero and kept, 0 where a thermostat acts on every atom by itself; one number, or one for
    each system.
    """
    free = 3.0 * system.sum_over_atoms((system.masses > 0).double())
    return (free - (0.0 if system.held is None else system.held) - removed).clamp(min=1.0)


def temperature(system: System, *, removed: int | Tensor = 3) -> Float[Tensor, " systems"]:
    """Returns the kinetic temperature of each system [K]: 2 K / (degrees of freedom k_B)."""
    return temperature_at(system, system.momenta[None], removed=removed)[0]


def temperature_at(
    system: System, momenta: Float[Tensor, "frames atoms 3"], *, removed: int | Tensor = 3
) -> Float[Tensor, "frames systems"]:
    """Returns the temperature of each system at momenta of several moments [K]."""
    freedom = degrees_of_freedom(system, removed=removed) * units.BOLTZMANN_EV
    return 2.0 * kinetic_energy_at(system, momenta) / freedom


def volume(system: System) -> Float[Tensor, " systems"]:
    """Returns the volume of each cell [angstrom^3], in float64; zero where there is no cell."""
    return torch.linalg.det(system.cell.double()).abs()


def pressure_tensor(system: System, constraints: Constraints | None = None) -> Float[Tensor, "systems 3 3"]:
    """Returns (sum p p / m + W) / V of each system [eV/angstrom^3], with the virial W that the forces left.

    Forces of constraints have a virial too: give the constraints that the system is held by. Raises InputError where
    they are missing, where there is no virial, or a system that is not periodic along all three axes.
    """
    if system.virial is None:
        raise InputError("the system has no virial; take its forces with Forces.of(potential, system, virial=True)")
    if not bool(system.periodic.all()):
        which = (~system.periodic.all(-1)).nonzero().flatten().tolist()
        raise InputError(f"system {which[0]} is not periodic along all three axes and has no pressure; give it a cell")
    if constraints is None and system.held is not None and bool((system.held > 0).any()):
        raise InputError(
            "the system has constraints, whose forces have a virial; give them: pressure(system, constraints)"
        )
    virial = system.virial if constraints is None else system.virial + constraints.forces(system)[1]
    return (kinetic_tensor(system) + virial) / volume(system)[:, None, None]


def pressure(system: System, constraints: Constraints | None = None) -> Float[Tensor, " systems"]:
    """Returns (2 K + tr W) / (3 V) of each system [eV/angstrom^3]; 1 eV/angstrom^3 is 160.2 GPa.

    Constraints are those that the system is held by, as for `pressure_tensor`.
    """
    return pressure_tensor(system, constraints).diagonal(dim1=-2, dim2=-1).mean(-1)
