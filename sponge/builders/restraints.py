"""Restraints that are put on a topology: atoms held near where they are, pairs held at their distance."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from sponge.system import System
from sponge.topology import DistanceRestraints, PositionRestraints, Topology


def restrain_positions(
    topology: Topology, system: System, atoms: Int[Tensor, " restraints"], *, stiffness: float, width: float = 0.0
) -> Topology:
    """Returns the topology with atoms held where the system has them: 1/2 k (d - width)^2 beyond a sphere.

    stiffness k [eV/angstrom^2]; width [angstrom], 0 for a spring alone. Restraints that are there stay. Raises
    InputError for atoms that are not there, and for numbers below zero.
    """
    _check(topology, atoms, stiffness=stiffness, width=width)
    like = {"dtype": torch.float64, "device": atoms.device}
    made = PositionRestraints(
        atoms=atoms,
        reference=system.positions.detach()[atoms].double(),
        stiffness=torch.full((len(atoms),), stiffness, **like),
        width=torch.full((len(atoms),), width, **like),
    )
    if topology.position_restraints is not None:
        made = tree.map(lambda old, new: torch.cat([old, new]), topology.position_restraints, made)
    return tree.replace(topology, position_restraints=made)


def restrain_distances(
    topology: Topology,
    pairs: Int[Tensor, "restraints 2"],
    *,
    lower: float,
    upper: float | None = None,
    stiffness: float,
) -> Topology:
    """Returns the topology with the distance of pairs held between two bounds [angstrom]: a spring outside of them.

    upper: as `lower` unless given, a spring alone; infinity for none. stiffness [eV/angstrom^2]. Restraints that are
    there stay. Raises InputError for atoms that are not there, bounds in the wrong order, and numbers below zero.
    """
    bound = lower if upper is None else upper
    if bound < lower:
        raise InputError(f"upper = {bound:g} angstrom lies below lower = {lower:g}; exchange them")
    _check(topology, pairs, stiffness=stiffness, lower=lower)
    like = {"dtype": torch.float64, "device": pairs.device}
    made = DistanceRestraints(
        atoms=pairs,
        lower=torch.full((len(pairs),), lower, **like),
        upper=torch.full((len(pairs),), bound, **like),
        stiffness=torch.full((len(pairs),), stiffness, **like),
    )
    if topology.distance_restraints is not None:
        made = tree.map(lambda old, new: torch.cat([old, new]), topology.distance_restraints, made)
    return tree.replace(topology, distance_restraints=made)


def _check(topology: Topology, atoms: Tensor, **numbers: float) -> None:
    beyond = atoms[(atoms < 0) | (atoms >= topology.n_atoms)]
    if len(beyond):
        raise InputError(f"atom {int(beyond[0])} of a topology of {topology.n_atoms}; count them from 0")
    for name, value in numbers.items():
        if not value >= 0:
            raise InputError(f"{name} = {value}; use 0 or more")
