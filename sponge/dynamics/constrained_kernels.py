"""Half steps of velocity Verlet with constraints in compiled loops: what lies between one set of forces and the next.

Each thread takes whole clusters of constraints, whole waters and free atoms of its own, so that it waits for nobody.
The operations and their order are those of `flows.Kick` and `flows.Move`, to the bits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from sponge.dynamics.constraints import kernels
from sponge.dynamics.constraints.kernels import OPTIONS


class Held(NamedTuple):
    """The constraints of a system, as `constraints.kernels` takes them."""

    bonds: Any
    """of `clusters.Elimination`: starts, order, rows, columns, shared, sign"""
    size: int
    pairs: Any
    length: Any
    waters: Any
    oxygen_hydrogen: Any
    hydrogen_hydrogen: Any
    masses: Any
    inverse_masses: Any
    tolerance: float
    lower: Any
    diagonal: Any


class Motion(NamedTuple):
    """Atoms on their way, moved in place, and room in float64."""

    positions: Any
    momenta: Any
    forces: Any
    masses: Any
    points: Any
    """the positions in float64"""
    after: Any
    moves: Any
    pushed: Any
    """momenta in float64"""
    errors: Any


class Share(NamedTuple):
    """What falls to one thread."""

    atoms: Any
    clusters: Any
    """first and last + 1"""
    waters: Any


@njit(**OPTIONS)
def _project(share, held, motion):
    """Takes from the momenta what would change a length at the points."""
    for a in share.atoms:
        for k in range(3):
            motion.pushed[a, k] = motion.momenta[a, k]
    first, last = share.clusters
    if last > first:
        elimination = (held.bonds, held.size, held.pairs, held.inverse_masses)
        kernels.project(first, last, *elimination, motion.points, held.lower, held.diagonal, motion.pushed)
    first, last = share.waters
    if last > first:
        kernels.project_waters(first, last, held.waters, held.inverse_masses, motion.points, motion.pushed)
    kind = motion.momenta.dtype.type
    for a in share.atoms:
        for k in range(3):
            motion.momenta[a, k] = kind(motion.pushed[a, k])


@njit(**OPTIONS)
def kick(share, held, motion, half):
    """Half a kick by the forces; half is half the step times the unit of acceleration, in the precision of atoms."""
    for a in share.atoms:
        for k in range(3):
            motion.momenta[a, k] += half * motion.forces[a, k]
    _project(share, held, motion)


@njit(**OPTIONS)
def _restore(share, held, motion):
    """Sets the moves that give back all lengths; returns whether each was found."""
    found = True
    first, last = share.clusters
    if last > first:
        elimination = (held.bonds, held.size, held.pairs, held.length, held.inverse_masses)
        places = (motion.points, motion.after, held.tolerance, held.lower, held.diagonal)
        kernels.solve_positions(first, last, *elimination, *places, motion.moves, motion.errors)
        for k in range(held.bonds[0][first], held.bonds[0][last]):
            found = found and motion.errors[held.bonds[1][k]] <= held.tolerance
    first, last = share.waters
    if last > first:
        sides = (held.waters, held.oxygen_hydrogen, held.hydrogen_hydrogen, held.masses)
        kernels.settle(first, last, *sides, motion.points, motion.after, motion.moves)
        for w in range(first, last):
            o = held.waters[w, 0]
            for k in range(3):
                found = found and np.isfinite(motion.moves[o, k])
    return found


@njit(**OPTIONS)
def move(share, held, motion, dt, origin):
    """A step of the positions; returns whether lengths were kept, and the square of the largest way from `origin`."""
    for a in share.atoms:
        for k in range(3):
            velocity = motion.momenta[a, k] / motion.masses[a]
            motion.after[a, k] = motion.points[a, k] + dt * float(velocity)
            motion.moves[a, k] = 0.0
    found, kind = _restore(share, held, motion), motion.positions.dtype.type
    most = kind(0.0)
    for a in share.atoms:
        square = kind(0.0)
        for k in range(3):
            moved = motion.moves[a, k]
            motion.momenta[a, k] += kind(held.masses[a] * moved / dt)
            motion.positions[a, k] = kind(motion.after[a, k] + moved)
            if found:
                motion.points[a, k] = motion.positions[a, k]
            d = motion.positions[a, k] - origin[a, k]
            square += d * d
        # A comparison that is false for NaN would let it pass.
        if not square <= most:
            most = square
    _project(share, held, motion)
    return found, most
