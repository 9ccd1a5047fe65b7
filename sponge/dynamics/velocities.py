"""Momenta at a temperature, and the random streams that they and the thermostats draw from."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindsci import random, tree, units
from mindsci.errors import InputError
from sponge.dynamics.constraints import Constraints
from sponge.system import System


def maxwell_boltzmann(
    system: System, *, temperature: float | Tensor, seed: int, constraints: Constraints | None = None
) -> System:
    """Returns the system with momenta drawn at a temperature [K], each system's total momentum removed.

    temperature: one for all, or one for each system. Each system draws from its own stream (`System.stream`). Raises
    InputError for a system with constraints that are not given: momenta would break them.
    """
    if system.held is not None and constraints is None and bool((system.held > 0).any()):
        raise InputError("the system has constraints; give them: maxwell_boltzmann(..., constraints=constraints)")
    kelvin = of_each_system(system, temperature, "temperature", "K")
    # Counter -1: no step of a thermostat with the same seed draws this noise again.
    stream = random.stream(seed, system.stream)[system.system, None]
    noise = random.normal(system.momenta, seed=stream, counter=-1, element=component_numbers(system))
    # Normal values that lose their part along the constraints are canonical on what is left.
    drawn = projected(tree.replace(system, momenta=thermal_momentum(system, kelvin) * noise), constraints)
    return without_drift(drawn)


def projected(system: System, constraints: Constraints | None) -> System:
    """Returns the system with momenta that break no constraint."""
    return system if constraints is None else constraints.project(system)


def without_drift(system: System) -> System:
    """Returns the system with the velocity of each system's centre of mass taken from every atom."""
    drift = system.sum_over_atoms(system.momenta) / system.sum_over_atoms(system.masses)[:, None]
    return tree.replace(system, momenta=system.momenta - system.masses[:, None] * drift[system.system])


def thermal_momentum(system: System, temperature: Float[Tensor, " systems"]) -> Float[Tensor, "atoms 1"]:
    """Returns the standard deviation sqrt(m k_B T) of a momentum component of each atom [Da angstrom/fs]."""
    energy = units.BOLTZMANN_EV * units.ACCELERATION * temperature[system.system]
    return torch.sqrt(system.masses * energy)[:, None]


def component_numbers(system: System) -> Int[Tensor, "atoms 3"]:
    """Returns 3 * (number of the atom within its system) + axis."""
    own = torch.arange(system.n_atoms, device=system.system.device) - system.starts[:-1][system.system]
    return 3 * own[:, None] + torch.arange(3, device=own.device)


def of_each_system(
    system: System, value: float | Tensor, name: str, unit: str, *, positive: bool = False, signed: bool = False
) -> Float[Tensor, " systems"]:
    """Returns the value for each system, in the precision of the positions.

    Raises InputError below zero unless it is `signed`, where `positive` at zero, and for as many values as there are no
    systems.
    """
    values = torch.as_tensor(value, dtype=system.positions.dtype, device=system.positions.device)
    if values.ndim > 1 or (values.ndim == 1 and len(values) != system.n_systems):
        raise InputError(f"{name} has shape {list(values.shape)}; give one, or one for each of {system.n_systems}")
    if signed and not bool(values.isfinite().all()):
        raise InputError(f"{name} = {value} {unit}; use finite ones")
    if not signed and not bool(((values > 0) if positive else (values >= 0)).all()):
        limit = "each must be positive" if positive else "none may be negative"
        raise InputError(f"{name} = {value} {unit}; {limit}")
    return values.expand(system.n_systems)
