"""What every potential is: a module from a system to the energy of each system in the batch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mindsci import tree
from mindsci.errors import InputError
from sponge.neighbors import Pairs, all_pairs, neighbor_pairs
from sponge.system import System

ALL_PAIRS_BELOW = 128
"""atoms in an open system up to which listing all pairs once is cheaper than looking for neighbours at each step"""


class Potential(nn.Module):
    """Interface: `forward(system, pairs)` returns the energy of each system [eV], in float64.

    The energy and its first derivative must be continuous where a pair crosses the cutoff, so that a list
    may hold pairs beyond it.
    """

    cutoff: float
    """[angstrom]"""
    elements: tuple[int, ...] | None = None
    """atomic numbers that the potential knows; None where any will do"""

    def forward(self, system: System, pairs: Pairs) -> Float[Tensor, " systems"]:
        raise NotImplementedError(f"{type(self).__name__} has no forward(system, pairs)")

    def check(self, system: System) -> None:
        """Raises InputError, once where a system enters, for an element that the potential does not know."""
        if self.elements is None:
            return
        from ase.data import chemical_symbols

        strange = sorted(set(system.atomic_numbers.unique().tolist()) - set(self.elements))
        if strange:
            names = ", ".join(chemical_symbols[number] for number in strange)
            known = ", ".join(chemical_symbols[number] for number in self.elements)
            raise InputError(
                f"this {type(self).__name__} was not trained on {names}; it knows {known}. "
                f"Choose a potential trained on {names}, or a system of {known} alone"
            )


def constant_pairs(system: System) -> Pairs | None:
    """Returns the pairs that stay valid while the atoms move, or None where they have to be looked for.

    Small open systems list all their pairs: exact, as a potential is zero beyond its cutoff.
    """
    largest = int(torch.bincount(system.system).max())
    return None if any(system.periodic) or largest > ALL_PAIRS_BELOW else all_pairs(system)


def energy_and_forces(
    potential: Potential, system: System, pairs: Pairs | None = None, *, create_graph: bool = False
) -> tuple[Float[Tensor, " systems"], Float[Tensor, "atoms 3"]]:
    """Returns the energy of each system [eV] and the force on each atom [eV/angstrom].

    pairs: looked for within the cutoff unless given.
    create_graph: keep what is needed to differentiate them again, for a loss on forces or a gradient through a
    trajectory; without it both are cut from the graph.
    """
    if pairs is None:
        pairs = neighbor_pairs(system, potential.cutoff)
    with torch.enable_grad():
        positions = system.positions
        if not (create_graph and positions.requires_grad):
            positions = positions.detach().requires_grad_()
        energy = potential(tree.replace(system, positions=positions), pairs)
        (gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=create_graph)
    return (energy, -gradient) if create_graph else (energy.detach(), -gradient)
