"""What every potential is: a module from a system and its neighbour list to the energy of each system."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mindsci import tree
from mindsci.errors import InputError
from mindsci.kernels import choose_engine
from mindsci.tree import Tree
from sponge.neighbors import Neighbors, NeighborSearch, trimmed
from sponge.system import System, name_atom

ALL_PAIRS_BELOW = 128
"""atoms in an open system up to which listing all pairs once is cheaper than looking for neighbours"""


class Evaluation(Tree):
    """What a potential says about a batch."""

    energy: Float[Tensor, " systems"]
    """[eV], float64"""
    forces: Float[Tensor, "atoms 3"]
    """[eV/angstrom]"""
    virial: Float[Tensor, "systems 3 3"] | None = None
    """-dE/d(strain) [eV], float64"""
    deviation: Float[Tensor, " atoms"] | None = None
    """of an ensemble: standard deviation of the force on each atom among its members [eV/angstrom]"""
    terms: dict[str, Float[Tensor, ""]] = field(default_factory=dict)
    """what else a loss may add (`Potential.terms`), dimensionless"""


class Potential(nn.Module):
    """Interface: `forward(system, neighbors)` returns the energy of each system [eV], in float64.

    The energy and its first derivative must be continuous where a pair crosses the cutoff, so that a list
    may hold pairs beyond it. A potential with derivatives of its own overrides `evaluate`.
    """

    cutoff: float
    """[angstrom]; 0 for a potential that looks at no pairs"""
    elements: tuple[int, ...] | None = None
    """atomic numbers that the potential knows; None where any will do"""
    half: bool = False
    """whether it wants each pair once, instead of in both directions"""
    trims: bool = False
    """whether pairs beyond the cutoff cost so much that the list is trimmed before each evaluation"""
    exportable: bool = True
    """whether `forward` is a graph of tensor operations whose sizes follow from those of its inputs"""
    terms: tuple[str, ...] = ()
    """names of what a loss may add beside errors of energies and forces: penalties on how the model works inside"""
    closest: float = 0.0
    """the distance [angstrom] at which, and below, two atoms are no input"""

    def forward(self, system: System, neighbors: Neighbors) -> Float[Tensor, " systems"]:
        raise NotImplementedError(f"{type(self).__name__} has no forward(system, neighbors)")

    def energy_and_terms(
        self, system: System, neighbors: Neighbors
    ) -> tuple[Float[Tensor, " systems"], dict[str, Float[Tensor, ""]]]:
        """Returns what `forward` returns, and each of `terms`: a mean over the systems or atoms of the batch."""
        return self(system, neighbors), {}

    def evaluate(
        self, system: System, neighbors: Neighbors, *, virial: bool = False, create_graph: bool = False
    ) -> Evaluation:
        """Returns energies, forces and, if asked, virials; a list made with a skin is trimmed where that pays.

        create_graph: keep what is needed to differentiate them again, for a loss on forces or a gradient through a
        trajectory; without it they are cut from the graph.
        """
        if self.trims and neighbors.skin > 0 and neighbors.worst is None:
            neighbors = trimmed(system, neighbors, self.cutoff)
        return differentiate(self, system, neighbors, virial=virial, create_graph=create_graph)

    def search(self, system: System, *, skin: float, engine: str = "auto") -> Any:
        """Returns how lists of neighbours for `evaluate` are made and kept: a `NeighborSearch`, or what acts as one."""
        return NeighborSearch(
            cutoff=self.cutoff, half=self.half, skin=skin, engine=engine, constant=ALL_PAIRS_BELOW if skin else 0
        )

    @property
    def kind(self) -> str:
        """What messages call it."""
        return type(self).__name__

    def for_use(
        self, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, engine: str = "auto"
    ) -> Potential:
        """Returns the fastest form of itself for energies and forces on a device: itself, unless a subclass has one.

        engine: reference, numba or triton; auto takes what serves. Raises InputError for one that does not.
        """
        choose_engine(engine, device=torch.device(device), available={"reference": lambda: None})
        return self.to(device=device, dtype=dtype)

    def check(self, system: System) -> None:
        """Raises InputError, once where a system enters, for an element that the potential does not know."""
        if self.elements is None:
            return
        from ase.data import chemical_symbols

        strange = sorted(set(system.atomic_numbers.unique().tolist()) - set(self.elements))
        if strange:
            names = ", ".join(chemical_symbols[number] for number in strange)
            known = ", ".join(chemical_symbols[number] for number in self.elements)
            first = int((system.atomic_numbers == strange[0]).nonzero()[0])
            raise InputError(
                f"this {self.kind} was not trained on {names}; it knows {known}. "
                f"Choose a potential trained on {names}, or a system of {known} alone; see {name_atom(system, first)}"
            )


def differentiate(
    potential: Potential, system: System, neighbors: Neighbors, *, virial: bool = False, create_graph: bool = False
) -> Evaluation:
    """Returns energies with forces and virials by automatic differentiation; see `Potential.evaluate`."""
    with torch.enable_grad():
        positions, cell = system.positions, system.cell
        if not (create_graph and positions.requires_grad):
            positions = positions.detach().requires_grad_()
        wanted = [positions]
        moved = tree.replace(system, positions=positions, neighbors=None)
        if virial:
            strain = torch.zeros_like(cell).requires_grad_()
            wanted.append(strain)
            # Only the symmetric part: a rotation changes no energy.
            deform = torch.eye(3, dtype=cell.dtype, device=cell.device) + 0.5 * (strain + strain.mT)
            strained = torch.einsum("ad,ade->ae", positions, deform.index_select(0, system.system))
            moved = tree.replace(moved, positions=strained, cell=cell @ deform)
        energy, terms = potential.energy_and_terms(moved, neighbors)
        gradients = torch.autograd.grad(energy.sum(), wanted, create_graph=create_graph)
    return Evaluation(
        energy=energy if create_graph else energy.detach(),
        forces=-gradients[0],
        virial=-gradients[1].double() if virial else None,
        terms=terms if create_graph else tree.detach(terms),
    )


def energy_and_forces(
    potential: Potential, system: System, neighbors: Neighbors | None = None, *, create_graph: bool = False
) -> tuple[Float[Tensor, " systems"], Float[Tensor, "atoms 3"]]:
    """Returns the energy of each system [eV] and the force on each atom [eV/angstrom].

    neighbors: looked for within the cutoff unless given. create_graph: as for `Potential.evaluate`.
    """
    if neighbors is None:
        neighbors = potential.search(system, skin=0.0).build(system)
    found = potential.evaluate(system, neighbors, create_graph=create_graph)
    return found.energy, found.forces
