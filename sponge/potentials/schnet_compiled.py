"""SchNet for use on a CPU: filters from a table, compiled sweeps, forces by hand and without a tape."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from mindsci.kernels.dense import pack, padded
from sponge.potentials import schnet_kernels
from sponge.potentials.compiled import NUMPY, Blocks, CompiledPotential, Edges, arrays, widened
from sponge.potentials.hermite_kernels import sum_forces
from sponge.potentials.radial import cosine_cutoff, cosine_cutoff_slope
from sponge.potentials.schnet import SchNet
from sponge.potentials.schnet_kernels import Weights, Work
from sponge.system import System

WORTH_SHARING = 48
"""atoms from which a second thread pays: below, they are one block"""


class CompiledSchNet(CompiledPotential):
    """A SchNet for use on a CPU; see `CompiledPotential`."""

    @staticmethod
    def filters(model: Any, distances: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the filters of all interactions, and their derivatives."""
        return filters(model, distances)

    def read(self, exact: SchNet, table: Tensor) -> None:
        """Packs the weights."""
        self.weights = pack_weights(table, stacked(exact), NUMPY[self.dtype])

    def make_room(self, atoms: int) -> Work:
        """Returns room for a forward and a backward sweep."""
        return make_work(atoms, self.weights, keep=False)

    def sweep(self, system: System, edges: Edges, kinds: Tensor, *, virial: bool) -> Any:
        """Returns atomic energies, forces and virials."""
        given = kinds.numpy(), edges, self.weights, self.room(len(kinds))
        energies, forces = (run_at_once if len(kinds) <= WORTH_SHARING else run_in_blocks)(*given)
        return (
            torch.from_numpy(self.scale * energies),
            torch.from_numpy(self.scale * forces),
            self.scale * edges.virials(system.n_systems) if virial else None,
        )


def run_at_once(kinds: NDArray[Any], edges: Edges, weights: Weights, work: Work) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns each atom's energy and force, unscaled, and leaves each edge's dE/dr."""
    energies, forces = np.empty(len(kinds)), np.empty((len(kinds), 3))
    schnet_kernels.evaluate(kinds, edges.graph, weights, work, edges.units, edges.pull, energies, forces)
    return energies, forces


def run_in_blocks(kinds: NDArray[Any], edges: Edges, weights: Weights, work: Work) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns the same, in threads: each sweep ends before the next, since neighbours lie in other blocks."""
    graph, interactions = edges.graph, len(work.h)
    energies, forces = np.empty(len(kinds)), np.empty((len(kinds), 3))
    with Blocks(len(kinds)) as over_blocks:
        over_blocks(schnet_kernels.begin, kinds, graph, weights, work, edges.pull)
        for number in range(interactions):
            over_blocks(schnet_kernels.forward, number, graph, weights, work)
        over_blocks(schnet_kernels.read_out, weights, work, energies)
        over_blocks(schnet_kernels.through_layers, interactions - 1, weights, work)
        for number in range(interactions - 1, -1, -1):
            over_blocks(schnet_kernels.backward, number, graph, weights, work, edges.pull)
        over_blocks(sum_forces, graph, edges.units, edges.pull, forces)
    return energies, forces


def filters(
    model: SchNet, distances: Float[Tensor, " distances"]
) -> tuple[Float[Tensor, "interactions distances features"], Float[Tensor, "interactions distances features"]]:
    """Returns all interactions' filters, cutoff included, and their derivatives; differentiable in the weights."""
    layers = [interaction.filter for interaction in model.interactions]
    first, bias, second, second_bias = (
        torch.stack([getattr(layer[k], name) for layer in layers])
        for k, name in ((0, "weight"), (0, "bias"), (2, "weight"), (2, "bias"))
    )
    width = model.cutoff / (len(model.centers) - 1)
    expanded = model.expand(distances)
    inclines = expanded * (model.centers - distances[:, None]) / width**2
    envelope = cosine_cutoff(distances, model.cutoff)[:, None]
    fall = cosine_cutoff_slope(distances, model.cutoff)[:, None]
    before = torch.baddbmm(bias[:, None], expanded.expand(len(layers), -1, -1), first.mT)
    # ssp' is the logistic function.
    moved = torch.sigmoid(before) * (inclines.expand(len(layers), -1, -1) @ first.mT)
    values = torch.baddbmm(second_bias[:, None], model.readout[1](before), second.mT)
    return values * envelope, (moved @ second.mT) * envelope + values * fall


def stacked(model: SchNet) -> list[Tensor]:
    """Returns the weights that the sweeps read besides the table, in a fixed order, stacked over the interactions."""
    layers, (hidden, _, final) = list(model.interactions), model.readout
    return [
        model.embedding.weight,
        torch.stack([layer.before.weight for layer in layers]),
        torch.stack([layer.after[0].weight for layer in layers]),
        torch.stack([layer.after[0].bias for layer in layers]),
        torch.stack([layer.after[2].weight for layer in layers]),
        torch.stack([layer.after[2].bias for layer in layers]),
        hidden.weight,
        hidden.bias,
        final.weight[0],
        final.bias,
    ]


def pack_weights(table: Any, parameters: list[Tensor], dtype: Any) -> Weights:
    """Returns the weights as the sweeps read them: padded to whole panels, forward and transposed."""
    table, *values = arrays([table, *parameters], dtype)
    embedding, before, inner, inner_bias, outer, outer_bias, hidden, hidden_bias, final, final_bias = values
    width, narrow = padded(embedding.shape[1], dtype), padded(len(hidden), dtype)
    return Weights(
        table=widened(table, width),
        embedding=widened(embedding, width),
        embedding_h=widened(embedding @ before[0].T, width),
        before=pack(before.swapaxes(1, 2), width),
        inner=pack(inner.swapaxes(1, 2), width),
        inner_bias=widened(inner_bias, width),
        outer=pack(outer.swapaxes(1, 2), width),
        outer_bias=widened(outer_bias, width),
        before_back=pack(before, width),
        inner_back=pack(inner, width),
        outer_back=pack(outer, width),
        hidden=pack(hidden.T, width),
        hidden_bias=widened(hidden_bias, narrow),
        final=widened(final, narrow),
        final_bias=final_bias,
        hidden_back=pack(hidden, narrow),
    )


def make_work(atoms: int, weights: Weights, *, keep: bool) -> Work:
    """Returns room for the sweeps; `keep`: all that the weights' derivative needs, else as little as will do."""
    interactions, _, _, width = weights.table.shape
    narrow, dtype = len(weights.final), weights.table.dtype

    def room(count: int, columns: int = width) -> NDArray[Any]:
        return np.empty((count, atoms, columns), dtype)

    several = interactions if keep else 1
    return Work(
        x=room(interactions + 1 if keep else 1),
        h=room(interactions),
        c=room(several),
        o=room(several),
        d=room(interactions),
        gx=room(several),
        go=room(several),
        gc=room(interactions if keep else 2),
        gh=room(several),
        y=room(1)[0],
        narrow_y=room(1, narrow)[0],
        narrow_o=room(1, narrow)[0],
        narrow_d=room(1, narrow)[0],
    )
