"""SchNet's energies and forces with their derivatives by the weights, in compiled sweeps: for training."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from sponge.neighbors import Neighbors
from sponge.potentials import filter_table
from sponge.potentials import schnet_training_kernels as kernels
from sponge.potentials.compiled import Blocks, Edges
from sponge.potentials.filter_table import FIRST_KNOT, Knots
from sponge.potentials.potential import Evaluation
from sponge.potentials.schnet import SchNet
from sponge.potentials.schnet_compiled import filters, make_work, pack_weights, run_in_blocks, stacked
from sponge.potentials.schnet_kernels import Weights, Work
from sponge.potentials.schnet_training_kernels import Tangent
from sponge.system import System


def knots_for_training(model: SchNet) -> Knots:
    """Returns knots a sixth of a Gaussian's width apart: pieces of one fixed grid, while the filters change."""
    return Knots(model.cutoff, 1 + math.ceil((model.cutoff - FIRST_KNOT) / model.cutoff * 6 * (len(model.centers) - 1)))


def evaluate_for_training(model: SchNet, system: System, neighbors: Neighbors) -> Evaluation:
    """Returns energies and forces whose gradients by the weights come from compiled sweeps.

    The filters are those of a table (`knots_for_training`). Not differentiable twice, nor by positions.
    """
    knots = knots_for_training(model)
    edges = Edges(system, neighbors, knots)
    kinds = model.element_index[system.atomic_numbers]
    table = filter_table.rows(model, knots, of=filters)
    energies, forces = TrainingSweeps.apply(kinds.numpy(), edges, table, *stacked(model))
    atomic = energies * model.scale + model.reference.index_select(0, kinds)
    return Evaluation(energy=system.sum_over_atoms(atomic), forces=(forces * model.scale).to(system.positions.dtype))


class TrainingSweeps(torch.autograd.Function):
    """Atoms' energies and forces, unscaled, whose gradients reach the table and the weights."""

    @staticmethod
    def forward(ctx: Any, kinds: NDArray[Any], edges: Edges, table: Tensor, *parameters: Tensor) -> Any:
        weights = pack_weights(table, list(parameters), edges.units.dtype)
        work = make_work(len(kinds), weights, keep=True)
        energies, forces = run_in_blocks(kinds, edges, weights, work)
        ctx.kept = kinds, edges, weights, work, [one.shape for one in (table, *parameters)]
        return torch.from_numpy(energies), torch.from_numpy(forces)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_energies: Tensor, of_forces: Tensor) -> Any:
        kinds, edges, weights, work, shapes = ctx.kept
        scales = of_energies.numpy().astype(edges.units.dtype)
        tangent, rates = _make_tangent(work), edges.rates(of_forces.numpy())
        table = _differentiate(edges, weights, work, tangent, rates, scales)
        gradients = [torch.from_numpy(table), *_of_weights(kinds, weights, work, tangent, scales)]
        return (
            None,
            None,
            *(one[tuple(slice(size) for size in shape)] for one, shape in zip(gradients, shapes, strict=True)),
        )


def _differentiate(edges: Edges, weights: Weights, work: Work, tangent: Tangent, rates: Any, scales: Any) -> Any:
    """Runs the second pair of sweeps; returns the derivative by the table."""
    graph, interactions, table = edges.graph, len(work.h), np.zeros_like(weights.table)
    with Blocks(len(work.y)) as over_blocks:
        for number in range(interactions):
            over_blocks(kernels.tangent_forward, number, graph, weights, work, tangent, rates)
        over_blocks(kernels.turn_round, weights, work, tangent, scales)
        over_blocks(kernels.through_layers, interactions - 1, weights, work, tangent)
        for number in range(interactions - 1, -1, -1):
            over_blocks(kernels.back, number, graph, weights, work, tangent, rates)
    with Blocks(table.shape[-1], kernels.CHUNK) as over_features:
        for number in range(interactions):
            over_features(kernels.add_to_table, number, graph, work, tangent, rates, table)
    return table


def _make_tangent(work: Work) -> Tangent:
    def room(count: int) -> NDArray[Any]:
        return np.empty((count, *work.y.shape), work.y.dtype)

    n = len(work.h)
    x = room(n + 1)
    x[0] = 0
    return Tangent(
        x=x, h=room(n), c=room(n), y=room(n), o=room(n), big_x=room(n), big_y=room(n), big_c=room(n), big_h=room(n),
        big_first=room(1)[0], scratch=room(1)[0], small_x=room(n),
        narrow=np.empty((4, *work.narrow_y.shape), work.y.dtype),
    )  # fmt: skip


def _of_weights(
    kinds: NDArray[Any], weights: Weights, work: Work, tangent: Tangent, scales: NDArray[Any]
) -> list[Tensor]:
    """Returns the derivatives of the weights, in the order of `stacked`, padded."""
    of = torch.from_numpy
    _, wide, slope, narrow = (of(one) for one in tangent.narrow)

    def products(a: NDArray[Any], b: NDArray[Any], c: NDArray[Any], d: NDArray[Any]) -> Tensor:
        return torch.baddbmm(of(a).mT @ of(b), of(c).mT, of(d))

    embedding = torch.zeros(weights.embedding.shape, dtype=of(work.y).dtype)
    embedding.index_add_(0, of(kinds), of(tangent.big_first))
    return [
        embedding,
        products(tangent.big_h, work.x[:-1], work.gh, tangent.x[:-1]),
        products(tangent.big_y, work.c, tangent.small_x, tangent.c),
        of(tangent.big_y).sum(1),
        products(tangent.big_x, work.o, work.gx, tangent.o),
        of(tangent.big_x).sum(1),
        slope.mT @ of(work.x[-1]) + narrow.mT @ of(tangent.x[-1]),
        slope.sum(0),
        wide.sum(0),
        of(scales).sum().reshape(1),
    ]
