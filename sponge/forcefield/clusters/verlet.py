"""Steps of velocity Verlet for a force field whose pairs are all there is: compiled from one list to the next."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mindsci import tree, units
from mindsci.kernels.threads import together
from sponge.forcefield.clusters.nonbonded import image_vectors, virial_matrix
from sponge.forcefield.clusters.search import ClusterList, ClusterSearch
from sponge.forcefield.clusters.stepping import follow
from sponge.forcefield.clusters.verlet_kernels import State, Team, verlet_kernel
from sponge.system import System


def verlet_steps(system: System, search: ClusterSearch, *, dt: float, n_steps: int, virial: bool) -> System:
    """Returns the system after n_steps [dt in fs] of velocity Verlet from a state whose forces are set.

    A list is made where the stepwise integrator makes one, and the state holds the last.
    """
    dtype = search.terms.dtype
    positions, momenta, forces = (
        one.detach().clone().numpy() for one in (system.positions, system.momenta, system.forces)
    )
    inverse = (1.0 / system.masses.double()).numpy().astype(dtype)
    cell = system.cell[0].detach().double().numpy()
    numbers = np.array([0.5 * dt * units.ACCELERATION, dt, (0.5 * search.skin) ** 2], dtype)
    run = verlet_kernel(search.terms.shape(observed=True))
    system = search.refresh(system)
    done, moved, out = 0, False, np.zeros((1, 8))
    while done < n_steps:
        held: ClusterList = system.neighbors
        state = State(positions, momenta, forces, inverse, held.origin.numpy(), cell)
        team = _team(held, dtype)
        out = team.out
        held.listed.images[:] = image_vectors(held.reaches, cell)
        follow(0, len(held.atoms), positions, cell, held.atoms, held.homes, *held.places[:3])
        arguments = (moved, numbers, state, team, held.atoms, held.homes, held.listed, held.places)
        left = n_steps - done

        def work(thread: int, left: int = left, arguments: Any = arguments) -> Any:
            return run(thread, left, *arguments, search.terms.constants)

        steps, moved = together(work, len(team.parts))[0]
        done += steps
        if moved:
            here = torch.from_numpy(positions.copy())
            system = tree.replace(system, positions=here, neighbors=None)
            system = tree.replace(system, neighbors=search.build(system))
    total = out.sum(0)
    return tree.replace(
        system,
        positions=torch.from_numpy(positions),
        momenta=torch.from_numpy(momenta),
        forces=torch.from_numpy(forces),
        energy=torch.full_like(system.energy, float(total[0] + total[1])),
        virial=virial_matrix(total) if virial else None,
    )


def _team(held: ClusterList, dtype: Any) -> Team:
    threads, n_places = len(held.bounds) - 1, len(held.atoms)
    return Team(
        of_places=np.array([n_places * k // threads for k in range(threads + 1)]),
        of_groups=np.array(held.bounds),
        parts=np.empty((threads, 3, n_places), dtype),
        out=np.zeros((threads, 8)),
        moved=np.zeros(threads, dtype),
        counter=np.zeros(1, np.int64),
    )
