"""Mass moved from heavy atoms to their hydrogens, whose bonds then turn slowly enough for a longer time step."""

from __future__ import annotations

import torch

from mindsci import tree
from mindsci.errors import InputError
from sponge.system import System
from sponge.topology import Topology


def repartition_hydrogen_mass(
    system: System, topology: Topology, *, mass: float = 3.024, waters: bool = False
) -> System:
    """Returns the system with hydrogens of a mass [Da], taken from the atom that each is bound to [Feenstra1999].

    The mass of a molecule, and with it every average over positions, stays as it was; velocities stay too. Rigid waters
    are left alone unless asked for: they need no shorter step. Raises InputError, naming the atom, where a heavy atom
    would be left with less mass than its hydrogens, and where the topology has no connectivity.
    """
    if not mass > 0:
        raise InputError(f"mass = {mass} Da; use a positive one")
    if topology.connectivity is None:
        raise InputError("the topology has no connectivity, so no hydrogen is known by its heavy atom; give it")
    links = topology.connectivity
    pairs = torch.cat([links, links.flip(1)]).to(system.system.device)
    hydrogen = system.atomic_numbers == 1
    massive = system.masses > 0
    pairs = pairs[hydrogen[pairs[:, 0]] & ~hydrogen[pairs[:, 1]] & massive[pairs[:, 1]]]
    if topology.waters is not None and not waters:
        pairs = pairs[~torch.isin(pairs[:, 0], topology.waters.atoms)]
    moved = mass - system.masses[pairs[:, 0]]
    masses = system.masses.index_add(0, pairs[:, 0], moved).index_add(0, pairs[:, 1], -moved)
    light = (masses[pairs[:, 1]] < mass).nonzero().flatten()
    if len(light):
        atom = int(pairs[light[0], 1])
        raise InputError(
            f"{topology.name_atom(atom)} would keep {float(masses[atom]):.4g} Da beside hydrogens of {mass:g} Da; "
            "use a smaller mass"
        )
    return tree.replace(system, masses=masses, momenta=masses[:, None] * system.velocities)
