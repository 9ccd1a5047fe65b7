"""PaiNN for use on a CPU: filters from a table, messages in compiled passes, forces by hand and without a tape.

Backward, with x' the derivative of the energy by x: a block s <- s + c + b (U . V), v <- v + a U hands back

    c' = s',  b' = s' (U . V),  a' = sum v' U,  U' = a v' + s' b V,  V' = s' b U + V |V|' / |V|,

and layers their transposed products; messages have `painn_kernels.backward`. With P' = sum W' dW/dr of a pair, and u'
the derivative by its unit vector u, that by the vector between its atoms is P' u + (u' - (u' . u) u) / r.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import silu

from sponge.potentials import painn_kernels
from sponge.potentials.compiled import CompiledPotential, Edges
from sponge.potentials.painn import SMALLEST, PaiNN
from sponge.potentials.radial import cosine_cutoff, cosine_cutoff_slope
from sponge.system import System


class Block(NamedTuple):
    """What the way back needs of a block: the messages' arguments, and what the update went through."""

    before: Tensor
    """of the message's activation"""
    sent: tuple[Tensor, Tensor, Tensor]
    """phi, vectors and filters"""
    u: Tensor
    w: Tensor
    norm: Tensor
    inner: Tensor
    a: Tensor
    b: Tensor


class CompiledPaiNN(CompiledPotential):
    """A PaiNN for use on a CPU; see `CompiledPotential`."""

    half = True

    @staticmethod
    def filters(model: Any, distances: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the filters of all blocks side by side, cutoff included, and their derivatives."""
        d = distances[:, None]
        waves, slopes = torch.sin(d * model.orders) / d, torch.cos(d * model.orders) * model.orders / d
        weight, bias = model.filters.weight, model.filters.bias
        values = torch.addmm(bias, waves, weight.mT)
        inclines = (slopes - waves / d) @ weight.mT
        envelope, fall = (one(distances, model.cutoff)[:, None] for one in (cosine_cutoff, cosine_cutoff_slope))
        return (values * envelope)[None], (inclines * envelope + values * fall)[None]

    def read(self, exact: PaiNN, table: Tensor) -> None:
        """Keeps the model in the precision of the passes."""
        self.features = exact.features
        parts = table[0].chunk(len(exact.updates), dim=2)
        self._tables = [part.contiguous().to(self.dtype).numpy() for part in parts]
        self._first = exact.messages[0](exact.embedding.weight).to(self.dtype)
        self._model = exact.to(self.dtype)

    def sweep(self, system: System, edges: Edges, kinds: Tensor, *, virial: bool) -> Any:
        """Returns atomic energies, forces and virials."""
        i, j = edges.neighbors.centre, edges.neighbors.neighbor
        pairs = edges, i.numpy(), j.numpy()
        blocks, s = self._forward(kinds, pairs)
        hidden, _, final = self._model.readout
        before = hidden(s)
        energies = self.scale * final(silu(before))[:, 0].double()
        gs = (final.weight * _slope(before)) @ hidden.weight
        along, pull = self._backward(blocks, gs, pairs)
        units, lengths = torch.from_numpy(edges.units), torch.from_numpy(edges.lengths)[:, None]
        across = (along - (along * units).sum(1, keepdim=True) * units) / lengths
        of_vectors = self.scale * (pull[:, None] * units + across)
        forces = torch.zeros_like(system.positions).index_add_(0, i, of_vectors)
        forces.index_add_(0, j, of_vectors, alpha=-1.0)
        return energies, forces, _virials(system, i, lengths * units, of_vectors) if virial else None

    def _forward(self, kinds: Tensor, pairs: Any) -> tuple[list[Block], Tensor]:
        edges, i, j = pairs
        width = self.features
        s = self._model.embedding(kinds)
        v = s.new_zeros(0, 3, width)
        blocks = []
        for number, (message, update) in enumerate(zip(self._model.messages, self._model.updates, strict=True)):
            before = message[0](s) if number else s
            phi = message[2](silu(before)) if number else self._first.index_select(0, kinds)
            phi = phi.view(len(s), 3, width)
            values = s.new_empty(len(i), 3 * width)
            graph = edges.graph
            painn_kernels.interpolate(self._tables[number], graph.place, graph.pieces, values.numpy())
            values = values.view(-1, 3, width)
            scalars, vectors = torch.zeros_like(s), torch.zeros_like(phi)
            given = [one.numpy() for one in (phi, v, values)]
            painn_kernels.forward(*given, edges.units, i, j, scalars.numpy(), vectors.numpy())
            s, vectors = s + scalars, vectors + v if number else vectors
            u, w = update.mix(vectors).split(width, dim=2)
            norm = torch.sqrt(w.square().sum(1) + SMALLEST)
            inner = update.inner(torch.cat((s, norm), dim=1))
            a, b, c = update.outer(silu(inner)).split(width, dim=1)
            blocks.append(Block(before, (phi, v, values), u, w, norm, inner, a, b))
            s = torch.addcmul(s + c, b, (u * w).sum(1))
            v = torch.addcmul(vectors, a[:, None], u)
        return blocks, s

    def _backward(self, blocks: list[Block], gs: Tensor, pairs: Any) -> tuple[Tensor, Tensor]:
        edges, i, j = pairs
        width, gv = self.features, gs.new_zeros(len(gs), 3, self.features)
        along, pull = gs.new_zeros(len(i), 3), gs.new_zeros(len(i))
        for number in range(len(blocks) - 1, -1, -1):
            block, message, update = blocks[number], self._model.messages[number], self._model.updates[number]
            u, w, by_product = block.u, block.w, gs * block.b
            known = torch.cat(((gv * u).sum(1), gs * (u * w).sum(1), gs), dim=1)
            of_inner = ((known @ update.outer.weight) * _slope(block.inner)) @ update.inner.weight
            of_s, of_norm = of_inner.split(width, dim=1)
            of_u = torch.addcmul(by_product[:, None] * w, block.a[:, None], gv)
            of_w = torch.addcmul(by_product[:, None] * u, (of_norm / block.norm)[:, None], w)
            gv = gv + torch.cat((of_u, of_w), dim=2) @ update.mix.weight
            gs = gs + of_s
            found = [torch.zeros_like(one) for one in block.sent]
            arrays = [one.numpy() for one in (*block.sent, torch.from_numpy(edges.units), gs, gv)]
            painn_kernels.backward(*arrays, i, j, *(one.numpy() for one in (*found, along)))
            graph, of_filters = edges.graph, found[2].view(len(i), -1)
            painn_kernels.slopes(self._tables[number], graph.place, graph.slopes, of_filters.numpy(), pull.numpy())
            if number:
                back = (found[0].flatten(1) @ message[2].weight) * _slope(block.before)
                gs, gv = torch.addmm(gs, back, message[0].weight), gv + found[1]
        return along, pull


def _slope(x: Tensor) -> Tensor:
    """silu'(x)."""
    logistic = torch.sigmoid(x)
    return logistic * (1.0 + x * (1.0 - logistic))


def _virials(system: System, i: Tensor, vectors: Tensor, of_vectors: Tensor) -> Tensor:
    """-dE/d(strain) of each system, the symmetric part."""
    each = -(vectors[:, :, None] * of_vectors[:, None, :]).double()
    summed = each.new_zeros(system.n_systems, 3, 3).index_add_(0, system.system[i], each)
    return 0.5 * (summed + summed.mT)
