"""What can be wrong with a state of molecular dynamics: not finite, too hot, or where an ensemble disagrees."""

from __future__ import annotations

import torch

from mindsci.errors import InputError
from sponge.potentials.ensemble import uncertain_atoms
from sponge.system import System, name_atom
from sponge.thermodynamics import temperature, temperature_at

HOTTEST = 1e5
"""[K]; no condensed or gaseous molecular matter is that hot: the integration has blown up"""
NAMED = 5
"""atoms that a message names"""


class Uncertain(InputError):
    """The members of an ensemble disagree about a force by more than was allowed."""


def check(system: System, limit: float | None = None) -> None:
    """Raises InputError, naming the atom, for a state that no integration should reach.

    limit: of an ensemble's deviation of forces [eV/angstrom]; above it, `Uncertain` is raised.
    """
    for name, values in (("position", system.positions), ("force", system.forces), ("momentum", system.momenta)):
        lost = (~values.isfinite().all(-1)).nonzero().flatten()
        if len(lost):
            raise InputError(
                f"{name_atom(system, int(lost[0]))} has a {name} that is not finite ({len(lost)} atoms do)"
            )
    energies = (~system.energy.isfinite()).nonzero().flatten()
    if len(energies):
        raise InputError(f"the energy of system {int(energies[0])} is not finite")
    kelvin = temperature(system)
    if bool((kelvin > HOTTEST).any()):
        fastest = int(system.velocities.norm(dim=-1).argmax())
        raise InputError(
            f"the temperature is {float(kelvin.max()):.3g} K, above {HOTTEST:g} K; "
            f"{name_atom(system, fastest)} is the fastest"
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
    """Whether a state, and the frames (positions, momenta, potential) on the way to it, pass `check`."""
    if frames is not None:
        if not all(bool(values.isfinite().all()) for values in frames.values()):
            return False
        if bool((temperature_at(system, frames["momenta"]) > HOTTEST).any()):
            return False
    try:
        check(system, limit)
    except InputError:
        return False
    return True
