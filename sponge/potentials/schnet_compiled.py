"""SchNet in compiled sweeps: energies and forces for use, and their derivatives by the weights for training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from mindsci.errors import InputError
from mindsci.kernels.dense import pack, padded
from sponge.neighbors import Neighbors
from sponge.potentials import filter_table, schnet_kernels, schnet_training_kernels
from sponge.potentials.filter_table import FIRST_KNOT, Knots
from sponge.potentials.hermite_kernels import measure, sum_virials
from sponge.potentials.potential import Evaluation, Potential
from sponge.potentials.schnet import SchNet
from sponge.potentials.schnet_kernels import Graph, Weights, Work
from sponge.potentials.schnet_training_kernels import Tangent
from sponge.system import System, name_atom

WORTH_SHARING = 48
"""atoms from which a second thread pays: below, they are one block"""
NUMPY = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}


class Edges:
    """The edges of a full list as the sweeps read them: lengths [angstrom], unit vectors, places in the table.

    Raises InputError, naming the atoms, for a position that is not finite, which a place in a table would hide, and for
    two atoms that are closer than the table's first knot.
    """

    def __init__(self, system: System, neighbors: Neighbors, knots: Knots) -> None:
        dtype = NUMPY[system.positions.dtype]
        self.rows, ends = neighbors.rows.numpy(), neighbors.neighbor.numpy()
        count = len(ends)
        self.system = system.system.numpy()
        self.units, self.lengths, self.pull = (
            np.empty((count, 3), dtype),
            np.empty(count, dtype),
            np.empty(count, dtype),
        )
        place, pieces, slopes = np.empty(count, np.int64), np.empty((count, 4), dtype), np.empty((count, 4), dtype)
        shift = np.empty((0, 3), np.int32) if neighbors.shift is None else neighbors.shift.numpy()
        shortest = measure(
            system.positions.detach().numpy(),
            system.cell.detach().numpy(),
            self.system,
            self.rows,
            ends,
            shift,
            dtype.type(FIRST_KNOT),
            dtype.type(knots.spacing),
            knots.count,
            self.units,
            self.lengths,
            place,
            pieces,
            slopes,
        )
        self.graph = Graph(self.rows, ends, place, pieces, slopes)
        if not np.isfinite(self.lengths.sum()):
            lost = (~system.positions.isfinite().all(-1)).nonzero().flatten()
            where = name_atom(system, int(lost[0])) if len(lost) else "a cell"
            raise InputError(
                f"{where} is not finite ({len(lost)} atoms are not): is the time step too long, or the start too rough?"
            )
        if shortest >= 0 and not self.lengths[shortest] > FIRST_KNOT:
            a, b = int(np.searchsorted(self.rows, shortest, side="right")) - 1, int(ends[shortest])
            raise InputError(
                f"{name_atom(system, a)} and {name_atom(system, b)} are {self.lengths[shortest]:.3g} angstrom apart; "
                f"the table of filters begins at {FIRST_KNOT} angstrom: move them apart"
            )

    def virials(self, n_systems: int) -> NDArray[Any]:
        """Returns -dE/d(strain) of each system, in units of the pull."""
        out = np.zeros((n_systems, 3, 3))
        sum_virials(self.pull, self.units, self.lengths, self.rows, self.system, out)
        return out

    def rates(self, along: NDArray[Any]) -> NDArray[Any]:
        """Returns (v_i - v_j) . unit vector of each edge: sum v_i . F_i is the sum of dE/dr times it over the pairs."""
        centers = np.repeat(np.arange(len(self.rows) - 1), np.diff(self.rows))
        moved = along[centers] - along[self.graph.neighbors]
        return np.einsum("ek,ek->e", moved, self.units).astype(self.units.dtype)


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


def pack_weights(table: Tensor, parameters: list[Tensor], dtype: Any) -> Weights:
    """Returns the weights as the sweeps read them: padded to whole panels, forward and transposed."""
    values = [one.detach().cpu().numpy().astype(dtype, copy=False) for one in parameters]
    embedding, before, inner, inner_bias, outer, outer_bias, hidden, hidden_bias, final, final_bias = values
    width, narrow = padded(embedding.shape[1], dtype), padded(len(hidden), dtype)
    return Weights(
        table=_wide(table.detach().cpu().numpy().astype(dtype, copy=False), width),
        embedding=_wide(embedding, width),
        embedding_h=_wide(embedding @ before[0].T, width),
        before=pack(before.swapaxes(1, 2), width),
        inner=pack(inner.swapaxes(1, 2), width),
        inner_bias=_wide(inner_bias, width),
        outer=pack(outer.swapaxes(1, 2), width),
        outer_bias=_wide(outer_bias, width),
        before_back=pack(before, width),
        inner_back=pack(inner, width),
        outer_back=pack(outer, width),
        hidden=pack(hidden.T, width),
        hidden_bias=_wide(hidden_bias, narrow),
        final=_wide(final, narrow),
        final_bias=final_bias,
        hidden_back=pack(hidden, narrow),
    )


def _wide(array: NDArray[Any], width: int) -> NDArray[Any]:
    if array.shape[-1] == width:
        return np.ascontiguousarray(array)
    out = np.zeros((*array.shape[:-1], width), array.dtype)
    out[..., : array.shape[-1]] = array
    return out


def make_work(atoms: int, interactions: int, width: int, narrow: int, dtype: Any, *, keep: bool) -> Work:
    """Returns room for the sweeps; `keep`: all that the weights' derivative needs, else as little as will do."""

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


class CompiledSchNet(Potential):
    """A SchNet for use on a CPU: filters tabulated and weights packed once, forces and virial without a tape.

    It does not follow later changes of the model's weights. `error` and `slope_error` are those of the table, as shares
    of the largest filter and the largest slope.
    """

    def __init__(
        self,
        model: SchNet,
        *,
        dtype: torch.dtype = torch.float32,
        tolerance: float = 1e-6,
        slope_tolerance: float = 3e-5,
    ) -> None:
        from copy import deepcopy

        super().__init__()
        exact = deepcopy(model).cpu().double().requires_grad_(False).eval()
        self.cutoff, self.elements, self.closest = model.cutoff, model.elements, FIRST_KNOT
        self.knots, self.error, self.slope_error = filter_table.suited_knots(
            exact, tolerance=tolerance, slope_tolerance=slope_tolerance
        )
        self.dtype = dtype
        self._weights = pack_weights(filter_table.rows(exact, self.knots), stacked(exact), NUMPY[dtype])
        self._scale, self._reference = float(exact.scale), exact.reference.numpy().copy()
        self._element_index = exact.element_index
        self._work: Work | None = None

    def forward(self, system: System, neighbors: Neighbors) -> Tensor:
        return self.evaluate(system, neighbors).energy

    def evaluate(
        self, system: System, neighbors: Neighbors, *, virial: bool = False, create_graph: bool = False
    ) -> Evaluation:
        """Returns energies, forces and, if asked, virials. Raises InputError where a graph is wanted."""
        if create_graph or neighbors.half or neighbors.worst is not None or system.positions.dtype != self.dtype:
            raise InputError(
                f"a compiled SchNet takes full lists and {self.dtype} positions on a CPU, and keeps no graph; "
                "use the SchNet that it was made from"
            )
        weights, edges = self._weights, Edges(system, neighbors, self.knots)
        kinds = self._element_index[system.atomic_numbers].numpy()
        interactions, _, _, width = weights.table.shape
        if self._work is None or len(self._work.y) != len(kinds):
            narrow = len(weights.final)
            self._work = make_work(len(kinds), interactions, width, narrow, NUMPY[self.dtype], keep=False)
        energies, forces = np.empty(len(kinds)), np.empty((len(kinds), 3))
        run = schnet_kernels.evaluate if len(kinds) <= WORTH_SHARING else schnet_kernels.evaluate_parallel
        run(kinds, edges.graph, weights, self._work, edges.units, edges.pull, energies, forces)
        return Evaluation(
            energy=system.sum_over_atoms(torch.from_numpy(self._scale * energies + self._reference[kinds])),
            forces=torch.from_numpy(self._scale * forces).to(self.dtype),
            virial=torch.from_numpy(self._scale * edges.virials(system.n_systems)) if virial else None,
        )


def evaluate_for_training(model: SchNet, system: System, neighbors: Neighbors) -> Evaluation:
    """Returns energies and forces whose gradients by the weights come from compiled sweeps.

    The filters are those of a table (`filter_table.knots_for_training`). Not differentiable twice, nor by positions.
    """
    knots = filter_table.knots_for_training(model)
    edges = Edges(system, neighbors, knots)
    kinds = model.element_index[system.atomic_numbers]
    energies, forces = TrainingSweeps.apply(kinds.numpy(), edges, filter_table.rows(model, knots), *stacked(model))
    atomic = energies * model.scale + model.reference.index_select(0, kinds)
    return Evaluation(energy=system.sum_over_atoms(atomic), forces=(forces * model.scale).to(system.positions.dtype))


class TrainingSweeps(torch.autograd.Function):
    """Atoms' energies and forces, unscaled, whose gradients reach the table and the weights."""

    @staticmethod
    def forward(ctx: Any, kinds: NDArray[Any], edges: Edges, table: Tensor, *parameters: Tensor) -> Any:
        dtype = edges.units.dtype
        weights = pack_weights(table, list(parameters), dtype)
        interactions, _, _, width = weights.table.shape
        work = make_work(len(kinds), interactions, width, len(weights.final), dtype, keep=True)
        energies, forces = np.empty(len(kinds)), np.empty((len(kinds), 3))
        schnet_kernels.evaluate_parallel(kinds, edges.graph, weights, work, edges.units, edges.pull, energies, forces)
        ctx.kept = kinds, edges, weights, work, [one.shape for one in (table, *parameters)]
        return torch.from_numpy(energies), torch.from_numpy(forces)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_energies: Tensor, of_forces: Tensor) -> Any:
        kinds, edges, weights, work, shapes = ctx.kept
        scales = of_energies.numpy().astype(edges.units.dtype)
        tangent = _make_tangent(work)
        table = np.zeros_like(weights.table)
        schnet_training_kernels.differentiate(
            edges.graph, weights, work, tangent, edges.rates(of_forces.numpy()), scales, table
        )
        gradients = [torch.from_numpy(table), *_of_weights(kinds, weights, work, tangent, scales)]
        return (
            None,
            None,
            *(one[tuple(slice(size) for size in shape)] for one, shape in zip(gradients, shapes, strict=True)),
        )


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
