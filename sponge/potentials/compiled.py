"""Potentials for use on a CPU: what their compiled forms share.

A model reads its functions of a distance from a table, and takes forces back by hand, without a tape. What is common
to all is here: the table and its errors, the edges of a list as compiled passes read them, weights and room for passes.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from mindsci.errors import InputError
from sponge.neighbors import Neighbors, halved
from sponge.potentials import filter_table
from sponge.potentials.atomwise import AtomwisePotential
from sponge.potentials.filter_table import FIRST_KNOT, Knots
from sponge.potentials.hermite_kernels import BLOCK, Graph, measure, sum_virials
from sponge.potentials.potential import Evaluation, Potential
from sponge.system import System, name_atom

NUMPY = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}


class CompiledPotential(Potential):
    """A model for use on a CPU, which does not follow later changes of its weights.

    `error` and `slope_error` are those of the table, as shares of the largest filter and the largest slope. A subclass
    writes `filters`, what is tabulated; `read`, which keeps the weights; and `sweep`, the energies and forces.

    Args:
        tolerance, slope_tolerance: of the table; the fewest knots that meet them are taken.
    """

    exportable = False

    def __init__(
        self,
        model: AtomwisePotential,
        *,
        dtype: torch.dtype = torch.float32,
        tolerance: float = 1e-6,
        slope_tolerance: float = 3e-5,
    ) -> None:
        super().__init__()
        exact = deepcopy(model).cpu().double().requires_grad_(False).eval()
        self.made_from, self.dtype = model.kind, dtype
        self.cutoff, self.elements, self.closest = model.cutoff, model.elements, FIRST_KNOT
        self.knots: Knots
        self.knots, self.error, self.slope_error = filter_table.suited_knots(
            exact, model.filter_cutoff, of=self.filters, tolerance=tolerance, slope_tolerance=slope_tolerance
        )
        self.scale, self.reference = float(exact.scale), exact.reference
        self.element_index = exact.element_index
        self._room: tuple[int, Any] | None = None
        self.read(exact, filter_table.rows(exact, self.knots, of=self.filters))

    @property
    def kind(self) -> str:
        """That of the model that it was made from."""
        return self.made_from

    @staticmethod
    def filters(model: Any, distances: Float[Tensor, " distances"]) -> tuple[Tensor, Tensor]:
        """Returns what is tabulated, (interactions, distances, features), and its derivatives."""
        raise NotImplementedError

    def read(self, exact: Any, table: Float[Tensor, "interactions knots 2 features"]) -> None:
        """Keeps what `sweep` needs of a model, which is in float64 and nobody else's."""
        raise NotImplementedError

    def sweep(
        self, system: System, edges: Edges, kinds: Int[Tensor, " atoms"], *, virial: bool
    ) -> tuple[Float[Tensor, " atoms"], Float[Tensor, "atoms 3"], Float[Tensor, "systems 3 3"] | None]:
        """Returns the atoms' energies without references [eV], forces [eV/angstrom] and, if asked, virials [eV]."""
        raise NotImplementedError

    def make_room(self, atoms: int) -> Any:
        """Returns arrays for what passes over so many atoms leave behind."""
        raise NotImplementedError

    def room(self, atoms: int) -> Any:
        """Returns the arrays of `make_room`, those of the last call where they fit."""
        if self._room is None or self._room[0] != atoms:
            self._room = atoms, self.make_room(atoms)
        return self._room[1]

    def forward(self, system: System, neighbors: Neighbors) -> Float[Tensor, " systems"]:
        return self.evaluate(system, neighbors).energy

    @torch.no_grad()
    def evaluate(
        self, system: System, neighbors: Neighbors, *, virial: bool = False, create_graph: bool = False
    ) -> Evaluation:
        """Returns energies, forces and, if asked, virials. Raises InputError where a graph is wanted."""
        wrong = (neighbors.half and not self.half) or neighbors.worst is not None
        if create_graph or wrong or system.positions.dtype != self.dtype:
            raise InputError(
                f"a compiled {self.kind} takes {'' if self.half else 'full '}lists that hold just their edges and "
                f"{self.dtype} positions on a CPU, and keeps no graph; use the {self.kind} that it was made from"
            )
        edges = Edges(system, halved(neighbors) if self.half else neighbors, self.knots)
        kinds = self.element_index[system.atomic_numbers]
        energies, forces, virials = self.sweep(system, edges, kinds, virial=virial)
        return Evaluation(
            energy=system.sum_over_atoms(energies + self.reference[kinds]),
            forces=forces.to(self.dtype),
            virial=virials,
        )


class Blocks:
    """Runs sweeps over blocks of atoms, in threads where there are several; a sweep ends before the next begins.

    Loops that Numba shares out among threads take several times as long to compile.
    """

    def __init__(self, atoms: int, size: int = BLOCK) -> None:
        self.parts = [(first, min(first + size, atoms)) for first in range(0, atoms, size)]
        self.threads = min(torch.get_num_threads(), len(self.parts))

    def __enter__(self) -> Blocks:
        self._pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def __call__(self, sweep: Callable[..., None], *arguments: Any) -> None:
        """Calls sweep(first, last, *arguments) for every block."""
        run = map if self._pool is None else self._pool.map
        for _ in run(lambda part: sweep(*part, *arguments), self.parts):
            pass


class Edges:
    """The edges of a list as compiled passes read them: lengths [angstrom], unit vectors, places in the table.

    Raises InputError, naming the atoms, for a position that is not finite, which a place in a table would hide, and for
    two atoms that are closer than the table's first knot.
    """

    def __init__(self, system: System, neighbors: Neighbors, knots: Knots) -> None:
        dtype = NUMPY[system.positions.dtype]
        self.neighbors = neighbors
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

    def virials(self, n_systems: int) -> Float[Tensor, "systems 3 3"]:
        """Returns -dE/d(strain) of each system, in units of the pull."""
        out = np.zeros((n_systems, 3, 3))
        sum_virials(self.pull, self.units, self.lengths, self.rows, self.system, out)
        return torch.from_numpy(out)

    def rates(self, along: NDArray[Any]) -> NDArray[Any]:
        """Returns (v_i - v_j) . unit vector of each edge: sum v_i . F_i is the sum of dE/dr times it over the pairs."""
        centers = np.repeat(np.arange(len(self.rows) - 1), np.diff(self.rows))
        moved = along[centers] - along[self.graph.neighbors]
        return np.einsum("ek,ek->e", moved, self.units).astype(self.units.dtype)


def widened(array: NDArray[Any], width: int) -> NDArray[Any]:
    """Returns an array whose last axis is filled with zeros to a width: rows that end on whole vectors."""
    if array.shape[-1] == width:
        return np.ascontiguousarray(array)
    out = np.zeros((*array.shape[:-1], width), array.dtype)
    out[..., : array.shape[-1]] = array
    return out


def arrays(tensors: list[Tensor], dtype: Any) -> list[NDArray[Any]]:
    """Returns tensors as arrays of a dtype, for packing."""
    return [one.detach().cpu().numpy().astype(dtype, copy=False) for one in tensors]
