"""PhysNet for use on a CPU: filters from a table, compiled sweeps, forces by hand and without a tape.

The Coulomb energy of the charges is that of the formula, not of a table; with the potential phi_i at each atom it hands
back phi_i - (mean of phi over the system) to each charge before it is corrected: all share the correction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from mindsci.kernels.dense import pack, padded
from sponge.neighbors import all_pairs
from sponge.potentials import coulomb_kernels, physnet_kernels
from sponge.potentials.compiled import NUMPY, Blocks, CompiledPotential, Edges, arrays, widened
from sponge.potentials.hermite_kernels import sum_forces
from sponge.potentials.physnet import Block, PhysNet, check_reach, corrected_charges
from sponge.potentials.physnet_kernels import Weights, Work
from sponge.potentials.radial import smooth_cutoff, smooth_cutoff_slope
from sponge.system import System


class CompiledPhysNet(CompiledPotential):
    """A PhysNet for use on a CPU; see `CompiledPotential`."""

    @staticmethod
    def filters(model: Any, distances: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the filters of all modules, cutoff included, and their derivatives."""
        basis = model.radial
        close, widths = torch.exp(-distances)[:, None], softplus(basis.widths)
        apart = close - softplus(basis.centers)
        waves = torch.exp(-widths * apart * apart)
        inclines = 2.0 * widths * apart * close * waves
        envelope, fall = (one(distances, basis.cutoff)[:, None] for one in (smooth_cutoff, smooth_cutoff_slope))
        weight = torch.stack([block.filter.weight for block in model.blocks]).mT
        return (waves * envelope) @ weight, (inclines * envelope + waves * fall) @ weight

    def read(self, exact: PhysNet, table: Tensor) -> None:
        """Packs the weights."""
        self._factors, self._shifts = exact.factors.numpy(), exact.shifts.numpy()
        self._electrostatics, self._shielded_within = exact.electrostatics, exact.short_cutoff
        self._coulomb_cutoff = exact.coulomb_cutoff
        config = exact.config
        self._counts = tuple(config[name] for name in ("message_residuals", "atom_residuals", "output_residuals"))
        self._weights = _pack(exact, table, NUMPY[self.dtype])

    def check(self, system: System) -> None:
        """Raises InputError as the PhysNet does that it was made from."""
        super().check(system)
        if self._electrostatics:
            check_reach(system, self._coulomb_cutoff)

    def make_room(self, atoms: int) -> Work:
        """Returns room for a forward and a backward sweep."""
        modules, _, _, width = self._weights.table.shape

        def room(*count: int) -> Any:
            return np.empty((*count, atoms, width), self._weights.table.dtype)

        return Work(
            h=room(modules), slopes=room(modules, 5 + 2 * sum(self._counts)), c=room(1), gc=room(2), gh=room(1),
            x=room(), gx=room(), y=room(), a=room(), b=room(),
        )  # fmt: skip

    def sweep(self, system: System, edges: Edges, kinds: Tensor, *, virial: bool) -> Any:
        """Returns atomic energies, forces and virials."""
        places, count, graph = kinds.numpy(), len(kinds), edges.graph
        weights, work, counts = self._weights, self.room(count), self._counts
        outputs, forces = np.empty((count, 2)), np.empty((count, 3))
        modules = len(work.h)
        with Blocks(count) as over_blocks:
            over_blocks(physnet_kernels.begin, places, weights, work, outputs)
            for m in range(modules):
                over_blocks(physnet_kernels.enter, m, weights, work)
                over_blocks(physnet_kernels.forward, m, counts, graph, weights, work, outputs)
            energies, of_outputs, reaching = self._of_outputs(system, edges, places, outputs)
            for m in range(modules - 1, -1, -1):
                over_blocks(physnet_kernels.through_layers, m, counts, weights, work, of_outputs)
                over_blocks(physnet_kernels.backward, m, graph, weights, work, edges.pull)
            over_blocks(sum_forces, graph, edges.units, edges.pull, forces)
            for others in reaching:
                felt = np.empty_like(forces)
                over_blocks(sum_forces, others.graph, others.units, others.pull, felt)
                forces += felt
        virials = sum(one.virials(system.n_systems) for one in (edges, *reaching)) if virial else None
        return torch.from_numpy(energies), torch.from_numpy(forces), virials

    def _of_outputs(self, system: System, edges: Edges, kinds: Any, outputs: Any) -> tuple[Any, Any, list[Edges]]:
        """Each atom's energy [eV], its derivatives by the outputs, and edges of a Coulomb energy that goes farther."""
        factors = self._factors[kinds]
        found = factors * outputs + self._shifts[kinds]
        energies, of_outputs = self.scale * found[:, 0], np.zeros_like(outputs)
        of_outputs[:, 0] = self.scale * factors[:, 0]
        edges.pull[:] = 0
        reaching = []
        if self._electrostatics:
            if self._coulomb_cutoff is None and edges.neighbors.cutoff != float("inf"):
                reaching = [Edges(system, all_pairs(system), self.knots)]
                reaching[0].pull[:] = 0
            charges = corrected_charges(system, torch.from_numpy(found[:, 1])).numpy()
            felt = self._potentials((edges, *reaching)[-1], charges)
            energies += 0.5 * charges * felt
            of_outputs[:, 1] = factors[:, 1] * corrected_charges(system, torch.from_numpy(felt), neutral=True).numpy()
        return energies, of_outputs.astype(NUMPY[self.dtype]), reaching

    def _potentials(self, edges: Edges, charges: Any) -> Any:
        felt = np.empty(len(charges))
        per_cutoff = 0.0 if self._coulomb_cutoff is None else 1.0 / self._coulomb_cutoff
        coulomb_kernels.potentials(
            edges.rows, edges.graph.neighbors, edges.lengths, charges, self._shielded_within, per_cutoff, felt,
            edges.pull,
        )  # fmt: skip
        return felt


def _pack(exact: PhysNet, table: Tensor, dtype: Any) -> Weights:
    layers = [_layers(block) for block in exact.blocks]
    stacks = [
        torch.stack([torch.stack([getattr(one, name) for one in few]) for few in layers]) for name in ("weight", "bias")
    ]
    gates = torch.stack([block.gate for block in exact.blocks])
    final = torch.stack([block.output[-1].weight for block in exact.blocks])
    parts = arrays([table, exact.embedding.weight, *stacks, gates, final], dtype)
    table, embedding, weight, bias, gates, final = parts
    width = padded(embedding.shape[1], dtype)
    return Weights(
        table=widened(table, width),
        embedding=widened(embedding, width),
        layers=pack(weight.swapaxes(2, 3), width),
        biases=widened(bias, width),
        back=pack(weight, width),
        gates=widened(gates, width),
        final=widened(final, width),
        none=np.zeros(width, dtype),
    )


def _layers(block: Block) -> list[torch.nn.Linear]:
    """The layers of a module in the order of `physnet_kernels`."""
    residuals = [
        [part for one in many for part in (one.inner, one.outer)]
        for many in (block.message, block.atom, block.output[:-2])
    ]
    return [block.own, block.others, *residuals[0], block.after, *residuals[1], *residuals[2]]
