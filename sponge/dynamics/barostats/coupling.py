"""Which edges of a cell change together, and a barostat after each step of an integrator."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci.errors import InputError, UnknownNameError
from mindsci.solvers import Flow, Splitting
from sponge.dynamics.forces import Forces
from sponge.system import System

COUPLINGS = {
    "isotropic": ((1, 1, 1),),
    "semi_isotropic": ((1, 1, 0), (0, 0, 1)),
    "anisotropic": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}
"""axes of each part: the volume is the product of parts, as the area in x and y and the height in z"""


def parts_of(system: System, coupling: str) -> Float[Tensor, "parts 3"]:
    """Returns 1 where an axis belongs to a part, else 0.

    Raises InputError for a system that does not repeat along all axes, UnknownNameError for an unknown coupling.
    """
    if coupling not in COUPLINGS:
        raise UnknownNameError.of("coupling", coupling, COUPLINGS)
    if not bool(system.periodic.all()):
        which = (~system.periodic.all(-1)).nonzero().flatten().tolist()
        raise InputError(
            f"system {which[0]} is not periodic along all three axes, so it has no volume to change; give it a cell"
        )
    return torch.tensor(COUPLINGS[coupling], dtype=torch.float64, device=system.positions.device)


def check_virial(forces: Forces) -> None:
    """Raises InputError for forces that leave no virial."""
    if not forces.virial:
        raise InputError("the barostat needs a virial; make the forces with Forces.of(potential, system, virial=True)")


def check_every(every: int) -> None:
    """Raises InputError for a number of steps between two moves below one."""
    if every < 1:
        raise InputError(f"every = {every}; use 1 or more steps")


def acts_after(step: int, every: int) -> bool:
    """Whether the cell moves after this step, counted from 0."""
    return (step + 1) % every == 0


def strain_of_axes(
    parts: Float[Tensor, "parts 3"], changes: Float[Tensor, "systems parts"]
) -> Float[Tensor, "systems 3"]:
    """Returns the logarithm by which each axis grows where the logarithm of each part's size changes."""
    return (changes / parts.sum(1)) @ parts


def mean_of_parts(
    parts: Float[Tensor, "parts 3"], values: Float[Tensor, "systems 3"]
) -> Float[Tensor, "systems parts"]:
    """Returns the mean over the axes of each part."""
    return (values @ parts.mT) / parts.sum(1)


def at_pressure(integrator: Splitting, barostat: Flow) -> Splitting:
    """Returns the integrator with a barostat as its last flow, "V": one that moves the cell once in some steps.

    The integrator is one at constant temperature, such as `langevin(forces, thermostat)`.
    """
    return Splitting(flows=integrator.flows | {"V": barostat}, order=integrator.order + "V")
