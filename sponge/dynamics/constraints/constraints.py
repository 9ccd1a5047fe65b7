"""Bonds of fixed length and rigid waters: what keeps positions and momenta where the constraints allow them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindsci import tree, units
from mindsci.errors import InputError
from mindsci.kernels import choose_engine
from mindsci.tree import Tree
from sponge.dynamics.constraints import compiled, reference
from sponge.dynamics.constraints.clusters import Batch, Elimination, batches, elimination, label
from sponge.dynamics.constraints.whole import made_whole
from sponge.system import System
from sponge.topology import Topology

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-10}
NAMED = 3
"""constraints that a message names"""


class Constraints(Tree):
    """The constraints of a batch: bonds first, then oxygen to each hydrogen and hydrogen to hydrogen of each water.

    Waters are solved by SETTLE [Miyamoto1992], bonds by Newton's method over clusters that share atoms; momenta, and
    forces of constraints, by linear equations over both. Everything is computed in float64. Molecules must be whole,
    which `start` sees to.
    """

    pairs: Int[Tensor, "constraints 2"]
    length: Float[Tensor, " constraints"]
    """[angstrom], float64"""
    waters: Int[Tensor, "waters 3"]
    oxygen_hydrogen: Float[Tensor, " waters"]
    hydrogen_hydrogen: Float[Tensor, " waters"]
    tolerance: float
    """largest error of a length, relative"""
    of_bonds: list[Batch]
    of_waters: list[Batch]
    """clusters, for the reference"""
    bonds: Elimination
    every: Elimination
    """of bonds alone, and with the waters, for the compiled engine"""
    links: Int[Tensor, "links 2"]
    """what makes molecules whole: the connectivity of the topology and the constraints"""
    names: Topology
    """for messages: names of atoms alone"""
    engine: str = "auto"

    @classmethod
    def of(
        cls, topology: Topology, system: System, *, tolerance: float | None = None, engine: str = "auto"
    ) -> Constraints:
        """Returns the constraints of a topology, which describes the atoms of the whole batch.

        tolerance: of lengths, relative; 1e-6 in float32 and 1e-10 in float64 unless given. engine: reference or numba;
        auto takes numba on a CPU where no gradient is asked for. Raises InputError for constraints that contradict one
        another, or that no solver keeps.
        """
        if topology.n_atoms != system.n_atoms:
            raise InputError(
                f"the topology has {topology.n_atoms} atoms, the batch {system.n_atoms}; give one of all its systems: "
                "sponge.builders.replicate_topology(topology, replicas)"
            )
        if engine not in ("auto", "reference", "numba"):
            raise InputError(f"engine = {engine!r} is none of the constraints; use auto, reference or numba")
        tolerance = TOLERANCE[system.positions.dtype] if tolerance is None else tolerance
        if not 1e-15 <= tolerance < 1e-2:
            raise InputError(f"tolerance = {tolerance}: use a relative error of lengths from 1e-15 to 1e-2")
        waters = torch.empty((0, 3), dtype=torch.int64) if topology.waters is None else topology.waters.atoms.cpu()
        sides = [torch.empty(0, dtype=torch.float64)] * 2
        if topology.waters is not None:
            sides = [topology.waters.oxygen_hydrogen.double(), topology.waters.hydrogen_hydrogen.double()]
        pairs, length = _bonds_of(topology)
        _check(topology, system, pairs.cpu(), length, waters, sides)
        cluster = label(pairs, system.n_atoms) if len(pairs) else pairs[:, 0]
        of_waters = waters[:, [0, 1, 0, 2, 1, 2]].reshape(-1, 2)
        n_clusters = int(cluster.max()) + 1 if len(cluster) else 0
        both = torch.cat([pairs, of_waters])
        clusters = torch.cat([cluster, n_clusters + torch.arange(len(waters)).repeat_interleave(3)])
        names = Topology(
            n_atoms=topology.n_atoms,
            atom_names=topology.atom_names,
            residues=topology.residues,
            residue_of_atom=topology.residue_of_atom,
        )
        built = cls(
            pairs=both,
            length=torch.cat([length, torch.stack([sides[0], sides[0], sides[1]], 1).flatten()]),
            waters=waters,
            oxygen_hydrogen=sides[0],
            hydrogen_hydrogen=sides[1],
            tolerance=tolerance,
            of_bonds=batches(both, torch.arange(len(pairs)), cluster),
            of_waters=batches(both, torch.arange(len(pairs), len(both)), clusters[len(pairs) :]),
            bonds=elimination(pairs, cluster),
            every=elimination(both, clusters),
            links=both if topology.connectivity is None else torch.cat([both, topology.connectivity.cpu()]),
            names=names,
            engine=engine,
        )
        return tree.to(built, device=system.positions.device)

    @property
    def n_bonds(self) -> int:
        return len(self.pairs) - 3 * len(self.waters)

    def start(self, system: System) -> System:
        """Returns the system with whole molecules, on its constraints, the freedom that they take in `System.held`.

        Positions move along the constraints until they hold, momenta lose what would break them.
        """
        system = made_whole(system, self.links)
        points = system.positions.double()
        moved = points + self.displacements(system, points, points)
        owner = system.system.index_select(0, self.pairs[:, 0])
        held = torch.zeros_like(system.energy).index_add(0, owner, torch.ones_like(owner, dtype=torch.float64))
        return self.project(tree.replace(system, positions=moved.to(system.positions.dtype), held=held))

    def error(self, system: System) -> Float[Tensor, " systems"]:
        """Returns the largest error of a length of each system, relative."""
        d = reference.vectors(system.positions.double(), self.pairs)
        error = (torch.linalg.vector_norm(d, dim=-1) / self.length - 1.0).abs()
        owner = system.system.index_select(0, self.pairs[:, 0])
        return torch.zeros_like(system.energy).scatter_reduce(0, owner, error, "amax")

    def displacements(
        self, system: System, before: Float[Tensor, "atoms 3"], after: Float[Tensor, "atoms 3"]
    ) -> Float[Tensor, "atoms 3"]:
        """Returns what takes atoms from `after` to places that keep the constraints, along their forces at `before`.

        In float64, as both are [angstrom]; it moves no centre of mass. Raises InputError, naming the atoms, where it is
        not found.
        """
        masses, inverse = system.masses.double(), inverse_masses(system)
        if self._compiles(system, before, after):
            found, errors = compiled.moves(self, before, after, masses, inverse, self.tolerance)
        else:
            found, errors = self._reference_displacements(before, after, masses, inverse)
        bad = ~(errors <= self.tolerance)
        lost = ~found.detach().index_select(0, self.waters[:, 0]).isfinite().all(-1)
        if bool(bad.any()) or bool(lost.any()):
            self._refuse(system, after, bad, lost)
        return found

    def _reference_displacements(
        self, before: Tensor, after: Tensor, masses: Tensor, inverse: Tensor
    ) -> tuple[Tensor, Tensor]:
        n = self.n_bonds
        pairs = self.pairs[:n]
        old, new = reference.vectors(before, pairs), reference.vectors(after, pairs)
        weights, errors = reference.solve_positions(self.of_bonds, old, new, self.length[:n], inverse, self.tolerance)
        found = inverse[:, None] * reference.spread(weights, old, pairs, len(after))
        if len(self.waters):
            sides = self.oxygen_hydrogen, self.hydrogen_hydrogen
            placed = reference.settle(before[self.waters], after[self.waters], *sides, masses[self.waters])
            found = found.index_put((self.waters,), placed - after[self.waters])
        return found, errors

    def project(self, system: System) -> System:
        """Returns the system with momenta that break no constraint: what is taken is a sum of their forces."""
        momenta, points = system.momenta.double(), system.positions.double()
        inverse = inverse_masses(system)
        if self._compiles(system, points, momenta):
            kept = compiled.projected(self, points, momenta, inverse)
        else:
            d = reference.vectors(points, self.pairs)
            right = (d * reference.vectors(inverse[:, None] * momenta, self.pairs)).sum(-1)
            weights = self._multipliers(system, points, right, inverse)
            kept = momenta - reference.spread(weights, d, self.pairs, system.n_atoms)
        return tree.replace(system, momenta=kept.to(system.momenta.dtype))

    def forces(self, system: System) -> tuple[Float[Tensor, "atoms 3"], Float[Tensor, "systems 3 3"]]:
        """Returns the forces of the constraints [eV/angstrom], float64, and their virial, sum of r f [eV].

        They are what makes the second derivative of each squared length zero at the present momenta and forces.
        """
        points, inverse = system.positions.double(), inverse_masses(system)
        d = reference.vectors(points, self.pairs)
        relative = reference.vectors(inverse[:, None] * system.momenta.double(), self.pairs)
        pulled = reference.vectors(inverse[:, None] * system.forces.double(), self.pairs)
        right = -(d * pulled).sum(-1) - (relative * relative).sum(-1) / units.ACCELERATION
        weights = self._multipliers(system, points, right, inverse)
        owner = system.system.index_select(0, self.pairs[:, 0])
        outer = weights[:, None, None] * d[:, :, None] * d[:, None, :]
        virial = outer.new_zeros(system.n_systems, 3, 3).index_add(0, owner, outer)
        return reference.spread(weights, d, self.pairs, system.n_atoms), virial

    def tangential(self, system: System, forces: Float[Tensor, "atoms 3"]) -> Float[Tensor, "atoms 3"]:
        """Returns forces without their part along the constraints, all atoms of one mass: zero at a minimum."""
        points, doubled = system.positions.double(), forces.double()
        even = (system.masses > 0).double()
        d = reference.vectors(points, self.pairs)
        right = (d * reference.vectors(even[:, None] * doubled, self.pairs)).sum(-1)
        weights = self._multipliers(system, points, right, even)
        return (doubled - reference.spread(weights, d, self.pairs, system.n_atoms)).to(forces.dtype)

    def _multipliers(self, system: System, points: Tensor, right: Tensor, inverse: Tensor) -> Tensor:
        if self._compiles(system, points, right):
            return compiled.multipliers(self, points, right, inverse)
        clusters = self.of_bonds + self.of_waters
        return reference.multipliers(clusters, reference.vectors(points, self.pairs), right, inverse)

    def _compiles(self, system: System, *inputs: Tensor) -> bool:
        """Whether the compiled engine serves."""
        device = system.positions.device
        graph = torch.is_grad_enabled() and any(
            one.requires_grad for one in (*inputs, system.masses, self.length, self.oxygen_hydrogen)
        )

        def cannot() -> str | None:
            if device.type != "cpu":
                return f"it runs on the CPU, not on {device.type}"
            return "it keeps no graph for gradients" if graph else None

        available = {"numba": cannot, "reference": lambda: None}
        return choose_engine(self.engine, device=device, available=available)[0] == "numba"

    def _refuse(self, system: System, after: Tensor, bad: Tensor, lost: Tensor) -> None:
        which = bad.nonzero().flatten().tolist()
        which += (self.n_bonds + 3 * lost.nonzero().flatten()).tolist()
        d = torch.linalg.vector_norm(reference.vectors(after.detach(), self.pairs), dim=-1)
        found = []
        for k in which[:NAMED]:
            first, second = (self.names.name_atom(int(atom)) for atom in self.pairs[k])
            length, owner = float(self.length[k]), int(system.system[self.pairs[k, 0]])
            found.append(f"{first} and {second} of system {owner} ({float(d[k]):.4g} for {length:.4g} angstrom)")
        more = f", and {len(which) - NAMED} more" if len(which) > NAMED else ""
        raise InputError(
            f"constraints do not converge to {self.tolerance:g}: {'; '.join(found)}{more}. Use a shorter time step, or "
            "start from a minimised structure"
        )


def inverse_masses(system: System) -> Float[Tensor, " atoms"]:
    """Returns 1 / m of each atom [1/Da], float64; 0 for a site without mass, which nothing moves."""
    masses = system.masses.double()
    heavy = masses > 0
    return torch.where(heavy, 1.0 / torch.where(heavy, masses, 1.0), 0.0)


def _bonds_of(topology: Topology) -> tuple[Tensor, Tensor]:
    held = topology.constraints
    if held is None:
        return torch.empty((0, 2), dtype=torch.int64), torch.empty(0, dtype=torch.float64)
    return held.atoms.cpu(), held.length.double()


def _check(
    topology: Topology, system: System, pairs: Tensor, length: Tensor, waters: Tensor, sides: list[Tensor]
) -> None:
    """Raises InputError, naming the atoms, for constraints that cannot be kept."""
    masses = system.masses.detach().cpu()

    def refuse(bad: Tensor, atoms: Tensor, what: str) -> None:
        found = bad.nonzero().flatten()
        if len(found):
            names = " and ".join(topology.name_atom(int(atom)) for atom in atoms[found[0]])
            raise InputError(f"the constraint of {names} {what} ({len(found)} are like that)")

    refuse(~(length.detach().cpu() > 0), pairs, "has no positive length; give one [angstrom]")
    refuse(pairs[:, 0] == pairs[:, 1], pairs, "joins an atom to itself; take it out")
    refuse((masses[pairs] == 0).any(1), pairs, "holds a site without mass; make it a virtual site")
    refuse(torch.isin(pairs, waters).any(1), pairs, "belongs to a rigid water already; take it out")
    owner = system.system.cpu()
    refuse(owner[pairs[:, 0]] != owner[pairs[:, 1]], pairs, "joins two systems; take it out")
    low, high = pairs.min(1).values, pairs.max(1).values
    key = low * system.n_atoms + high
    _, inverse, counts = torch.unique(key, return_inverse=True, return_counts=True)
    refuse(counts[inverse] > 1 if len(key) else key.bool(), pairs, "is there twice; keep one")
    oxygen_hydrogen, hydrogen_hydrogen = (one.detach().cpu() for one in sides)
    flat = ~((hydrogen_hydrogen > 0) & (hydrogen_hydrogen < 2.0 * oxygen_hydrogen))
    refuse(flat, waters, "is no triangle; give lengths with H-H below twice O-H")
    refuse((masses[waters] == 0).any(1), waters, "holds a site without mass; give masses to rigid waters")
    uneven = (masses[waters[:, 1]] - masses[waters[:, 2]]).abs() > 1e-6 * masses[waters[:, 1]]
    refuse(uneven, waters, "has hydrogens of different mass; constrain its three distances as bonds instead")
