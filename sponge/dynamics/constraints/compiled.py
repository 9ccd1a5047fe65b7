"""The compiled engine of the constraints: arrays for the kernels, and threads that share clusters and waters."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy
import torch
from jaxtyping import Float
from torch import Tensor

from sponge.dynamics.constraints import kernels
from sponge.dynamics.constraints.clusters import Elimination

if TYPE_CHECKING:
    from sponge.dynamics.constraints.constraints import Constraints

PER_THREAD = 4000
"""waters or clusters below which a thread costs more than it gives"""


def multipliers(
    constraints: Constraints,
    points: Float[Tensor, "atoms 3"],
    right: Float[Tensor, " constraints"],
    inverse_masses: Float[Tensor, " atoms"],
) -> Float[Tensor, " constraints"]:
    """Returns the solution of (G M^-1 G^T) lambda = right, with G at the points."""
    pattern, pairs, out = constraints.every, constraints.pairs.numpy(), numpy.zeros(len(right))
    arguments = (*arrays_of(pattern), pairs, inverse_masses.numpy(), points.numpy(), right.numpy(), *room(pattern), out)
    _share(kernels.multipliers, len(pattern.starts) - 1, arguments)
    return torch.from_numpy(out)


def projected(
    constraints: Constraints,
    points: Float[Tensor, "atoms 3"],
    momenta: Float[Tensor, "atoms 3"],
    inverse_masses: Float[Tensor, " atoms"],
) -> Float[Tensor, "atoms 3"]:
    """Returns momenta without what would change a length, in float64 as all arguments are."""
    found, places, weights = momenta.numpy().copy(), points.numpy(), inverse_masses.numpy()
    pattern = constraints.bonds
    if constraints.n_bonds:
        arguments = (*arrays_of(pattern), constraints.pairs.numpy(), weights, places, *room(pattern), found)
        _share(kernels.project, len(pattern.starts) - 1, arguments)
    if len(constraints.waters):
        arguments = (constraints.waters.numpy(), weights, places, found)
        _share(kernels.project_waters, len(constraints.waters), arguments)
    return torch.from_numpy(found)


def moves(
    constraints: Constraints,
    before: Float[Tensor, "atoms 3"],
    after: Float[Tensor, "atoms 3"],
    masses: Float[Tensor, " atoms"],
    inverse_masses: Float[Tensor, " atoms"],
    tolerance: float,
) -> tuple[Float[Tensor, "atoms 3"], Float[Tensor, " bonds"]]:
    """Returns the displacements that restore the lengths, NaN in a water where none do, and the errors of bonds."""
    n_bonds, pattern = constraints.n_bonds, constraints.bonds
    found, errors = numpy.zeros((len(after), 3)), numpy.zeros(n_bonds)
    old, new = before.numpy(), after.numpy()
    if n_bonds:
        pairs, length = constraints.pairs[:n_bonds].numpy(), constraints.length[:n_bonds].detach().numpy()
        arguments = (*arrays_of(pattern), pairs, length, inverse_masses.numpy(), old, new, tolerance, *room(pattern))
        _share(kernels.solve_positions, len(pattern.starts) - 1, (*arguments, found, errors))
    if len(constraints.waters):
        sides = constraints.oxygen_hydrogen.detach().numpy(), constraints.hydrogen_hydrogen.detach().numpy()
        arguments = (constraints.waters.numpy(), *sides, masses.numpy(), old, new, found)
        _share(kernels.settle, len(constraints.waters), arguments)
    return torch.from_numpy(found), torch.from_numpy(errors)


def arrays_of(pattern: Elimination) -> tuple[Any, int]:
    """Returns what the kernels know of clusters, and the number of constraints of the largest one."""
    names = ("starts", "order", "rows", "columns", "shared", "sign")
    return tuple(getattr(pattern, name).numpy() for name in names), pattern.size


def room(pattern: Elimination) -> tuple[Any, Any]:
    """Returns arrays for the entries and the diagonal of the factors."""
    return numpy.empty(len(pattern.columns)), numpy.empty(len(pattern.order))


def _share(kernel: Callable[..., None], count: int, arguments: tuple[Any, ...]) -> None:
    """Calls kernel(first, last, *arguments) for runs of so many things, each in a thread."""
    threads = max(1, min(torch.get_num_threads(), count // PER_THREAD))
    bounds = [count * k // threads for k in range(threads + 1)]
    if threads == 1:
        kernel(0, count, *arguments)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda k: kernel(bounds[k], bounds[k + 1], *arguments), range(threads)))
