"""Forces of a potential, and the neighbour list that they need."""

from __future__ import annotations

from typing import Any

import torch

from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree
from sponge.forcefield.sites import place_virtual_sites, spread_site_forces
from sponge.neighbors import Neighbors, NeighborSearch, check_distances
from sponge.potentials.potential import Potential
from sponge.system import System, name_atom
from sponge.topology import VirtualSites

SKIN = 1.0
"""[angstrom]: atoms of a liquid take some tens of femtoseconds to use it up"""
CLOSE = 1.0
"""[angstrom]: within this, at least, atoms on top of each other are looked for"""


class Forces(Tree):
    """Sets the energy and the forces of a system from a potential; keeps its neighbour list valid on the way.

    The list travels in the state, `system.neighbors`, so that a run that is checkpointed or resumed sees the same.
    Virtual sites are placed by their parents first, and hand their forces on to them.
    """

    potential: Potential
    search: Any
    """a `NeighborSearch` or what acts as one (`Potential.search`); None for a potential that looks at no pairs"""
    virial: bool = False
    sites: VirtualSites | None = None

    @classmethod
    def of(
        cls,
        potential: Potential,
        system: System,
        *,
        skin: float = SKIN,
        virial: bool = False,
        engine: str = "auto",
        sites: VirtualSites | None = None,
    ) -> Forces:
        """Returns the forces of a potential on this system and all its later states.

        Raises InputError for an element that the potential does not know, atoms on top of each other, and a cell that
        is too small.
        """
        system = place_virtual_sites(system, sites)
        potential.check(system)
        if potential.cutoff == 0:
            return cls(potential=potential, search=None, virial=virial, sites=sites)
        near = NeighborSearch(cutoff=min(potential.cutoff, max(potential.closest, CLOSE)), half=True, engine=engine)
        check_distances(system, near.build(system), potential.closest)
        search = potential.search(system, skin=skin, engine=engine)
        search.build(system)
        return cls(potential=potential, search=search, virial=virial, sites=sites)

    def __call__(self, system: System) -> System:
        system = self.listed(place_virtual_sites(system, self.sites))
        # The tape costs memory and a third more time: it is kept only for someone who will differentiate.
        differentiate = torch.is_grad_enabled() and (
            system.positions.requires_grad or bool(tree.parameters(self.potential))
        )
        found = self.potential.evaluate(system, system.neighbors, virial=self.virial, create_graph=differentiate)
        deviation = found.deviation
        if deviation is not None and system.deviation is not None:
            deviation = torch.maximum(system.deviation, deviation.detach())
        forces, virial = found.forces, found.virial
        if self.sites is not None:
            forces, lacking = spread_site_forces(system, self.sites, forces)
            virial = None if virial is None else virial + lacking
        return tree.replace(system, energy=found.energy, forces=forces, virial=virial, deviation=deviation)

    def quiet(self, system: System) -> System:
        """Returns the system with the same forces, where a compiled force field has them without an energy for less.

        For steps between observations: the energy and the virial left in the system are none.
        """
        if not hasattr(self.potential, "compiled_evaluate") or self.search is None or self.sites is not None:
            return self(system)
        system = self.listed(system)
        if isinstance(system.neighbors, Neighbors):
            return self(system)
        found = self.potential.compiled_evaluate(system, system.neighbors, observed=False)
        return tree.replace(system, energy=found.energy, forces=found.forces)

    def listed(self, system: System) -> System:
        """Returns the system with a neighbour list that serves at its positions."""
        if self.search is not None:
            return self.search.refresh(system)
        return tree.replace(system, neighbors=_no_pairs(system)) if system.neighbors is None else system


def check_forces(system: System) -> None:
    """Raises InputError, naming system and atom, where an energy or a force is not finite."""
    energies = (~system.energy.isfinite()).nonzero().flatten()
    atoms = (~system.forces.isfinite().all(-1)).nonzero().flatten()
    if len(energies) == 0 and len(atoms) == 0:
        return
    where = name_atom(system, int(atoms[0])) if len(atoms) else f"system {int(energies[0])}"
    what = "force" if len(atoms) else "energy"
    raise InputError(
        f"{where} has a {what} that is not finite ({len(atoms)} atoms, {len(energies)} systems do): are atoms on top "
        "of each other, or is the time step too long?"
    )


def _no_pairs(system: System) -> Neighbors:
    nothing = system.system.new_zeros(0)
    rows = system.system.new_zeros(system.n_atoms + 1)
    return Neighbors(rows=rows, centre=nothing, neighbor=nothing, shift=None, half=True, cutoff=0.0)
