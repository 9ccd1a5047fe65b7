"""PaiNN for use on a CPU: filters from a table, messages in compiled passes, forces by hand and without a tape.

Backward, with x' the derivative of the energy by x: a block s <- s + c + b (U . V), v <- v + a U hands back

    c' = s',  b' = s' (U . V),  a' = sum v' U,  U' = a v' + s' b V,  V' = s' b U + V |V|' / |V|,

and layers their transposed products; messages have `painn_kernels.backward`. With P' = sum W' dW/dr of a pair, and u'
the derivative by its unit vector u, that by the vector between its atoms is P' u + (u' - (u' . u) u) / r.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import silu

from mindsci.errors import InputError
from sponge.neighbors import Neighbors, halved
from sponge.potentials import filter_table, painn_kernels
from sponge.potentials.filter_table import FIRST_KNOT, Knots
from sponge.potentials.painn import SMALLEST, PaiNN
from sponge.potentials.potential import Evaluation, Potential
from sponge.potentials.radial import cosine_cutoff
from sponge.potentials.schnet_compiled import Edges
from sponge.system import System


def filters(
    model: PaiNN, distances: Float[Tensor, " distances"]
) -> tuple[Float[Tensor, "one distances filters"], Float[Tensor, "one distances filters"]]:
    """Returns the filters of all blocks, cutoff included, and their derivatives."""
    d = distances[:, None]
    waves, slopes = torch.sin(d * model.orders) / d, torch.cos(d * model.orders) * model.orders / d
    weight, bias = model.filters.weight, model.filters.bias
    values = torch.addmm(bias, waves, weight.mT)
    inclines = (slopes - waves / d) @ weight.mT
    angle = math.pi / model.cutoff
    envelope = cosine_cutoff(distances, model.cutoff)[:, None]
    fall = torch.where(d < model.cutoff, -0.5 * angle * torch.sin(d * angle), 0.0)
    return (values * envelope)[None], (inclines * envelope + values * fall)[None]


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


class CompiledPaiNN(Potential):
    """A PaiNN for use on a CPU, which does not follow later changes of the model's weights.

    `error` and `slope_error` are those of the table, as shares of the largest filter and the largest slope.
    """

    def __init__(
        self,
        model: PaiNN,
        *,
        dtype: torch.dtype = torch.float32,
        tolerance: float = 1e-6,
        slope_tolerance: float = 3e-5,
    ) -> None:
        from copy import deepcopy

        super().__init__()
        exact = deepcopy(model).cpu().double().requires_grad_(False).eval()
        self.cutoff, self.elements, self.closest, self.half = model.cutoff, model.elements, FIRST_KNOT, True
        self.knots: Knots
        self.knots, self.error, self.slope_error = filter_table.suited_knots(
            exact, tolerance=tolerance, slope_tolerance=slope_tolerance, of=filters
        )
        self.dtype, self.features = dtype, model.features
        table = filter_table.rows(exact, self.knots, of=filters)[0]
        blocks = len(exact.updates)
        self._tables = [part.contiguous().to(dtype).numpy() for part in table.chunk(blocks, dim=2)]
        self._scale, self._reference = float(exact.scale), exact.reference
        self._first = exact.messages[0](exact.embedding.weight).to(dtype)
        self._model = exact.to(dtype)

    def forward(self, system: System, neighbors: Neighbors) -> Tensor:
        return self.evaluate(system, neighbors).energy

    @torch.no_grad()
    def evaluate(
        self, system: System, neighbors: Neighbors, *, virial: bool = False, create_graph: bool = False
    ) -> Evaluation:
        """Returns energies, forces and, if asked, virials. Raises InputError where a graph is wanted."""
        if create_graph or neighbors.worst is not None or system.positions.dtype != self.dtype:
            raise InputError(
                f"a compiled PaiNN takes lists that hold just their edges and {self.dtype} positions on a CPU, and "
                "keeps no graph; use the PaiNN that it was made from"
            )
        neighbors = halved(neighbors)
        edges = Edges(system, neighbors, self.knots)
        i, j = neighbors.centre, neighbors.neighbor
        kinds = self._model.kinds(system)
        pairs = edges, i.numpy(), j.numpy()
        blocks, s = self._forward(kinds, pairs)
        hidden, _, final = self._model.readout
        before = hidden(s)
        energies = self._scale * final(silu(before))[:, 0].double() + self._reference[kinds]
        gs = (final.weight * _slope(before)) @ hidden.weight
        along, pull = self._backward(blocks, gs, pairs)
        units, lengths = torch.from_numpy(edges.units), torch.from_numpy(edges.lengths)[:, None]
        across = (along - (along * units).sum(1, keepdim=True) * units) / lengths
        of_vectors = self._scale * (pull[:, None] * units + across)
        forces = torch.zeros_like(system.positions).index_add_(0, i, of_vectors)
        forces.index_add_(0, j, of_vectors, alpha=-1.0)
        return Evaluation(
            energy=system.sum_over_atoms(energies),
            forces=forces,
            virial=_virials(system, i, lengths * units, of_vectors) if virial else None,
        )

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
