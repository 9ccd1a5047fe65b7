"""Energy minimisation: the fast inertial relaxation engine, FIRE [Bitzek2006]."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree
from sponge.dynamics.forces import Forces
from sponge.system import System

# Bitzek2006, sec. "MD parameters": steps without uphill motion before the step grows, and the factors.
N_MIN, F_INC, F_DEC, ALPHA_START, F_ALPHA = 5, 1.1, 0.5, 0.1, 0.99
STEP_START, STEP_MAX = 0.1, 1.0
"""of a fictitious time in which every atom weighs 1, forces are in eV/angstrom and lengths in angstrom; as ASE"""
MOVE_MAX = 0.2
"""longest move of a system in one step, norm over its atoms [angstrom]"""


class Minimum(Tree):
    """Where a minimisation ended."""

    system: System
    n_steps: int
    max_force: float
    """largest force on any atom [eV/angstrom]"""


class _Walk(Tree):
    """The state of FIRE; every system of the batch has its own step and mixing."""

    system: System
    velocities: Float[Tensor, "atoms 3"]
    step: Float[Tensor, " systems"]
    mixing: Float[Tensor, " systems"]
    downhill: Float[Tensor, " systems"]


def minimise(
    forces: Forces,
    system: System,
    *,
    max_force: float = 0.01,
    max_steps: int = 1000,
    each: Callable[[int, float], None] | None = None,
) -> Minimum:
    """Returns the system at a minimum of its energy: no atom feels more than max_force [eV/angstrom].

    `each` is told (step, largest force). Raises InputError where max_steps were not enough; the message says
    how far it came.
    """
    with torch.no_grad():
        system = forces(system)
        fill = torch.ones(system.n_systems, dtype=system.positions.dtype, device=system.positions.device)
        walk = _Walk(
            system=system,
            velocities=torch.zeros_like(system.positions),
            step=STEP_START * fill,
            mixing=ALPHA_START * fill,
            downhill=0.0 * fill,
        )
        for count in range(max_steps + 1):
            largest = _largest(walk.system)
            if each is not None:
                each(count, float(largest.max()))
            if bool((largest <= max_force).all()):
                return Minimum(system=walk.system, n_steps=count, max_force=float(largest.max()))
            if count < max_steps:
                walk = _fire_step(walk, forces, active=largest > max_force)
    raise InputError(
        f"the energy minimum was not reached in {max_steps} steps: the largest force is {float(largest.max()):.3g} "
        f"eV/angstrom, above {max_force:g}; allow more steps, a larger force, or start from a better structure"
    )


def _largest(system: System) -> Float[Tensor, " systems"]:
    norms = torch.linalg.vector_norm(system.forces, dim=-1)
    return norms.new_zeros(system.n_systems).scatter_reduce(0, system.system, norms, "amax", include_self=True)


def _fire_step(walk: _Walk, forces: Forces, *, active: Bool[Tensor, " systems"]) -> _Walk:
    """One step of [Bitzek2006, eq. 1 and F1 to F5] with semi-implicit Euler moves; finished systems rest."""
    system, v, index = walk.system, walk.velocities, walk.system.system
    F = system.forces
    power = system.sum_over_atoms((F * v).sum(-1))
    descends = power > 0
    speed = torch.sqrt(system.sum_over_atoms((v * v).sum(-1)))
    strength = torch.sqrt(system.sum_over_atoms((F * F).sum(-1))).clamp(min=1e-30)
    mixed = (1.0 - walk.mixing)[index, None] * v + (walk.mixing * speed / strength)[index, None] * F
    v = torch.where(descends[index, None], mixed, 0.0)
    downhill = torch.where(descends, walk.downhill + 1, 0.0)
    grows = downhill > N_MIN
    step = torch.where(grows, (walk.step * F_INC).clamp(max=STEP_MAX), walk.step)
    # A system that has just gone uphill slows down; one that starts has zero power and velocity, and does not.
    uphill = ~descends & (speed > 0)
    step = torch.where(uphill, walk.step * F_DEC, step)
    mixing = torch.where(grows, walk.mixing * F_ALPHA, torch.where(uphill, ALPHA_START, walk.mixing))
    v = v + step[index, None] * F
    move = step[index, None] * v
    length = torch.sqrt(system.sum_over_atoms((move * move).sum(-1)))
    move = move * (MOVE_MAX / length.clamp(min=MOVE_MAX))[index, None]
    move = torch.where(active[index, None], move, 0.0)
    moved = forces(tree.replace(system, positions=system.positions + move))
    return _Walk(system=moved, velocities=v, step=step, mixing=mixing, downhill=downhill)
