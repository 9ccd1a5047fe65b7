"""Velocity Verlet over many steps in one compiled loop: kick, drift, forces, kick, with no list made in between."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from numba import njit

from mindsci.kernels.meeting import meet
from sponge.forcefield.clusters.pair_kernels import OPTIONS, Shape, flags_of, take_groups
from sponge.forcefield.clusters.stepping import clear


class State(NamedTuple):
    """Atoms on their way; the loop moves them in place."""

    positions: Any
    momenta: Any
    forces: Any
    inverse_masses: Any
    origin: Any
    """positions that the list was made at"""
    cell: Any


class Team(NamedTuple):
    """How threads share places and groups, and what each of them leaves for the others."""

    of_places: Any
    of_groups: Any
    parts: Any
    """forces by each thread at all places"""
    out: Any
    """energies and virial by each thread"""
    moved: Any
    """square of the largest displacement since the list was made, by each thread"""
    counter: Any
    """of `meet`"""


@njit(**OPTIONS)
def _kick(first, last, atoms, state, half):
    """Half a kick of the atoms at places first to last - 1."""
    for p in range(first, last):
        a = atoms[p]
        if a >= 0:
            for k in range(3):
                state.momenta[a, k] += half * state.forces[a, k]


@njit(**OPTIONS)
def _drift(first, last, atoms, homes, places, state, dt):
    """Moves the atoms at places first to last - 1; returns the square of the largest displacement of theirs."""
    cell, kind = state.cell, places.x.dtype.type
    most = dt * 0
    for p in range(first, last):
        a = atoms[p]
        if a < 0:
            continue
        square = dt * 0
        for k in range(3):
            state.positions[a, k] += dt * (state.momenta[a, k] * state.inverse_masses[a])
            d = state.positions[a, k] - state.origin[a, k]
            square += d * d
        # A comparison that is false for NaN would let it pass.
        if not square <= most:
            most = square
        u, v, w = homes[a, 0], homes[a, 1], homes[a, 2]
        places.x[p] = kind(state.positions[a, 0] - (u * cell[0, 0] + v * cell[1, 0] + w * cell[2, 0]))
        places.y[p] = kind(state.positions[a, 1] - (u * cell[0, 1] + v * cell[1, 1] + w * cell[2, 1]))
        places.z[p] = kind(state.positions[a, 2] - (u * cell[0, 2] + v * cell[1, 2] + w * cell[2, 2]))
    return most


@njit(**OPTIONS)
def _collect(first, last, atoms, parts, forces):
    for p in range(first, last):
        a = atoms[p]
        if a >= 0:
            for k in range(3):
                total = parts[0, k, p]
                for thread in range(1, parts.shape[0]):
                    total += parts[thread, k, p]
                forces[a, k] = total


@njit(**OPTIONS)
def _outworn(moved, limit):
    """Returns whether a displacement reaches the limit, or is no number."""
    below = True
    for thread in range(len(moved)):
        below = below and moved[thread] < limit
    return not below


@lru_cache(maxsize=16)
def verlet_kernel(shape: Shape) -> Any:
    """Returns run(thread, n_steps, moved, numbers, state, team, atoms, homes, listed, places, terms).

    Every thread calls it. `moved` says that atoms have drifted into a new list and the step is to be ended; numbers
    are half a kick, dt, and the square of the displacement that ends a list. Returns the steps done and whether the
    atoms have drifted and need a list. Energies and virial are those of the last step.
    """
    # Numbers alone are held by the kernel, so that it is found again on disk; they are folded into it.
    plain, observed = flags_of(shape._replace(observed=False)), flags_of(shape._replace(observed=True))

    @njit(**OPTIONS)
    def run(thread, n_steps, moved, numbers, state, team, atoms, homes, listed, places, terms):
        half, dt, limit = numbers[0], numbers[1], numbers[2]
        first, last = team.of_places[thread], team.of_places[thread + 1]
        begin, end = team.of_groups[thread], team.of_groups[thread + 1]
        mine, threads = team.parts[thread], len(team.parts)
        fx, fy, fz, out = mine[0], mine[1], mine[2], team.out[thread]
        meeting = 0
        for done in range(n_steps):
            if not (moved and done == 0):
                _kick(first, last, atoms, state, half)
                team.moved[thread] = _drift(first, last, atoms, homes, places, state, dt)
                meeting += 1
                meet(team.counter, threads, meeting)
                if _outworn(team.moved, limit):
                    return done, True
            clear(0, len(atoms), mine)
            if done + 1 == n_steps:
                take_groups(begin, end, observed, listed, places, terms, fx, fy, fz, out)
            else:
                take_groups(begin, end, plain, listed, places, terms, fx, fy, fz, out)
            meeting += 1
            meet(team.counter, threads, meeting)
            _collect(first, last, atoms, team.parts, state.forces)
            _kick(first, last, atoms, state, half)
        return n_steps, False

    return run
