"""The fast inertial relaxation engine, FIRE [Bitzek2006]."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mindsci import tree
from mindsci.tree import Tree
from sponge.dynamics.forces import Forces
from sponge.system import System

# Bitzek2006, sec. "MD parameters": steps without uphill motion before the step grows, and the factors.
N_MIN, F_INC, F_DEC, ALPHA_START, F_ALPHA = 5, 1.1, 0.5, 0.1, 0.99
STEP_START, STEP_MAX = 0.1, 1.0
"""of a fictitious time in which every atom weighs 1, forces are in eV/angstrom and lengths in angstrom; as ASE"""
MOVE_MAX = 0.2
"""longest move of a system in one step, norm over its atoms [angstrom]"""


class Fire(Tree):
    """The state of FIRE; every system of the batch has its own step and mixing."""

    system: System
    velocities: Float[Tensor, "atoms 3"]
    length: Float[Tensor, " systems"]
    """of the time step"""
    mixing: Float[Tensor, " systems"]
    downhill: Float[Tensor, " systems"]

    @classmethod
    def begin(cls, system: System) -> Fire:
        """Returns the walk at its start; the forces of the system are set."""
        fill = torch.ones(system.n_systems, dtype=system.positions.dtype, device=system.positions.device)
        still = torch.zeros_like(system.positions)
        start = {"length": STEP_START * fill, "mixing": ALPHA_START * fill, "downhill": 0.0 * fill}
        return cls(system=system, velocities=still, **start)

    def step(self, forces: Forces, active: Bool[Tensor, " systems"]) -> Fire:
        """One step of [Bitzek2006, eq. 1 and F1 to F5] with semi-implicit Euler moves; finished systems rest."""
        system, v, index = self.system, self.velocities, self.system.system
        F = system.forces
        power = system.sum_over_atoms((F * v).sum(-1))
        descends = power > 0
        speed = torch.sqrt(system.sum_over_atoms((v * v).sum(-1)))
        strength = torch.sqrt(system.sum_over_atoms((F * F).sum(-1))).clamp(min=1e-30)
        mixed = (1.0 - self.mixing)[index, None] * v + (self.mixing * speed / strength)[index, None] * F
        v = torch.where(descends[index, None], mixed, 0.0)
        downhill = torch.where(descends, self.downhill + 1, 0.0)
        grows = downhill > N_MIN
        length = torch.where(grows, (self.length * F_INC).clamp(max=STEP_MAX), self.length)
        # A system that has just gone uphill slows down; one that starts has zero power and velocity, and does not.
        uphill = ~descends & (speed > 0)
        length = torch.where(uphill, length * F_DEC, length)
        mixing = torch.where(grows, self.mixing * F_ALPHA, torch.where(uphill, ALPHA_START, self.mixing))
        v = v + length[index, None] * F
        move = length[index, None] * v
        reach = torch.sqrt(system.sum_over_atoms((move * move).sum(-1)))
        move = move * (MOVE_MAX / reach.clamp(min=MOVE_MAX))[index, None]
        move = torch.where(active[index, None], move, 0.0)
        moved = forces(tree.replace(system, positions=system.positions + move))
        return Fire(system=moved, velocities=v, length=length, mixing=mixing, downhill=downhill)
