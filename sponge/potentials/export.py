"""Potentials as `torch.export` programs: a graph of tensor operations that runs without this package."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental.proxy_tensor import make_fx

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


class _WithForces(nn.Module):
    def __init__(self, energy: _OneSystem) -> None:
        super().__init__()
        self.energy = energy

    def forward(self, positions: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            positions = positions.detach().requires_grad_()
            energy = self.energy(positions, *others)
            (slope,) = torch.autograd.grad(energy.sum(), positions)
        return energy.detach(), -slope


def exported(potential: Potential, example: System, *, forces: bool = False) -> ExportedProgram:
    """Returns a program of (positions, atomic_numbers, centre, neighbor[, shift, cell]) for any atoms and pairs.

    It returns the energy of one system [eV], differentiable in positions and cell, or with `forces` energy and forces
    [eV/angstrom], which torch's ahead-of-time compiler takes (`torch._inductor.aoti_compile_and_package`). Pairs are
    those of a half list, with shift and cell where the example repeats; of all atoms for a PhysNet whose Coulomb energy
    has no cutoff, and its charge is the example's. The example needs two atoms and two pairs; with `forces` more than
    three atoms, and another number of pairs, since sizes that are equal are taken for the same. For SchNet, PaiNN and
    PhysNet in plain torch, in their own precision. Raises InputError for other potentials, examples and for a batch.
    """
    if not potential.exportable:
        raise InputError(
            f"a {potential.kind} has no such program: it is no graph of tensor operations with sizes that follow from "
            "its inputs; export a SchNet, a PaiNN or a PhysNet in its plain form, not that of for_use"
        )
    if example.n_systems != 1:
        raise InputError(f"a batch of {example.n_systems} systems cannot be exported; give one system as the example")
    pairs = neighbor_list(example, potential.cutoff, half=True)
    if forces and (example.n_atoms <= 3 or pairs.n_edges <= 3 or example.n_atoms == pairs.n_edges):
        raise InputError(
            f"the example has {example.n_atoms} atoms and {pairs.n_edges} pairs; with forces it needs more than 3 of "
            "each, and different numbers of them"
        )
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
        program: nn.Module = _OneSystem(potential, tree.detach(example))
        if forces:  # the exporter does not see through a derivative: it is traced first
            traced = make_fx(_WithForces(program), tracing_mode="symbolic", _allow_non_fake_inputs=True)
            program = traced(*arguments)
        return torch.export.export(program, arguments, dynamic_shapes=sizes, strict=False)
    finally:
        if before is not None:
            potential.engine = before
