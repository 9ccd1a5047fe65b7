"""Frames of a trajectory as tensors."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mindsci import tree
from mindsci.errors import InputError
from mindsci.tree import Tree
from sponge import cells
from sponge.system import System


class Trajectory(Tree):
    """Frames of one system; positions as they were written, wrapped or not."""

    positions: Float[Tensor, "frames atoms 3"]
    """[angstrom]"""
    time: Float[Tensor, " frames"]
    """[fs], float64"""
    atomic_numbers: Int[Tensor, " atoms"]
    masses: Float[Tensor, " atoms"]
    """[Da]"""
    cell: Float[Tensor, "frames 3 3"]
    """row vectors [angstrom]; zero where there is no cell"""
    periodic: tuple[bool, bool, bool] = (False, False, False)
    velocities: Float[Tensor, "frames atoms 3"] | None = None
    """[angstrom/fs]"""
    charges: Float[Tensor, " atoms"] | None = None
    """[e]"""

    @classmethod
    def of(
        cls,
        system: System,
        *,
        positions: Float[Tensor, "frames atoms 3"],
        interval: float,
        momenta: Float[Tensor, "frames atoms 3"] | None = None,
    ) -> Trajectory:
        """Returns what `rollout` observed of a single system, every `interval` [fs]."""
        if system.n_systems != 1:
            raise InputError(f"{system.n_systems} systems in the batch; take the trajectory of one at a time")
        return cls(
            positions=positions,
            time=interval * torch.arange(1, len(positions) + 1, dtype=torch.float64),
            atomic_numbers=system.atomic_numbers,
            masses=system.masses,
            cell=system.cell.expand(len(positions), 3, 3),
            periodic=tuple(system.periodic[0].tolist()),
            velocities=None
            if momenta is None
            else momenta / torch.where(system.masses > 0, system.masses, 1.0)[:, None],
        )

    @property
    def n_frames(self) -> int:
        return self.positions.shape[0]

    @property
    def n_atoms(self) -> int:
        return self.positions.shape[1]

    def frames(self, which: slice) -> Trajectory:
        """Returns some of the frames."""
        velocities = None if self.velocities is None else self.velocities[which]
        picked = {"positions": self.positions[which], "time": self.time[which], "cell": self.cell[which]}
        return tree.replace(self, **picked, velocities=velocities)

    def between(self, first: float = -float("inf"), last: float = float("inf")) -> Trajectory:
        """Returns the frames at times from first to last [fs]; one in a million early or late is on time."""
        slack = 1e-6 * max(1.0, float(self.time.abs().max()) if self.n_frames else 1.0)
        kept = ((self.time >= first - slack) & (self.time <= last + slack)).nonzero().flatten()
        start, stop = (int(kept[0]), int(kept[-1]) + 1) if len(kept) else (0, 0)
        return self.frames(slice(start, stop))

    def interval(self) -> float:
        """Returns the time between frames [fs]. Raises InputError where there are fewer than two, or it varies."""
        if self.n_frames < 2:
            raise InputError(f"{self.n_frames} frames; correlations in time need 2 or more")
        steps = self.time.diff()
        mean = float(steps.mean())
        if not mean > 0 or float((steps - mean).abs().max()) > 1e-4 * mean:
            raise InputError(
                f"the time between frames varies from {float(steps.min()):g} to {float(steps.max()):g} fs; take the "
                "frames of one stage (after = ..., before = ...)"
            )
        return mean

    def batch(self) -> System:
        """Returns the frames as one batch, a system each; differentiable in the positions."""
        count, n_atoms = self.n_frames, self.n_atoms
        flat = self.positions.reshape(-1, 3)
        device, dtype = flat.device, flat.dtype
        cell = self.cell.to(flat)
        return System(
            positions=flat,
            momenta=torch.zeros_like(flat),
            masses=self.masses.to(flat).repeat(count),
            atomic_numbers=self.atomic_numbers.to(device=device, dtype=torch.int64).repeat(count),
            system=torch.arange(count, device=device).repeat_interleave(n_atoms),
            cell=cell.expand(count, 3, 3),
            periodic=torch.tensor(self.periodic, device=device).expand(count, 3).contiguous(),
            forces=torch.zeros_like(flat, dtype=dtype),
            energy=torch.zeros(count, dtype=torch.float64, device=device),
            stream=torch.arange(count, device=device),
            n_systems=count,
        )


def unwrapped(trajectory: Trajectory) -> Trajectory:
    """Returns the trajectory with continuous paths: each step of an atom is the shortest one between its images."""
    if not any(trajectory.periodic) or trajectory.n_frames < 2:
        return trajectory
    steps, fractions = _fractional_steps(trajectory)
    periodic = torch.tensor(trajectory.periodic, device=fractions.device)
    jumps = torch.where(periodic, torch.round(fractions), 0.0)
    cell = _completed(trajectory)[1:]
    paths = trajectory.positions[:1].double() + torch.cumsum(steps - jumps @ cell, 0)
    return tree.replace(trajectory, positions=torch.cat([trajectory.positions[:1].double(), paths]))


def check_continuous(trajectory: Trajectory) -> None:
    """Raises InputError, naming atom and frame, where an atom moves by more than half the cell between two frames."""
    if not any(trajectory.periodic) or trajectory.n_frames < 2:
        return
    _, fractions = _fractional_steps(trajectory)
    far = (fractions.abs() > 0.5) & torch.tensor(trajectory.periodic, device=fractions.device)
    if bool(far.any()):
        frame, atom, _ = far.nonzero()[0].tolist()
        raise InputError(
            f"atom {atom} moves by more than half the cell between frames {frame} and {frame + 1}; are the positions "
            "wrapped into the cell? Use unwrap = true"
        )


def _fractional_steps(trajectory: Trajectory) -> tuple[Tensor, Tensor]:
    steps = trajectory.positions.double().diff(dim=0)
    return steps, steps @ cells.inverse(_completed(trajectory)[1:])


def _completed(trajectory: Trajectory) -> Tensor:
    cell = trajectory.cell.double()
    return cells.completed_cell(cell, torch.tensor(trajectory.periodic, device=cell.device).expand(len(cell), 3))
