"""The Monte Carlo barostat: volumes are proposed, and taken or refused [Aqvist2004]."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindsci import random, tree, units
from mindsci.errors import InputError
from mindsci.tree import Tree
from sponge.batch import preferred
from sponge.dynamics.barostats.bodies import Bodies
from sponge.dynamics.barostats.coupling import acts_after, check_every, parts_of, strain_of_axes
from sponge.dynamics.forces import Forces
from sponge.dynamics.velocities import of_each_system
from sponge.system import System
from sponge.thermodynamics import volume
from sponge.topology import Topology

WIDTH, TRIED, TAKEN = "monte_carlo_width", "monte_carlo_tried", "monte_carlo_taken"
TRIALS, LEAST, MOST, CHANGE, WIDEST = 10, 0.25, 0.75, 1.1, 0.3
"""after so many trials of a part its widest move changes by a factor, where too few or too many are taken"""


class MonteCarloBarostat(Tree):
    """V: after every so many steps the size of one part of the cell changes, and with it the centres of the bodies.

    N bodies, moves uniform in the logarithm of the size v: taken with the probability min(1, exp(-(dU + P dV) / k_B T)
    (V' / V)^N v' / v), so that sizes have the density V^N exp(-P V / k_B T) with respect to the product of dv. Momenta
    are left alone. Each system decides by itself.
    """

    reversible: ClassVar[bool] = False
    forces: Forces
    bodies: Bodies
    parts: Float[Tensor, "parts 3"]
    temperature: Float[Tensor, " systems"]
    """[K], of the thermostat"""
    pressure: Float[Tensor, " systems"]
    """[eV/angstrom^3]"""
    stream: Int[Tensor, " systems"]
    every: int
    width: float
    """of the first moves: largest change of the logarithm of a size"""
    adapts: bool

    @classmethod
    def of(
        cls,
        forces: Forces,
        system: System,
        *,
        temperature: float | Tensor,
        pressure: float | Tensor,
        topology: Topology | None = None,
        coupling: str = "isotropic",
        every: int = 25,
        width: float = 0.02,
        adapts: bool = True,
        seed: int,
    ) -> MonteCarloBarostat:
        """Returns the barostat of a batch; temperature [K] and pressure [eV/angstrom^3] are one for all or one each.

        topology: whose molecules move as they are; atoms move by themselves unless given. coupling: isotropic,
        semi_isotropic (x and y together, z) or anisotropic. adapts: whether the widths of moves settle where a half is
        taken; only while they stay is the distribution exact. Raises InputError for values out of range, and for a
        system that does not repeat along all axes.
        """
        check_every(every)
        if not 0 < width <= WIDEST:
            raise InputError(f"width = {width}: use one above 0 and up to {WIDEST}")
        return cls(
            forces=forces,
            bodies=Bodies.of(system, topology),
            parts=parts_of(system, coupling),
            temperature=of_each_system(system, temperature, "temperature", "K", positive=True).double(),
            pressure=of_each_system(system, pressure, "pressure", "eV/angstrom^3", signed=True).double(),
            stream=random.stream(seed, system.stream),
            every=every,
            width=width,
            adapts=adapts,
        )

    def start(self, system: System) -> System:
        """Returns the system with whole molecules and the first widths, unless it has some."""
        system = self.bodies.start(system)
        if WIDTH in system.auxiliary:
            return system
        zeros = system.energy.new_zeros(system.n_systems, len(self.parts))
        begin = {WIDTH: zeros + self.width, TRIED: zeros, TAKEN: zeros.clone()}
        return tree.replace(system, auxiliary=system.auxiliary | begin)

    def __call__(self, system: System, t: float, dt: float) -> System:
        step = round(t / dt)
        if not acts_after(step, self.every):
            return system
        if WIDTH not in system.auxiliary:
            raise InputError("the state has no widths of volume moves; begin with barostat.start(system)")
        noise = random.uniform(
            system.energy.new_zeros(system.n_systems, 3),
            seed=self.stream[:, None],
            counter=step,
            element=torch.arange(3, device=self.stream.device)[None],
        )
        part = (noise[:, 0] * len(self.parts)).to(torch.int64)
        chosen = torch.nn.functional.one_hot(part, len(self.parts)).double()
        change = chosen * system.auxiliary[WIDTH] * (2.0 * noise[:, 1:2] - 1.0)
        trial = self.forces(self.bodies.scaled(system, strain_of_axes(self.parts, change).exp()))
        thermal = units.BOLTZMANN_EV * self.temperature
        work = trial.energy - system.energy + self.pressure * (volume(trial) - volume(system))
        growth = change.sum(-1)
        # A trial whose energy is not a number is refused: no comparison with it holds.
        taken = torch.log1p(-noise[:, 2]) < -work / thermal + (self.bodies.count(system) + 1.0) * growth
        return self._settled(preferred(taken, trial, system), chosen, taken)

    def _settled(self, system: System, chosen: Tensor, taken: Tensor) -> System:
        """Counts the trials, and after enough of them widens moves that are nearly all taken, or narrows them."""
        kept = system.auxiliary
        tried, accepted = kept[TRIED] + chosen, kept[TAKEN] + chosen * taken[:, None]
        if not self.adapts:
            return tree.replace(system, auxiliary=kept | {TRIED: tried, TAKEN: accepted})
        full = tried >= TRIALS
        share = accepted / tried.clamp(min=1.0)
        factor = torch.where(share > MOST, CHANGE, torch.where(share < LEAST, 1.0 / CHANGE, 1.0))
        width = torch.where(full, (factor * kept[WIDTH]).clamp(max=WIDEST), kept[WIDTH])
        counts = {TRIED: torch.where(full, 0.0, tried), TAKEN: torch.where(full, 0.0, accepted)}
        return tree.replace(system, auxiliary=kept | counts | {WIDTH: width})
