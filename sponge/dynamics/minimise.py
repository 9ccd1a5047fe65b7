"""Energy minimisation of a batch: each system is relaxed by itself and stops by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError, UnknownNameError
from mindsci.tree import Tree
from sponge.dynamics.constraints import Constraints
from sponge.dynamics.fire import Fire
from sponge.dynamics.forces import Forces, check_forces
from sponge.dynamics.lbfgs import LBFGS
from sponge.dynamics.steepest_descent import SteepestDescent
from sponge.system import System


class Minimum(Tree):
    """Where a minimisation ended."""

    system: System
    n_steps: int
    max_force: float
    """largest force on any atom [eV/angstrom]"""
    steps: Int[Tensor, " systems"]
    """after which each system was relaxed"""


class Walk(Protocol):
    """A way down: its state holds the systems, whose forces belong to their positions."""

    @classmethod
    def begin(cls, system: System) -> Any: ...

    @property
    def system(self) -> System: ...

    def step(self, forces: Forces, active: Bool[Tensor, " systems"]) -> Any:
        """Returns the walk after one step, in which the systems that are not active rest."""


METHODS: dict[str, type[Walk]] = {"fire": Fire, "lbfgs": LBFGS, "steepest_descent": SteepestDescent}


class OnConstraints(Tree):
    """Forces along what constraints allow, at places that are brought back onto them."""

    forces: Forces
    constraints: Constraints

    def __call__(self, system: System) -> System:
        points = system.positions.double()
        back = self.constraints.displacements(system, points, points)
        system = self.forces(tree.replace(system, positions=(points + back).to(system.positions.dtype)))
        return tree.replace(system, forces=self.constraints.tangential(system, system.forces))


def minimise(
    forces: Forces,
    system: System,
    *,
    max_force: float = 0.01,
    max_steps: int = 1000,
    method: str = "fire",
    constraints: Constraints | None = None,
    each: Callable[[int, float], None] | None = None,
) -> Minimum:
    """Returns the systems at minima of their energies: no atom feels more than max_force [eV/angstrom].

    `method`: fire [Bitzek2006], lbfgs [Liu1989], which takes fewer steps, or steepest_descent, which takes most and
    never goes uphill. With constraints the minimum is the one that they allow, and forces are counted without their
    part along them; those of the system that is returned are whole. `each` is told (step, largest force). Raises
    InputError where max_steps were not enough, with how far it came, and where forces are not finite.
    """
    if method not in METHODS:
        raise UnknownNameError.of("minimiser", method, METHODS)
    felt: Any = forces if constraints is None else OnConstraints(forces=forces, constraints=constraints)
    with torch.no_grad():
        system = felt(system)
        check_forces(system)
        walk = METHODS[method].begin(system)
        steps = torch.zeros_like(system.stream)
        for count in range(max_steps + 1):
            largest = largest_force(walk.system)
            if each is not None:
                each(count, float(largest.max()))
            active = ~(largest <= max_force)
            if not bool(active.any()):
                found = walk.system if constraints is None else forces(walk.system)
                return Minimum(system=found, n_steps=count, max_force=float(largest.max()), steps=steps)
            check_forces(walk.system)
            if count < max_steps:
                walk = walk.step(felt, active)
                steps = torch.where(active, count + 1, steps)
    raise InputError(
        f"the energy minimum was not reached in {max_steps} steps by {int(active.sum())} of {system.n_systems} systems "
        f"(first system {int(active.nonzero()[0])}): the largest force is {float(largest.max()):.3g} eV/angstrom, "
        f"above {max_force:g}; allow more steps, a larger force, or start from a better structure"
    )


def largest_force(system: System) -> Float[Tensor, " systems"]:
    """Returns the largest norm of a force on an atom of each system [eV/angstrom]."""
    norms = torch.linalg.vector_norm(system.forces, dim=-1)
    return norms.new_zeros(system.n_systems).scatter_reduce(0, system.system, norms, "amax", include_self=True)
