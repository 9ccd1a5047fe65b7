"""Energies of restraints, one value a restraint [eV]."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sponge.forcefield.bonded import between, nearest_image
from sponge.system import System
from sponge.topology import DistanceRestraints, PositionRestraints


def position_restraints(system: System, terms: PositionRestraints) -> Float[Tensor, " restraints"]:
    """Returns 1/2 k max(d - w, 0)^2 of each restraint; at rest it has a force, zero, and a curvature."""
    reference = terms.reference.to(system.positions.dtype)
    away = nearest_image(system, system.positions.index_select(0, terms.atoms) - reference, terms.atoms)
    square = (away * away).sum(-1)
    # The root has no derivative at rest.
    moved = square > 0
    distance = torch.where(moved, torch.sqrt(torch.where(moved, square, 1.0)), 0.0)
    beyond = torch.where(terms.width == 0, square, (distance - terms.width).clamp(min=0.0) ** 2)
    return 0.5 * terms.stiffness * beyond


def distance_restraints(system: System, terms: DistanceRestraints) -> Float[Tensor, " restraints"]:
    """Returns 1/2 k of the square of what the distance of each pair lacks or has too much."""
    r = torch.linalg.vector_norm(between(system, *terms.atoms.unbind(1)), dim=-1)
    outside = (r - terms.upper).clamp(min=0.0) + (terms.lower - r).clamp(min=0.0)
    return 0.5 * terms.stiffness * outside**2
