"""Potentials as `torch.export` programs: a graph of tensor operations that runs without this package."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from mindsci import tree
from mindsci.errors import InputError
from sponge.neighbors import Neighbors, neighbor_list
from sponge.potentials.potential import Potential
from sponge.system import System


class _OneSystem(nn.Module):
    def __init__(self, potential: Potential, example: System) -> None:
        super().__init__()
        self.potential, self.example = potential, example

    def forward(
        self,
        positions: Tensor,
        atomic_numbers: Tensor,
        centre: Tensor,
        neighbor: Tensor,
        shift: Tensor | None = None,
        cell: Tensor | None = None,
    ) -> Tensor:
        system = tree.replace(
            self.example,
            positions=positions,
            atomic_numbers=atomic_numbers,
            system=torch.zeros_like(atomic_numbers),
            cell=self.example.cell if cell is None else cell,
            neighbors=None,
        )
        # Row pointers serve compiled loops alone.
        rows = centre.new_zeros(1)
        pairs = Neighbors(rows=rows, centre=centre, neighbor=neighbor, shift=shift, half=True, cutoff=float("inf"))
        return self.potential(system, pairs)


def exported(potential: Potential, example: System) -> ExportedProgram:
    """Returns a program of (positions, atomic_numbers, centre, neighbor[, shift, cell]) for any atoms and pairs.

    It returns the energy of one system [eV], differentiable in positions and cell. Pairs are those of a half list,
    with shift and cell where the example repeats. The example needs at least two atoms and two pairs. For SchNet and
    PaiNN in plain torch, in their own precision; others may not be traceable. Raises InputError for a batch.
    """
    if example.n_systems != 1:
        raise InputError(f"a batch of {example.n_systems} systems cannot be exported; give one system as the example")
    pairs = neighbor_list(example, potential.cutoff, half=True)
    arguments: tuple[Tensor, ...] = (example.positions, example.atomic_numbers, pairs.centre, pairs.neighbor)
    atoms, edges = {0: Dim("atoms", min=2)}, {0: Dim("pairs", min=2)}
    sizes: tuple[dict[int, Dim], ...] = (atoms, atoms, edges, edges)
    if pairs.shift is not None:
        arguments, sizes = (*arguments, pairs.shift, example.cell), (*sizes, edges, {})
    # A compiled engine is no graph of tensor operations.
    before = getattr(potential, "engine", None)
    if before is not None:
        potential.engine = "reference"
    try:
        return torch.export.export(
            _OneSystem(potential, tree.detach(example)), arguments, dynamic_shapes=sizes, strict=False
        )
    finally:
        if before is not None:
            potential.engine = before
