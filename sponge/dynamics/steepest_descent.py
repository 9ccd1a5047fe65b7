"""Steepest descent: robust far from a minimum, slow near it."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mindsci import tree
from mindsci.tree import Tree
from sponge.batch import preferred
from sponge.dynamics.forces import Forces
from sponge.system import System

FIRST, LONGEST = 0.05, 0.5
"""largest move of an atom [angstrom]: of the first step, and of any"""
LONGER, SHORTER = 1.2, 0.2
"""factors of the next step after a descent, and after an ascent, which is taken back"""


class SteepestDescent(Tree):
    """The state of the descent; every system of the batch has its own step."""

    system: System
    length: Float[Tensor, " systems"]
    """how far the atom with the largest force moves [angstrom]"""

    @classmethod
    def begin(cls, system: System) -> SteepestDescent:
        """Returns the descent at its start; the forces of the system are set."""
        return cls(system=system, length=torch.full_like(system.energy, FIRST))

    def step(self, forces: Forces, active: Bool[Tensor, " systems"]) -> SteepestDescent:
        """Returns the descent after a step along the forces, where the energy fell; the others try a shorter one."""
        system, index = self.system, self.system.system
        norms = torch.linalg.vector_norm(system.forces, dim=-1)
        largest = norms.new_zeros(system.n_systems).scatter_reduce(0, index, norms, "amax").clamp(min=1e-30)
        share = torch.where(active, self.length.to(largest) / largest, 0.0)
        trial = forces(tree.replace(system, positions=system.positions + share[index, None] * system.forces))
        # An energy that is not a number has not fallen.
        fell = (trial.energy < system.energy) & active
        length = torch.where(fell, (LONGER * self.length).clamp(max=LONGEST), SHORTER * self.length)
        return SteepestDescent(system=preferred(fell, trial, system), length=torch.where(active, length, self.length))
