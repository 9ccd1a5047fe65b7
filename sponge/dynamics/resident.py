"""Dynamics whose neighbour lists stay on the device: the host looks once a chunk, and repeats what was not sound."""

from __future__ import annotations

import logging
from typing import Any

import torch

from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree
from sponge.dynamics.forces import Forces, check_forces
from sponge.system import System

logger = logging.getLogger(__name__)

ROOM = 1.25
"""capacity over the edges that were needed"""


class Resident(Tree):
    """An integrator with lists of fixed capacity, made anew every `interval` steps without the host.

    The device notes how far atoms moved while a list was in use and how many edges it would have needed. After each
    chunk the host looks: where a pair may have been missed, the chunk is run again from its start with more room, or
    with lists made twice as often. So no pair is dropped, and the host waits once a chunk instead of at every step.
    Where gradients are asked for, the integrator runs with lists of exact size.
    """

    step: Any
    forces: Forces
    interval: int = 10
    chunk: int = 100

    def __post_init__(self) -> None:
        if self.interval < 1 or self.chunk < 1 or self.forces.search is None or not self.forces.search.skin > 0:
            raise InputError("a resident list needs interval >= 1, chunk >= 1 and forces with a cutoff and a skin")

    @property
    def reversible(self) -> bool:
        return bool(self.step.reversible)

    def __call__(self, system: System, t: float, dt: float) -> System:
        return self.step(system, t, dt)

    def advance(self, system: System, t: float, dt: float, n_steps: int) -> System:
        """Returns the system after n_steps; its list is left out, so that whoever goes on makes one of exact size.

        Raises InputError where an atom moves by half the skin in a single step.
        """
        with torch.no_grad():
            first = self.forces.search.build(system)
            if first.origin is None:
                return self._plain(system, t, dt, n_steps)
            capacity, interval, done = self._room(first.n_edges), self.interval, 0
            while done < n_steps:
                count = min(self.chunk, n_steps - done)
                after, worst = self._chunk(system, t + done * dt, dt, count, capacity, interval)
                skin, room = worst.tolist()
                if skin < 1.0 and room <= 1.0:
                    system, done = after, done + count
                    continue
                if room > 1.0:
                    capacity = self._room(int(capacity * room) + 1)
                    logger.info("neighbour lists get room for %d edges; %d steps are run again", capacity, count)
                elif interval > 1:
                    interval //= 2
                    logger.info("neighbour lists are made every %d steps; %d steps are run again", interval, count)
                else:
                    check_forces(after)
                    raise InputError(
                        f"an atom moves by half the skin, {0.5 * self.forces.search.skin:g} angstrom, within one step "
                        f"of {dt:g} fs; use a shorter step or a thicker skin"
                    )
            return tree.replace(system, neighbors=None)

    def _plain(self, system: System, t: float, dt: float, n_steps: int) -> System:
        """A list that holds wherever the atoms are needs none of this."""
        for index in range(n_steps):
            system = self.step(system, t + index * dt, dt)
        return system

    def _chunk(
        self, system: System, t: float, dt: float, count: int, capacity: int, interval: int
    ) -> tuple[System, torch.Tensor]:
        worst = None
        for index in range(count):
            if index % interval == 0:
                listed = self.forces.search.build_within(system, capacity, worst)
                system = tree.replace(system, neighbors=listed)
            system = self.step(system, t + index * dt, dt)
            worst = system.neighbors.worst
        return system, worst

    @staticmethod
    def _room(edges: int) -> int:
        return int(ROOM * edges) + 64
