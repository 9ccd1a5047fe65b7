"""Averages over trajectories that are differentiable by the parameters of a potential.

Through the path, by an adjoint of `rollout`, or through the ensemble that the path samples, by reweighting its frames
(DiffTRe, [Thaler2021]): the same call, one argument.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mindsci import tree, units
from mindsci.errors import InputError
from mindsci.solvers import Checkpoint, Direct, Reversible, rollout
from mindsci.tree import Tree
from sponge.dynamics.forces import Forces
from sponge.dynamics.velocities import of_each_system
from sponge.neighbors import neighbor_list
from sponge.potentials.potential import Potential
from sponge.system import System

logger = logging.getLogger(__name__)

Integrator = Callable[[Forces, System], tuple[Any, System]]
Observable = Callable[[System], Tensor]


class Reweighting(Tree):
    """Gradients through the ensemble: frames of a reference run, weighted by exp(-(U - U_ref) / k_B T) [Thaler2021].

    Neither the path nor its chaos is differentiated. The run is made anew where the effective number of frames,
    exp(-sum w ln w) [Thaler2021, eq. 6], falls below a share of them.
    """

    share: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InputError(f"Reweighting(share={self.share}): use a share of the frames between 0 and 1")


class TrajectoryAverage:
    """The mean of an observable over a run with a potential: `average(potential)`, differentiable.

    Args:
        system: where runs start; a batch of replicas samples as many times.
        integrator: `(forces, system) -> (step, system)`, as the stages of a case have it.
        observable: `batch -> one value or array for each system`; the mean is over frames and systems.
        temperature: [K], of the canonical ensemble that the integrator samples; needed by Reweighting alone.
        equilibration, n_steps, dt, every: steps before the first frame, steps that are sampled, their length [fs], and
            how many lie between frames.
        gradient: Direct(), Checkpoint() or Reversible() differentiate the path from `system` on, each time the same;
            Reweighting() the canonical average.
    """

    def __init__(
        self,
        system: System,
        *,
        integrator: Integrator,
        observable: Observable,
        n_steps: int,
        dt: float,
        every: int = 1,
        equilibration: int = 0,
        temperature: float | Tensor | None = None,
        gradient: Direct | Checkpoint | Reversible | Reweighting | None = None,
    ) -> None:
        self.gradient = gradient or Reweighting()
        if isinstance(self.gradient, Reweighting) and temperature is None:
            raise InputError("Reweighting needs the temperature of the ensemble; give temperature = ... [K]")
        if n_steps < every:
            raise InputError(f"n_steps = {n_steps} and every = {every} give no frame; use more steps")
        self.system, self.integrator, self.observable = system, integrator, observable
        self.n_steps, self.dt, self.every, self.equilibration = n_steps, dt, every, equilibration
        self.thermal = None
        if temperature is not None:
            kelvin = of_each_system(system, temperature, "temperature", "K", positive=True)
            self.thermal = units.BOLTZMANN_EV * kelvin.double()
        self.n_runs, self.effective = 0, float("nan")
        """runs so far, and the effective number of frames at the last call of Reweighting"""
        self._frames: System | None = None
        self._reference: Tensor | None = None
        self._values: Tensor | None = None
        self._taken = 0

    def __call__(self, potential: Potential) -> Tensor:
        """Returns the mean of the observable, with a gradient by the potential's parameters."""
        if isinstance(self.gradient, Reweighting):
            return self._reweighted(potential, self.gradient.share)
        _, seen = self._run(potential, self.system, 0, self.gradient, lambda state: self.observable(state).mean(0))
        return seen.mean(0)

    def _run(self, potential: Potential, system: System, start: int, adjoint: Any, observe: Any) -> tuple[System, Any]:
        forces = Forces.of(potential, system)
        step, system = self.integrator(forces, system)
        options = {"dt": self.dt, "adjoint": adjoint}
        self.n_runs += 1
        system, _ = rollout(step, forces(system), n_steps=self.equilibration, start=start, **options)
        start += self.equilibration
        return rollout(step, system, n_steps=self.n_steps, start=start, observe=observe, every=self.every, **options)

    def _sample(self, potential: Potential) -> None:
        """Makes the reference run, from where the last one ended, with noise of its own."""
        with torch.no_grad():
            last, positions = self._run(potential, self.system, self._taken, None, lambda state: state.positions)
            self.system = tree.replace(last, neighbors=None)
            self._taken += self.equilibration + self.n_steps
            frames = stacked(last, positions)
            listed = neighbor_list(frames, potential.cutoff, half=potential.half) if potential.cutoff else None
            self._frames = tree.replace(frames, neighbors=listed)
            self._reference = potential(self._frames, listed)
            self._values = None

    def _reweighted(self, potential: Potential, share: float) -> Tensor:
        if self._frames is None:
            self._sample(potential)
        weights = self._weights(potential)
        if self.effective < share * len(weights):
            logger.info("effective frames %.1f of %d: a new reference run", self.effective, len(weights))
            self._sample(potential)
            weights = self._weights(potential)
        values = self.observable(self._frames) if self._values is None else self._values  # type: ignore[arg-type]
        if torch.is_grad_enabled() and not values.requires_grad:
            self._values = values  # of positions alone, not of the potential: the same until the next run
        return torch.einsum("f,f...->...", weights, values.double())

    def _weights(self, potential: Potential) -> Float[Tensor, " frames"]:
        """Weights of the frames that make them a sample of the potential's ensemble [Thaler2021, eq. 4]."""
        change = potential(self._frames, self._frames.neighbors) - self._reference  # type: ignore[union-attr]
        thermal = self.thermal.repeat(len(change) // self.system.n_systems)  # type: ignore[union-attr]
        weights = torch.softmax(-change / thermal, 0)
        known = weights.detach()
        self.effective = float(torch.exp(-torch.special.xlogy(known, known).sum()))
        return weights


def stacked(system: System, positions: Float[Tensor, "frames atoms 3"]) -> System:
    """Returns frames of a batch as one batch, at rest: all systems of the first frame, then those of the next."""
    count, n_systems = len(positions), system.n_systems
    offset = n_systems * torch.arange(count, device=positions.device).repeat_interleave(system.n_atoms)
    flat = positions.reshape(-1, 3)
    return System(
        positions=flat,
        momenta=torch.zeros_like(flat),
        masses=system.masses.repeat(count),
        atomic_numbers=system.atomic_numbers.repeat(count),
        system=system.system.repeat(count) + offset,
        cell=system.cell.repeat(count, 1, 1),
        periodic=system.periodic.repeat(count, 1),
        forces=torch.zeros_like(flat),
        energy=system.energy.new_zeros(count * n_systems),
        stream=torch.arange(count * n_systems, device=positions.device),
        n_systems=count * n_systems,
    )
