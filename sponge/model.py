"""What acts on a batch of systems: its forces, what is held rigid, what is fast and what slow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from mindsci.errors import InputError
from sponge.dynamics import Bodies, Constraints, Forces, fast_and_slow
from sponge.forcefield import ForceField
from sponge.potentials.potential import Potential
from sponge.system import System
from sponge.topology import Topology


@dataclass(frozen=True)
class Model:
    """The forces on a batch, the topology of all its systems, and what follows from both."""

    system: System
    """at the start, on its constraints"""
    forces: Forces
    topology: Topology | None = None
    constraints: Constraints | None = None

    @classmethod
    def of(
        cls,
        potential: Potential,
        system: System,
        topology: Topology | None = None,
        *,
        virial: bool = False,
        tolerance: float | None = None,
    ) -> Model:
        """Returns the model of a batch; its constraints are those of the topology, to a relative tolerance."""
        constraints, sites = None, None
        if topology is not None:
            sites = topology.virtual_sites
            if topology.constraints is not None or topology.waters is not None:
                constraints = Constraints.of(topology, system, tolerance=tolerance)
                system = constraints.start(system)
        forces = Forces.of(potential, system, virial=virial, sites=sites)
        return cls(system=system, forces=forces, topology=topology, constraints=constraints)

    @property
    def molecules(self) -> Topology | None:
        """The topology where it tells molecules, which a barostat moves as they are."""
        topology = self.topology
        return None if topology is None or topology.connectivity is None else topology

    @cached_property
    def bodies(self) -> Bodies:
        """What a barostat moves: molecules, or atoms where none are known."""
        return Bodies.of(self.system, self.molecules)

    @cached_property
    def parts(self) -> tuple[Forces, Forces]:
        """Forces of the covalent terms, and of the nonbonded ones: fast and slow."""
        potential = self.forces.potential
        if not isinstance(potential, ForceField) or self.topology is None:
            raise InputError(
                "fast_steps takes the terms of a force field apart, and the potential is none; leave fast_steps out"
            )
        fast, slow = fast_and_slow(potential.topology)
        others = {"virial": self.forces.virial, "sites": self.forces.sites}
        options, engine = potential.options, potential.engine
        slow_forces = Forces.of(ForceField(slow, options, engine=engine), self.system, **others)
        return Forces.of(ForceField(fast, options, engine=engine), self.system, **others), slow_forces

    def name_atom(self, atom: int) -> str | None:
        """Returns "atom 5 (CA of ALA 2)" where the topology has names, else None."""
        named = self.topology is not None and self.topology.atom_names
        return self.topology.name_atom(atom) if named else None  # type: ignore[union-attr]
