"""The Numba engine of the search: threads take runs of centres, which hold no lock."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from sponge.neighbors import cell_kernels as kernels
from sponge.system import System

ATOMS_PER_THREAD = 2000
"""below this a thread costs more than it gives"""


def edges(system: System, cutoff: float, *, half: bool, shifts: bool) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Returns rows, centre, neighbour and shift of every pair closer than the cutoff; no shifts where not asked."""
    positions = np.ascontiguousarray(system.positions.detach().numpy(), dtype=np.float64)
    cells = np.ascontiguousarray(system.cell.detach().numpy(), dtype=np.float64)
    starts, flags = system.starts.numpy(), system.periodic.numpy()
    atoms = kernels.divide(positions, starts, cells, flags, cutoff)
    count = len(positions)
    threads = max(1, min(torch.get_num_threads(), count // ATOMS_PER_THREAD))
    # Places, not atoms, are shared out; `search` finds the system of its first place from the atom there.
    bounds = [count * k // threads for k in range(threads + 1)]
    runs = list(itertools.pairwise(bounds))

    def look(run: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return kernels.search(*run, atoms, starts, flags, cutoff, half, 64 * (run[1] - run[0]) + 64)

    with ThreadPoolExecutor(threads) if threads > 1 else _Here() as pool:
        found = list(pool.map(look, runs))
        rows = np.empty(count + 1, dtype=np.int64)
        kernels.row_starts(atoms[0], np.concatenate([degree for _, _, degree in found]), rows)
        centre, neighbor = np.empty(rows[-1], dtype=np.int64), np.empty(rows[-1], dtype=np.int64)
        shift = np.empty((rows[-1] if shifts else 0, 3), dtype=np.int32)
        list(
            pool.map(lambda k: kernels.write(*runs[k], atoms, *found[k], rows, centre, neighbor, shift), range(threads))
        )
    tensors = (torch.from_numpy(array) for array in (rows, centre, neighbor))
    return *tensors, torch.from_numpy(shift) if shifts else None


class _Here:
    """The pool of one thread: the caller."""

    map = staticmethod(map)

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass
