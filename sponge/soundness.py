"""What can be wrong with a state of molecular dynamics: not finite, too hot, or where an ensemble disagrees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mindsci import units
from mindsci.errors import InputError
from sponge.forcefield.bonded import between
from sponge.potentials.ensemble import uncertain_atoms
from sponge.system import System, name_atom
from sponge.thermodynamics import temperature, temperature_at

if TYPE_CHECKING:
    from sponge.model import Model

HOTTEST = 1e5
"""[K]; no condensed or gaseous molecular matter is that hot: the integration has blown up"""
THROWN, PROBE = 0.25, 2.0
"""[angstrom], [fs]; a force that moves an atom at rest by as much within the time, or a step, is no start"""
NAMED = 5
"""atoms that a message names"""


class Uncertain(InputError):
    """The members of an ensemble disagree about a force by more than was allowed."""


def check(system: System, limit: float | None = None, model: Model | None = None) -> None:
    """Raises InputError, naming the atom, for a state that no integration should reach.

    limit: of an ensemble's deviation of forces [eV/angstrom]; above it, `Uncertain` is raised. model: whose topology
    has names of atoms.
    """
    for name, values in (("position", system.positions), ("force", system.forces), ("momentum", system.momenta)):
        lost = (~values.isfinite().all(-1)).nonzero().flatten()
        if len(lost):
            raise InputError(
                f"{_name(system, model, int(lost[0]))} has a {name} that is not finite ({len(lost)} atoms do)"
            )
    energies = (~system.energy.isfinite()).nonzero().flatten()
    if len(energies):
        raise InputError(f"the energy of system {int(energies[0])} is not finite")
    kelvin = temperature(system)
    if bool((kelvin > HOTTEST).any()):
        fastest = int(system.velocities.norm(dim=-1).argmax())
        raise InputError(
            f"the temperature is {float(kelvin.max()):.3g} K, above {HOTTEST:g} K; "
            f"{_name(system, model, fastest)} is the fastest"
        )
    if limit is None:
        return
    found = uncertain_atoms(system, limit)
    if found:
        names = ", ".join(f"{name_atom(system, atom)} by {value:.3g}" for atom, value in found[:NAMED])
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        raise Uncertain(
            f"the members of the ensemble differ in the force on {names}{more} eV/angstrom (standard deviation), above "
            f"uncertainty_limit = {limit:g}"
        )


def is_sound(system: System, frames: dict[str, torch.Tensor] | None, limit: float | None = None) -> bool:
    """Whether a state, and the frames (positions, velocities, potential, ...) on the way to it, pass `check`."""
    if frames is not None:
        if not all(bool(values.isfinite().all()) for values in frames.values()):
            return False
        if bool((temperature_at(system, frames["velocities"] * system.masses[:, None]) > HOTTEST).any()):
            return False
    try:
        check(system, limit)
    except InputError:
        return False
    return True


def check_start(system: System, model: Model, dt: float, *, minimised: bool) -> None:
    """Raises InputError, naming the atoms, where the first forces would throw one away within a step [fs]."""
    dt = min(dt, PROBE)
    push = 0.5 * dt**2 * units.ACCELERATION * system.forces.double().norm(dim=-1)
    push = torch.where(system.masses > 0, push / torch.where(system.masses > 0, system.masses, 1.0), 0.0)
    atom = int(push.argmax())
    if float(push[atom]) <= THROWN:
        return
    other, distance = _closest(system, model, atom)
    near = "" if other is None else f": {_name(system, model, other)} is {distance:.3g} angstrom away"
    fix = "a shorter dt, or a better structure" if minimised else "a [minimise] table, which relaxes overlapping atoms"
    raise InputError(
        f"the force on {_name(system, model, atom)} is {float(system.forces[atom].norm()):.3g} eV/angstrom{near}. It "
        f"would move by {float(push[atom]):.2g} angstrom within {dt:g} fs; start with {fix}"
    )


def _closest(system: System, model: Model, atom: int) -> tuple[int | None, float]:
    """The nearest atom of the same system that the topology does not exclude, and its distance [angstrom]."""
    others = (system.system == system.system[atom]) & (
        torch.arange(system.n_atoms, device=system.system.device) != atom
    )
    terms = None if model.topology is None else model.topology.nonbonded
    if terms is not None:
        pairs = terms.exclusions.to(others.device)
        others[pairs[pairs[:, 0] == atom, 1]] = False
        others[pairs[pairs[:, 1] == atom, 0]] = False
    found = others.nonzero().flatten()
    if len(found) == 0:
        return None, 0.0
    distances = between(system, torch.full_like(found, atom), found).norm(dim=-1)
    return int(found[distances.argmin()]), float(distances.min())


def _name(system: System, model: Model | None, atom: int) -> str:
    named = None if model is None else model.name_atom(atom)
    return name_atom(system, atom) if named is None else named
