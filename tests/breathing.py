"""A system whose cell has a known distribution: atoms on springs to a lattice that scales, and springs on the cell."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sponge import create
from sponge.neighbors import Neighbors
from sponge.potentials import Potential
from sponge.system import System

SIDE, MASS, SPRING = 10.0, 20.0, 0.5
"""[angstrom], [Da], [eV/angstrom^2]"""


class Breathing(Potential):
    """sum k/2 |r - s cell|^2 + C/2 sum over axes of (ln L / L0)^2, L the diagonal of the cell.

    An integral over the positions does not depend on the cell, so that what is left is that of the cell alone.
    """

    cutoff = 0.0

    def __init__(self, stiffness: float, places: Float[Tensor, "atoms 3"]) -> None:
        super().__init__()
        self.stiffness, self.places = stiffness, places

    def forward(self, system: System, neighbors: Neighbors) -> Float[Tensor, " systems"]:
        home = torch.einsum("ak,akd->ad", self.places, system.cell[system.system])
        on_atoms = system.sum_over_atoms(0.5 * SPRING * ((system.positions - home) ** 2).sum(-1))
        logs = torch.log(system.cell.diagonal(dim1=-2, dim2=-1) / SIDE)
        return (on_atoms + 0.5 * self.stiffness * (logs**2).sum(-1)).double()


class Nothing(Potential):
    """The ideal gas."""

    cutoff = 0.0

    def forward(self, system: System, neighbors: Neighbors) -> Float[Tensor, " systems"]:
        return 0.0 * (system.sum_over_atoms(system.positions.sum(-1)) + system.cell.sum((1, 2))).double()


def cubes(systems: int, atoms: int) -> tuple[System, Float[Tensor, "atoms 3"]]:
    """Cells with atoms at random places, and these as fractions."""
    places = torch.rand(systems * atoms, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    owner = torch.arange(systems).repeat_interleave(atoms)
    cell = (SIDE * torch.eye(3).double()).expand(systems, 3, 3).clone()
    masses = torch.full((systems * atoms,), MASS).double()
    numbers = torch.full((systems * atoms,), 10)
    built = create(SIDE * places, numbers, system=owner, masses=masses, cell=cell, periodic=(True, True, True))
    return built, places


def logs_of_parts(system: System, parts: Float[Tensor, "parts 3"]) -> Float[Tensor, "systems parts"]:
    """ln of the size of each part of the cell over that at rest."""
    return torch.log(system.cell.diagonal(dim1=-2, dim2=-1) / SIDE) @ parts.mT
