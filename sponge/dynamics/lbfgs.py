"""The limited-memory quasi-Newton method, L-BFGS [Liu1989], on every system of a batch by itself."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mindsci import tree
from mindsci.tree import Tree
from sponge.dynamics.forces import Forces
from sponge.system import System

MEMORY = 10
"""past steps that the curvature is taken from"""
STIFFNESS = 70.0
"""[eV/angstrom^2]: the curvature before any is known, that of a stiff bond; as ASE"""
MOVE_MAX = 0.2
"""longest move of an atom in one step [angstrom]"""
SHORTER, LONGER = 0.5, 1.2
"""how the longest move changes after a step uphill and downhill"""


class LBFGS(Tree):
    """The state of L-BFGS: the last moves and changes of the forces, and the longest move of each system.

    Without a line search, one evaluation of the forces a step: moves are cut to a length, which shrinks where the
    energy has risen; there the memory is dropped too.
    """

    system: System
    moves: Float[Tensor, "memory atoms 3"]
    changes: Float[Tensor, "memory atoms 3"]
    weights: Float[Tensor, "memory systems"]
    """1 / (move . change); 0 where there is no such step, or one of negative curvature"""
    longest: Float[Tensor, " systems"]

    @classmethod
    def begin(cls, system: System) -> LBFGS:
        """Returns the walk at its start; the forces of the system are set."""
        nothing = system.positions.new_zeros((0, *system.positions.shape))
        weights = system.positions.new_zeros((0, system.n_systems))
        longest = system.positions.new_full((system.n_systems,), MOVE_MAX)
        return cls(system=system, moves=nothing, changes=nothing, weights=weights, longest=longest)

    def step(self, forces: Forces, active: Bool[Tensor, " systems"]) -> LBFGS:
        """Returns the walk after a quasi-Newton step of the active systems."""
        system, index = self.system, self.system.system
        move = self._direction()
        # Downhill at least: rounding and cut steps can spoil the memory.
        wrong = self._dot(move, system.forces) <= 0
        move = torch.where(wrong[index, None], system.forces / STIFFNESS, move)
        norms = torch.linalg.vector_norm(move, dim=-1)
        largest = norms.new_zeros(system.n_systems).scatter_reduce(0, index, norms, "amax", include_self=True)
        move = move * (self.longest / torch.maximum(largest, self.longest))[index, None]
        move = torch.where(active[index, None], move, 0.0)
        moved = forces(tree.replace(system, positions=system.positions + move))
        # Energies are totals: what rounding of their sum may hide is not uphill.
        uphill = moved.energy > system.energy + 1e-12 * system.energy.abs() + 1e-9
        change = system.forces - moved.forces
        product = self._dot(move, change)
        weight = torch.where(product > 0, 1.0 / torch.where(product > 0, product, 1.0), 0.0)
        kept = torch.where(uphill, 0.0, self.weights)
        grown = (self.longest * torch.where(uphill, SHORTER, LONGER)).clamp(max=MOVE_MAX)
        return LBFGS(
            system=moved,
            moves=torch.cat([self.moves, move[None]])[-MEMORY:],
            changes=torch.cat([self.changes, change[None]])[-MEMORY:],
            weights=torch.cat([kept, weight[None]])[-MEMORY:],
            longest=torch.where(active, grown, self.longest),
        )

    def _dot(self, a: Tensor, b: Tensor) -> Float[Tensor, " systems"]:
        return self.system.sum_over_atoms((a * b).sum(-1))

    def _direction(self) -> Float[Tensor, "atoms 3"]:
        """The two loops of [Liu1989]: the inverse Hessian of the memory times the forces."""
        index, q = self.system.system, self.system.forces
        alphas = []
        for move, change, weight in reversed(list(zip(self.moves, self.changes, self.weights, strict=True))):
            alpha = weight * self._dot(move, q)
            alphas.append(alpha)
            q = q - alpha[index, None] * change
        q = q * self._first_scale()[index, None]
        for move, change, weight in zip(self.moves, self.changes, self.weights, strict=True):
            beta = weight * self._dot(change, q)
            q = q + (alphas.pop() - beta)[index, None] * move
        return q

    def _first_scale(self) -> Float[Tensor, " systems"]:
        """The inverse curvature along the last step that has one, or that of a stiff bond."""
        scale = torch.full_like(self.longest, 1.0 / STIFFNESS)
        for change, weight in zip(self.changes, self.weights, strict=True):
            square = weight * self._dot(change, change)
            scale = torch.where(square > 0, 1.0 / torch.where(square > 0, square, 1.0), scale)
        return scale
