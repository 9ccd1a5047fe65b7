"""What a barostat moves as one: molecules, whose shape it leaves alone, or single atoms."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindsci import tree, units
from mindsci.errors import InputError
from mindsci.tree import Tree
from sponge.dynamics.constraints.whole import made_whole
from sponge.system import System
from sponge.thermodynamics import volume
from sponge.topology import Topology, molecules


class Bodies(Tree):
    """The bodies of a batch; centres of mass scale with the cell, what is around them does not.

    Forces and constraints within a body do not enter its momentum, so that the pressure of bodies needs neither: of
    rigid molecules it is that of atoms with the virial of the constraints, at any moment, and else in the mean.
    """

    body: Int[Tensor, " atoms"]
    """which body each atom belongs to"""
    owner: Int[Tensor, " bodies"]
    """the system of each body"""
    links: Int[Tensor, "links 2"]
    """bonds, by which molecules are made whole"""

    @classmethod
    def of(cls, system: System, topology: Topology | None = None) -> Bodies:
        """Returns the molecules of a topology of the whole batch, or the atoms where there is none.

        Raises InputError for a topology of other atoms, and for a body without mass.
        """
        device = system.system.device
        if topology is None:
            body, links = torch.arange(system.n_atoms, device=device), torch.empty((0, 2), dtype=torch.int64)
        elif topology.n_atoms != system.n_atoms:
            raise InputError(
                f"the topology has {topology.n_atoms} atoms, the batch {system.n_atoms}; give one of all its systems: "
                "sponge.builders.replicate_topology(topology, replicas)"
            )
        else:
            body = molecules(topology).to(device)
            assert topology.connectivity is not None
            links = topology.connectivity
        count = int(body.max()) + 1
        owner = torch.zeros(count, dtype=torch.int64, device=device).index_put((body,), system.system)
        built = cls(body=body, owner=owner, links=links.to(device))
        if bool((built.sum(system.masses) == 0).any()):
            raise InputError("a body has no mass, a virtual site by itself; give the topology, which says whose it is")
        return built

    def start(self, system: System) -> System:
        """Returns the system with whole bodies."""
        return made_whole(system, self.links)

    @property
    def single(self) -> bool:
        """Whether each body is one atom."""
        return len(self.owner) == len(self.body)

    def sum(self, values: Float[Tensor, "atoms *rest"]) -> Float[Tensor, "bodies *rest"]:
        """Returns the sum over the atoms of each body."""
        return values.new_zeros((len(self.owner), *values.shape[1:])).index_add(0, self.body, values)

    def sum_over_bodies(self, values: Float[Tensor, "bodies *rest"], n_systems: int) -> Float[Tensor, "systems *rest"]:
        """Returns the sum over the bodies of each system."""
        return values.new_zeros((n_systems, *values.shape[1:])).index_add(0, self.owner, values)

    def count(self, system: System) -> Float[Tensor, " systems"]:
        """Returns the number of bodies of each system."""
        return self.sum_over_bodies(torch.ones_like(self.owner, dtype=torch.float64), system.n_systems)

    def centres(self, system: System) -> Float[Tensor, "bodies 3"]:
        """Returns the centres of mass [angstrom], float64."""
        masses = system.masses.double()[:, None]
        return self.sum(masses * system.positions.double()) / self.sum(masses)

    def momenta(self, system: System) -> Float[Tensor, "bodies 3"]:
        """Returns the momenta [Da angstrom/fs], float64."""
        return self.sum(system.momenta.double())

    def shares(self, system: System) -> Float[Tensor, "atoms 1"]:
        """Returns the mass of each atom over that of its body."""
        masses = system.masses.double()
        return (masses / self.sum(masses).index_select(0, self.body))[:, None]

    def kinetic(self, system: System) -> Float[Tensor, "systems 3"]:
        """Returns the sum of P P / M of the bodies along each axis [eV], float64: twice their kinetic energy."""
        squared = self.momenta(system) ** 2 / self.sum(system.masses.double())[:, None]
        return self.sum_over_bodies(squared, system.n_systems) / units.ACCELERATION

    def virial(self, system: System) -> Float[Tensor, "systems 3"]:
        """Returns the diagonal of the virial of forces between bodies [eV], float64.

        That of atoms less sum (r - R) f: what a strain of the centres alone does to the energy. Raises InputError where
        the forces left no virial.
        """
        if system.virial is None:
            raise InputError("the system has no virial; take its forces with Forces.of(potential, system, virial=True)")
        whole = system.virial.diagonal(dim1=-2, dim2=-1)
        if self.single:
            return whole
        around = system.positions.double() - self.centres(system).index_select(0, self.body)
        return whole - system.sum_over_atoms(around * system.forces.double())

    def pressure(self, system: System) -> Float[Tensor, "systems 3"]:
        """Returns the pressure along each axis [eV/angstrom^3], float64."""
        return (self.kinetic(system) + self.virial(system)) / volume(system)[:, None]

    def scaled(self, system: System, factors: Float[Tensor, "systems 3"]) -> System:
        """Returns the system with its cell and the centres of its bodies scaled along each axis."""
        factors = factors.double()
        moved = (factors.index_select(0, self.owner) - 1.0) * self.centres(system)
        positions = system.positions.double() + moved.index_select(0, self.body)
        cell = (system.cell.double() * factors[:, None, :]).to(system.cell.dtype)
        return tree.replace(system, positions=positions.to(system.positions.dtype), cell=cell)
