"""Steps of velocity Verlet with constraints for a compiled force field: two hand-overs to the threads a step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mindsci import tree, units
from mindsci.errors import InputError
from mindsci.kernels.threads import runs, together
from sponge.dynamics import constrained_kernels as kernels
from sponge.dynamics.constrained_kernels import Held, Motion, Share
from sponge.dynamics.constraints import Constraints
from sponge.dynamics.constraints.compiled import arrays_of, room
from sponge.forcefield.clusters import ClusterSearch, CompiledTerms
from sponge.system import System


def constrained_steps(
    system: System,
    terms: CompiledTerms,
    search: ClusterSearch,
    constraints: Constraints,
    *,
    dt: float,
    n_steps: int,
    virial: bool,
) -> System:
    """Returns the system after n_steps [dt in fs] from a state whose forces are set, to the bits of single steps.

    Raises InputError, naming the atoms, where the constraints do not converge.
    """
    system = search.refresh(system)
    threads = len(system.neighbors.bounds) - 1
    motion, held, shares = _motion(system), _held(constraints, system), _shares(constraints, system.n_atoms, threads)
    half = motion.positions.dtype.type(0.5 * dt * units.ACCELERATION)
    moved: list[Any] = [None] * threads
    origin = system.neighbors.origin.numpy()

    def begin(k: int) -> None:
        kernels.kick(shares[k], held, motion, half)
        moved[k] = kernels.move(shares[k], held, motion, dt, origin)

    def end(k: int) -> None:
        kernels.kick(shares[k], held, motion, half)

    def go_on(k: int) -> None:
        end(k)
        begin(k)

    together(begin, threads)
    energy, found = float("nan"), None
    for left in range(n_steps - 1, -1, -1):
        if not all(kept for kept, _ in moved):
            before, after = torch.from_numpy(motion.points), torch.from_numpy(motion.after)
            constraints.displacements(system, before, after)
            raise InputError(
                "constraints do not converge; use a shorter time step, or start from a minimised structure"
            )
        if not _serves(moved, system.neighbors.skin):
            system = tree.replace(system, positions=torch.from_numpy(motion.positions.copy()), neighbors=None)
            system = tree.replace(system, neighbors=search.build(system))
            origin = system.neighbors.origin.numpy()
        energy, found = terms.forces_at(
            motion.positions,
            system,
            system.neighbors,
            motion.forces,
            virial=virial and left == 0,
            observed=left == 0,
            then=go_on if left else end,
        )
    return tree.replace(
        system,
        positions=torch.from_numpy(motion.positions),
        momenta=torch.from_numpy(motion.momenta),
        forces=torch.from_numpy(motion.forces),
        energy=torch.full_like(system.energy, energy),
        virial=found,
    )


def _serves(moved: list[Any], skin: float) -> bool:
    """Whether no pair can be missing from the list, as `sponge.neighbors.search.used_skin` has it."""
    squares = [square for _, square in moved]
    return all(bool(2.0 * np.sqrt(square) / square.dtype.type(skin) < 1.0) for square in map(np.asarray, squares))


def _motion(system: System) -> Motion:
    positions, momenta, forces = (
        one.detach().clone().contiguous().numpy() for one in (system.positions, system.momenta, system.forces)
    )
    n = system.n_atoms
    return Motion(
        positions=positions,
        momenta=momenta,
        forces=forces,
        masses=system.masses.detach().contiguous().numpy(),
        points=positions.astype(np.float64),
        after=np.empty((n, 3)),
        moves=np.empty((n, 3)),
        pushed=np.empty((n, 3)),
        errors=np.zeros(n),
    )


def _held(constraints: Constraints, system: System) -> Held:
    pattern, n_bonds = constraints.bonds, constraints.n_bonds
    bonds, size = arrays_of(pattern)
    lower, diagonal = room(pattern)
    masses = system.masses.double().numpy()
    return Held(
        bonds=bonds,
        size=size,
        pairs=constraints.pairs[:n_bonds].contiguous().numpy(),
        length=constraints.length[:n_bonds].detach().contiguous().numpy(),
        waters=constraints.waters.numpy(),
        oxygen_hydrogen=constraints.oxygen_hydrogen.detach().numpy(),
        hydrogen_hydrogen=constraints.hydrogen_hydrogen.detach().numpy(),
        masses=masses,
        inverse_masses=1.0 / masses,
        tolerance=constraints.tolerance,
        lower=lower,
        diagonal=diagonal,
    )


def _shares(constraints: Constraints, n_atoms: int, threads: int) -> list[Share]:
    """Whole clusters, waters and free atoms for each thread."""
    starts, order = constraints.bonds.starts.numpy(), constraints.bonds.order.numpy()
    pairs, waters = constraints.pairs.numpy(), constraints.waters.numpy()
    free = np.ones(n_atoms, dtype=bool)
    free[pairs.reshape(-1)] = False
    alone = np.flatnonzero(free)
    shares = []
    for clusters, of_waters, of_alone in zip(
        runs(max(len(starts) - 1, 0), threads), runs(len(waters), threads), runs(len(alone), threads), strict=True
    ):
        bound = pairs[order[starts[clusters[0]] : starts[clusters[1]]]] if len(starts) else pairs[:0]
        parts = (bound.reshape(-1), waters[slice(*of_waters)].reshape(-1), alone[slice(*of_alone)])
        shares.append(Share(np.unique(np.concatenate(parts)), clusters, of_waters))
    return shares
