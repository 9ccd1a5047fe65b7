"""`mindsci validate adjoints`: the three adjoints on a field and on particles, and what each keeps.

Two small systems whose steps are the whole text of a reference: a 1-D Yee line with a current source and a
Fourier probe, and eight Lennard-Jones atoms under velocity Verlet. Reduced units throughout.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from mindsci import tree
from mindsci.report import Report, Row
from mindsci.solvers.adjoint import Checkpoint, Direct, Reversible
from mindsci.solvers.memory import LiveBytes
from mindsci.solvers.rollout import rollout
from mindsci.solvers.splitting import Splitting
from mindsci.tree import Tree

ADJOINTS = {"direct": Direct(), "checkpoint": Checkpoint(), "reversible": Reversible()}


class Line(Tree):
    """Fields on a line of cells between two electric walls, and a running Fourier sum at one node."""

    electric: Tensor
    magnetic: Tensor
    spectrum: Tensor


class LineFaraday(Tree):
    reversible: ClassVar[bool] = True

    def __call__(self, line: Line, t: float, dt: float) -> Line:
        curl = line.electric[1:] - line.electric[:-1]
        return tree.replace(line, magnetic=line.magnetic + dt * curl)


class LineAmpere(Tree):
    """Ampere's law with a Gaussian current at one node; `permittivity` is that of the inner nodes."""

    permittivity: Tensor
    reversible: ClassVar[bool] = True

    def __call__(self, line: Line, t: float, dt: float) -> Line:
        current = torch.zeros_like(self.permittivity)
        current[self.permittivity.numel() // 3] = math.exp(-(((t + dt / 2 - 10.0) / 3.0) ** 2))
        change = dt * (line.magnetic[1:] - line.magnetic[:-1] - current) / self.permittivity
        inner = line.electric[1:-1] + change
        return tree.replace(line, electric=torch.cat([line.electric[:1], inner, line.electric[-1:]]))


class LineProbe(Tree):
    """Adds E exp(-i omega t) dt at one node to the running sum: a Fourier integral is a flow like any other."""

    omega: float
    reversible: ClassVar[bool] = True

    def __call__(self, line: Line, t: float, dt: float) -> Line:
        # The field belongs to the later end of the step: t + dt forwards, t backwards.
        phase = self.omega * (t + max(dt, 0.0))
        wave = torch.tensor([math.cos(phase), -math.sin(phase)], dtype=line.electric.dtype)
        return tree.replace(line, spectrum=line.spectrum + dt * line.electric[2 * len(line.electric) // 3] * wave)


class Atoms(Tree):
    """Atoms of unit mass."""

    positions: Tensor
    momenta: Tensor
    forces: Tensor


class Drift(Tree):
    """Moves the positions and refreshes the forces of a Lennard-Jones cluster; `well` and `size` are differentiable."""

    well: Tensor
    size: Tensor
    reversible: ClassVar[bool] = True

    def forces(self, positions: Tensor) -> Tensor:
        """Returns -dU/dx of the sum of 4 well ((size/r)^12 - (size/r)^6) over pairs, written out."""
        between = positions[:, None] - positions[None, :]
        # A unit distance on the diagonal keeps the derivative finite; its difference vector is zero.
        squared = (between**2).sum(-1) + torch.eye(len(positions), dtype=positions.dtype)
        sixth = (self.size**2 / squared) ** 3
        strength = 24 * self.well * (2 * sixth**2 - sixth) / squared
        return (strength[..., None] * between).sum(1)

    def __call__(self, atoms: Atoms, t: float, dt: float) -> Atoms:
        positions = atoms.positions + dt * atoms.momenta
        return tree.replace(atoms, positions=positions, forces=self.forces(positions))


class Kick(Tree):
    reversible: ClassVar[bool] = True

    def __call__(self, atoms: Atoms, t: float, dt: float) -> Atoms:
        return tree.replace(atoms, momenta=atoms.momenta + dt * atoms.forces)


Problem = Callable[[Tensor, Any, int], Tensor]


def line_objective(unknown: Tensor, adjoint: Any, n_steps: int) -> Tensor:
    """Returns the spectral power at the probe for a line of the given permittivity, plus what was observed there."""
    n_nodes = unknown.numel() + 2
    zero = torch.zeros(n_nodes, dtype=torch.float64)
    start = Line(electric=zero, magnetic=zero[1:], spectrum=torch.zeros(2, dtype=torch.float64))
    step = Splitting(
        flows={"H": LineFaraday(), "E": LineAmpere(permittivity=unknown), "P": LineProbe(omega=0.3)}, order="HEP"
    )
    last, seen = rollout(
        step,
        start,
        n_steps=n_steps,
        dt=0.9,
        adjoint=adjoint,
        observe=lambda s: s.electric[n_nodes // 2],
        every=n_steps // 8,
    )
    return (last.spectrum**2).sum() + (seen**2).sum()


def cluster_objective(unknown: Tensor, adjoint: Any, n_steps: int) -> Tensor:
    """Returns the spread of the cluster at the end, given (well, size) of its pair potential."""
    corners = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)), dtype=torch.float64)
    positions = 1.15 * corners + 0.02 * torch.sin(7.0 * torch.arange(24, dtype=torch.float64)).reshape(8, 3)
    drift = Drift(well=unknown[0], size=unknown[1])
    atoms = Atoms(positions=positions, momenta=0.1 * torch.cos(3.0 * positions).flip(0), forces=drift.forces(positions))
    step = Splitting(flows={"B": Kick(), "A": drift}, order="BAB")
    last, _ = rollout(step, atoms, n_steps=n_steps, dt=0.002, adjoint=adjoint)
    return (last.positions**2).mean()


def gradient(problem: Problem, unknown: Tensor, adjoint: Any, n_steps: int) -> tuple[Tensor, int]:
    """Returns the gradient with respect to the unknowns, and the most bytes alive while it was computed."""
    unknown = unknown.clone().requires_grad_()
    with LiveBytes() as bytes_:
        (found,) = torch.autograd.grad(problem(unknown, adjoint, n_steps), unknown)
    return found, bytes_.peak


def central_difference(problem: Problem, unknown: Tensor, direction: Tensor, n_steps: int) -> float:
    """Returns the directional derivative by Richardson-extrapolated central differences, error of order step^4."""

    def difference(size: float) -> float:
        with torch.no_grad():
            ends = [float(problem(unknown + sign * size * direction, Direct(), n_steps)) for sign in (1, -1)]
        return (ends[0] - ends[1]) / (2 * size)

    return (4 * difference(5e-5) - difference(1e-4)) / 3


def adjoints(steps: int = 400) -> Report:
    """Compares the three adjoints with each other and with finite differences, and the bytes that each keeps.

    Bytes are measured at `steps` and at four times as many. Reversible must not grow; Checkpoint keeps about
    sqrt(n) states and the tape of sqrt(n) steps, so it must grow by about 2 and is gated at 3; Direct grows by 4.
    """
    cases: dict[str, tuple[Problem, Tensor]] = {
        "1-D FDTD line": (line_objective, 1.0 + torch.linspace(0, 1, 58, dtype=torch.float64) ** 2),
        "8-atom Lennard-Jones": (cluster_objective, torch.tensor([1.0, 1.0], dtype=torch.float64)),
    }
    rows = []
    for case, (problem, unknown) in cases.items():
        gradients, peaks = {}, {}
        for name, adjoint in ADJOINTS.items():
            gradients[name], peaks[name] = gradient(problem, unknown, adjoint, steps)
        rows += _agreement_rows(case, problem, unknown, gradients, steps)
        for name, limit in (("direct", None), ("checkpoint", 3.0), ("reversible", 1.0)):
            longer = gradient(problem, unknown, ADJOINTS[name], 4 * steps)[1]
            growth = longer / peaks[name]
            gate = f"<= {limit} x for 4 x steps" if limit else None
            extra = {"bytes": peaks[name], "bytes at 4 x steps": longer}
            ok = growth <= limit if limit else None
            rows.append(
                Row(case=f"{case}: {name}, growth of peak bytes", measured=growth, gate=gate, ok=ok, extra=extra)
            )
    return Report(name="adjoints", rows=rows)


def _agreement_rows(
    case: str, problem: Problem, unknown: Tensor, gradients: dict[str, Tensor], steps: int
) -> list[Row]:
    exact = gradients["direct"]
    rows = []
    for name in ("checkpoint", "reversible"):
        error = float((gradients[name] - exact).norm() / exact.norm())
        rows.append(
            Row(
                case=f"{case}: {name} against direct",
                measured=error,
                unit="relative",
                gate="<= 1e-12",
                ok=error <= 1e-12,
            )
        )
    direction = exact / exact.norm()
    slope = central_difference(problem, unknown, direction, steps)
    for name, found in gradients.items():
        error = abs(float(found @ direction) - slope) / abs(slope)
        rows.append(
            Row(
                case=f"{case}: {name} against finite differences",
                measured=error,
                unit="relative",
                gate="<= 1e-6",
                ok=error <= 1e-6,
            )
        )
    return rows
