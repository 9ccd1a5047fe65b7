"""Velocity Verlet with a fused path: steps of a force field in one compiled loop from one observation to the next."""

from __future__ import annotations

import torch

from mindsci.solvers import Splitting
from sponge.dynamics.forces import Forces
from sponge.forcefield.clusters import ClusterSearch, verlet_steps
from sponge.forcefield.force_field import ForceField
from sponge.system import System


class CompiledVerlet(Splitting):
    """Velocity Verlet, step by step or many steps at once: `mindsci.solvers.rollout` takes the second where it may."""

    forces: Forces

    def advance(self, system: System, t: float, dt: float, n_steps: int) -> System:
        """Returns the system after n_steps; systems with a pace of their own go step by step."""
        with torch.no_grad():
            if n_steps > 0 and system.pace is None and dt > 0:
                search = self.forces.search
                return verlet_steps(system, search, dt=dt, n_steps=n_steps, virial=self.forces.virial)
            for index in range(n_steps):
                system = self(system, t + index * dt, dt)
            return system


def compiles(forces: Forces) -> bool:
    """Whether all there is to these forces is pairs that the compiled engine takes."""
    potential = forces.potential
    pairs_alone = isinstance(potential, ForceField) and potential.only_pairs
    return pairs_alone and isinstance(forces.search, ClusterSearch) and forces.sites is None
