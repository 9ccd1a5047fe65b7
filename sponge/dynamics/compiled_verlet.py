"""Velocity Verlet with a fused path: steps of a compiled force field from one observation to the next."""

from __future__ import annotations

from typing import ClassVar

import torch

from mindsci.solvers import Flow, Splitting
from mindsci.tree import Tree
from sponge.dynamics.constrained_verlet import constrained_steps
from sponge.dynamics.constraints import Constraints
from sponge.dynamics.forces import Forces
from sponge.forcefield.clusters import ClusterSearch, CompiledTerms, verlet_steps
from sponge.forcefield.force_field import ForceField
from sponge.system import System


class CompiledVerlet(Splitting):
    """Velocity Verlet, step by step or many steps at once: `mindsci.solvers.rollout` takes the second where it may.

    Of pairs alone the steps are one compiled loop; with constraints, compiled loops between forces and FFTs; else
    forces between observations come without energies.
    """

    forces: Forces
    quiet: Splitting
    """the same steps, whose energies nobody sees"""
    pairs_alone: bool
    constraints: Constraints | None = None

    def advance(self, system: System, t: float, dt: float, n_steps: int) -> System:
        """Returns the system after n_steps, to the bits of the stepwise integrator's forces."""
        with torch.no_grad():
            if self.pairs_alone and n_steps > 0 and system.pace is None and dt > 0:
                search = self.forces.search
                return verlet_steps(system, search, dt=dt, n_steps=n_steps, virial=self.forces.virial)
            if n_steps > 0 and (terms := self._terms_of_constrained(system, dt)) is not None:
                search, held = self.forces.search, self.constraints
                options = {"dt": dt, "n_steps": n_steps, "virial": self.forces.virial}
                return constrained_steps(system, terms, search, held, **options)  # type: ignore[arg-type]
            for index in range(n_steps):
                step = self.quiet if index + 1 < n_steps else super()
                system = step.__call__(system, t + index * dt, dt)
            return system

    def _terms_of_constrained(self, system: System, dt: float) -> CompiledTerms | None:
        """The force field's kernels where steps with constraints need nothing else."""
        held = self.constraints
        serves = held is not None and held.engine != "reference" and self.forces.sites is None
        if not serves or system.pace is not None or dt <= 0 or not bool((system.masses > 0).all()):
            return None
        return self.forces.potential.compiled_alone(system)  # type: ignore[no-any-return, operator]


class Quietly(Tree):
    """A flow that moves atoms, followed by forces without energies."""

    reversible: ClassVar[bool] = True
    flow: Flow
    forces: Forces

    def __call__(self, system: System, t: float, dt: float) -> System:
        return self.forces.quiet(self.flow(system, t, dt))


def compiles(forces: Forces) -> bool:
    """Whether these forces are those of a force field's compiled engine."""
    return isinstance(forces.potential, ForceField) and isinstance(forces.search, ClusterSearch)


def compiled_verlet(
    flows: dict[str, Flow], move: Flow, forces: Forces, constraints: Constraints | None
) -> CompiledVerlet:
    """Returns the integrator of flows B and A; `move` is A without its forces."""
    quiet = Splitting(flows=flows | {"A": Quietly(flow=move, forces=forces)}, order="BAB")
    alone = constraints is None and forces.sites is None and bool(forces.potential.only_pairs)  # type: ignore[arg-type]
    return CompiledVerlet(
        flows=flows, order="BAB", forces=forces, quiet=quiet, pairs_alone=alone, constraints=constraints
    )
